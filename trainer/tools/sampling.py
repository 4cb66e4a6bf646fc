"""The command `sample`: text out of a run, on standard output."""

import sys
from collections.abc import Iterator
from pathlib import Path

from trainer.errors import UserError, printable
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.opening import open_run, tell
from trainer.runs.resuming import same_text
from trainer.runs.sampling import TOGETHER, check_settings, samples, stream
from trainer.runs.summary import marks
from trainer.text.corpus import LENGTHS, Corpus

TRIES = 100  # samples drawn for each new one that is asked for, before giving up


def print_samples(
    run: str | None, n: int | None, prompt: str, temperature: float, top_k: int, length: int | None, seed: int,
    last: bool, new: bool,
) -> None:  # fmt: skip
    """Print n samples; a single running text as it is made; with `new` only lines that stand nowhere in the text."""
    checkpoint, path = open_run(run, last)
    lines = checkpoint.config.data.mode == "lines"
    settings = (prompt, temperature, top_k, length, seed)
    many = n if n is not None else (20 if lines else 1)
    check_settings(checkpoint, many, *settings)
    corpus = text_of(checkpoint, path) if new else None
    tell(run, checkpoint, path)
    if corpus:
        for text in new_lines(checkpoint, corpus, many, *settings):
            print(show(text))
    elif many == 1:
        for character in stream(checkpoint, *settings):
            print(show(character), end="", flush=not lines)
        print()
    else:
        for text in samples(checkpoint, many, *settings):
            print(show(text) if lines else show(text) + "\n")


def show(text: str) -> str:
    """The text itself; on a terminal without what that would obey."""
    return "\n".join(map(printable, text.split("\n"))) if sys.stdout.isatty() else text


def new_lines(
    checkpoint: Checkpoint, corpus: Corpus, n: int, prompt: str, temperature: float, top_k: int, length: int | None,
    seed: int,
) -> Iterator[str]:  # fmt: skip
    """n different lines that stand nowhere in the text of the run; fewer where the model makes up too few."""
    most = LENGTHS["lines"] if length is None else length
    drawn = samples(checkpoint, TRIES * n, prompt, temperature, top_k, length, seed)
    told: set[str] = set()
    while len(told) < n:
        some = [text for text, _ in zip(drawn, range(TOGETHER), strict=False)]
        if not some:
            print(f"only {len(told)} new ones among {TRIES * n:,} samples", file=sys.stderr)
            return
        for text, mark in zip(some, marks(some, corpus, most + len(prompt)), strict=True):
            if mark == "new" and text not in told and len(told) < n:
                told.add(text)
                yield text


def text_of(checkpoint: Checkpoint, path: Path) -> Corpus:
    """The text that tells what is new. Raises UserError if it is not there, or is no list."""
    if checkpoint.config.data.mode != "lines":
        raise UserError("--new is for lists of lines, and this model has learned running text; leave it out")
    try:
        return same_text(checkpoint, path.parent)
    except UserError as error:
        raise UserError(f"--new needs the text of the run: {error}") from None
