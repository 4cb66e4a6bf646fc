"""What we learn from: characters to ids, one flat array of ids, windows over it, splits."""

import hashlib
import unicodedata
from dataclasses import dataclass

import numpy as np

from trainer.config import Data
from trainer.core.ops import Array
from trainer.errors import UserError, printable
from trainer.text import lines as lists
from trainer.text.oddities import oddities
from trainer.text.reading import Source, sources, text_blocks
from trainer.text.splits import cut, empty_split

CODE_POINTS = 0x110000
SPLITS = ("train", "val", "test")
LENGTHS = {"lines": 100, "stream": 500}  # characters of a sample at most, unless told otherwise


@dataclass(frozen=True)
class Corpus:
    """A text as ids. In `lines` mode id 0, written "\\n" in the vocabulary, is the boundary of lines."""

    ids: Array  # (characters,) in the smallest unsigned type that holds V
    vocabulary: str  # the character of each id
    lines: bool
    splits: dict[str, tuple[int, int]]  # train, val, test: the targets are ids[start:end]; none where the share is 0
    fingerprint: str  # SHA-256 of the bytes of the text
    line_count: int | None = None  # in `lines` mode, blank ones apart
    distinct_lines: int | None = None
    stripped: int = 0  # lines that had white space at their ends
    warning: str = ""  # what in the text is probably not meant to be learned

    @property
    def reads_differently(self) -> bool:
        """Whether version 1, which neither stripped lines nor kept equal ones together, read another text in it."""
        return self.stripped > 0 or self.distinct_lines != self.line_count


def load(data: Data, context: int) -> Corpus:
    """Read a text twice, block by block: once for its characters, once for their ids.

    Parameters
    ----------
    data
        The section `data` of a configuration.
    context
        K, the number of characters that the model reads.

    Returns
    -------
    Corpus
        `ids` (n,) are places in `vocabulary`, a string.

    Raises
    ------
    UserError
        If it cannot be read, is no text in its encoding, or leaves a split without examples.

    Examples
    --------
    >>> corpus = trainer.load_corpus(config.data, config.model.context)
    >>> len(corpus.vocabulary), corpus.lines
    (16, True)
    """
    files = sources(data)
    where = files[0].name + (f" and {len(files) - 1} more" if files[1:] else "")
    lines = data.mode == "lines"
    vocabulary, length, fingerprint = survey(files, data.encoding, lines)
    if not vocabulary.strip():
        what = "holds only blank lines" if length else "is empty"
        raise UserError(f"the text {what}, {where}; give a file with text in it")
    ids = encode(files, data.encoding, vocabulary, length, lines, where)
    found = None
    if lines:
        found = lists.arrange(ids, vocabulary, data.split_seed)
        ids, vocabulary = found.ids, found.vocabulary
    if len(vocabulary) == 1 + lines:
        raise UserError(f"the text has one distinct character, {where}; there is nothing to predict, give more text")

    ends = cut(len(found.places) - 1 if found else len(ids), data.split)
    splits = {}
    for name, share, start, end in zip(SPLITS, data.split, [0, *ends], ends, strict=False):
        if found:
            first, last = int(found.places[start]), int(found.places[end])
        else:
            first, last = start + context, end  # a stream's first targets need a whole context
        if share and first >= last:
            count, distinct = (found.total, len(found.places) - 1) if found else (None, None)
            raise empty_split(name, where, len(ids), context, count, distinct)
        if share:
            splits[name] = first, last
    return Corpus(
        ids,
        vocabulary,
        lines,
        splits,
        fingerprint,
        line_count=found.total if found else None,
        distinct_lines=len(found.places) - 1 if found else None,
        stripped=found.stripped if found else 0,
        warning=oddities(ids, vocabulary, lines),
    )


def code_points(text: str) -> Array:
    """The code point of each character: (characters,)."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def survey(files: list[Source], encoding: str, lines: bool) -> tuple[str, int, str]:
    """The vocabulary, the number of characters and the fingerprint of a text."""
    seen = np.zeros(CODE_POINTS, bool)
    length, digest = 0, hashlib.sha256()
    for text in text_blocks(files, encoding, digest):
        seen[code_points(text)] = True
        length += len(text)
    if lines:
        seen[ord("\n")] = False
    characters = "".join(map(chr, np.flatnonzero(seen)))
    return "\n" * lines + characters, length, digest.hexdigest()


def encode(files: list[Source], encoding: str, vocabulary: str, length: int, lines: bool, where: str) -> Array:
    """The ids of a text's characters; in `lines` mode between two boundaries."""
    dtype = np.min_scalar_type(len(vocabulary))
    table = np.zeros(CODE_POINTS, dtype)
    table[code_points(vocabulary)] = np.arange(len(vocabulary))
    ids = np.zeros(length + 2 * lines, dtype)
    room = ids[lines : lines + length]  # what is yet to be filled
    for text in text_blocks(files, encoding):
        if len(text) > len(room):
            raise UserError(f"the text has grown while it was read, {where}; start again")
        table.take(code_points(text), out=room[: len(text)], mode="clip")
        room = room[len(text) :]
    if len(room):
        raise UserError(f"the text has shrunk while it was read, {where}; start again")
    return ids


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
            raise unknown_character(character, text, vocabulary, what)
    return np.array([index[character] for character in text], np.intp)


def unknown_character(character: str, text: str, vocabulary: str, what: str) -> UserError:
    """What to write in place of a character that the model does not know."""
    for form in ("NFC", "NFD"):
        if set(unicodedata.normalize(form, text)) <= set(vocabulary):
            why = f"the text that was learned writes the same in another Unicode form, {form}"
            return UserError(f"the {what} has {character!r}: {why}; write it so")
    known = printable(vocabulary if len(vocabulary) < 100 else vocabulary[:100] + "...")
    return UserError(f"the {what} has {character!r}, which is not in the vocabulary of the model; use only {known}")


def standing(texts: list[str], corpus: Corpus) -> list[str]:
    """For each text the split in which it stands as a whole line, train, val or test; "" where it is new."""
    index = {character: k for k, character in enumerate(corpus.vocabulary)}
    boundaries = np.flatnonzero(corpus.ids == 0)
    starts, lengths = boundaries[:-1] + 1, np.diff(boundaries) - 1
    found = []
    for text in texts:
        candidates = starts[lengths == len(text)]
        for place, character in enumerate(text):
            candidates = candidates[corpus.ids[candidates + place] == index.get(character, -1)]
        splits = [
            name for name, (start, end) in corpus.splits.items() if (candidates >= start).any() and candidates[0] < end
        ]
        found.append(splits[0] if splits else "")
    return found
