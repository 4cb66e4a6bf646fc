"""A learner's file judged in a process of its own, so that whatever stands in it ends nothing else.

Before each statement, and at the end, the process tells over a pipe what is to be said if it ends there.
"""

import faulthandler
import json
import os
import subprocess
import sys

from trainer.errors import UserError, printable
from trainer.tools.practice import source
from trainer.tools.practice.judge import Answer, Finding, Judge
from trainer.tools.practice.point import exercise


def judged(path: str, seconds: float = 10.0) -> Answer:
    """The answer to a file; what it prints goes to standard error. Raises UserError, also as `read` does."""
    source.read(path)
    begin = (
        "import sys; sys.excepthook = lambda kind, error, _: print(kind.__name__, error);"  # told below, in one line
        f"sys.path[:] = {sys.path}; from {__name__} import child; child({path!r}, {seconds})"
    )
    command = [sys.executable, "-W", "ignore::SyntaxWarning", "-c", begin]  # the file is compiled once more
    process = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    told = [line for line in process.stdout.splitlines() if line.startswith(b"[")]
    if not told:
        why = process.stdout.decode("utf-8", "replace").strip() or f"status {process.returncode}"
        raise UserError(printable(f"the judging process ended before it began ({why}), {path}; free memory, try again"))
    findings, notes, running = json.loads(told[-1])
    if running:
        late = b"\nTimeout (" in process.stdout
        why = f"still running after {seconds:g} seconds: an endless loop?" if late else "ended the process"
        notes.append(f"line {running[0]}: {running[1].rstrip(':')}: {why}; what stands above it was judged")
    return Answer([Finding(*finding) for finding in findings], notes)


def child(path: str, seconds: float) -> None:
    """In the process: judge the file, and tell the pipe."""
    program, pipe = source.read(path), os.dup(1)
    judge = Judge(program, exercise())
    os.dup2(2, 1)  # what the file prints is kept apart
    sys.stdout, sys.excepthook = sys.stderr, lambda *_: None
    source.beside(path)
    faulthandler.dump_traceback_later(seconds, exit=True, file=pipe)  # also out of a loop in C
    for node in [*program.tree.body, None]:
        os.write(pipe, json.dumps([*judge.answer(), node and program.line(node)]).encode() + b"\n")
        if node:
            judge.statement(node)
    os._exit(0)
