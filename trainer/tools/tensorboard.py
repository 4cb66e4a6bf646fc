"""Write runs for TensorBoard: a folder of event files for each, written anew each time."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from trainer import files
from trainer.config import flatten
from trainer.errors import UserError, printable, quoted
from trainer.tools.report.run import Run, looked_at, severity

EVENTS = "events.out.tfevents.*"
LOSSES = {"training": "train_loss", "validation": "val_loss"}


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
            writers = {name: stack.enter_context(SummaryWriter(str(place / name))) for name in ("", *LOSSES)}
            write(run, writers)
    print(f"written to {printable(str(folder))}; see it with: tensorboard --logdir {quoted(folder)}")


def write(run: Run, writers: dict[str, Any]) -> None:
    """Losses to the writers of their splits, all else to the run's own."""
    own, log = writers[""], run.folder / "metrics.jsonl"
    began = log.stat().st_mtime - max((row["time"] for row in run.rows), default=0.0)  # seconds since 1970
    for row in run.rows:
        at, scalars = {"global_step": row.get("step"), "walltime": began + row["time"]}, []
        match row["event"]:
            case "step":
                scalars = [(own, f"step/{key.replace('.', '/')}", value) for key, value in flatten(row).items()]
            case "check":
                scalars = [(own, f"error_over_tolerance/{looked_at(row).replace(' ', '_')}", severity(row))]
            case "eval":
                scalars = [(writers[name], "loss", row.get(key)) for name, key in LOSSES.items()]
                for name, stored in row.get("histograms", {}).items():
                    counts, (low, high) = stored["counts"], stored["range"]
                    edges = np.linspace(low, high, len(counts) + 1)
                    own.add_histogram(name, np.repeat(edges[:-1] / 2 + edges[1:] / 2, counts), bins=edges, **at)
        for writer, tag, value in scalars:
            if isinstance(value, int | float) and tag != "step/step":
                writer.add_scalar(tag, value, **at)
    config = files.text(run.folder / "config.yaml")
    own.add_text("config.yaml", "    " + config.replace("\n", "\n    "), run.steps_done, began)  # as it is, in Markdown
