"""The exceptions that end a command with one line instead of a traceback, and text for a terminal."""

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

# What a terminal obeys rather than shows: controls, line separators, and the controls of writing direction. Joiners and
# special spaces are text: Persian, emoji and Chinese need them. Half a surrogate pair cannot be written at all.
OBEYED = re.compile(
    r"[\x00-\x1f\x7f-\x9f"
    r"\u2028\u2029"
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    r"\ud800-\udfff]"
)


class UserError(Exception):
    """Bad usage, configuration, data, checkpoint or disk: one line, WHAT, WHERE, and what to do. Exit status 2."""


class RunFailed(Exception):
    """A check failed or training diverged, in the folder `run`. Exit status 1."""

    run: Path | None = None


class Diverged(RunFailed):
    """Training diverged: a loss, a gradient or a parameter is not finite, or far too large."""


class Interrupted(KeyboardInterrupt):
    """The user stopped the run; its state is saved in the folder `run`. Exit status 130.

    As a KeyboardInterrupt it ends a loop over trainings, and stops a notebook that runs all cells.

    >>> try:
    ...     raise trainer.Interrupted("go on with trainer.resume('runs/x')")
    ... except KeyboardInterrupt as stopped:
    ...     print(stopped)
    go on with trainer.resume('runs/x')
    """

    run: Path | None = None


def say(line: str) -> None:
    """Print a line on standard error."""
    print(printable(line), file=sys.stderr)


def printable(text: str) -> str:
    """The text on one line: what a terminal would obey rather than show is escaped."""
    return OBEYED.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def quoted(word: str | Path) -> str:
    """The word as a shell reads it back."""
    return shlex.quote(str(word))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table for a terminal: the first column stands on the left, the others on the right.

    >>> aligned([("check", "run"), ("descent", "50")])
    ['check    run', 'descent   50']
    """
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    layout = "  ".join([f"{{:{first}}}", *(f"{{:>{width}}}" for width in others)])  # as {:7}  {:>3}
    return [layout.format(*row) for row in rows]
