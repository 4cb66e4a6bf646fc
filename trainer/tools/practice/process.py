"""A learner's file judged in a process of its own, so that whatever stands in it ends nothing else.

The process tells over a pipe which line it begins, and in the end its answer, a line of JSON each. What the file
prints is kept apart.
"""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainer.errors import UserError
from trainer.tools.children import end_with_parent
from trainer.tools.practice import execute
from trainer.tools.practice.answer import Answer, answer
from trainer.tools.practice.point import exercise
from trainer.tools.practice.run import Program, program
from trainer.tools.practice.verdict import Verdict

SECONDS = 10.0
PRINTED = 4000  # characters kept of what a file prints
ROOT = Path(__file__).resolve().parents[3]


def judged(path: str, seconds: float = SECONDS) -> Answer:
    """The answer to a file. Raises UserError where it cannot be read or is no Python."""
    text = execute.read(path)
    execute.parse(text, path)
    late = False
    with start() as process:
        try:
            told, _ = process.communicate(json.dumps(path).encode() + b"\n" + text, seconds)
        except subprocess.TimeoutExpired as error:
            told, late = error.stdout or b"", True
        finally:
            end(process)
    return heard(told, program(text, path), late, seconds, process.returncode)


def start() -> "subprocess.Popen[bytes]":
    """A Python that waits for a file. Raises UserError where the machine has no room for it."""
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        return subprocess.Popen(
            [sys.executable, "-c", "from trainer.tools.practice.process import child; child()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)}, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise UserError(f"cannot start a process ({error.strerror}), {sys.executable}; make room") from None


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the process and all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def heard(told: bytes, judged: Program, late: bool, seconds: float, status: int) -> Answer:
    """The answer that the process gave, or where it stopped without one."""
    at: dict[str, Any] = {}
    for line in told.splitlines():
        with contextlib.suppress(ValueError, TypeError):
            at = dict(json.loads(line))
    if "verdicts" in at:
        return Answer([Verdict(**row) for row in at["verdicts"]], at["notes"], at["printed"])
    if "statement" not in at:
        return Answer([], [], stopped=f"it did not start within {seconds:g} seconds" if late else "it did not start")
    number = judged.tree.body[at["statement"]].lineno
    where = f"line {number}: {judged.line(number)}"
    if late:
        return Answer(
            [], [], stopped=f"{where}\nstill running after {seconds:g} seconds, and stopped: an endless loop?"
        )
    ended = f"signal {-status}" if status < 0 else f"exit status {status}"
    return Answer([], [], stopped=f"{where}\nended the process ({ended}); nothing after it was run")


class Printed(io.TextIOBase):
    """Keeps the first characters of what is printed, and forgets the rest."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text[: PRINTED - len(self.text)]
        return len(text)


def child() -> None:
    """In the process: read the file from standard input, judge it, tell standard output."""
    end_with_parent()
    path = json.loads(sys.stdin.buffer.readline())
    judged = program(sys.stdin.buffer.read(), path)
    pipe = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for each in (0, 1, 2):
        os.dup2(nowhere, each)
    sys.path.insert(0, str(Path(path).resolve().parent))
    printed = Printed()

    def tell(message: dict[str, Any]) -> None:
        os.write(pipe, json.dumps(message).encode() + b"\n")

    def begin(statement: int) -> None:
        if statement == 0:
            printed.text = ""
        sys.stdout = sys.stderr = printed
        tell({"statement": statement})

    found = answer(judged, exercise(), begin)
    tell({"verdicts": [asdict(verdict) for verdict in found.verdicts], "notes": found.notes, "printed": printed.text})
    os._exit(0)
