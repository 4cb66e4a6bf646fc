"""A learner's file judged in a process of its own, so that whatever stands in it ends nothing else.

Before each statement the process tells over a pipe which line it begins, and what is to be said if it ends there.
"""

import contextlib
import faulthandler
import json
import os
import subprocess
import sys
from pathlib import Path

from trainer.tools.practice import source
from trainer.tools.practice.judge import Finding
from trainer.tools.practice.point import exercise
from trainer.tools.practice.run import Answer, Run


def judged(path: str, seconds: float = 10.0) -> Answer:
    """The answer to a file; what it prints goes to standard error. Raises UserError as `read` does."""
    source.read(path)
    script, quiet = f"from {__name__} import child; child()", "ignore::SyntaxWarning"  # for it is compiled once more
    command = [sys.executable, "-W", quiet, "-c", script, path, str(seconds)]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    told = process.stdout.splitlines()
    *_, last = (line for line in told if line.startswith(b"["))
    line, (findings, notes, ended) = json.loads(last)
    if line:
        late = any(text.startswith(b"Timeout (") for text in told)
        why = f"still running after {seconds:g} seconds: an endless loop?" if late else "ended the process"
        notes, ended = [*notes, f"{line}: {why}; what stands above it was judged"], False
    return Answer([Finding(*finding) for finding in findings], notes, ended)


def child() -> None:
    """In the process: judge the file, and tell the pipe."""
    path, seconds = sys.argv[1:]
    program, pipe = source.read(path), os.dup(1)
    if "torch" in program.reads:
        with contextlib.suppress(Exception):
            import torch  # noqa: F401  # it takes seconds, which are not the file's
    run = Run(program, exercise())

    def tell(line: str) -> None:
        os.write(pipe, json.dumps([line, run.answer()]).encode() + b"\n")

    os.dup2(2, 1)  # what the file prints is kept apart
    sys.stdout = sys.stderr
    sys.path.insert(0, str(Path(path).resolve().parent))
    faulthandler.dump_traceback_later(float(seconds), exit=True, file=pipe)  # also out of a loop in C
    for node in program.tree.body:
        number, text = program.line(node)
        tell(f"line {number}: {text.rstrip(':')}")
        run.statement(node)
    tell("")
    os._exit(0)
