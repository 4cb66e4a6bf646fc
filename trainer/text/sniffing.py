"""What a file that cannot be read as text is instead, by its bytes: another kind of file, or another encoding."""

import codecs
import unicodedata
from itertools import pairwise

SAVE = "save it as plain text in UTF-8"
UNPACK = "unpack it and give the text in it"
OTHER = "give a text file"
KINDS = [  # first bytes, what begins with them, what to do
    (b"%PDF-", "a PDF document", SAVE),
    (b"{\\rtf", "an RTF document", SAVE),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Word or Excel document", SAVE),
    (b"BZh91AY&SY", "a bzip2 archive", UNPACK),
    (b"\xfd7zXZ\0", "an xz archive", UNPACK),
    (b"7z\xbc\xaf'\x1c", "a 7-Zip archive", UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", UNPACK),
    (b"\x1f\x8b\x08", "a gzip file within another", UNPACK),
    (b"\x89PNG\r\n", "a PNG image", OTHER),
    (b"\xff\xd8\xff", "a JPEG image", OTHER),
    (b"GIF89a", "a GIF image", OTHER),
    (b"\x7fELF", "a program", OTHER),
    (b"\x93NUMPY", "a NumPy array", OTHER),
    (b"SQLite format 3\0", "an SQLite database", OTHER),
]
ZIPPED = [  # what the names in a zip archive give away
    (b"word/", "a Word document (.docx)", SAVE),
    (b"xl/", "an Excel workbook (.xlsx)", SAVE),
    (b"ppt/", "a PowerPoint presentation (.pptx)", SAVE),
    (b"epub+zip", "an e-book (.epub)", SAVE),
    (b"opendocument", "an OpenDocument file", SAVE),
    (b".npy", "a NumPy archive (.npz)", OTHER),
]
# In this order where several fit alike: the common one first.
CANDIDATES = ["cp1252", "cp1250", "cp1251", "koi8-r", "iso8859-5", "cp1253", "cp1255", "cp1256", "cp437", "mac-roman"]
CANDIDATES += ["shift_jis", "euc_jp", "euc_kr", "gb18030", "big5"]
HALLMARK = {"shift_jis": ("HIRAGANA", "KATAKANA"), "euc_jp": ("HIRAGANA", "KATAKANA"), "euc_kr": ("HANGUL",)}
PUNCTUATION = "‘’‚“”„«»–—…•·°€"  # of many languages, beside any letter
SAMPLE = 4096  # bytes that are looked at


def other_kind(raw: bytes) -> tuple[str, str] | None:
    """What a file with these first bytes is, if it is no text, and what to do."""
    if raw.startswith(b"PK\x03\x04"):
        inside = [(what, advice) for name, what, advice in ZIPPED if name in raw]
        return inside[0] if inside else ("a zip archive", UNPACK)
    found = [(what, advice) for magic, what, advice in KINDS if raw.startswith(magic)]
    return found[0] if found else None


def wide_encoding(raw: bytes) -> str | None:
    """utf-16 or utf-32, where a byte-order mark or the zeros among the bytes tell."""
    if raw.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    even, odd = raw[0::2].count(0), raw[1::2].count(0)
    if min(even, odd) or not max(even, odd):  # zeros on both sides, or none
        return None
    name = "utf-16-le" if odd else "utf-16-be"
    frequent = max(even, odd) * 4 > len(raw)  # European text; Chinese has zeros only at the ends of lines
    return name if frequent or (not decodes(raw, "utf-8") and naturalness(raw, name) > 0.5) else None


def likely_encodings(raw: bytes) -> list[str]:
    """The encodings in which the bytes read most like words, three at most."""
    scores = {name: naturalness(raw, name) for name in CANDIDATES if decodes(raw, name)}
    best = max(scores.values(), default=0.0)
    return [name for name, score in scores.items() if score > 0.5 and score > best - 0.05][:3]


def decodes(raw: bytes, encoding: str) -> bool:
    """Whether the bytes, perhaps cut within a character, are text in this encoding."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(raw)
    except UnicodeDecodeError:
        return False
    return True


def naturalness(raw: bytes, encoding: str) -> float:
    """The share of neighbours, one of them outside ASCII, that look as in words."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(raw)
    if encoding in HALLMARK and sum(name_of(c).startswith(HALLMARK[encoding]) for c in text) < 0.2 * len(text):
        return 0.0
    pairs = [(a, b) for a, b in pairwise(text) if not ((a + b).isascii() or a.isspace() or b.isspace())]
    return sum(fit(a, b) for a, b in pairs) / max(1, len(pairs))


def fit(first: str, second: str) -> bool:
    """Whether two neighbours are of one script, the second no capital; in Latin words accented letters stand alone."""
    if first in PUNCTUATION or second in PUNCTUATION:
        return True
    one_script = script(first) == script(second)
    both_accented = script(first) == "LATIN" and not first.isascii() and not second.isascii()
    return one_script and not both_accented and not second.isupper()


def script(character: str) -> str:
    """The first word of its name, LATIN or CYRILLIC; one for all that Chinese and Japanese mix."""
    if "\u3000" <= character <= "\u30ff" or "\uff00" <= character <= "\uff1f":  # with their punctuation
        return "CJK"
    return name_of(character).split()[0] if character.isalpha() else character


def name_of(character: str) -> str:
    return unicodedata.name(character, "?")
