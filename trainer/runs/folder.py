"""Run folders, runs/NAME/YYYYMMDD-HHMMSS: making one, and finding the one that is meant."""

import os
import re
import time
from pathlib import Path

import numpy as np

from trainer.errors import UserError, say
from trainer.files import absolute, naming
from trainer.runs.checkpoint import Checkpoint, load

RUNS = Path("runs")


def create(name: str) -> Path:
    """An empty folder runs/NAME/YYYYMMDD-HHMMSS that no other run has. Raises UserError."""
    parent, began = RUNS / check_name(name), time.time()
    with naming(parent):
        while True:
            folder = parent / time.strftime("%Y%m%d-%H%M%S", time.localtime(began))
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                began += 1  # a sweep begins several runs within a second


def check_name(name: str) -> str:
    """The name, if it is one plain folder name under runs/. Raises UserError."""
    if not (re.fullmatch(r"[^./\\][^/\\]{0,99}", name) and name.isprintable()):
        raise UserError(f"--name {name!a} is no folder name, under {RUNS.absolute()}; use letters, digits, - and _")
    return name


def all_runs(start: Path, file: str = "checkpoint.npz") -> list[Path]:
    """The run folders in a folder, itself or below it, that hold such a file. Raises UserError if none does."""
    there = os.path.isdir(start)
    found = sorted(each.parent for each in start.rglob(file)) if there else []
    if not found:
        what = f"no run with a {file} in this folder" if there else "no such run"
        raise UserError(f"{what}, {absolute(start)}; train first, or give the path of a run")
    return found


def find(run: str | Path | None, file: str = "checkpoint.npz") -> Path:
    """The run folder that is meant: itself, or of those in a folder the one whose file is newest."""
    start = Path(run or RUNS).expanduser()
    if os.path.isfile(start):
        return start.parent
    return max(all_runs(start, file), key=lambda folder: ((folder / file).stat().st_mtime, folder))


def find_checkpoint(run: str | Path | None, last: bool = False) -> Path:
    """The checkpoint that is meant: a file itself, else the run's best one, or with `last` its newest."""
    start = Path(run or RUNS).expanduser()
    if os.path.isfile(start):
        return start
    return find(run, "best.npz") / ("checkpoint.npz" if last else "best.npz")


def open_run(run: str | Path | None, last: bool = False) -> tuple[Checkpoint, Path]:
    """The checkpoint that is meant and its file, told on standard error where RUN is not one run itself.

    Raises UserError if there is none, or its parameters are not finite.
    """
    path = find_checkpoint(run, last)
    checkpoint = load(path)
    if not np.isfinite(checkpoint.parameters.flat).all():
        raise UserError(f"the parameters are not finite, {absolute(path)}; give another run or checkpoint")
    if run is None or Path(run).expanduser() not in (path, path.parent):
        best = ""
        if checkpoint.best_loss is not None:
            best = f", best validation loss {checkpoint.best_loss:.4f} at step {checkpoint.best_step:,}"
        say(f"{path}, step {checkpoint.step:,}{best}")
    return checkpoint, path


def checkpoint_of(given: Checkpoint | str | Path) -> Checkpoint:
    """A checkpoint, or that of a run or of a file."""
    return given if isinstance(given, Checkpoint) else open_run(given)[0]
