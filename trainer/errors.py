"""The exceptions that end a command with one line instead of a traceback."""


class UserError(Exception):
    """Bad usage, configuration, data, checkpoint or disk: one line, WHAT, WHERE, and what to do. Exit status 2."""


class RunFailed(Exception):
    """A check failed or training diverged. Exit status 1."""


class Interrupted(Exception):
    """The user stopped the run; its state is saved. Exit status 130."""


def printable(text: str) -> str:
    """The text on one line: what a terminal would obey rather than show is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
