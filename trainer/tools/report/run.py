"""A run as the report sees it: its files read, whether it goes on, how it ended, and what can be said of that."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from trainer import files
from trainer.config import Config
from trainer.core.links import ORDER
from trainer.core.ops import Array
from trainer.errors import UserError
from trainer.runs import metrics
from trainer.runs.checkpoint import Checkpoint, load
from trainer.runs.metrics import Row

DATE = len("2026-01-01 12:00:00 ")  # at the beginning of a line of train.log
DIVERGED = "training diverged"  # so says its last line


@dataclass
class Run:
    """A run folder."""

    folder: Path
    rows: list[Row]
    checkpoint: Checkpoint | None  # the best one, or the newest; None if it cannot be read
    last_words: str  # the last line of train.log
    running: bool
    problems: list[str] = field(default_factory=list)  # what could not be read, a sentence each

    @property
    def name(self) -> str:
        """The last two parts of its path, as in names/20260101-120000."""
        return "/".join(self.folder.absolute().parts[-2:])

    @property
    def config(self) -> Config | None:
        return self.checkpoint.config if self.checkpoint else None

    def of(self, event: str) -> list[Row]:
        return [row for row in self.rows if row["event"] == event]

    def numbers(self, event: str, key: str) -> Array:
        """A column of an event (rows,), nan where there is no number."""
        return metrics.numbers(self.of(event), key)

    @property
    def gradients(self) -> list[Row]:
        """The rows of the gradient check."""
        return [row for row in self.of("check") if row.get("name") == "gradient"]

    @property
    def best(self) -> Row:
        """The `end` row, or else the evaluation with the lowest validation loss; empty if there is none."""
        losses = self.numbers("eval", "val_loss")
        evaluation = self.of("eval")[np.nanargmin(losses)] if np.isfinite(losses).any() else {}
        return (self.of("end") or [evaluation])[-1]

    @property
    def steps_done(self) -> int:
        """As far as the log tells."""
        steps = [row["step"] + (row["event"] == "step") for row in self.rows if row["event"] in ("step", "eval", "end")]
        return max(steps, default=0)


def open_run(folder: Path) -> Run:
    """Read a run. Raises UserError if it has no log; what else is missing is a problem that the page states."""
    rows = [row for row in metrics.read(folder) if row["event"] == "start" or isinstance(row.get("step"), int)]
    lines = files.text(folder / "train.log").splitlines()
    run = Run(folder, rows, None, lines[-1][DATE:] if lines else "", is_running(folder))
    best = folder / "best.npz"
    try:
        run.checkpoint = load(best if best.exists() else folder / "checkpoint.npz")
    except UserError as error:
        run.problems.append(str(error))
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
    """The error over its tolerance: at most 1 if the check passed, and more if it failed, whatever the row lacks."""
    error, tolerance = metrics.numbers([row], "error")[0], metrics.numbers([row], "tolerance")[0]
    ratio = float(error / tolerance) if tolerance else math.inf
    if row.get("passed"):
        return min(ratio, 1.0) if error > 0 else 0.0
    return ratio if ratio > 1 else math.inf


def verdict(run: Run) -> tuple[str, str]:
    """good, bad or unknown, and what can be said of the run in one sentence."""
    failed = [row for row in run.of("check") if not row.get("passed") and row.get("name") != "initial_loss"]
    if failed:
        step = min(row["step"] for row in failed)
        first = [row for row in failed if row["step"] == step]
        said = [str(row["words"]) for row in first if row.get("words")]
        words = said[0] if said else f"{', '.join(map(looked_at, first))} out of tolerance"
        return "bad", f"A check failed at step {step:,}: {words}"
    if DIVERGED in run.last_words:
        return "bad", f"It diverged; its log ends with: {run.last_words}"
    if not run.gradients:
        nine = ", ".join(f"d{name}" for name in ORDER)
        advice = "with --check each is held against a numerical one"
        return "unknown", f"The nine gradients of this run ({nine}) were not checked; {advice}."
    written = len({row["step"] for row in run.gradients})
    counted = run.best.get("checks", {}).get("gradient", {"run": 0})["run"] // len(ORDER)
    steps = max(written, counted)  # not all are written, and none is counted before the end
    agree = f"All nine gradients agree with numerical ones, at {steps:,} of {steps:,} checked steps"
    return "good", f"{agree}; the largest error is {max(map(severity, run.gradients)):.2g} of its tolerance."


def progress(run: Run) -> str:
    """How far the run is, and what the validation loss says about it."""
    steps = f"{run.steps_done:,}" + (f" of {run.config.train.steps:,}" if run.config else "")
    where = f"The run made {steps} steps."
    if run.running:
        where = f"The run goes on, at step {steps}."
    elif not run.of("end"):
        where = f"The run has no end: it stopped after {steps} steps. Its log ends with: {run.last_words}"
    losses = run.numbers("eval", "val_loss")
    at, known = run.numbers("eval", "step")[np.isfinite(losses)], losses[np.isfinite(losses)]
    if len(known) < 2:
        return where
    lowest, last = known.min(), known[-1]
    rises = f", and has risen to {last:.4f} since: it learns its text by heart" if last > lowest + 0.01 else ""
    return f"{where} Validation is lowest at step {int(at[known.argmin()]):,}, {lowest:.4f} nats{rises}."
