"""Where a run starts or goes on: its first state or its newest, its text, and a backward pass of the user's own."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainer import config as configuration
from trainer import files
from trainer.core import loop, model, optim
from trainer.errors import UserError
from trainer.runs import threads
from trainer.runs.checkpoint import FORMAT, Checkpoint, load, sizes_of
from trainer.runs.folder import open_run
from trainer.text import corpus as text
from trainer.text.batches import WEIGHTS
from trainer.text.reading import places

MOVED = "--resume RUN data.path=FILE says where it is"
ANOTHER = "start another run from it with --config and --from"


class OwnBackward(NamedTuple):
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


def begin(
    config: configuration.Config, corpus: text.Corpus, source: str | Path | None = None, own: OwnBackward | None = None
) -> Checkpoint:
    """The state before the first step, initial or with the parameters of another run. Raises UserError."""
    train = config.train
    if own and (train.dropout or train.embedding_dropout or train.context_dropout):
        raise UserError(f"dropout does not go with --backward, {own.path}; set each train.*dropout to 0")
    sizes = sizes_of(config, corpus.vocabulary)
    p = model.initial(sizes, config.model.dtype, np.random.default_rng([config.seed, WEIGHTS]))
    checkpoint = Checkpoint(
        config=config,
        vocabulary=corpus.vocabulary,
        parameters=p,
        state=optim.initial_state(train, p),
        threads=threads.choose_threads(sizes, train.batch_size),
        fingerprint=corpus.fingerprint,
        opening=text.opening(corpus, sizes.K),
        places=places(config.data),
        backward=own.path if own else None,
        blas=threads.blas(),
    )
    if source is not None:
        other = open_run(source)
        take_over(checkpoint, other)
        checkpoint.source = f"{files.absolute(other.path)}, step {other.step}"
    return checkpoint


def take_over(checkpoint: Checkpoint, other: Checkpoint) -> None:
    """Begin with the parameters of another run: all but the rows and columns of characters that it did not know."""
    if checkpoint.sizes[1:] != other.sizes[1:]:
        _, K, D, H = other.sizes
        advice = f"give model.context={K} model.embedding={D} model.hidden={H}"
        raise UserError(f"the model has other sizes than that of the run of --from; {advice}")
    _, new, old = np.intersect1d([*checkpoint.vocabulary], [*other.vocabulary], return_indices=True)
    p, q = checkpoint.parameters, other.parameters
    p.C[new] = q.C[old]
    p.W1[...], p.b1[...] = q.W1, q.b1
    p.W2[:, new] = q.W2[:, old]
    p.b2[new] = q.b2[old]


def reopen(folder: Path, overrides: configuration.Overrides, own: OwnBackward | None) -> Checkpoint:
    """The newest state of a run, with the number of steps and the place of the text that the overrides give."""
    checkpoint = load(folder / "checkpoint.npz")
    before = checkpoint.config
    if checkpoint.format < FORMAT:
        said = f"a run of an earlier version (format {checkpoint.format}) cannot go on, {folder}"
        raise UserError(f"{said}; {ANOTHER}, or use it as it is")
    if bool(checkpoint.backward) != bool(own):
        its = f"--backward {checkpoint.backward}" if checkpoint.backward else "no --backward"
        raise UserError(f"this run was trained with {its}, {folder}; give the same")
    schedule = before.train.schedule
    changeable = ["data.path", "train.steps"] if schedule == "constant" else ["data.path"]
    for override in overrides:
        if override.partition("=")[0].strip() not in changeable:
            only = f"with the {schedule} schedule only {' and '.join(changeable)} can"
            raise UserError(f"{override!a} cannot change on resuming, {folder}: {only}; {ANOTHER}")
    checkpoint.backward = own.path if own else None
    config = checkpoint.config = configuration.read(before, overrides)
    if (steps := config.train.steps) < checkpoint.step:
        raise UserError(f"train.steps={steps} is below the {checkpoint.step} steps done, {folder}; give more")
    return checkpoint


def same_text(checkpoint: Checkpoint) -> text.Corpus:
    """The text of a run, from the working directory or where it was. Raises UserError if it is gone, or another one."""
    data = checkpoint.config.data
    known = checkpoint.places or places(data)
    problem = UserError(f"cannot read the text again, {', '.join(known)}; {MOVED}")
    for found in (places(data), known):
        if all(map(os.path.exists, found)):
            try:
                corpus = text.load(replace(data, path=tuple(found)), checkpoint.sizes.K)
            except UserError as error:
                problem = error
                continue
            same = checkpoint.format < FORMAT or corpus.fingerprint == checkpoint.fingerprint
            if same and corpus.vocabulary == checkpoint.vocabulary:
                checkpoint.places = found
                return corpus
            problem = UserError(
                f"the text has changed since the run began, or is another one, {', '.join(found)};"
                f" restore that one ({MOVED}), or {ANOTHER}"
            )
    raise problem
