"""Processes that a command starts: they end when it has gone, however that ended."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from trainer.errors import RunFailed, UserError

KNOWN = {"UserError": UserError, "RunFailed": RunFailed, "MemoryError": MemoryError}
# A signal ends such a process at once, and so does the end of the command, which holds the other end of its standard
# input; from its first moment on, as some libraries swallow what a signal raises while they are imported. The work is
# done in a thread, where a run leaves the signals alone.
CHILD = """
import json, os, signal, sys, threading

def attempt():
    status = 1
    try:
        from {module} import {name} as function
        function(json.loads(sys.argv[1]))
        status = 0
    except Exception as error:
        print(json.dumps([type(error).__name__, str(error)]), flush=True)
    finally:
        os._exit(status)

signal.signal(signal.SIGINT, signal.SIG_DFL)
threading.Thread(target=attempt, daemon=True).start()
os.read(0, 1)
os._exit(1)
"""


def end(words: str = "") -> None:
    """End this process without the second that Python takes to put a large one in order; its children follow it."""
    os.write(2, b"interrupted; the same command goes on\n")
    os._exit(130)


def run_together(function: Callable[[dict[str, Any]], None], tasks: Sequence[dict[str, Any]]) -> None:
    """Call the function for each task in a process, one core each, until all have ended; or one fails or is killed.

    Raises the UserError, RunFailed or MemoryError that has ended one, and RuntimeError for any other; a kill ends this
    process too.
    """
    script = CHILD.format(module=function.__module__, name=function.__name__)
    processes: list[subprocess.Popen[bytes]] = []
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}  # they find what this process has found
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    try:
        for number, task in enumerate(tasks, start=os.getpid()):  # so that two commands begin with different cores
            command, pipe = [sys.executable, "-c", script, json.dumps(task)], subprocess.PIPE
            # In a session of its own, so that Ctrl-C in a terminal reaches this process alone.
            process = subprocess.Popen(command, env=variables, stdin=pipe, stdout=pipe, start_new_session=True)
            processes.append(process)
            if cores:
                os.sched_setaffinity(process.pid, {cores[number % len(cores)]})
        while None in (codes := [process.poll() for process in processes]) and not any(codes):
            time.sleep(0.1)
    finally:
        for process in processes:
            process.kill()
        told = [process.communicate()[0] for process in processes]
    for kind, message in map(json.loads, filter(None, told)):
        raise KNOWN[kind](message) if kind in KNOWN else RuntimeError(f"{kind}: {message}")
    if any(codes):
        end()
