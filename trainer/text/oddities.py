"""What a text holds that is probably not meant to be learned, and how to show characters that cannot be seen."""

import unicodedata

import numpy as np

from trainer.core.ops import Array

SPAN = 1 << 20  # characters looked at a time
PLAIN = " \n\u3000\u200c\u200d"  # white space and joiners that are part of ordinary text
NAMES = {"\t": "tab", "\n": "newline", "\r": "carriage return", "\f": "form feed", "\ufeff": "byte-order mark"}


def oddities(ids: Array, vocabulary: str, lines: bool) -> str:
    """One line on invisible characters and on letters in two Unicode forms, with what to do; "" if there are none."""
    found = [f"{count(ids, k):,} × {name(c)}" for k, c in enumerate(vocabulary) if invisible(c) and c not in PLAIN]
    if not lines and "\n" in vocabulary:
        trailing = count_pairs(ids, [c.isspace() and c != "\n" for c in vocabulary], vocabulary.index("\n"))
        if trailing:
            found.append(f"{trailing:,} × white space at the end of a line")
    parts = []
    if found:
        parts.append(f"{', '.join(found)} will be learned as characters; replace them in the text if that is not meant")
    decomposed = two_forms(ids, vocabulary)
    if decomposed:
        parts.append(f"{decomposed:,} letters are written as letter and accent (NFD), others alike as one (NFC)")
        parts.append("write all in one form, NFC")
    return "; ".join(parts)


def invisible(character: str) -> bool:
    """White space, controls, marks of direction and the like, and the sign for what could not be decoded."""
    if character >= "\U000e0000":  # the parts of flags
        return False
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cf") or character == "\ufffd"


def name(character: str) -> str:
    """What an invisible character is called."""
    return NAMES.get(character) or unicodedata.name(character, "").lower() or f"U+{ord(character):04X}"


def show(vocabulary: str, most: int = 80) -> str:
    """The characters, accents on a dotted circle, and by name those that cannot be seen."""
    seen = [c for c in vocabulary if not invisible(c)]
    hidden = [name(c) for c in vocabulary if invisible(c)]
    marks = ["◌" + c if unicodedata.combining(c) else c for c in seen[:most]]
    shown = "".join(marks) + ("..." if len(seen) > most else "")
    return ", ".join([shown, *hidden[:10]]) + (", ..." if len(hidden) > 10 else "")


def count(ids: Array, wanted: int) -> int:
    """How often an id occurs."""
    return sum(int(np.count_nonzero(ids[start : start + SPAN] == wanted)) for start in range(0, len(ids), SPAN))


def count_pairs(ids: Array, first: list[bool], second: int) -> int:
    """How often an id for which `first` holds stands just before `second`."""
    table, total = np.array(first), 0
    for start in range(0, len(ids), SPAN):
        part = ids[start : start + SPAN + 1]
        total += int(np.count_nonzero(table[part[:-1]] & (part[1:] == second)))
    return total


def two_forms(ids: Array, vocabulary: str) -> int:
    """How many letters are followed by their accent where the text has the two as one character as well."""
    letters: dict[str, set[str]] = {}  # by accent, which is a vowel or a consonant where the letter is Korean
    for character in vocabulary:
        apart = unicodedata.normalize("NFD", character)
        letter, accent = apart[:-1], apart[-1]
        if letter and accent in vocabulary:
            letters.setdefault(accent, set()).add(unicodedata.normalize("NFC", letter))
    return sum(
        count_pairs(ids, [character in composed for character in vocabulary], vocabulary.index(accent))
        for accent, composed in letters.items()
    )
