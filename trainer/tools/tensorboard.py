"""Write runs for TensorBoard: a folder of event files for each, written anew each time."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np

from trainer import files
from trainer.errors import UserError, printable, quoted
from trainer.tools.report.run import Run, histogram, looked_at, severity, written


def export(runs: Sequence[Run], folder: Path) -> None:
    """Write each run into a folder of its own below `folder`. Raises UserError without tensorboardX."""
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError:
        advice = "pip install 'handmade-char-lm[tensorboard]'"
        raise UserError(f"--tensorboard needs tensorboardX, on the command line; {advice}") from None
    for run in runs:
        place = folder / run.name
        with files.naming(place):
            for old in place.rglob("events.out.tfevents.*"):
                old.unlink()
            with SummaryWriter(str(place)) as writer:
                write(run, writer)
    print(f"written to {printable(str(folder))}; see it with: tensorboard --logdir {quoted(folder)}")


def write(run: Run, writer: Any) -> None:
    """The numbers of every row at their step, and the configuration."""
    for row in run.rows:
        at, scalars = row.get("step"), dict[str, Any]()
        match row["event"]:
            case "step":
                scalars = {f"step/{key.replace('.', '/')}": value for key, value in row.items() if key != "step"}
            case "check":
                scalars = {f"error_over_tolerance/{looked_at(row).replace(' ', '_')}": severity(row)}
            case "eval":
                losses = {split: loss for split in ("train", "val") if (loss := row[f"{split}_loss"])}
                writer.add_scalars("loss", losses, at)  # in one chart
                for name in ("h", "dh", "dz"):
                    counts, edges = histogram(row, name)
                    writer.add_histogram(name, np.repeat((edges[:-1] + edges[1:]) / 2, counts), at, edges)
        for tag, value in scalars.items():
            if isinstance(value, int | float):
                writer.add_scalar(tag, value, at)
    # As it is, in Markdown.
    writer.add_text("config.yaml", indent(written(run.folder / "config.yaml"), "    "), run.steps_done)
