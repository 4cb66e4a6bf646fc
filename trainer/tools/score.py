"""How well a model predicts a text: nats and bits a character, of the whole or of each line."""

import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from trainer.config import Data
from trainer.core.ops import Array
from trainer.errors import UserError, printable, say
from trainer.runs import threads
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.folder import checkpoint_of, open_run, say_which
from trainer.text.corpus import Corpus
from trainer.text.oddities import invisible, name
from trainer.text.reading import places, read_texts


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


def score(checkpoint: Checkpoint | str | Path, text: str | Iterable[str]) -> Score:
    """The mean loss of a text, or of lines, under a model: what `load_checkpoint` gives, or a run.

    A model of lines reads a text line by line, each from its beginning; blank lines are left out. Raises UserError if
    nothing is left to score: no line, or for running text not more characters than the context.

    >>> trainer.score(checkpoint, ["anna", "bob"]).characters
    9
    """
    checkpoint = checkpoint_of(checkpoint)
    pieces = cut(checkpoint, text if isinstance(text, str) else "\n".join(text))
    losses = losses_of(checkpoint, pieces, "the text")
    return Score(float(losses.mean(dtype=np.float64)), len(losses), unknown(checkpoint, pieces))


def print_scores(run: str | None, files: Sequence[str], each: bool, surprising: bool) -> None:
    """Print the score of files, or of standard input; with `each` of every line, with `surprising` the worst first."""
    if run is not None and not (Path(run).is_dir() or run.endswith(".npz")):  # it is a text
        files, run = [run, *files], None
    checkpoint, path = open_run(run)
    data = Data(tuple(files) or "-", checkpoint.config.data.mode, checkpoint.config.data.encoding)
    by_file = [cut(checkpoint, text) for text in read_texts(data)]
    pieces = [piece for own in by_file for piece in own]
    losses = losses_of(checkpoint, pieces, ", ".join(places(data)) if files else "standard input")
    say_which(run, checkpoint, path)
    left_out = unknown(checkpoint, pieces)
    if left_out:
        counts = Counter(left_out).most_common(20)
        say("not known to the model and left out: " + ", ".join(f"{shown(c)} × {n:,}" for c, n in counts))
    if not (each or surprising):
        print(in_words(checkpoint, losses))
        return
    say(in_words(checkpoint, losses))
    rows, of_each = [], iter(by_line(checkpoint, pieces, losses))
    for file, own in zip(files or [""], by_file, strict=True):
        found = list(islice(of_each, len(own)))
        if len(files) > 1 and own:
            say(f"{file}: {in_words(checkpoint, np.concatenate(found))}")
        for piece, some in zip(own, found, strict=True):
            words = [piece.removesuffix("\n")] + [file] * (len(files) > 1)
            if missing := ", ".join(map(shown, unknown(checkpoint, [piece]))):
                words.append(f"left out: {missing}")
            rows.append((float(some.mean(dtype=np.float64)) if len(some) else math.nan, words))
    if surprising:
        rows.sort(key=lambda row: (-math.inf if math.isnan(row[0]) else row[0], row[1]), reverse=True)
    for nats, words in rows:
        print("\t".join([f"{nats:.4f}", *(map(printable, words) if sys.stdout.isatty() else words)]))


def cut(checkpoint: Checkpoint, text: str) -> list[str]:
    """The lines of a text, each with its end; of a list without the blank ones and the white space at their ends."""
    if checkpoint.config.data.mode == "lines":
        return [line.strip() + "\n" for line in text.split("\n") if line.strip()]
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def unknown(checkpoint: Checkpoint, pieces: Sequence[str]) -> dict[str, int]:
    """The characters that the model does not know, and how often each occurs."""
    counts = Counter("".join(pieces))
    return {character: n for character, n in counts.items() if character not in checkpoint.vocabulary}


def losses_of(checkpoint: Checkpoint, pieces: Sequence[str], where: str) -> Array:
    """The loss of each character that the model knows, in nats; of running text from the first whole context on."""
    lines, vocabulary = checkpoint.config.data.mode == "lines", checkpoint.vocabulary
    first = 1 if lines else checkpoint.sizes.K  # a list begins with a boundary
    index = {character: k for k, character in enumerate(vocabulary)}
    ids = np.array([0] * lines + [index[c] for piece in pieces for c in piece if c in index], np.int64)
    if len(ids) <= first:
        need = "a line" if lines else f"more than the {first} characters of the context"
        raise UserError(f"nothing to score, {where}; give {need}")
    corpus = Corpus(ids, vocabulary, lines, {"train": (first, len(ids))}, "")
    with np.errstate(all="ignore"), threads.one_thread(), threads.workers(threads.cores()) as pool:
        return threads.losses(checkpoint.parameters, corpus, np.arange(first, len(ids)), pool)


def by_line(checkpoint: Checkpoint, pieces: Sequence[str], losses: Array) -> list[Array]:
    """The losses of each line."""
    known = set(checkpoint.vocabulary)
    ends = np.cumsum([sum(character in known for character in piece) for piece in pieces])
    if checkpoint.config.data.mode == "stream":
        ends = np.maximum(ends - checkpoint.sizes.K, 0)  # the first context is not scored
    return np.split(losses, ends[:-1])


def in_words(checkpoint: Checkpoint, losses: Array) -> str:
    """The mean loss of so many characters, the ends of lines among them or not."""
    found = Score(float(losses.mean(dtype=np.float64)), len(losses))
    among = ", the ends of lines among them" if checkpoint.config.data.mode == "lines" else ""
    return f"{found.nats:.4f} nats, {found.bits:.4f} bits per character; {found.characters:,} characters{among}"


def shown(character: str) -> str:
    return name(character) if invisible(character) else character
