"""What has to fit before a run goes on: its format, the settings that may change, its backward pass, and its text."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer import config as configuration
from trainer import files
from trainer.errors import UserError, quoted, say
from trainer.runs.checkpoint import FORMAT, Checkpoint, load
from trainer.runs.journal import as_yaml
from trainer.runs.starting import OwnBackward
from trainer.text import corpus as text
from trainer.text.corpus import Corpus
from trainer.text.reading import places

Overrides = Sequence[str] | Mapping[str, Any]
ANOTHER = "start another run from it with --config and --from"


def reopen(folder: Path, overrides: Overrides, own: OwnBackward | None) -> Checkpoint:
    """The newest state of the run, with what may change: its number of steps and the place of its text.

    Raises UserError for a run of an earlier format, another override, or another backward pass.
    """
    checkpoint = load(folder / "checkpoint.npz")
    if checkpoint.format < FORMAT:
        what = f"a run of an earlier version (format {checkpoint.format}) cannot go on"
        raise UserError(f"{what}, {folder}; {ANOTHER}, or use it as it is")
    edited = files.text(folder / "config.yaml")
    if edited and edited != as_yaml(checkpoint.config):
        say(f"warning: {folder / 'config.yaml'} was changed; it is not read on resuming. To use it, {ANOTHER}")
    apply_overrides(checkpoint, overrides, folder)
    if bool(checkpoint.backward) != bool(own):
        advice = f"give --backward {quoted(checkpoint.backward)}" if checkpoint.backward else "leave --backward out"
        raise UserError(f"this run was trained with another backward pass, {folder}; {advice}")
    return checkpoint


def apply_overrides(checkpoint: Checkpoint, overrides: Overrides, folder: Path) -> None:
    """Apply train.steps=N, where the schedule allows it, and data.path=FILE, where a text was moved to."""
    for override in overrides:
        if override.partition("=")[0].strip() not in ("train.steps", "data.path"):
            raise UserError(f"{override!a} cannot change on resuming, {folder}; {ANOTHER}")
    before, changed = checkpoint.config, configuration.read(checkpoint.config, overrides)
    if changed.train.steps < checkpoint.step:
        what = f"train.steps={changed.train.steps} is below the {checkpoint.step} steps done"
        raise UserError(f"{what}, {folder}; give more")
    if changed.train != before.train and before.train.schedule != "constant":
        why = f"the {before.train.schedule} schedule depends on it"
        raise UserError(f"train.steps cannot change: {why}, {folder}; {ANOTHER}, which has a schedule of its own")
    if changed.data != before.data:
        checkpoint.places = places(changed.data)
    checkpoint.config = changed


def same_text(checkpoint: Checkpoint) -> Corpus:
    """The text of a run: its files from the working directory, or else where they were when the run began.

    Raises UserError if it is gone, or another one.
    """
    given = places(checkpoint.config.data)  # from the working directory
    if "-" in given:
        raise UserError("the text came from standard input, which is read only once; give data.path=FILE")
    found = given if all(map(os.path.exists, given)) else checkpoint.places or given
    where = ", ".join(found)
    if not all(map(os.path.exists, found)):
        raise UserError(f"cannot read the text, {where}: it is not there; give data.path=FILE")
    corpus = text.load(replace(checkpoint.config.data, path=tuple(found)), checkpoint.sizes.K)
    # An earlier format has another fingerprint.
    same = corpus.fingerprint == checkpoint.fingerprint or checkpoint.format < FORMAT
    if not same or corpus.vocabulary != checkpoint.vocabulary:
        what = "the text has changed since the run began, or is another one"
        raise UserError(f"{what}, {where}; restore that one, say where it is with data.path=FILE, or {ANOTHER}")
    return corpus
