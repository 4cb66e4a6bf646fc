"""What is learned from: characters as ids, the lines of a list shuffled, the splits, and windows over them."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

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
    warnings: tuple[str, ...] = ()  # what is probably not meant to be learned

    @property
    def listed(self) -> list[str]:
        """The lines of a list, in random order; of running text none."""
        return self.characters.split("\n")[1:-1] if self.lines else []

    @property
    def unseen(self) -> str:
        """A sentence on the characters of validation and test that training never saw; else none."""
        seen, told = {*self.characters[: self.splits["train"][1]]}, []
        for name, (start, end) in self.splits.items():
            part = self.characters[start:end]
            if strange := {*part} - seen:
                share = sum(map(part.count, strange)) / len(part)
                told.append(f"{len(strange):,} in {name}, at {share:.2%} of its places")
        return f"characters that training never saw: {', '.join(told)}" if told else ""


def load(data: Data, context: int) -> Corpus:
    """Read a text: characters to ids, lines shuffled by `split_seed`, three splits.

    data: that section of a configuration. context: K, the characters that the model reads. Raises UserError for what
    cannot be read, is no text in its encoding, has nothing to learn, or leaves a split without examples.

    >>> corpus = trainer.load_corpus(config.data, config.model.context)
    >>> len(corpus.vocabulary), corpus.lines
    (16, True)
    """
    text, lines, where = "".join(read_texts(data)), data.mode == "lines", ", ".join(places(data))
    if lines:
        listed = re.findall(r"\S(?:.*\S)?", text)  # without the white space at their ends
        text, parts = "\n".join(listed), shuffled(listed, data.split_seed)
        characters, vocabulary = "\n" + "".join(parts), "\n" + "".join(sorted({*text} - {"\n"}))
        splits = cut([*accumulate(map(len, parts), initial=1)], data.split)
    else:
        characters, vocabulary = text, "".join(sorted({*text}))
        splits = cut(range(len(text) + 1), data.split, context)
    if len(vocabulary) < 2 + lines:  # the boundary is not counted
        raise UserError(f"the text has not two distinct characters, {where}; give one with something to predict")
    for name, (start, end) in splits.items():
        if start >= end:
            mend = "data.mode=stream, if it is running text" if lines else f"less than model.context={context}"
            advice = f"give more text, data.split=[1,0,0], which trains on all of it, or {mend}"
            raise UserError(f"the {name} split is empty, {where}; {advice}")
    ids, fingerprint = encode(characters, vocabulary), hashlib.sha256(text.encode()).hexdigest()
    return Corpus(ids, vocabulary, lines, splits, fingerprint, characters, tuple(oddities.warnings(text)))


def shuffled(listed: Sequence[str], seed: int) -> list[str]:
    """The distinct lines in random order, each with its copies, so that no line stands in two splits."""
    copies = Counter(listed)
    distinct = list(copies)  # in the order of the text
    np.random.default_rng(seed).shuffle(distinct)
    return [f"{line}\n" * copies[line] for line in distinct]


def cut(begin: Sequence[int], split: Sequence[float], before: int = 0) -> dict[str, tuple[int, int]]:
    """Start and end of each split that has a share; `begin` is where the parts of the text begin, and its end.

    `before` is how many characters a split needs before its first example.
    """
    n, (train, val, _) = len(begin) - 1, split
    ends = pairwise(begin[round(n * share)] for share in (0, train, train + val, 1))
    return {name: (a + before, b) for name, share, (a, b) in zip(SPLITS, split, ends, strict=True) if share}


def encode(characters: str, vocabulary: str) -> Array:
    """The ids of characters that are all in the vocabulary: (characters,), in the smallest unsigned type."""
    numbers = characters.translate({ord(character): k for k, character in enumerate(vocabulary)})
    points = np.frombuffer(numbers.encode("utf-32-le", "surrogatepass"), np.uint32)
    return points.astype(np.min_scalar_type(len(vocabulary)))


def opening(corpus: Corpus, context: int) -> str:
    """Of running text K characters that stand before a paragraph, else before a line, else the first that are seen."""
    text = "" if corpus.lines else corpus.characters[: corpus.splits["train"][1]]
    least = min(len(text) - len(text.lstrip()) + context, len(text))  # where so many that can be seen have an end
    ends = (found.end() for beginning in (r"\n\s*\n", "\n") for found in re.finditer(beginning, text[:-1]))
    end = next((end for end in ends if end >= least), least)
    return text[end - context : end]


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
    n, rng = end - start, np.random.default_rng([seed, 1 + SPLITS.index(split)])  # [seed, 0] is what shuffles lines
    return np.sort(rng.choice(n, min(n, most), replace=False, shuffle=False)) + start


def to_ids(text: str, vocabulary: str, what: str) -> Array:
    """The ids of a short text: (characters,). Raises UserError for a character outside the vocabulary."""
    for character in text:
        if character not in vocabulary:
            advice = "use only " + oddities.show(vocabulary.removeprefix("\n"))
            raise UserError(f"the {what} has {character!r}, which is not in the vocabulary of the model; {advice}")
    return encode(text, vocabulary).astype(np.intp)
