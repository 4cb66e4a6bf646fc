"""Run folders, runs/NAME/YYYYMMDD-HHMMSS: making one, and finding the one that is meant."""

import os
import time
from pathlib import Path

from trainer.errors import UserError
from trainer.runs.files import naming

RUNS = Path("runs")


def create(name: str) -> Path:
    """An empty folder runs/NAME/YYYYMMDD-HHMMSS that no other run has."""
    with naming(RUNS / name):
        (RUNS / name).mkdir(parents=True, exist_ok=True)
        while True:
            folder = RUNS / name / time.strftime("%Y%m%d-%H%M%S")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                time.sleep(0.1)  # until the next second


def check_name(name: str) -> str:
    """The name, if it is one plain folder name under runs/. Raises UserError."""
    plain = name.isprintable() and not set(name) & set("/\\") and not name.startswith(".")
    if not plain or not 0 < len(name) <= 100:
        raise UserError(f"--name {name!a} is no folder name, under {RUNS.absolute()}; use letters, digits, - and _")
    return name


def find(run: str | None) -> Path:
    """The run folder that is meant: itself, the newest in a folder of runs, the newest of all if left out."""
    start = RUNS if run is None else Path(run)
    if not os.path.exists(start):
        what = "no run yet" if run is None else "no such run"
        raise UserError(f"{what}, {str(start.absolute())!a}; train first, or give the path of a run")
    if start.is_file():
        return start.parent
    if (start / "checkpoint.npz").exists():
        return start
    found = [path.parent for path in start.rglob("checkpoint.npz")]
    if not found:
        raise UserError(f"no run in this folder, {start.absolute()}; train first, or give the path of a run")
    return max(found, key=lambda folder: (folder.name, (folder / "checkpoint.npz").stat().st_mtime_ns))


def find_checkpoint(run: str | None) -> Path:
    """The checkpoint that is meant: a file itself, else the run's best one, else its newest."""
    if run is not None and os.path.isfile(run):
        return Path(run)
    folder = find(run)
    best = folder / "best.npz"
    return best if best.exists() else folder / "checkpoint.npz"
