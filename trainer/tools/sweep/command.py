"""The command `sweep`, and its processes: each is the same command with `--worker`, and ends when that has gone."""

import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from trainer.errors import UserError
from trainer.runs.signals import interruptible


def end(words: str = "") -> None:
    """End this process without the second that Python takes to put a large one in order."""
    os.write(2, b"interrupted; the same command goes on\n")
    os._exit(130)


@interruptible(end)  # from here on: some libraries swallow what a signal raises while they are imported
def sweep(
    config: str, overrides: Sequence[str], trials: int = 50, jobs: int | None = None, storage: str | None = None,
    name: str | None = None, no_pruning: bool = False, worker: int | None = None,
) -> int:  # fmt: skip
    """Search for better values of a configuration; print the table of trials, and write runs/NAME/best.yaml.

    Gives the exit status. Raises UserError for what the user can mend, RunFailed if every trial diverged.
    """
    if worker is not None:
        begin(worker)
    if importlib.util.find_spec("optuna") is None:
        raise UserError("a sweep needs Optuna, which is not installed; pip install 'handmade-char-lm[sweep]'")
    from trainer.runs.folder import RUNS, check_name
    from trainer.runs.threads import cores
    from trainer.tools.sweep import ranges, search

    jobs = cores() if jobs is None else jobs
    if min(trials, jobs) < 1:
        raise UserError(f"--trials {trials} --jobs {jobs}, on the command line; give 1 or more of each")
    plan, name = ranges.read(config, overrides, trials), check_name(name or Path(config).stem)
    folder = RUNS / name
    url = storage or f"sqlite:///{folder / 'sweep.db'}"
    with search.answering(url):
        if worker is not None:
            with ThreadPoolExecutor(1) as thread:  # where a run leaves the signals alone
                thread.submit(search.work, search.open_study(name, url, plan), plan, not no_pruning, worker).result()
            return 0
        settings = search.settings(plan)
        folder.mkdir(parents=True, exist_ok=True)
        study = search.open_study(name, url, plan)
        search.require_same(study, settings)
        command = ["sweep", *overrides, "--config", config, "--trials", str(trials), "--name", name, "--storage", url]
        status = run_together(jobs, *command, *["--no-pruning"] * no_pruning)
        if status == 0:
            search.conclude(study, plan, folder / "best.yaml")
        return status


def run_together(jobs: int, *command: str) -> int:
    """Run the command in processes until all have ended or one has failed; give its exit status."""
    with ExitStack() as stack:  # at its end their standard input is closed, and they are waited for
        processes = []
        for number in range(jobs):
            words = [sys.executable, "-m", "trainer", *command, "--worker", str(number)]
            # In a session of its own, so that Ctrl-C in a terminal reaches this process alone.
            process = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
            processes.append(stack.enter_context(process))
        while None in (codes := [process.poll() for process in processes]) and not any(codes):
            time.sleep(0.02)
    status = next(filter(None, codes), 0)
    if status < 0:  # it was killed
        end()
    return status


def begin(worker: int) -> None:
    """In a process: take one core, and end when standard input does, of which the command holds the other end."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[(os.getppid() + worker) % len(cores)]})  # two commands begin with different ones
    threading.Thread(target=follow, daemon=True).start()


def follow() -> None:
    """End with the command."""
    os.read(0, 1)
    os._exit(1)
