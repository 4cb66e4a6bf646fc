"""Write runs for TensorBoard: a folder of event files for each, written anew each time."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from trainer import files
from trainer.errors import UserError, printable, quoted
from trainer.runs.metrics import flatten
from trainer.tools.report.run import Run, is_finite, looked_at, severity

EVENTS = "events.out.tfevents.*"


def export(runs: Sequence[Run], folder: Path) -> None:
    """Write each run into a folder of its own below `folder`. Raises UserError without tensorboardX."""
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError:
        advice = "pip install 'handmade-char-lm[tensorboard]'"
        raise UserError(f"--tensorboard needs tensorboardX, on the command line; {advice}") from None
    for run in runs:
        place = folder / run.name
        with files.naming(place), ExitStack() as stack:
            for old in place.rglob(EVENTS):
                old.unlink()
            # One chart for both losses: TensorBoard lays curves of one name over each other if their folders differ.
            own, *of_split = (
                stack.enter_context(SummaryWriter(str(place / name))) for name in ("", "training", "validation")
            )
            write(run, own, of_split)
    print(f"written to {printable(str(folder))}; see it with: tensorboard --logdir {quoted(folder)}")


def write(run: Run, own: Any, of_split: Sequence[Any]) -> None:
    """Losses to the writers of their splits, everything else to the run's own; what is no number is left out."""
    begin = began(run.folder)
    for row in run.rows:
        step, event, when = row.get("step"), row["event"], begin + (row.get("time") or 0)
        scalars: dict[str, Any] = {}
        if event == "step":
            numbers = {key: value for key, value in row.items() if key not in ("event", "time", "step")}
            scalars = {f"step/{key.replace('.', '/')}": value for key, value in flatten(numbers).items()}
        elif event == "check":
            scalars = {f"error_over_tolerance/{looked_at(row).replace(' ', '_')}": severity(row)}
        elif event == "eval":
            for writer, key in zip(of_split, ("train_loss", "val_loss"), strict=True):
                if is_finite(row.get(key)):
                    writer.add_scalar("loss", row[key], step, when)
            add_histograms(own, row.get("histograms") or {}, step, when)
        for tag, value in scalars.items():
            if is_finite(value):
                own.add_scalar(tag, value, step, when)
    for name in ("config.yaml", "samples.txt"):
        kept = "\n".join("    " + line for line in files.text(run.folder / name).splitlines())  # as it is, in Markdown
        own.add_text(name, kept, run.steps_done, begin)


def add_histograms(writer: Any, histograms: dict[str, Any], step: int | None, when: float) -> None:
    """The sums that the log does not keep are those of the bins' middles."""
    for name, stored in histograms.items():
        counts, (low, high) = np.array(stored["counts"], float), stored["range"]
        edges = np.linspace(low, high, len(counts) + 1)
        middles = edges[:-1] / 2 + edges[1:] / 2
        total, squares = counts @ middles, counts @ middles**2
        limits = edges[1:].tolist()
        writer.add_histogram_raw(name, low, high, counts.sum(), total, squares, limits, counts.tolist(), step, when)


def began(folder: Path) -> float:
    """When a run began, in seconds since 1970, as the name of its folder tells; 0 if it does not."""
    try:
        return time.mktime(time.strptime(folder.absolute().name[:15], "%Y%m%d-%H%M%S"))
    except (ValueError, OverflowError):
        return 0.0
