"""The command line: which command is meant, and what comes of it as an exit status and one line."""

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from trainer import __version__
from trainer.errors import Interrupted, RunFailed, UserError, printable, quoted
from trainer.runs.signals import ended_by_signals
from trainer.tools.commands import COMMANDS, train_command

Command = Callable[[Sequence[str]], int | None]
ANY_VALUE = ("--logits", "--prompt", "--context", "--target")  # their values may begin with a minus


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        getattr(sys, name).reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        for word in given:
            refuse_undecoded(word)
        command, words = chosen(given)
        with ended_by_signals():
            status = command(joined(words))
            sys.stdout.flush()
        return status or 0
    except UserError as error:
        status, message = 2, f"error: {error}"
    except MemoryError:
        status, message = 2, "error: not enough memory, for this model and batch; give smaller sizes"
    except RunFailed as error:
        status, message = 1, f"failed: {error}"
    except Interrupted as error:
        status, message = 130, f"go on with: python -m trainer --resume {quoted(error.run)}"
    except KeyboardInterrupt as error:
        status, message = 130, str(error) or "interrupted"
    except OSError as error:
        discard(sys.stdout)
        if isinstance(error, BrokenPipeError):  # the reader of standard output has left, as `| head` does
            return 0
        status, message = 2, f"error: {refused(error)}"
    try:
        print(printable(message), file=sys.stderr)
    except OSError:
        discard(sys.stderr)
    return status


def refuse_undecoded(word: str) -> None:
    """Raise UserError for a word whose bytes Python did not take for characters."""
    if not any("\ud800" <= c <= "\udfff" for c in word):
        return
    try:
        shown = os.fsencode(word).decode()
    except UnicodeError:
        raise UserError(f"{word!a} is not UTF-8, on the command line; write it in UTF-8") from None
    why = f"is not {sys.getfilesystemencoding()}, which is all that this locale reads"
    raise UserError(f"{shown!r} {why}, on the command line; write PYTHONUTF8=1 before the command")


def chosen(given: list[str]) -> tuple[Command, list[str]]:
    """The command that is meant, and the words that are left for it. Raises UserError for a first word that is none."""
    if not given:
        return train_command, given
    first, rest = given[0], given[1:]
    if first in ("--version", "version"):
        return show_version, rest
    if first == "help" and rest[:1] and rest[0] in COMMANDS:
        return COMMANDS[rest[0]], ["--help"]
    if first == "help":
        return train_command, ["--help"]
    if first in COMMANDS:
        return COMMANDS[first], rest
    if first.startswith("-") or "=" in first:
        return train_command, given
    raise UserError(f"{first!r} is no command, on the command line; {meant(first)}")


def meant(word: str) -> str:
    """What someone probably wanted who wrote this as the first word."""
    near = difflib.get_close_matches(word, COMMANDS, 1)
    if near:
        return f"did you mean {near[0]}?"
    if word.endswith((".yaml", ".yml")) or word in ("train", "run", "fit"):
        file = quoted(word) if word.endswith("ml") else "configs/names.yaml"
        return f"to train, write: python -m trainer --config {file}"
    if os.path.isdir(word) or word.endswith(".npz"):
        return f"to go on with a run, write --resume {quoted(word)}; to sample from it, sample {quoted(word)}"
    if os.path.exists(word) or word.endswith(".txt"):
        return f"to train on a text, write: python -m trainer --config configs/names.yaml data.path={quoted(word)}"
    return f"the commands are {', '.join(COMMANDS)}; to train, write --config FILE"


def show_version(words: Sequence[str]) -> None:
    print(f"trainer {__version__}")


def joined(words: Sequence[str]) -> list[str]:
    """The words, `--prompt -x` as `--prompt=-x`: argparse takes the value for an option otherwise."""
    result: list[str] = []
    for word in words:
        if result and result[-1] in ANY_VALUE:
            result[-1] += f"={word}"
        else:
            result.append(word)
    return [word.replace("=--", r"=\--") if word.endswith("=--") else word for word in result]  # it drops a bare --


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
