"""The command line: which command is meant, and what comes of it as an exit status and one line."""

import os
import shlex
import sys
from collections.abc import Sequence
from typing import TextIO

from trainer.errors import Interrupted, RunFailed, UserError, printable
from trainer.tools.commands import COMMANDS, train_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        getattr(sys, name).reconfigure(encoding="utf-8", errors="backslashreplace")
    for k in range(len(given) - 1, 0, -1):
        if given[k - 1] in ("--logits", "--prompt", "--context", "--target"):  # their values may begin with a minus
            given[k - 1 : k + 1] = [f"{given[k - 1]}={given[k]}"]
    try:
        for word in given:
            if any("\ud800" <= c <= "\udfff" for c in word):
                raise UserError(f"{word!a} is not UTF-8, on the command line; write it in UTF-8")
        command = COMMANDS.get(given[0]) if given else None
        status = (command or train_command)(given[1:] if command else given)
        sys.stdout.flush()
        return status or 0
    except UserError as error:
        status, message = 2, f"error: {error}"
    except MemoryError:
        status, message = 2, "error: not enough memory, for this model and batch; give smaller sizes"
    except RunFailed as error:
        status, message = 1, f"failed: {error}"
    except Interrupted as error:
        status, message = 130, f"go on with: python -m trainer --resume {shlex.quote(str(error.run))}"
    except KeyboardInterrupt as error:
        status, message = 130, str(error) or "interrupted"
    except OSError as error:
        discard(sys.stdout)
        if isinstance(error, BrokenPipeError):  # the reader of standard output has left, as `| head` does
            return 0
        status, message = 2, f"error: cannot write ({error.strerror}), standard output or error; make room"
    try:
        print(printable(message), file=sys.stderr)
    except OSError:
        discard(sys.stderr)
    return status


def discard(stream: TextIO) -> None:
    """Let a stream that cannot be written end nowhere, so that the exit does not flush into it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
