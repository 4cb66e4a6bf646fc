"""What a text holds that is probably not meant to be learned, and how to show characters that cannot be seen."""

import csv
import re
import unicodedata

from trainer.errors import printable

PLAIN = " \n\u3000\u200c\u200d"  # white space and joiners that are part of ordinary text
NAMES = {"\t": "tab", "\n": "newline", "\ufeff": "byte-order mark"}
BLANK = re.compile(
    "HANGUL (JUNGSEONG |CHOSEONG )?FILLER|VARIATION SELECTOR|GRAPHEME JOINER|VOWEL INHERENT|PATTERN BLANK"
)
CUTS = {"\t": "cut -f2", ",": "cut -d, -f2", ";": "cut -d';' -f2"}  # by what parts the columns of a table


def records(text: str) -> str:
    """A sentence on a text whose first lines look like records, with how to take one column of them; else none."""
    head = [line for line in text[:100_000].split("\n")[:-1] if line.strip()]
    if len(head) < 3:
        return ""
    if head[0].startswith(">") and head[1].isalpha():
        join = """awk '/^>/{if (s) print s; s=""; next} {s=s $0} END{print s}' FILE"""
        return f"the text looks like FASTA, whose records may take several lines; to have one a line: {join}"
    if all(line.startswith("{") and line.endswith("}") for line in head):
        return "the text looks like JSON, an object a line; to learn one field alone: jq -r .FIELD FILE"
    for separator, command in CUTS.items():
        widths = {len(row) for row in csv.reader(head, delimiter=separator)}
        if len(widths) == 1 and widths != {1}:
            return f"the text looks like a table; to learn one column alone, the second: {command} FILE"
    return ""


def unintended(characters: str, vocabulary: str) -> str:
    """A sentence on characters that cannot be seen, with what to do; else none."""
    found = ", ".join(f"{characters.count(c):,} × {name(c)}" for c in vocabulary if invisible(c) and c not in PLAIN)
    advice = "replace them in the text if that is not meant"
    return found and f"in the text {found} will be learned as characters; {advice}"


def invisible(character: str) -> bool:
    """White space, controls, marks of direction, blank glyphs and the like, and the sign for what was not decoded."""
    if unicodedata.bidirectional(character) == "AN":  # the number signs of Arabic, which are seen
        return False
    hidden = character.isspace() or unicodedata.category(character) in ("Cc", "Cf") or character == "\ufffd"
    return hidden or bool(BLANK.search(unicodedata.name(character, "")))


def name(character: str) -> str:
    """What an invisible character is called."""
    return NAMES.get(character) or unicodedata.name(character, "").lower() or f"U+{ord(character):04X}"


def show(vocabulary: str) -> str:
    """The characters, and by name those that cannot be seen."""
    seen = "".join(c for c in vocabulary if not invisible(c))
    parts = [seen[:80] + "..." * (len(seen) > 80), *map(name, filter(invisible, vocabulary))]
    return ", ".join(filter(None, parts))


def legible(line: str) -> str:
    """The line as a terminal can show it; by name what cannot be seen, where there is nothing else in it."""
    if line and all(map(invisible, line)):
        return f"({', '.join(map(name, line))})"
    return printable(line)
