"""A run as the report sees it: its files read, whether it goes on, how it ended, and what can be said of that."""

import math
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from trainer import config, files
from trainer.config import Config
from trainer.core.ops import Array
from trainer.errors import UserError
from trainer.runs import metrics
from trainer.runs.checkpoint import Checkpoint, load
from trainer.runs.metrics import Row

DATE = len("2026-01-01 12:00:00 ")  # at the beginning of a line of train.log


@dataclass
class Run:
    """A run folder."""

    folder: Path
    rows: list[Row]
    last_words: str = ""  # the last line of train.log
    running: bool = False
    checkpoint: Checkpoint | None = None  # the best one, or the newest; None if it cannot be read
    config: Config | None = None
    problems: list[str] = field(default_factory=list)  # what could not be read, a sentence each

    @property
    def name(self) -> str:
        """The last two parts of its path, as in names/20260101-120000."""
        return "/".join(self.folder.absolute().parts[-2:])

    @property
    def backward(self) -> str:
        """The file of the learner's own backward pass, if it was trained with one."""
        return next((row["backward"] for row in self.of("start") if row.get("backward")), "")

    def of(self, event: str) -> list[Row]:
        return [row for row in self.rows if row["event"] == event]

    def column(self, event: str, key: str) -> Array:
        """Steps, and the numbers there: (2, rows), without rows that have no number."""
        points = np.stack([metrics.numbers(self.of(event), name) for name in ("step", key)])
        return points[:, np.isfinite(points[1])]

    @property
    def gradients(self) -> list[Row]:
        """The rows of the gradient check."""
        return [row for row in self.of("check") if row.get("name") == "gradient"]

    @property
    def best(self) -> Row:
        """The `end` row, or else the evaluation with the lowest validation loss; empty if there is none."""
        evaluated = [row for row in self.of("eval") if is_finite(row.get("val_loss"))]
        lowest = min(evaluated, key=lambda row: float(row["val_loss"]), default={})
        return [lowest, *self.of("end")][-1]

    @property
    def steps_done(self) -> int:
        """As far as the log tells."""
        return max((row.get("step", 0) for row in self.rows), default=0)


def open_run(folder: Path) -> Run:
    """Read a run. Raises UserError if it has no log; what else is missing is a problem that the page states."""
    lines = files.text(folder / "train.log").splitlines()
    run = Run(folder, metrics.read(folder), lines[-1][DATE:] if lines else "", is_running(folder))
    best = folder / "best.npz"
    try:
        run.checkpoint = load(best if best.exists() else folder / "checkpoint.npz")
        run.config = run.checkpoint.config
    except UserError as error:
        run.problems.append(str(error))
        with suppress(UserError):
            run.config = config.read(folder / "config.yaml")
    return run


def is_running(folder: Path) -> bool:
    """Whether another process writes the run."""
    try:
        with files.held(folder):
            return False
    except UserError:
        return True


def is_finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def looked_at(row: Row) -> str:
    """What a check was of: 'dz', 'forward h', 'sum to zero'."""
    name, of = str(row.get("name")).replace("_", " "), row.get("of")
    return name if of is None else f"d{of}" if name == "gradient" else f"{name} {of}"


def severity(row: Row) -> float:
    """The error over its tolerance, above 1 if the check failed; at the extremes where the row has not both."""
    error, tolerance = row.get("error"), row.get("tolerance")
    if is_finite(error) and is_finite(tolerance) and tolerance:
        return error / tolerance
    return 0.0 if row.get("passed") else math.inf


def verdict(run: Run) -> tuple[str, str, str]:
    """good, bad or unknown; a word for a table; and what can be said of the run in one sentence."""
    failed = [row for row in run.of("check") if not row.get("passed") and row.get("name") != "initial_loss"]
    if failed:
        words = failed[0].get("words") or f"{looked_at(failed[0])} is out of tolerance"
        return "bad", "✗ wrong", f"A check failed at step {failed[0]['step']:,}: {words}"
    ended, _, words = run.last_words.partition("ended: ")
    if words and not ended and not words.startswith("interrupted"):
        return "bad", "✗ diverged" if "diverged" in words else "✗ failed", f"The run failed: {words}"
    if not run.gradients:
        advice = "with --check each is held against a numerical one"
        return "unknown", "-", f"The nine gradients of this run were not checked; {advice}."
    steps = len({row["step"] for row in run.gradients})
    agree = f"All nine gradients agree with numerical ones at every checked step, of which the log keeps {steps:,}"
    return "good", "✓ right", f"{agree}; the largest error is {max(map(severity, run.gradients)):.2g} of its tolerance."


def progress(run: Run) -> str:
    """How far the run is, and where its validation loss was lowest."""
    state = "goes on" if run.running else "has ended" if run.of("end") else "stopped before its end"
    said = f"The run {state}; its log goes to step {run.steps_done:,}"
    said += f" of {run.config.train.steps:,}." if run.config else "."
    if state.startswith("stopped") and verdict(run)[0] != "bad":
        said += f" Its log ends with: {run.last_words}"
    best = run.checkpoint
    if best and best.best_loss is not None:
        said += f" Validation was lowest at step {best.best_step:,}, {best.best_loss:.4f} nats."
    return said
