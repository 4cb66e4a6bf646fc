"""The exceptions that end a command with one line instead of a traceback, and text that is safe on a terminal."""

import re
import shlex
from pathlib import Path

# What a terminal obeys rather than shows: controls, line separators, and the controls of writing direction. Joiners and
# special spaces are text: Persian, emoji and Chinese need them. Half a surrogate pair cannot be written at all.
OBEYED = re.compile(
    r"[\x00-\x1f\x7f-\x9f"
    r"\u2028\u2029"
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    r"\ud800-\udfff]"
)
UNDECODED = re.compile(r"[\udc80-\udcff]+")  # bytes of a name that Python could not read as characters
SHELL = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\", "'": r"\'"}


class UserError(Exception):
    """Bad usage, configuration, data, checkpoint or disk: one line, WHAT, WHERE, and what to do. Exit status 2."""


class RunFailed(Exception):
    """A check failed or training diverged. Exit status 1."""


class Diverged(RunFailed):
    """Training diverged: a loss, a gradient or a parameter is not finite, or far too large."""


class Interrupted(KeyboardInterrupt):
    """The user stopped the run; its state is saved in the folder `run`. Exit status 130.

    As a KeyboardInterrupt it ends a loop over trainings, and stops a notebook that runs all cells.

    >>> try:
    ...     raise trainer.Interrupted("go on with trainer.resume('runs/x')", run)
    ... except trainer.Interrupted as stopped:
    ...     stopped.run == run
    True
    """

    def __init__(self, message: str, run: Path) -> None:
        super().__init__(message)
        self.run = run


def printable(text: str) -> str:
    """The text on one line: what a terminal would obey rather than show is escaped."""
    return OBEYED.sub(lambda found: found.group().encode("unicode_escape").decode(), as_utf_8(text))


def as_utf_8(text: str) -> str:
    """The text, its undecoded bytes as characters where they are UTF-8: a C locale decodes ASCII alone."""
    return UNDECODED.sub(
        lambda found: found.group().encode("ascii", "surrogateescape").decode("utf-8", "surrogateescape"), text
    )


def quoted(word: str | Path) -> str:
    """The word, on one line, as a shell reads it back: in $'...' where a terminal would obey a character of it."""
    text = as_utf_8(str(word))
    if not OBEYED.search(text):
        return shlex.quote(text)
    return "$'" + "".join(in_shell(character) for character in text) + "'"


def in_shell(character: str) -> str:
    """A character between $' and ': what cannot stand there itself as an escape, or as its bytes in octal."""
    if character in SHELL:
        return SHELL[character]
    if not OBEYED.match(character):
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))
