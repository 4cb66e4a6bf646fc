"""Opening the model that a command is about, and saying which it is where it had to be found."""

import sys
from pathlib import Path

import numpy as np

from trainer.errors import UserError, printable
from trainer.runs.checkpoint import Checkpoint, load
from trainer.runs.folder import find_checkpoint, has_failed, is_named


def open_run(run: str | None, last: bool = False) -> tuple[Checkpoint, Path]:
    """The checkpoint that is meant and its file; the run's newest state with `last`, else its best.

    Raises UserError if there is none, or its parameters are not finite.
    """
    path = find_checkpoint(run, last)
    checkpoint = load(path)
    if not np.isfinite(checkpoint.parameters.flat).all():
        raise UserError(f"the parameters are not finite, {path.absolute()}; give another run or checkpoint")
    return checkpoint, path


def tell(run: str | None, checkpoint: Checkpoint, path: Path) -> None:
    """Say on standard error which model was chosen, where RUN is not one run itself."""
    if not is_named(run):
        print(printable(describe(checkpoint, path)), file=sys.stderr)


def describe(checkpoint: Checkpoint, path: Path) -> str:
    """Which model this is, and what to think of it."""
    parts = [f"{path}, step {checkpoint.step:,}"]
    if checkpoint.best_loss is not None:
        best = "" if checkpoint.best_step == checkpoint.step else f" at best, at step {checkpoint.best_step:,}"
        parts.append(f"validation loss {checkpoint.best_loss:.4f}{best}")
    if has_failed(path.parent):
        parts.append("the run failed")
    if checkpoint.step == 0:
        parts.append("it has not been trained: what it makes up is noise")
    return ", ".join(parts)
