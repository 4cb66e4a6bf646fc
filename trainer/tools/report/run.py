"""A run as the report sees it: its files read, whether it goes on, how it ended, and what can be said of that."""

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer import files
from trainer.config import flatten
from trainer.core.ops import Array
from trainer.errors import UserError
from trainer.runs import metrics
from trainer.runs.checkpoint import Checkpoint, load
from trainer.runs.metrics import Row
from trainer.text.corpus import Corpus

DATE = len("2026-01-01 12:00:00 ")  # at the beginning of a line of train.log


@dataclass
class Run:
    """A run folder."""

    folder: Path
    rows: list[Row]
    last_words: str = ""  # the last line of train.log
    running: bool = False  # another process writes it
    checkpoint: Checkpoint | None = None  # the best one, or the newest; None if it cannot be read
    corpus: Corpus | None = None  # its text, for a page about this run alone
    problem: str = ""  # what could not be read, or is odd about its text

    @property
    def name(self) -> str:
        """The last two parts of its path, as in names/20260101-120000."""
        return "/".join(self.folder.absolute().parts[-2:])

    @property
    def backward(self) -> str:
        """The file of the learner's own backward pass: that of the checkpoint, or else of the newest start."""
        newest = [{}, *self.of("start")][-1].get("backward")
        return (self.checkpoint and self.checkpoint.backward) or newest or ""

    def of(self, event: str) -> list[Row]:
        """The rows of an event; `gradient`, as the name of a check, is one of its own."""
        return [row for row in self.rows if event in (row["event"], row.get("name"))]

    def column(self, event: str, key: str) -> Array:
        """Steps, and the numbers there: (2, rows), without rows that have no number."""
        points = [(row["step"], flatten(row).get(key)) for row in self.of(event)]
        numbers = [pair for pair in points if isinstance(pair[1], int | float)]
        return np.asarray(np.array(numbers, float).reshape(-1, 2).T)

    @property
    def best(self) -> Row:
        """The `end` row, or else the evaluation with the lowest validation loss; empty if there is none."""
        evaluated = [row for row in self.of("eval") if isinstance(row.get("val_loss"), float)]
        lowest = min(evaluated, key=lambda row: row["val_loss"], default={})
        return [lowest, *self.of("end")][-1]

    @property
    def steps_done(self) -> int:
        """As far as the log tells."""
        return max((row.get("step", 0) for row in self.rows), default=0)

    @property
    def log_V(self) -> float:
        """The loss where nothing is known, in nats; infinite where V is not known."""
        return math.log(self.checkpoint.sizes.V) if self.checkpoint else math.inf


def open_run(folder: Path) -> Run:
    """Read a run. Raises UserError if it has no log; a checkpoint that cannot be read is a problem of the run."""
    last_line = files.text(folder / "train.log").strip().rpartition("\n")[2]
    run, best = Run(folder, metrics.read(folder), last_line[DATE:], running=True), folder / "best.npz"
    with suppress(UserError), files.held(folder):
        run.running = False
    try:
        run.checkpoint = load(best if best.exists() else folder / "checkpoint.npz")
    except UserError as error:
        run.problem = str(error)
    return run


def looked_at(row: Row) -> str:
    """What a check was of: 'dz', 'forward h', 'sum to zero'."""
    name, of = str(row.get("name")).replace("_", " "), row.get("of")
    return name if of is None else f"d{of}" if name == "gradient" else f"{name} {of}"


def severity(row: Row) -> float:
    """The error over its tolerance, above 1 if the check failed; at the extremes where the row has not both."""
    error, tolerance = row.get("error"), row.get("tolerance")
    if error is not None and tolerance:
        return float(error / tolerance)
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
    gradients = run.of("gradient")
    if not gradients:
        advice = "with --check each is held against a numerical one"
        return "unknown", "-", f"The nine gradients of this run were not checked; {advice}."
    steps = len({row["step"] for row in gradients})
    agree = f"All nine gradients agree with numerical ones at every checked step, of which the log keeps {steps:,}"
    return "good", "✓ right", f"{agree}; the largest error is {max(map(severity, gradients)):.2g} of its tolerance."


def progress(run: Run) -> str:
    """How far the run is, and where its validation loss was lowest."""
    state = "goes on" if run.running else "has ended" if run.of("end") else "stopped before its end"
    said, best = f"The run {state}; its log goes to step {run.steps_done:,}", run.checkpoint
    said += f" of {best.config.train.steps:,}." if best else "."
    if run.last_words.startswith("ended: interrupted"):
        said += f" Its log ends with: {run.last_words}"
    if best and best.best_loss is not None:
        said += f" Validation was lowest at step {best.best_step:,}, {best.best_loss:.4f} nats."
    return said
