"""A run as the report sees it: its files read, whether it goes on, how it ended, and what can be said of that."""

import math
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from trainer import config, files
from trainer.config import flatten
from trainer.core.ops import Array
from trainer.errors import UserError
from trainer.runs.checkpoint import Checkpoint, load
from trainer.runs.folder import held
from trainer.runs.metrics import Row, read
from trainer.text.corpus import Corpus


@dataclass
class Run:
    """A run folder."""

    folder: Path
    rows: list[Row]  # of the log, flat: {"update_ratio.C": 1e-3}
    ended: str = ""  # why, before its last step
    running: bool = False  # another process writes it
    checkpoint: Checkpoint | None = None  # the best one, or the newest; None if it cannot be read
    # The configuration, flat, its numbers to four digits, and what else can change a result: the text, by its
    # fingerprint, and the file of a backward pass of one's own. As far as they can be read.
    settings: dict[str, str] = field(default_factory=dict)
    corpus: Corpus | None = None  # its text, for a page about this run alone
    problem: str = ""  # what could not be read, or is odd about its text

    @property
    def name(self) -> str:
        """The last two parts of its path, as in names/20260101-120000."""
        return "/".join(self.folder.absolute().parts[-2:])

    @property
    def best(self) -> Row:
        """The `end` row, or else the evaluation with the lowest validation loss; empty if there is none."""
        evaluated = [row for row in self.of("eval") if row.get("val_loss")]
        lowest = min(evaluated, key=lambda row: row["val_loss"], default={})
        return [lowest, *self.of("end")][-1]

    @property
    def steps_done(self) -> int:
        """As far as the log tells."""
        return max((row.get("step", 0) for row in self.rows), default=0)

    def of(self, event: str) -> list[Row]:
        """The rows of an event; `gradient`, as the name of a check, is one of its own."""
        return [row for row in self.rows if event in (row["event"], row.get("name"))]

    def column(self, event: str, key: str) -> Array:
        """Steps, and the numbers there: (2, rows), without rows that have no number."""
        rows = [row for row in self.of(event) if isinstance(row.get(key), int | float)]
        return np.array([[row[name] for row in rows] for name in ("step", key)], np.float64)


def read_run(folder: Path) -> Run:
    """Read a run. Raises UserError if it has no log; a checkpoint that cannot be read is a problem of the run."""
    last_line = written(folder / "train.log").strip().rpartition("\n")[2]
    run = Run(folder, list(map(flatten, read(folder))), last_line.partition(" ended: ")[2], True)
    with suppress(UserError), held(folder):
        run.running = False
    with suppress(UserError):
        tree = config.read(folder / "config.yaml")
        run.settings = {key: f"{x:.4g}" if isinstance(x, float) else str(x) for key, x in flatten(asdict(tree)).items()}
    best = folder / "best.npz"
    try:
        run.checkpoint = load(best if best.exists() else folder / "checkpoint.npz")
        run.settings |= {"text": run.checkpoint.fingerprint[:8], "backward": run.checkpoint.backward or "-"}
    except UserError as error:
        run.problem = str(error)
    return run


def written(path: Path) -> str:
    """What stands in a file, as text, what is no UTF-8 replaced; nothing if it cannot be read."""
    try:
        return files.read(path, "", "").decode("utf-8", "replace")
    except UserError:
        return ""


def histogram(row: Row, name: str) -> tuple[Array, Array]:
    """Of h, dh or dz in an `eval` row: counts (n,), and the edges of their bins (n + 1,)."""
    counts, (low, high) = row[f"histograms.{name}.counts"], row[f"histograms.{name}.range"]
    return np.array(counts), np.linspace(low, high, len(counts) + 1)


def looked_at(row: Row) -> str:
    """What a check was of: 'dz', 'forward h', 'sum to zero'."""
    return " ".join(filter(None, (row.get("name"), row.get("of")))).replace("gradient ", "d").replace("_", " ")


def severity(row: Row) -> float:
    """The error over its tolerance, above 1 if the check failed; at the extremes where the row has not both."""
    error, tolerance = row.get("error"), row.get("tolerance")
    if error is not None and tolerance:
        return float(error / tolerance)
    return 0.0 if row.get("passed") else math.inf


def verdict(run: Run) -> tuple[str, str, str]:
    """good, bad or unknown; a word for a table; and what can be said of the run in one sentence."""
    for row in run.of("check"):
        if not row.get("passed") and row.get("name") != "initial_loss":
            words = row.get("words") or f"{looked_at(row)} is out of tolerance"
            return "bad", "✗ wrong", f"A check failed at step {row['step']:,}: {words}"
    if run.ended and not (run.of("end") or run.ended.startswith("interrupted")):
        return "bad", "✗ diverged" if "diverged" in run.ended else "✗ failed", f"The run failed: {run.ended}"
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
    said = f"The run {state}; its log goes to step {run.steps_done:,}"
    said += f" of {int(run.settings['train.steps']):,}." if "train.steps" in run.settings else "."
    if (best := run.checkpoint) and best.best_loss is not None:
        said += f" Validation was lowest at step {best.best_step:,}, {best.best_loss:.4f} nats."
    return said
