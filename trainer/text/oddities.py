"""What a text holds that is probably not meant to be learned, and how to show characters that cannot be seen."""

import csv
import re
import unicodedata
from collections.abc import Iterator

from trainer.errors import printable

INVISIBLE = re.compile(
    r"[\s\x00-\x1f\x7f-\x9f\u2800\ufffc\ufffd"  # white space, controls, a blank glyph, signs for what could not be read
    # What Unicode calls default ignorable: joiners, marks of direction, fillers, selectors of variants and the like.
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    r"\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
PLAIN = " \n\u3000\u200c\u200d"  # white space and joiners that are part of ordinary text
NAMES = {"\t": "tab", "\n": "newline", "\ufeff": "byte-order mark"}
CUTS = {"\t": "cut -f2", ",": "cut -d, -f2", ";": "cut -d';' -f2"}  # by what parts the columns of a table


def warnings(text: str) -> Iterator[str]:
    """Sentences on characters that cannot be seen, and on first lines that look like records, with what to do."""
    if odd := INVISIBLE.findall("".join(sorted({*text} - {*PLAIN}))):
        found = ", ".join(f"{text.count(character):,} × {name(character)}" for character in odd)
        yield f"in the text {found} will be learned as characters; replace them in the text if that is not meant"
    head = [line.lstrip() for line in text[:100_000].split("\n")[:-1] if line.strip()]
    if len(head) < 3:
        return
    if head[0].startswith(">") and head[1].isalpha():
        join = """awk '/^>/{if (s) print s; s=""; next} {s=s $0} END{print s}' FILE"""
        yield f"the text looks like FASTA, whose records may take several lines; to have one a line: {join}"
    elif all(line.startswith("{") and line.endswith("}") for line in head):
        yield "the text looks like JSON, an object a line; to learn one field alone: jq -r .FIELD FILE"
    else:
        for separator, command in CUTS.items():
            widths = {len(row) for row in csv.reader(head, delimiter=separator)}
            if len(widths) == 1 and widths != {1}:
                yield f"the text looks like a table; to learn one column alone, the second: {command} FILE"
                return


def name(character: str) -> str:
    """What an invisible character is called."""
    return NAMES.get(character) or unicodedata.name(character, "").lower() or f"U+{ord(character):04X}"


def show(vocabulary: str) -> str:
    """The characters, and by name those that cannot be seen."""
    seen = INVISIBLE.sub("", vocabulary)
    parts = [seen[:80] + "..." * (len(seen) > 80), *map(name, INVISIBLE.findall(vocabulary))]
    return ", ".join(filter(None, parts))


def legible(line: str) -> str:
    """The line as a terminal can show it; by name what cannot be seen, where there is nothing else in it."""
    if line and not INVISIBLE.sub("", line):
        return f"({', '.join(map(name, line))})"
    return printable(line)
