"""The command `sample`: text out of a run, on standard output."""

import sys
from collections.abc import Iterator

from trainer.errors import UserError, say
from trainer.runs.folder import open_run, say_which
from trainer.runs.sampling import LENGTHS, samples
from trainer.runs.starting import same_text
from trainer.text.corpus import Corpus
from trainer.text.oddities import legible

TRIES = 100  # samples drawn for each new one that is asked for, before giving up


def print_samples(
    run: str | None = None, n: int | None = None, prompt: str = "", temperature: float = 1.0, top_k: int = 0,
    length: int | None = None, seed: int = 0, last: bool = False, new: bool = False,
) -> None:  # fmt: skip
    """Print n samples; with `new` only lines that stand nowhere in the text, each once."""
    checkpoint = open_run(run, last)
    lines = checkpoint.config.data.mode == "lines"
    if n is None:
        n = 20 if lines else 1
    if new and not lines:
        raise UserError("--new is for lists of lines, and this model has learned running text; leave it out")
    drawn = samples(checkpoint, TRIES * n if new else n, prompt, temperature, top_k, length, seed)
    if new:
        most = LENGTHS["lines"] if length is None else length
        drawn = new_lines(same_text(checkpoint), drawn, n, len(prompt) + most)
    say_which(run, checkpoint)
    for text in drawn:
        # On a terminal the text itself is shown without what that would obey.
        shown = "\n".join(map(legible, text.split("\n"))) if sys.stdout.isatty() else text
        print(shown, end="\n" if lines or n == 1 else "\n\n")


def new_lines(corpus: Corpus, drawn: Iterator[str], n: int, most: int) -> Iterator[str]:
    """n different lines that stand nowhere in the text; fewer where the model makes up too few.

    Those of `most` characters were cut off.
    """
    known, found = {"", *corpus.listed}, 0
    for text in drawn:
        if len(text) < most and text not in known:
            known.add(text)
            found += 1
            yield text
        if found == n:
            return
    say(f"lines that are new, among {TRIES * n:,} samples: {found}")
