"""The command `sample`: text out of a run, on standard output."""

import sys
from collections.abc import Iterator
from itertools import islice

from trainer.errors import UserError, say
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.folder import open_run
from trainer.runs.resuming import same_text
from trainer.runs.sampling import TOGETHER, samples
from trainer.runs.summary import marks
from trainer.text.corpus import LENGTHS
from trainer.text.oddities import legible

TRIES = 100  # samples drawn for each new one that is asked for, before giving up


def print_samples(
    run: str | None, n: int | None, prompt: str, temperature: float, top_k: int, length: int | None, seed: int,
    last: bool, new: bool,
) -> None:  # fmt: skip
    """Print n samples; with `new` only lines that stand nowhere in the text, each once."""
    checkpoint, _ = open_run(run, last)
    lines = checkpoint.config.data.mode == "lines"
    if n is None:
        n = 20 if lines else 1
    drawn = samples(checkpoint, TRIES * n if new else n, prompt, temperature, top_k, length, seed)
    if new:
        most = LENGTHS["lines"] if length is None else length
        drawn = new_lines(checkpoint, drawn, n, len(prompt) + most)
    for text in drawn:
        # On a terminal the text itself is shown without what that would obey.
        shown = "\n".join(map(legible, text.split("\n"))) if sys.stdout.isatty() else text
        print(shown, end="\n" if lines or n == 1 else "\n\n")


def new_lines(checkpoint: Checkpoint, drawn: Iterator[str], n: int, most: int) -> Iterator[str]:
    """n different lines that stand nowhere in the text of the run; fewer where the model makes up too few.

    Those of `most` characters were cut off. Raises UserError if the text is not there, or is no list.
    """
    if checkpoint.config.data.mode != "lines":
        raise UserError("--new is for lists of lines, and this model has learned running text; leave it out")
    try:
        corpus = same_text(checkpoint)
    except UserError as error:
        raise UserError(f"--new needs the text of the run: {error}") from None
    told: set[str] = set()
    while len(told) < n and (some := list(islice(drawn, TOGETHER))):
        for text, mark in zip(some, marks(some, corpus, most), strict=True):
            if mark == "new" and text not in told and len(told) < n:
                told.add(text)
                yield text
    if len(told) < n:
        say(f"only {len(told)} new ones among {TRIES * n:,} samples")
