"""Where a run starts: its first state, from nothing or from another run, and a backward pass of the user's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from trainer.config import Config
from trainer.core import loop, model, optim
from trainer.errors import UserError
from trainer.files import absolute
from trainer.runs import threads
from trainer.runs.checkpoint import Checkpoint, load, sizes_of
from trainer.runs.folder import find_checkpoint
from trainer.text.batches import WEIGHTS
from trainer.text.corpus import Corpus
from trainer.text.reading import places


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


def begin(
    config: Config, corpus: Corpus, source: str | Path | None = None, own: OwnBackward | None = None
) -> Checkpoint:
    """The state before the first step, initial or with the parameters of another run.

    Raises UserError if the other run cannot be read, or has other sizes.
    """
    sizes = sizes_of(config, corpus.vocabulary)
    p = model.initial(sizes, config.model.dtype, np.random.default_rng([config.seed, WEIGHTS]))
    checkpoint = Checkpoint(
        config=config,
        vocabulary=corpus.vocabulary,
        parameters=p,
        state=optim.initial_state(config.train, p),
        threads=1 if own else threads.choose_threads(sizes, config.train.batch_size),  # its own takes a whole batch
        fingerprint=corpus.fingerprint,
        opening=corpus.opening,
        places=places(config.data),
        backward=own.path if own else None,
    )
    if source is not None:
        file = find_checkpoint(source)
        other = load(file)
        take_over(checkpoint, other)
        checkpoint.source = f"{absolute(file)}, step {other.step}"
    return checkpoint


def take_over(checkpoint: Checkpoint, other: Checkpoint) -> None:
    """Begin with the parameters of another run: all but the rows and columns of characters that it did not know.

    Raises UserError where the models differ in context, embedding or hidden units.
    """
    for key in ("context", "embedding", "hidden"):
        here, there = getattr(checkpoint.config.model, key), getattr(other.config.model, key)
        if here != there:
            raise UserError(f"model.{key} is {here}, and {there} in the run of --from; give model.{key}={there}")
    known = [character for character in checkpoint.vocabulary if character in other.vocabulary]
    new, old = ([v.index(character) for character in known] for v in (checkpoint.vocabulary, other.vocabulary))
    p, q = checkpoint.parameters, other.parameters
    p.C[new] = q.C[old]
    p.W1[...], p.b1[...] = q.W1, q.b1
    p.W2[:, new] = q.W2[:, old]
    p.b2[new] = q.b2[old]
