"""Bytes to characters: one file or several, plain or compressed, or standard input, in any encoding."""

import gzip
import sys
import zlib

from trainer import files
from trainer.config import Data
from trainer.errors import UserError

GZIP = b"\x1f\x8b"  # with which a compressed file begins


def places(data: Data) -> list[str]:
    """The absolute paths of a text's files; - for standard input."""
    paths = [data.path] if isinstance(data.path, str) else data.path
    return [path if path == "-" else str(files.absolute(path)) for path in paths]


def read_texts(data: Data) -> list[str]:
    """The characters of each file of a text; where one ends, its line ends, too. Raises UserError."""
    *others, last = [read_text(place, data.encoding) for place in places(data)]
    return [text if text.endswith("\n") or not text else text + "\n" for text in others] + [last]


def read_text(place: str, encoding: str) -> str:
    """The characters of a file, without a byte-order mark, CRLF and CR as LF."""
    raw, where = read_bytes(place), "standard input" if place == "-" else place
    try:
        raw = gzip.decompress(raw) if raw.startswith(GZIP) else raw
        text = raw.decode(encoding)
        zeros = b"\0" in raw  # UTF-16 and UTF-32 have some, in the end of each line at least
        if "\0" in text or (text and not zeros and b"\0" in "\n".encode(encoding)):
            raise UnicodeError("it has bytes of zero" if zeros else "no byte of it is zero")
    except (UnicodeError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"cannot read {where} as {encoding.upper()}: {error}; {advice_on_bytes(raw)}") from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def read_bytes(place: str) -> bytes:
    """What stands in a file, or comes in on standard input."""
    if place != "-":
        advice = "give the path of a text file, or - for standard input"
        if not place.isprintable():  # as D:<tab>exts
            advice = "YAML reads \\t in double quotes as a tab: write the path in single quotes, or with /"
        return files.read(place, "the text", advice)
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError("no text on standard input; pipe a file into the program, or give its path")
    return sys.stdin.buffer.read()


def advice_on_bytes(raw: bytes) -> str:
    """What to do about bytes that are no text in the encoding that was given."""
    if raw.startswith(GZIP):
        return "it is a damaged .gz: get it once more"
    if b"\0" in raw:
        return "it is UTF-16, or no text: write it as UTF-8, or train with data.encoding=utf-16 or utf-16-le"
    if raw.decode(errors="ignore").encode() == raw:
        return "it is UTF-8: train with data.encoding=utf-8"
    return "write it as UTF-8, or train with data.encoding=cp1252 or the like"
