"""What has to fit before a run goes on: the settings that may change, and the text."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainer import config as configuration
from trainer.config import Data, Train
from trainer.errors import UserError, printable, quoted
from trainer.runs.checkpoint import Checkpoint, load
from trainer.runs.starting import OwnBackward, record
from trainer.text import corpus as text
from trainer.text.corpus import Corpus
from trainer.text.reading import places


def apply_overrides(checkpoint: Checkpoint, overrides: Sequence[str], folder: Path) -> None:
    """Apply train.steps=N, where the schedule allows it, and data.path=FILE, where a text was moved to.

    Raises UserError for any other key, for fewer steps than are done, and for a schedule that depends on the steps.
    """
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key not in ("train.steps", "data.path"):
            raise UserError(f"{override!a} cannot change on resuming, {folder}; {start_another(folder, override)}")
    changed = configuration.read(configuration.to_dict(checkpoint.config), overrides)
    if changed.train.steps < checkpoint.step:
        what = f"train.steps={changed.train.steps} is below the {checkpoint.step} steps done"
        raise UserError(f"{what}, {folder}; give more")
    if changed.train != checkpoint.config.train and changed.train.schedule != "constant":
        why = f"the {changed.train.schedule} schedule depends on it, {folder}"
        more = changed.train.steps - checkpoint.step
        another = start_another(folder, f"train.steps={max(1, more)}")
        raise UserError(f"train.steps cannot change: {why}; {another}, which has a schedule of its own")
    if changed.data != checkpoint.config.data:
        checkpoint.places = places(changed.data)
    checkpoint.config = changed


def start_another(folder: Path, *overrides: str) -> str:
    """How to go on with what cannot go on as it is: a command that can be pasted."""
    file, run, name = quoted(folder / "config.yaml"), quoted(folder), quoted(folder.absolute().parent.name)
    command = ["python -m trainer --config", file, "--name", name, "--from", run, *map(quoted, overrides)]
    return f"start another run from it: {' '.join(command)}"


def same_backward(checkpoint: Checkpoint, own: OwnBackward | None, folder: Path) -> None:
    """A run that was trained with a backward pass of its own goes on with it. Raises UserError."""
    before = checkpoint.backward
    if before is None and own is not None:
        raise UserError(f"this run was trained with the model's own backward pass, {folder}; leave --backward out")
    if before is not None and own is None:
        path = quoted(before["path"])
        raise UserError(f"this run was trained with a backward pass of its own, {folder}; give --backward {path}")
    if before is not None and own is not None and before["sha256"] != own.digest:
        what = "has changed since this run began"
        if own.path != before["path"]:
            what = f"is another backward pass than that of {before['path']}, with which this run began"
        print(printable(f"warning: {own.path} {what}"), file=sys.stderr)
    record(checkpoint, own)


def is_whole(best: Path) -> bool:
    """Whether the best checkpoint is there and can be read; a damaged one is told of."""
    if not best.exists():
        return False
    try:
        load(best)
    except UserError as error:
        print(printable(f"warning: {error}. The next evaluation writes it anew"), file=sys.stderr)
        return False
    return True


def same_text(checkpoint: Checkpoint, folder: Path) -> Corpus:
    """The text of the run in this folder. Raises UserError if it is gone, another one, or read in another way."""
    data = find_text(checkpoint)
    corpus = text.load(data, checkpoint.sizes.K)
    check_text(checkpoint, corpus, places(data), folder)
    return corpus


def find_text(checkpoint: Checkpoint) -> Data:
    """The text of a run: its files from the working directory, or else where they were when the run began."""
    data = checkpoint.config.data
    given = [data.path] if isinstance(data.path, str) else data.path
    if "-" in given:
        raise UserError("the text came from standard input, which is read only once; give data.path=FILE")
    found = given if all(map(os.path.exists, given)) else checkpoint.places or given
    missing = [path for path in found if not os.path.exists(path)]
    if missing:
        raise UserError(f"cannot read the text, {os.path.abspath(missing[0])}: it is not there; give data.path=FILE")
    return replace(data, path=found[0] if len(found) == 1 else tuple(found))


def check_text(checkpoint: Checkpoint, corpus: Corpus, files: Sequence[str], folder: Path) -> None:
    """Raise UserError if the text of these files is not that of the run, or was read in another way."""
    where = ", ".join(files)
    if corpus.fingerprint != checkpoint.fingerprint:
        another = start_another(folder, *(f"data.path={file}" for file in files))
        advice = f"restore that one, say where it is with data.path=FILE, or, to go on with this one, {another}"
        raise UserError(f"the text has changed since the run began, or is another one, {where}; {advice}")
    if checkpoint.format == 1 and corpus.reads_differently:
        why = "version 1 neither stripped lines nor kept equal ones in one split"
        raise UserError(f"the text is read differently since this run began ({why}), {where}; {start_another(folder)}")


def warn_if_edited(checkpoint: Checkpoint, folder: Path) -> None:
    """Say so if config.yaml in the folder of a run is no longer what was written there: it is not read."""
    file = folder / "config.yaml"
    try:
        same = not file.exists() or configuration.read(file) == checkpoint.config
    except UserError:
        same = False
    if not same:
        what = f"{file} was changed; it is not read on resuming and is written anew"
        print(printable(f"warning: {what}. To use it, {start_another(folder)}"), file=sys.stderr)


def calmer(train: Train) -> str:
    """What may help a training that diverged."""
    if train.learning_rate * train.weight_decay > 1:
        most = 1 / train.learning_rate
        return (
            f"train.weight_decay far below {most:g}: the parameters are multiplied by 1 - learning_rate * weight_decay"
        )
    return f"train.learning_rate={train.learning_rate / 10:g}, or train.warmup_steps"
