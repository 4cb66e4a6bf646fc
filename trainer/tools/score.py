"""How well a model predicts a text: nats and bits a character, of the whole or of each line."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import numpy as np

from trainer.config import Data
from trainer.core.ops import Array
from trainer.errors import UserError, say
from trainer.runs import threads
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.folder import open_run, say_which
from trainer.text.corpus import Corpus
from trainer.text.oddities import show
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
    checkpoint = open_run(checkpoint)
    pieces = cut(checkpoint, text if isinstance(text, str) else "\n".join(text))
    return scored(checkpoint, pieces, "the text")[0]


def print_scores(
    run: str | None = None, files: Sequence[str] = (), each: bool = False, surprising: bool = False
) -> None:
    """Print the score of files, or of standard input; with `each` of every line, with `surprising` the worst first."""
    if each and surprising:
        raise UserError("--each and --surprising, on the command line; give one of them")
    if run is not None and not (Path(run).is_dir() or run.endswith(".npz")):  # it is a text
        files, run = [run, *files], None
    checkpoint = open_run(run)
    data = Data(tuple(files) or "-", checkpoint.config.data.mode, checkpoint.config.data.encoding)
    texts = [cut(checkpoint, text) for text in read_texts(data)]
    pieces = [piece for own in texts for piece in own]
    whole, losses = scored(checkpoint, pieces, ", ".join(places(data)) if files else "standard input")
    say_which(run, checkpoint)
    if count := sum(whole.unknown.values()):
        say(f"characters that the model does not know are left out, {count:,} in all: {show(''.join(whole.unknown))}")
    among = ", the ends of lines among them" if data.mode == "lines" else ""
    told = f"{whole.nats:.4f} nats, {whole.bits:.4f} bits per character; {whole.characters:,} characters{among}"
    if not (each or surprising):
        print(told)
        return
    say(told)
    nats = by_line(checkpoint, pieces, losses)
    file_of = np.repeat(files or [""], [*map(len, texts)])
    for k in np.argsort(-nats, kind="stable") if surprising else range(len(nats)):  # those that are nan at the end
        print(f"{nats[k]:.4f}", pieces[k].removesuffix("\n"), *[file_of[k]] * (len(files) > 1), sep="\t")


def cut(checkpoint: Checkpoint, text: str) -> list[str]:
    """The lines of a text, each with its end; of a list without the blank ones and the white space at their ends."""
    if checkpoint.config.data.mode == "lines":
        return [line.strip() + "\n" for line in StringIO(text) if line.strip()]
    return list(StringIO(text))


def scored(checkpoint: Checkpoint, pieces: Sequence[str], where: str) -> tuple[Score, Array]:
    """The score, and the loss of each character that the model knows; of running text from the first context on."""
    lines, vocabulary = checkpoint.config.data.mode == "lines", checkpoint.vocabulary
    before = [0] if lines else []  # a list begins with a boundary
    first = 1 if lines else checkpoint.sizes.K
    index = {character: k for k, character in enumerate(vocabulary)}
    ids = np.array(before + [index[c] for piece in pieces for c in piece if c in index], np.int64)
    if len(ids) <= first:
        need = "a line" if lines else f"more than the {first} characters of the context"
        raise UserError(f"nothing to score, {where}; give {need}")
    corpus = Corpus(ids, vocabulary, lines, {"train": (first, len(ids))}, "")
    losses = threads.losses(checkpoint.parameters, corpus, np.arange(first, len(ids)))
    unknown = {character: n for character, n in Counter("".join(pieces)).items() if character not in index}
    return Score(float(losses.mean(dtype=np.float64)), len(losses), unknown), losses


def by_line(checkpoint: Checkpoint, pieces: Sequence[str], losses: Array) -> Array:
    """The mean loss of each line, nan where nothing of it is scored: (lines,)."""
    known = set(checkpoint.vocabulary)
    ends = np.cumsum([0, *(sum(character in known for character in piece) for piece in pieces)])  # (lines + 1,)
    if checkpoint.config.data.mode == "stream":
        ends = np.maximum(ends - checkpoint.sizes.K, 0)  # the first context is not scored
    sums = np.concatenate([[0], np.cumsum(losses, dtype=np.float64)])[ends]  # (lines + 1,)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.diff(sums) / np.diff(ends))
