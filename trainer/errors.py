"""The exceptions that end a command with one line instead of a traceback."""

from pathlib import Path


class UserError(Exception):
    """Bad usage, configuration, data, checkpoint or disk: one line, WHAT, WHERE, and what to do. Exit status 2."""


class RunFailed(Exception):
    """A check failed or training diverged. Exit status 1."""


class Interrupted(KeyboardInterrupt):
    """The user stopped the run; its state is saved in the folder `run`. Exit status 130."""

    def __init__(self, message: str, run: Path) -> None:
        super().__init__(message)
        self.run = run


def printable(text: str) -> str:
    """The text on one line: what a terminal would obey rather than show is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
