"""How well a model predicts a text: nats and bits a character, of the whole or of each line."""

import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from trainer.config import Data
from trainer.core.ops import Array
from trainer.errors import UserError, printable
from trainer.runs import threads
from trainer.runs.blas import one_thread
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.opening import open_run, tell
from trainer.text import corpus as text
from trainer.text import lines as lists
from trainer.text.corpus import Corpus
from trainer.text.oddities import invisible, name
from trainer.text.reading import joined_blocks, places, sources
from trainer.tools.scored import Encoded, Line, by_file, lines_of

BLOCK = 1 << 20  # characters looked at together
TOGETHER = 1 << 11  # characters that a thread scores at a time: their activations stay in the cache
MOST = 1 << 24  # numbers in those activations


@dataclass(frozen=True)
class Score:
    """What a model makes of a text. The end of a line counts as a character in a list of lines."""

    nats: float  # mean loss of a character
    characters: int  # that were scored
    unknown: dict[str, int] = field(default_factory=dict)  # characters that the model does not know, left out

    @property
    def bits(self) -> float:
        """The mean loss of a character in bits."""
        return self.nats / math.log(2)


def score(checkpoint: Checkpoint, text: str | Iterable[str]) -> Score:
    """The mean loss of a text under a model.

    Parameters
    ----------
    checkpoint
        What `trainer.load_checkpoint` gives.
    text
        A text, or lines. A model of lines reads a text line by line, each from its beginning; blank lines are left out.

    Returns
    -------
    Score
        `nats` and `bits` a character, how many `characters`, and those left out because the model does not know them.

    Raises
    ------
    UserError
        If nothing is left to score: no line, or for running text not more characters than the context.

    Examples
    --------
    >>> trainer.score(checkpoint, ["anna", "bob"]).characters
    9
    """
    whole = text if isinstance(text, str) else "\n".join(text)
    encoded = encode(checkpoint, whole, "the text")
    losses = losses_of(checkpoint, encoded.corpus)
    return Score(float(losses.mean(dtype=np.float64)), len(losses), encoded.unknown)


def print_scores(run: str | None, files: Sequence[str], each: bool, surprising: bool) -> None:
    """Print the score of files, or of standard input; with `each` of every line, with `surprising` the worst first."""
    checkpoint, path = open_run(run)
    data = Data(tuple(files) if files else "-", checkpoint.config.data.mode, checkpoint.config.data.encoding)
    where = ", ".join(places(data)) if files else "standard input"
    read = sources(data)
    texts = ["".join(joined_blocks(source, data.encoding, source is read[-1])) for source in read]
    encoded = encode(checkpoint, "".join(texts), where)
    tell(run, checkpoint, path)
    losses = losses_of(checkpoint, encoded.corpus)
    if encoded.unknown:
        print(printable(f"not known to the model and left out: {counted(encoded.unknown)}"), file=sys.stderr)
    print(summary(losses, encoded.corpus.lines), file=sys.stderr if each else sys.stdout)
    if each:
        lines = by_file(lines_of(encoded, losses), [len(text) for text in texts])
        print_lines(lines, files, surprising, encoded.corpus.lines)


def print_lines(lines: Sequence[Sequence[Line]], files: Sequence[str], surprising: bool, ends: bool) -> None:
    """The nats of each line, beside it; then what was left out of it, and of several files which it stands in."""
    several, rows = len(files) > 1, []
    for number, own in enumerate(lines):
        if several and own:
            told = summary(np.concatenate([line.losses for line in own]), ends)
            print(printable(f"{files[number]}: {told}"), file=sys.stderr)
        for line in own:
            left_out = [f"left out: {', '.join(map(shown, line.left_out))}"] if line.left_out else []
            rows.append((line.nats, [line.text, *files[number : number + several], *left_out]))
    if surprising:
        rows.sort(key=lambda row: (-math.inf if math.isnan(row[0]) else row[0], row[1]), reverse=True)
    for nats, words in rows:
        print("\t".join([f"{nats:.4f}", *(map(printable, words) if sys.stdout.isatty() else words)]))


def summary(losses: Array, ends: bool) -> str:
    """The mean loss of so many characters, the ends of lines among them or not."""
    total = Score(float(losses.mean(dtype=np.float64)), len(losses))
    among = ", the ends of lines among them" if ends else ""
    return f"{total.nats:.4f} nats, {total.bits:.4f} bits per character; {total.characters:,} characters{among}"


def counted(unknown: dict[str, int]) -> str:
    """Characters and how often each occurs, the most frequent first."""
    return ", ".join(f"{shown(c)} × {n:,}" for c, n in Counter(unknown).most_common(20))


def shown(character: str) -> str:
    return name(character) if invisible(character) else character


def encode(checkpoint: Checkpoint, whole: str, where: str) -> Encoded:
    """The text in the ids of the model, its lines in their order. Raises UserError where nothing is left to score."""
    lines, vocabulary = checkpoint.config.data.mode == "lines", checkpoint.vocabulary
    points = text.code_points("\n" + whole + "\n" if lines else whole).astype(np.uint32)  # (characters,)
    if lines:
        points[points == ord("\n")] = 0  # the boundary comes first, before any white space
    own = np.unique(points)  # (characters of the text,)
    characters = "".join(map(chr, own))
    characters = characters.replace("\0", "\n")
    every = np.searchsorted(own, points).astype(np.min_scalar_type(len(own)))  # (characters,)
    starts = None
    if lines:
        starts, ends, _ = lists.find_lines(every, characters)
        every = lists.write(every, starts, ends - starts, int((ends - starts + 1).sum()) + 1)
        starts = starts - 1  # without the boundary at the very start
    index = {character: k for k, character in enumerate(vocabulary)}
    table = np.array([index.get(character, -1) for character in characters], np.int64)
    counts = np.bincount(every, minlength=len(own))
    unknown = {c: int(n) for c, n, k in zip(characters, counts, table, strict=True) if k < 0 < n}
    ids = table[every]
    ids = ids[ids >= 0].astype(np.min_scalar_type(len(vocabulary)))
    first = 1 if lines else checkpoint.sizes.K
    if len(ids) <= first:
        need = "a line" if lines else f"more than the {first} characters of the context"
        raise UserError(f"nothing to score, {where}; give {need}")
    corpus = Corpus(ids, vocabulary, lines, {"train": (first, len(ids))}, "")
    return Encoded(corpus, unknown, every, characters, table >= 0, starts)


def losses_of(checkpoint: Checkpoint, corpus: Corpus) -> Array:
    """The loss of each character in nats: (characters,). What occurs several times in a block is computed once."""
    start, end = corpus.splits["train"]
    losses = np.empty(end - start, checkpoint.parameters.flat.dtype)
    V, K, D, H = checkpoint.sizes
    together = max(1, min(TOGETHER, MOST // (2 * K + K * D + H + V)))  # fewer, where each takes much room
    with one_thread(), threads.workers(threads.cores()) as pool:
        for first in range(start, end, BLOCK):
            positions = np.arange(first, min(first + BLOCK, end))
            positions, places = distinct_examples(corpus, positions, K)
            parts = [positions[k : k + together] for k in range(0, len(positions), together)]
            scored = pool.map(partial(threads.example_losses, checkpoint.parameters, checkpoint.sizes, corpus), parts)
            losses[first - start : first - start + len(places)] = np.concatenate([*scored])[places]
    return losses


def distinct_examples(corpus: Corpus, positions: Array, K: int) -> tuple[Array, Array]:
    """One position for each context and target, and for each of the positions where its own stands among them."""
    V = len(corpus.vocabulary)
    if K > 20 or V ** (K + 1) >= 2**63:  # no number of 64 bits for each; and few occur twice
        return positions, np.arange(len(positions))
    contexts, targets = text.windows(corpus, positions, K)
    keys = contexts @ V ** np.arange(1, K + 1) + targets  # (n,)
    _, first, places = np.unique(keys, return_index=True, return_inverse=True)
    return positions[first], places
