"""What is learned from: characters as ids, the lines of a list shuffled, the splits, and windows over them."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from trainer.config import Data
from trainer.core.ops import Array
from trainer.errors import UserError
from trainer.text import oddities
from trainer.text.reading import places, read_texts

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Corpus:
    """A text as ids. In `lines` mode id 0, written "\\n" in the vocabulary, is the boundary of lines."""

    ids: Array  # (characters,) in the smallest unsigned type that holds V
    vocabulary: str  # the character of each id
    lines: bool
    splits: dict[str, tuple[int, int]]  # train, val, test: the targets are ids[start:end]; none where the share is 0
    fingerprint: str  # SHA-256 of the characters that are learned, of a list in the order of its lines
    characters: str = ""  # as the ids stand: a list in random order, a boundary first
    opening: str = ""  # of running text: what stands before a beginning, K characters
    line_count: int | None = None  # of a list, blank ones apart
    distinct_lines: int | None = None
    warnings: tuple[str, ...] = ()  # what is probably not meant to be learned
    unseen: str = ""  # which share of validation and test are characters that training never saw


def load(data: Data, context: int) -> Corpus:
    """Read a text: characters to ids, lines shuffled by `split_seed`, three splits.

    data: that section of a configuration. context: K, the characters that the model reads. Raises UserError for what
    cannot be read, is no text in its encoding, has nothing to learn, or leaves a split without examples.

    >>> corpus = trainer.load_corpus(config.data, config.model.context)
    >>> len(corpus.vocabulary), corpus.lines
    (16, True)
    """
    text, where, lines = "".join(read_texts(data)), ", ".join(places(data)), data.mode == "lines"
    looks_like, listed, parts = oddities.records(text), list[str](), list[str]()
    if lines:
        listed = [line for line in map(str.strip, text.split("\n")) if line]
        text, parts = "\n".join(listed), shuffled(listed, data.split_seed)
        characters, begin = "\n" + "".join(parts), np.cumsum([1, *map(len, parts)])  # where each part does
        vocabulary, fewest = "\n" + "".join(sorted(set(text) - {"\n"})), 3
        splits = {name: (int(begin[a]), int(begin[b])) for name, (a, b) in cut(len(parts), data.split).items()}
    else:
        characters, vocabulary, fewest = text, "".join(sorted(set(text))), 2
        splits = {name: (a + context, b) for name, (a, b) in cut(len(text), data.split).items()}  # after a context
    if len(vocabulary) < fewest:
        raise UserError(f"the text has not two distinct characters, {where}; give one with something to predict")
    for name, (start, end) in splits.items():
        if start >= end:
            mend = "data.mode=stream, if it is running text" if lines else f"less than model.context={context}"
            advice = f"give more text, data.split=[1,0,0], which trains on all of it, or {mend}"
            raise UserError(f"the {name} split is empty, {where}; {advice}")
    return Corpus(
        encode(characters, vocabulary),
        vocabulary,
        lines,
        splits,
        hashlib.sha256(text.encode()).hexdigest(),
        characters,
        opening="" if lines else opening(text[: splits["train"][1]], context),
        line_count=len(listed) or None,
        distinct_lines=len(parts) or None,
        warnings=tuple(filter(None, (looks_like, oddities.unintended(characters, vocabulary)))),
        unseen=unseen(characters, splits),
    )


def shuffled(listed: Sequence[str], seed: int) -> list[str]:
    """The distinct lines in random order, each with its copies, so that no line stands in two splits."""
    copies = Counter(listed)
    distinct = list(copies)  # in the order of the text
    order = np.random.default_rng(seed).permutation(len(distinct))
    return [f"{distinct[k]}\n" * copies[distinct[k]] for k in order]


def cut(n: int, split: Sequence[float]) -> dict[str, tuple[int, int]]:
    """Start and end of each split that has a share of n parts."""
    train, val, _ = split
    ends = [0, round(n * train), round(n * (train + val)), n]
    return {name: part for name, share, part in zip(SPLITS, split, pairwise(ends), strict=True) if share}


def opening(text: str, context: int) -> str:
    """K characters that stand before the beginning of a paragraph, else of a line; else the first that can be seen."""
    start = min(len(text) - len(text.lstrip()), len(text) - context)
    for beginning in (r"\n\s*\n", r"\n"):
        for found in re.finditer(beginning, text[start:-1]):
            if found.end() >= context:
                return text[start + found.end() - context : start + found.end()]
    return text[start : start + context]


def unseen(characters: str, splits: dict[str, tuple[int, int]]) -> str:
    """How many characters validation and test have that training never saw, and how much of them these are."""
    seen, found = set(characters[: splits["train"][1]]), []
    for name, (start, end) in splits.items():
        part = characters[start:end]
        if strange := set(part) - seen:
            found.append(f"{len(strange):,} in {name} ({sum(map(part.count, strange)) / len(part):.2%} of it)")
    return f"characters that training never saw: {', '.join(found)}" if found else ""


def encode(characters: str, vocabulary: str) -> Array:
    """The ids of characters that are all in the vocabulary: (characters,), in the smallest unsigned type."""
    known, points = (np.frombuffer(each.encode("utf-32-le"), np.uint32) for each in (vocabulary, characters))
    table = np.zeros(known.max() + 1, np.min_scalar_type(len(vocabulary)))  # an id for each code point
    table[known] = np.arange(len(vocabulary))
    return table[points]


def windows(corpus: Corpus, positions: Array, context: int) -> tuple[Array, Array]:
    """The K ids before each position, and the id there: (n,) -> contexts (n, K), targets (n,)."""
    before = positions - context + np.arange(context)[:, None]  # (K, n)
    contexts = corpus.ids.take(before, mode="clip")  # (K, n); what lies before the text is ids[0]
    if corpus.lines:
        for k in range(context - 2, -1, -1):  # what lies before the line is boundary
            contexts[k] *= contexts[k + 1] != 0
    return np.ascontiguousarray(contexts.T, np.intp), corpus.ids.take(positions).astype(np.intp)


def sample_positions(corpus: Corpus, split: str, most: int, seed: int) -> Array:
    """At most so many positions of a split, drawn at random, the same for a seed, sorted: (n,)."""
    start, end = corpus.splits[split]
    if end - start <= most:
        return np.arange(start, end)
    rng = np.random.default_rng([seed, 1 + SPLITS.index(split)])  # [seed, 0] would be the stream that shuffles lines
    return np.sort(rng.choice(end - start, most, replace=False, shuffle=False)) + start


def to_ids(text: str, vocabulary: str, what: str) -> Array:
    """The ids of a short text: (characters,). Raises UserError for a character outside the vocabulary."""
    for character in text:
        if character not in vocabulary:
            advice = "use only " + oddities.show(vocabulary.removeprefix("\n"))
            raise UserError(f"the {what} has {character!r}, which is not in the vocabulary of the model; {advice}")
    return np.array([vocabulary.index(character) for character in text], np.intp)
