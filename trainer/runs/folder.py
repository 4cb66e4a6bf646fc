"""Run folders, runs/NAME/YYYYMMDD-HHMMSS: making one, holding it for one process, and finding the one that is meant."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import UserError, say
from trainer.files import absolute, naming
from trainer.runs.checkpoint import Checkpoint, load

try:
    import fcntl
except ImportError:  # Windows: runs work, two writers are not kept apart
    fcntl = None  # type: ignore[assignment]

RUNS = Path("runs")


def create(name: str) -> Path:
    """An empty folder runs/NAME/YYYYMMDD-HHMMSS that no other run has. Raises UserError."""
    parent, began = RUNS / check_name(name), time.time()
    with naming(parent):
        os.makedirs(parent, exist_ok=True)
        while True:
            folder = parent / time.strftime("%Y%m%d-%H%M%S", time.localtime(began))
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                began += 1  # a sweep begins several runs within a second


def check_name(name: str) -> str:
    """The name, if it is one plain folder name under runs/. Raises UserError."""
    if not (re.fullmatch(r"[^./\\][^/\\]{0,99}", name) and name.isprintable()):
        raise UserError(f"--name {name!a} is no folder name, under {RUNS.absolute()}; use letters, digits, - and _")
    return name


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock the folder of a run itself, whatever becomes of its files. Raises UserError if another process has it."""
    if fcntl is None:
        yield
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(number)
        raise UserError(f"another process is writing this run, {folder.absolute()}; wait for it or stop it") from None
    try:
        yield
    finally:
        os.close(number)


def all_runs(start: Path, file: str) -> list[Path]:
    """The run folders in a folder, itself or below it, that hold such a file. Raises UserError if none does."""
    found = sorted(each.parent for each in start.rglob(file))
    if not found:
        what = f"no run with a {file} in this folder" if start.exists() else "no such run"
        raise UserError(f"{what}, {absolute(start)}; train first, or give the path of a run or of a checkpoint")
    return found


def find(run: str | Path | None, file: str = "checkpoint.npz") -> Path:
    """The file that is meant: RUN itself, or such a file of a run, of several in a folder the newest."""
    start = Path(run or RUNS).expanduser()
    if os.path.isfile(start):
        return start
    return max((each / file for each in all_runs(start, file)), key=lambda path: (path.stat().st_mtime, path))


def open_run(run: Checkpoint | str | Path | None, last: bool = False) -> Checkpoint:
    """The best checkpoint of the run that is meant, or with `last` its newest. Raises UserError."""
    if isinstance(run, Checkpoint):
        return run
    path = find(run, "checkpoint.npz" if last and run else "best.npz")  # without RUN the same, `last` or not
    return load(path.with_name("checkpoint.npz") if last else path)


def say_which(run: str | None, checkpoint: Checkpoint) -> None:
    """Tell on standard error which checkpoint is used, where RUN is not the run itself."""
    path = checkpoint.path
    if run is None or Path(run).expanduser() not in (path, path.parent):
        say(f"{path}, step {checkpoint.step:,}")
