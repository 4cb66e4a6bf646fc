"""What we learn from: characters to ids, one flat array of ids, windows over it, splits."""

import codecs
import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

import numpy as np

from trainer.config import Data
from trainer.errors import UserError, printable
from trainer.ops import Array

BLOCK = 1 << 18  # bytes read at a time: the intermediate arrays stay in the cache
CODE_POINTS = 0x110000


@dataclass(frozen=True)
class Corpus:
    """A text as ids. In `lines` mode id 0, written "\\n" in the vocabulary, is the boundary of lines."""

    ids: Array  # (characters,) in the smallest unsigned type that holds V
    vocabulary: str  # the character of each id
    lines: bool
    splits: dict[str, tuple[int, int]]  # train, val, test: the targets are ids[start:end]
    fingerprint: str  # SHA-256 of the file


def load(data: Data, context: int) -> Corpus:
    """Read a text file twice, block by block: once for its characters, once for their ids.

    Raises UserError if it cannot be read, is not UTF-8 text, or leaves a split without examples.
    """
    path = Path(str(data.path)).absolute()
    lines = data.mode == "lines"
    try:
        if not S_ISREG(path.stat().st_mode):
            kind = "a folder" if path.is_dir() else "no regular file"
            raise UserError(f"the text is {kind}, {path}; give the path of a text file")
        with path.open("rb") as file:
            vocabulary, length, fingerprint = survey(file, path, lines)
            file.seek(0)
            ids = encode(file, path, vocabulary, length, lines)
    except OSError as error:
        raise UserError(f"cannot read the text, {path}: {error.strerror}; check data.path") from None
    if lines:
        ids, bounds = shuffle_lines(ids, vocabulary, data, path)
    else:
        bounds = [round(len(ids) * share) for share in (0, data.split[0], data.split[0] + data.split[1], 1)]
    splits = {}
    for k, name in enumerate(("train", "val", "test")):
        # A stream's first targets need a whole context; a line's context is filled up with boundaries.
        start, end = bounds[k] + (0 if lines else context), bounds[k + 1]
        if start >= end:
            size = f"{end - bounds[k]} characters for a context of {context}"
            raise UserError(f"the {name} split is empty ({size}), {path}; change data.split or give more text")
        splits[name] = (start, end)
    return Corpus(ids, vocabulary, lines, splits, fingerprint)


def text_blocks(file: BinaryIO, path: Path, digest: "hashlib._Hash | None" = None) -> Iterator[str]:
    """The text in blocks, decoded from UTF-8, without a byte-order mark, CRLF and CR as LF."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    newlines = io.IncrementalNewlineDecoder(decoder, translate=True)
    done, raw = 0, b"-"
    while raw:
        raw = file.read(BLOCK)
        if digest:
            digest.update(raw)
        try:
            text = newlines.decode(raw, final=not raw)
        except UnicodeDecodeError as error:
            byte = done + len(raw) - len(error.object) + error.start
            raise UserError(f"the text is not UTF-8, {path}, byte {byte}; convert it to UTF-8") from None
        if done == 0:
            text = text.removeprefix("\ufeff")
        done += len(raw)
        if "\0" in text:
            raise UserError(f"the text is binary (it holds a NUL), {path}, before byte {done}; give a text file")
        yield text


def code_points(text: str) -> Array:
    """The code point of each character: (characters,)."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def survey(file: BinaryIO, path: Path, lines: bool) -> tuple[str, int, str]:
    """The vocabulary, the number of characters and the fingerprint of a file."""
    seen = np.zeros(CODE_POINTS, bool)
    length, digest = 0, hashlib.sha256()
    for text in text_blocks(file, path, digest):
        seen[code_points(text)] = True
        length += len(text)
    if lines:
        seen[ord("\n")] = False
    characters = "".join(map(chr, np.flatnonzero(seen)))
    if not characters.strip():
        what = "is empty" if length == 0 else "holds only blank lines"
        raise UserError(f"the text {what}, {path}; give a file with text in it")
    if len(characters) == 1:
        raise UserError(f"the text has one distinct character, {path}; there is nothing to predict, give more text")
    return "\n" * lines + characters, length, digest.hexdigest()


def encode(file: BinaryIO, path: Path, vocabulary: str, length: int, lines: bool) -> Array:
    """The ids of a file's characters; in `lines` mode between two boundaries."""
    dtype = np.min_scalar_type(len(vocabulary))
    table = np.zeros(CODE_POINTS, dtype)
    table[code_points(vocabulary)] = np.arange(len(vocabulary))
    ids = np.zeros(length + 2 * lines, dtype)
    room = ids[lines : lines + length]  # what is yet to be filled
    for text in text_blocks(file, path):
        if len(text) <= len(room):
            table.take(code_points(text), out=room[: len(text)], mode="clip")
            room = room[len(text) :]
        else:
            raise UserError(f"the text has grown while it was read, {path}; start again")
    if len(room):
        raise UserError(f"the text has shrunk while it was read, {path}; start again")
    return ids


def shuffle_lines(ids: Array, vocabulary: str, data: Data, path: Path) -> tuple[Array, list[int]]:
    """Lines in random order, blank ones left out, each ended by one boundary; and where the splits begin and end."""
    ends = np.flatnonzero(ids == 0)  # the first is the boundary at the very start
    starts, lengths = ends[:-1] + 1, np.diff(ends)  # a length counts the line's boundary
    keep = lengths > 1
    blank = np.array([not character.strip() for character in vocabulary])  # (V,)
    if blank[1:].any():
        keep[keep] = np.logical_or.reduceat(~blank[ids], starts[keep])
    starts, lengths = starts[keep], lengths[keep]
    order = np.random.default_rng(data.split_seed).permutation(len(starts))
    starts, lengths = starts[order], lengths[order]
    places = np.concatenate([[1], 1 + np.cumsum(lengths)])  # where each line begins in the new order
    shuffled = np.zeros(places[-1], ids.dtype)
    for first in range(0, len(starts), 1 << 16):
        part = slice(first, first + (1 << 16))
        span = np.arange(places[first], places[min(first + (1 << 16), len(starts))])
        shuffled[span] = ids[span + np.repeat(starts[part] - places[part.start : -1][: 1 << 16], lengths[part])]
    shares = np.cumsum(data.split)
    cuts = [0, round(len(starts) * shares[0]), round(len(starts) * shares[1]), len(starts)]
    return shuffled, [int(places[cut]) for cut in cuts]


def windows(corpus: Corpus, positions: Array, context: int) -> tuple[Array, Array]:
    """The K ids before each position, and the id there: (n,) -> contexts (n, K), targets (n,)."""
    before = positions - context + np.arange(context)[:, None]  # (K, n)
    contexts = corpus.ids.take(before, mode="clip")  # (K, n); what lies before the text is ids[0]
    if corpus.lines:
        for k in range(context - 2, -1, -1):  # what lies before the line is boundary
            contexts[k] *= contexts[k + 1] != 0
    return np.ascontiguousarray(contexts.T, np.intp), corpus.ids.take(positions).astype(np.intp)


def evenly(corpus: Corpus, split: str, most: int) -> Array:
    """At most so many positions of a split, evenly spaced: (n,)."""
    start, end = corpus.splits[split]
    return np.arange(start, end) if end - start <= most else np.linspace(start, end - 1, most).astype(np.int64)


def to_ids(text: str, vocabulary: str, what: str) -> Array:
    """The ids of a short text: (characters,). Raises UserError for a character outside the vocabulary."""
    index = {character: k for k, character in enumerate(vocabulary)}
    for character in text:
        if character not in index:
            known = printable(vocabulary if len(vocabulary) < 100 else vocabulary[:100] + "...")
            raise UserError(
                f"the {what} has {character!r}, which is not in the vocabulary of the model; use only {known}"
            )
    return np.array([index[character] for character in text], np.intp)


def stands_in(line: str, corpus: Corpus) -> bool:
    """Whether a line stands, whole, in the training split of a corpus of lines."""
    start, end = corpus.splits["train"]
    train = corpus.ids[start - 1 : end]  # from a boundary to a boundary
    wanted = np.array([0, *to_ids(line, corpus.vocabulary, "line"), 0], train.dtype)
    found = re.finditer(b"(?=" + re.escape(wanted.tobytes()) + b")", train.view(np.uint8).data)  # overlapping ones too
    return any(match.start() % train.itemsize == 0 for match in found)
