"""What has to fit before a run goes on: the settings that may change, and the text."""

from collections.abc import Sequence
from pathlib import Path

from trainer import config as configuration
from trainer.errors import UserError
from trainer.runs.checkpoint import Checkpoint
from trainer.text import Corpus


def apply_overrides(checkpoint: Checkpoint, overrides: Sequence[str], folder: Path) -> None:
    """Apply train.steps=N, the one override that resuming allows, where the schedule allows it. Raises UserError."""
    for override in overrides:
        key = override.partition("=")[0]
        if key != "train.steps":
            raise UserError(f"{override!a} cannot change on resuming, {folder}; only train.steps=N can")
    longer = configuration.read(configuration.to_dict(checkpoint.config), overrides)
    if longer.train.steps < checkpoint.step:
        what = f"train.steps={longer.train.steps} is below the {checkpoint.step} steps done"
        raise UserError(f"{what}, {folder}; give more")
    if longer != checkpoint.config and longer.train.schedule != "constant":
        why = f"the {longer.train.schedule} schedule depends on it, {folder}"
        raise UserError(f"train.steps cannot change: {why}; a run with train.schedule=constant can be lengthened")
    checkpoint.config = longer


def check_text(checkpoint: Checkpoint, corpus: Corpus) -> None:
    """Raise UserError if the text is not the one that the run began with."""
    if corpus.fingerprint != checkpoint.fingerprint:
        path = checkpoint.config.data.path
        where = ", ".join(str(Path(each).absolute()) for each in ([path] if isinstance(path, str) else path))
        raise UserError(f"the text has changed since the run began, {where}; restore it")
