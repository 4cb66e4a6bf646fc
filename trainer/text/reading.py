"""Bytes to characters: one file or several, plain or compressed, or standard input, in any encoding."""

import codecs
import gzip
import io
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, BinaryIO, cast

from trainer import regular
from trainer.config import Data
from trainer.errors import UserError
from trainer.text.sniffing import SAMPLE, likely_encodings, other_kind, wide_encoding

if TYPE_CHECKING:
    from hashlib import _Hash

BLOCK = 1 << 18  # bytes read at a time: the intermediate arrays stay in the cache
GZIP = b"\x1f\x8b"
NUL = b"\0"


@dataclass(frozen=True)
class Source:
    """One file of a text. Standard input, which can be read only once, is kept in a copy."""

    name: str  # for messages
    path: Path
    copy: BinaryIO | None = None

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The bytes from the beginning, decompressed."""
        try:
            file = self.path.open("rb") if self.copy is None else self.copy
            file.seek(0)
            compressed = file.read(len(GZIP)) == GZIP
            file.seek(0)
            try:
                yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if compressed else file
            finally:
                if self.copy is None:
                    file.close()
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"the compressed text is damaged ({error}), {self.name}; get it once more") from None
        except OSError as error:
            raise unreadable(self.name, error) from None


def unreadable(name: str, error: OSError) -> UserError:
    return UserError(f"cannot read the text, {name}: {error.strerror}; give the path of a text file")


def places(data: Data) -> list[str]:
    """The absolute paths of a text's files; - for standard input."""
    paths = [data.path] if isinstance(data.path, str) else data.path
    return [path if path == "-" else str(Path(path).absolute()) for path in paths]


def sources(data: Data) -> list[Source]:
    """The files of a text. Raises UserError for what is no regular file."""
    paths = places(data)
    if paths.count("-") > 1:
        raise UserError("standard input is given twice, data.path; it can be read only once")
    return [standard_input() if path == "-" else regular_file(Path(path)) for path in paths]


def regular_file(path: Path) -> Source:
    try:
        mode = regular.mode(path)
    except OSError as error:
        raise unreadable(str(path), error) from None
    if S_ISDIR(mode):
        raise UserError(f"the text is a folder, {path}; give the path of a text file")
    if not S_ISREG(mode):
        raise UserError(f"the text is no regular file, {path}; pipe it into the program, to train with data.path=-")
    return Source(str(path), path)


def standard_input() -> Source:
    """Standard input, copied to a temporary file that goes with the last one who holds it."""
    name = "standard input"
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError(f"no text on {name}; pipe a file into the program, or give its path")
    copy = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        shutil.copyfileobj(sys.stdin.buffer, copy, BLOCK)
    except OSError as error:
        raise unreadable(name, error) from None
    return Source(name, Path("-"), copy)


def text_blocks(files: list[Source], encoding: str, digest: "_Hash | None" = None) -> Iterator[str]:
    """The text of all files in blocks; a file's end is a line's end. The digest is of what was read."""
    for source in files:
        yield from joined_blocks(source, encoding, source is files[-1], digest)


def joined_blocks(source: Source, encoding: str, last: bool, digest: "_Hash | None" = None) -> Iterator[str]:
    """The text of one of several files in blocks, the end of its last line among them unless it is the last file."""
    end = "\n"
    for text in file_blocks(source, encoding, digest):
        end = text[-1:] or end
        yield text
    if end != "\n" and not last:
        if digest:
            digest.update(b"\n")
        yield "\n"


def file_blocks(source: Source, encoding: str, digest: "_Hash | None") -> Iterator[str]:
    """The text of a file in blocks, without a byte-order mark, CRLF and CR as LF."""
    newlines = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    done = 0  # bytes
    with source.open() as file:
        refuse_other_kinds(file.read(SAMPLE), source.name, encoding)
        file.seek(0)
        while True:
            raw = file.read(BLOCK)
            if digest:
                digest.update(raw)
            try:
                text = newlines.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                raise undecodable(error, done + len(raw), source.name, encoding) from None
            except UnicodeError as error:  # UTF-16 and UTF-32 without the mark that they begin with
                why = f"the text is not {encoding.upper()} ({error})"
                raise UserError(f"{why}, {source.name}; give another data.encoding") from None
            if "\0" in text:
                place = f"byte {done + raw.find(NUL)}" if NUL.decode(encoding, "ignore") else f"after byte {done}"
                what = f"the text is binary or damaged (it holds a NUL), {source.name}, {place}"
                raise UserError(f"{what}; give a text file, or take the NUL out")
            yield text.removeprefix("\ufeff") if done == 0 else text
            if not raw:
                return
            done += len(raw)


def refuse_other_kinds(raw: bytes, name: str, encoding: str) -> None:
    """Raise UserError if the first bytes of a file are no text in this encoding, and say what they are."""
    kind = other_kind(raw)
    if kind:
        what, advice = kind
        raise UserError(f"the text is {what}, {name}; {advice}")
    wide = wide_encoding(raw)
    if wide and wide[:6] != codecs.lookup(encoding).name[:6]:
        raise UserError(f"the text is {wide.upper()} and not {encoding.upper()}, {name}; give data.encoding={wide}")


def undecodable(error: UnicodeDecodeError, end: int, name: str, encoding: str) -> UserError:
    """What is wrong at which byte, and which encodings fit. The bytes that were being read ended before byte `end`."""
    byte = end - len(error.object) + error.start
    line = error.object.rfind(b"\n", 0, error.start) + 1  # the first byte of the line
    sample = error.object[line : line + SAMPLE]
    likely = likely_encodings(sample)
    if NUL in sample:
        advice = "it is binary: give a text file"
    elif likely:
        advice = f"it reads like {' or '.join(likely)}: give data.encoding={likely[0]}"
    else:
        advice = "convert it to UTF-8, or mend that place"
    return UserError(f"the text is not {encoding.upper()}, {name}, byte {byte}; {advice}")
