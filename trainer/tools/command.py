"""The command line: which command is meant, and what comes of it as an exit status and one line."""

import difflib
import os
import sys
from collections.abc import Sequence
from typing import TextIO

from trainer.errors import RunFailed, UserError, say
from trainer.tools.commands import COMMANDS

ANY_VALUE = ("--logits", "--prompt", "--context", "--target")  # their values may begin with a minus


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        getattr(sys, name).reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        name, words = chosen(list(sys.argv[1:] if arguments is None else arguments))
        status = COMMANDS[name].run(name, joined(words))
        sys.stdout.flush()
        return status
    except UserError as error:
        status, message = 2, f"error: {error}"
    except MemoryError:
        status, message = 2, "error: not enough memory, for train.batch_size, model.* or --length; give smaller ones"
    except RunFailed as error:
        status, message = 1, f"failed: {error}"
    except KeyboardInterrupt as error:  # Interrupted is one
        status, message = 130, str(error) or "interrupted"
    except OSError as error:
        discard(sys.stdout)
        if isinstance(error, BrokenPipeError):  # the reader of standard output has left, as `| head` does
            return 0
        status, message = 2, f"error: {refused(error)}"
    try:
        say(message)
    except OSError:
        discard(sys.stderr)
    return status


def chosen(given: list[str]) -> tuple[str, list[str]]:
    """The name of the command that is meant, and the words that are left for it. Raises UserError for none."""
    first, *rest = given or [""]
    if first == "help":
        return chosen([*rest[:1], "--help"])
    if first in COMMANDS:
        return first, rest
    if first.startswith("-") or "=" in first:
        return "", given
    names = ", ".join(filter(None, COMMANDS))
    advice = f"the commands are {names}; to train, write: python -m trainer --config configs/names.yaml"
    if near := difflib.get_close_matches(first, COMMANDS, 1):
        advice = f"did you mean {near[0]}?"
    raise UserError(f"{first!a} is no command, on the command line; {advice}")


def joined(words: Sequence[str]) -> list[str]:
    """The words, `--prompt -x` as `--prompt=-x`: argparse takes the value for an option otherwise."""
    result: list[str] = []
    for word in words:
        if result and result[-1] in ANY_VALUE:
            result[-1] += f"={word}"
        else:
            result.append(word)
    return result


def refused(error: OSError) -> str:
    """What the system refused, where, and what to do."""
    try:
        os.getcwd()
    except OSError:
        return "the working directory is gone, it was moved or deleted; go to one that is there"
    what = "standard output or error" if error.filename is None else os.path.abspath(error.filename)
    return f"{error.strerror or error}, {what}; make room, or give permission"


def discard(stream: TextIO) -> None:
    """Let a stream that cannot be written end nowhere, so that the exit does not flush into it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
