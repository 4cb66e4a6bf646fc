"""How well a model predicts a text: nats and bits a character, of the whole or of each line."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import numpy as np

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
    unknown: dict[str, int]  # characters that the model does not know, left out

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
    lines = cut(checkpoint, text if isinstance(text, str) else "\n".join(text))
    return scored(checkpoint, lines, "the text")[0]


def print_scores(
    run: str | None = None, files: Sequence[str] = (), each: bool = False, surprising: bool = False
) -> None:
    """Print the score of files, or of standard input; with `each` of every line, with `surprising` the worst first."""
    if each and surprising:
        raise UserError("--each and --surprising, on the command line; give one of them")
    if run is not None and not (Path(run).is_dir() or run.endswith(".npz")):  # it is a text
        files, run = [run, *files], None
    checkpoint = open_run(run)
    data = replace(checkpoint.config.data, path=tuple(files) or "-")
    texts = [cut(checkpoint, text) for text in read_texts(data)]
    lines = [line for text in texts for line in text]
    whole, nats = scored(checkpoint, lines, ", ".join(places(data)) if files else "standard input")
    say_which(run, checkpoint)
    if count := sum(whole.unknown.values()):
        say(f"characters that the model does not know are left out, {count:,} in all: {show(''.join(whole.unknown))}")
    among = ", the ends of lines among them" if data.mode == "lines" else ""
    told = f"{whole.nats:.4f} nats, {whole.bits:.4f} bits per character; {whole.characters:,} characters{among}"
    if not (each or surprising):
        print(told)
        return
    say(told)
    file_of = np.repeat(files or [""], [*map(len, texts)])
    for k in np.argsort(-nats, kind="stable") if surprising else range(len(nats)):  # those that are nan at the end
        print(f"{nats[k]:.4f}", lines[k].removesuffix("\n"), *[file_of[k]] * (len(files) > 1), sep="\t")


def cut(checkpoint: Checkpoint, text: str) -> list[str]:
    """The lines of a text, each with its end; of a list without the blank ones and the white space at their ends."""
    if checkpoint.config.data.mode == "lines":
        return [line.strip() + "\n" for line in StringIO(text) if line.strip()]
    return list(StringIO(text))


def scored(checkpoint: Checkpoint, lines: Sequence[str], where: str) -> tuple[Score, Array]:
    """The score, and the mean loss of each line, nan where nothing of it is scored: (lines,).

    Characters that the model does not know are left out; running text is scored from the first context on.
    """
    text, listed = "".join(lines), checkpoint.config.data.mode == "lines"
    index = {character: k for k, character in enumerate(checkpoint.vocabulary)}
    found = np.array([index.get(character, -1) for character in text], np.int64)  # (characters,)
    known = found >= 0
    ids = np.pad(found[known], (int(listed), 0))  # a list begins with a boundary
    first = 1 if listed else checkpoint.sizes.K
    if len(ids) <= first:
        need = "a line" if listed else f"more than the {first} characters of the context"
        raise UserError(f"nothing to score, {where}; give {need}")
    corpus = Corpus(ids, checkpoint.vocabulary, listed, {}, "")
    losses = threads.losses(checkpoint.parameters, corpus, np.arange(first, len(ids)))
    line_of = np.repeat(np.arange(len(lines)), [*map(len, lines)])[known][first - listed :]  # of each loss
    with np.errstate(invalid="ignore"):
        by_line = np.bincount(line_of, losses, len(lines)) / np.bincount(line_of, minlength=len(lines))
    unknown = dict(Counter(character for character in text if character not in index))
    return Score(float(losses.mean(dtype=np.float64)), len(losses), unknown), by_line
