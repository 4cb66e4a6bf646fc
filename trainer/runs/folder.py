"""Run folders, runs/NAME/YYYYMMDD-HHMMSS: making one, and finding the one that is meant."""

import math
import os
import time
from pathlib import Path
from stat import S_ISDIR

from trainer import regular
from trainer.errors import UserError
from trainer.runs.files import naming

RUNS = Path("runs")
FAILED = ("training diverged at step", "a check failed at step", "a check failed during the run")  # so says its log


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
    """The run folder that is meant: itself, or the newest in a folder of runs, by the time of its last state."""
    return newest(candidates(run))


def find_trained(run: str | None) -> Path:
    """The same, but of several runs the newest that has trained and neither failed nor diverged, if there is one."""
    folders = candidates(run)
    return newest([folder for folder in folders if has_trained(folder) and not has_failed(folder)] or folders)


def candidates(run: str | None) -> list[Path]:
    """The run that is named, or all those in the folder. Raises UserError if there is none."""
    start = RUNS if run is None else Path(run)
    try:
        is_folder = S_ISDIR(regular.mode(start))
    except (FileNotFoundError, NotADirectoryError):
        what = "no run yet" if run is None else "no such run"
        raise UserError(f"{what}, {start.absolute()}; train first, or give the path of a run") from None
    except OSError as error:
        raise closed(start, error) from None
    if run is None and not is_folder:
        raise UserError(f"{start.absolute()} is no folder; runs are kept in a folder of that name, move the file away")
    if not is_folder:
        return [start.parent]
    if os.path.exists(start / "checkpoint.npz"):
        return [start]
    found = holding("checkpoint.npz", start)
    if not found:
        raise UserError(f"no run in this folder, {start.absolute()}; train first, or give the path of a run")
    return found


def holding(file: str, start: Path) -> list[Path]:
    """The folders below one that hold such a file. Raises UserError if none does, of those that can be looked into."""
    errors: list[OSError] = []
    found = [Path(base) for base, _, files in os.walk(start, onerror=errors.append) if file in files]
    denied = [error for error in errors if not isinstance(error, (FileNotFoundError, NotADirectoryError))]
    if denied and not found:
        raise closed(Path(denied[0].filename), denied[0])
    return sorted(found)


def closed(place: Path, error: OSError) -> UserError:
    what = f"cannot look for runs ({error.strerror})"
    return UserError(f"{what}, {place.absolute()}; give the path of one, or permission")


def newest(folders: list[Path]) -> Path:
    """By time, whatever they are called."""
    return (
        folders[0]
        if len(folders) == 1
        else max(folders, key=lambda folder: (time_of(folder / "checkpoint.npz"), folder.name))
    )


def time_of(file: Path) -> float:
    """When a file was written; one that is gone, or must not be looked at, is older than all others."""
    try:
        return os.path.getmtime(file)
    except OSError:
        return -math.inf


def has_trained(folder: Path) -> bool:
    """Whether a run came as far as an evaluation."""
    return os.path.exists(folder / "best.npz")


def has_failed(folder: Path) -> bool:
    """Whether the last line of a run's log says that it failed."""
    lines = regular.text(folder / "train.log").splitlines()
    return bool(lines) and any(words in lines[-1] for words in FAILED)


def find_checkpoint(run: str | None, last: bool = False) -> Path:
    """The checkpoint that is meant: a file itself, else the run's best one, or with `last` its newest."""
    if run is not None and os.path.isfile(run):
        return Path(run)
    folder = find_trained(run)
    best = folder / "best.npz"
    return best if os.path.exists(best) and not last else folder / "checkpoint.npz"


def is_named(run: str | None) -> bool:
    """Whether RUN is one run, and not a folder in which one has to be found."""
    return run is not None and (os.path.isfile(run) or os.path.exists(Path(run) / "checkpoint.npz"))
