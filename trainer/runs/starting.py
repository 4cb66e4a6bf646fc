"""Where a run starts or goes on: its first state or its newest, its text, and a backward pass of the user's own."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np

from trainer import config as configuration
from trainer import files
from trainer.core import loop, model, optim
from trainer.errors import UserError, quoted
from trainer.runs import threads
from trainer.runs.checkpoint import FORMAT, Checkpoint, load, sizes_of
from trainer.runs.folder import find
from trainer.text import corpus as text
from trainer.text.batches import WEIGHTS
from trainer.text.reading import places

MOVED = "--resume RUN data.path=FILE says where it is"
ANOTHER = "start another run from it with --config and --from"


@dataclass(frozen=True)
class OwnBackward:
    """A backward pass of the user's own, in place of the model's."""

    path: str  # of its file
    lines: Mapping[str, str]  # for each link, where it is written
    gradients: loop.Gradients
    complaint: Callable[[], str]  # what `practice` says of its first mistake; nothing for none


def own_backward(path: str | Path | None) -> OwnBackward | None:
    """The learner's file. It is read by a tool, which stands above this package and is imported only when asked for."""
    if path is None:
        return None
    found: OwnBackward = import_module("trainer.tools.practice.backward").own_backward(str(path))
    return found


# A run that begins


def begin(
    config: configuration.Config, corpus: text.Corpus, source: str | Path | None = None, own: OwnBackward | None = None
) -> Checkpoint:
    """The state before the first step, initial or with the parameters of another run. Raises UserError."""
    if own:
        for key in ("dropout", "embedding_dropout", "context_dropout"):
            if rate := getattr(config.train, key):
                raise UserError(f"train.{key}={rate:g} does not go with --backward, {own.path}; set it to 0")
    sizes = sizes_of(config, corpus.vocabulary)
    p = model.initial(sizes, config.model.dtype, np.random.default_rng([config.seed, WEIGHTS]))
    checkpoint = Checkpoint(
        config=config,
        vocabulary=corpus.vocabulary,
        parameters=p,
        state=optim.initial_state(config.train, p),
        threads=1 if own else threads.choose_threads(sizes, config.train.batch_size),  # its own takes a whole batch
        fingerprint=corpus.fingerprint,
        opening=text.opening(corpus, sizes.K),
        places=places(config.data),
        backward=own.path if own else None,
    )
    if source is not None:
        file = find(source, "best.npz")
        other = load(file)
        take_over(checkpoint, other)
        checkpoint.source = f"{files.absolute(file)}, step {other.step}"
    return checkpoint


def take_over(checkpoint: Checkpoint, other: Checkpoint) -> None:
    """Begin with the parameters of another run: all but the rows and columns of characters that it did not know."""
    if checkpoint.sizes[1:] != other.sizes[1:]:
        _, K, D, H = other.sizes
        need = f"model.context={K} model.embedding={D} model.hidden={H}"
        raise UserError(f"the model has other sizes than that of the run of --from; give {need}")
    known = [character for character in checkpoint.vocabulary if character in other.vocabulary]
    new, old = ([v.index(character) for character in known] for v in (checkpoint.vocabulary, other.vocabulary))
    p, q = checkpoint.parameters, other.parameters
    p.C[new] = q.C[old]
    p.W1[...], p.b1[...] = q.W1, q.b1
    p.W2[:, new] = q.W2[:, old]
    p.b2[new] = q.b2[old]


# A run that goes on


def reopen(folder: Path, overrides: configuration.Overrides, own: OwnBackward | None) -> Checkpoint:
    """The newest state of a run, with the number of steps and the place of the text that the overrides give."""
    checkpoint = load(folder / "checkpoint.npz")
    before = checkpoint.config
    if checkpoint.format < FORMAT:
        what = f"a run of an earlier version (format {checkpoint.format}) cannot go on"
        raise UserError(f"{what}, {folder}; {ANOTHER}, or use it as it is")
    if bool(checkpoint.backward) != bool(own):
        its = f"--backward {quoted(checkpoint.backward)}" if checkpoint.backward else "no --backward"
        raise UserError(f"this run was trained with {its}, {folder}; give the same")
    checkpoint.backward = own.path if own else None
    for override in overrides:
        if override.partition("=")[0].strip() not in ("train.steps", "data.path"):
            raise UserError(f"{override!a} cannot change on resuming, {folder}; {ANOTHER}")
    config = checkpoint.config = configuration.read(before, overrides)
    if config.data != before.data:
        checkpoint.places = places(config.data)
    if config.train.steps < checkpoint.step:
        what = f"train.steps={config.train.steps} is below the {checkpoint.step} steps done"
        raise UserError(f"{what}, {folder}; give more")
    if config.train != before.train and before.train.schedule != "constant":
        why = f"the {before.train.schedule} schedule depends on it"
        raise UserError(f"train.steps cannot change: {why}, {folder}; {ANOTHER}, which has a schedule of its own")
    return checkpoint


def same_text(checkpoint: Checkpoint) -> text.Corpus:
    """The text of a run, from the working directory or where it was. Raises UserError if it is gone, or another one."""
    data = checkpoint.config.data
    found = places(data)
    if not all(map(os.path.exists, found)):
        found = checkpoint.places or found
    where = ", ".join(found)
    if not all(map(os.path.exists, found)):
        raise UserError(f"cannot read the text again, {where}; {MOVED}")
    corpus = text.load(replace(data, path=tuple(found)), checkpoint.sizes.K)
    # An earlier format has another fingerprint.
    same = corpus.fingerprint == checkpoint.fingerprint or checkpoint.format < FORMAT
    if not same or corpus.vocabulary != checkpoint.vocabulary:
        what = "the text has changed since the run began, or is another one"
        raise UserError(f"{what}, {where}; restore that one ({MOVED}), or {ANOTHER}")
    return corpus
