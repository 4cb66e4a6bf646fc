"""Where a run starts: its first state, and what it needs to make a step."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from trainer.config import Config
from trainer.core import checks, loop, model, ops, optim, tolerances
from trainer.core.model import Activations, Parameters, Sizes
from trainer.core.verdicts import InitialLoss
from trainer.core.witness import Witness
from trainer.errors import UserError
from trainer.runs import memory, threads
from trainer.runs.checkpoint import Checkpoint, sizes_of
from trainer.text.batches import WEIGHTS, batches
from trainer.text.corpus import Corpus
from trainer.text.reading import places


def begin(config: Config, corpus: Corpus, source: Checkpoint | None = None) -> Checkpoint:
    """The state before the first step, initial or with the parameters of another run.

    Raises UserError for sizes that the memory cannot hold, or that the other run does not have.
    """
    sizes = sizes_of(config, corpus.vocabulary)
    check_memory(config, sizes)
    p = model.initial(sizes, config.model.dtype, np.random.default_rng([config.seed, WEIGHTS]))
    if source:
        take_over(p, sizes, corpus.vocabulary, source)
    opening = "" if corpus.lines else "".join(corpus.vocabulary[i] for i in corpus.ids[: sizes.K])
    return Checkpoint(
        config=config,
        vocabulary=corpus.vocabulary,
        parameters=p,
        state=optim.initial_state(config.train, p),
        threads=threads.choose_threads(sizes, config.train.batch_size),
        fingerprint=corpus.fingerprint,
        opening=opening,
        places=places(config.data),
    )


def take_over(p: Parameters, sizes: Sizes, vocabulary: str, source: Checkpoint) -> None:
    """Put the parameters of another model into p: all but the rows and columns of characters that it did not know.

    Raises UserError where the models differ in context, embedding or hidden units.
    """
    names = {"K": "model.context", "D": "model.embedding", "H": "model.hidden"}
    for letter, key in names.items():
        here, there = getattr(sizes, letter), getattr(source.sizes, letter)
        if here != there:
            raise UserError(f"{key} is {here}, and {there} in the run of --from; give {key}={there}")
    known = [character for character in vocabulary if character in source.vocabulary]
    new = [vocabulary.index(character) for character in known]
    old = [source.vocabulary.index(character) for character in known]
    p.C[new] = source.parameters.C[old]
    p.W1[...], p.b1[...] = source.parameters.W1, source.parameters.b1
    p.W2[:, new] = source.parameters.W2[:, old]
    p.b2[new] = source.parameters.b2[old]


def check_memory(config: Config, sizes: Sizes) -> None:
    """Raise UserError if training needs more memory than the machine has."""
    (V, K, D, H), train = sizes, config.train
    remembered = 2 if train.optimizer == "adamw" else int(train.momentum > 0)  # vectors of the rule
    # Parameters and gradients, and of a watched step both of these, the parameters after it and the rule's vectors
    # before and after; for each example the arrays of `Activations` and the masks.
    vectors = 2 + remembered + 3 + 2 * remembered
    numbers = sizes.parameters() * vectors + train.batch_size * (6 * H + 2 * V + 4 * K * D)
    needed = numbers * np.dtype(config.model.dtype).itemsize
    memory.require(needed, "training", "sections model and train", "give smaller sizes or a smaller batch")


@dataclass(frozen=True)
class OwnBackward:
    """A backward pass of the user's own, in place of the model's."""

    path: str  # of its file
    digest: str  # SHA-256 of the file
    lines: Mapping[str, str]  # for each link, where it is written
    gradients: Callable[[Sizes, int, str], loop.Gradients]  # from sizes, batch size and type


def record(checkpoint: Checkpoint, own: OwnBackward | None) -> None:
    """Note whose backward pass a run is trained with. One's own runs on one thread."""
    if own:
        checkpoint.backward, checkpoint.threads = {"path": own.path, "sha256": own.digest}, 1


def gradients_of(checkpoint: Checkpoint, pool: ThreadPoolExecutor, own: OwnBackward | None = None) -> loop.Gradients:
    """Forward and backward of a batch, in as many parts as the run has threads; or with one's own backward pass."""
    config = checkpoint.config
    if own:
        return own.gradients(checkpoint.sizes, config.train.batch_size, config.model.dtype)
    parts = threads.split_batch(checkpoint.sizes, config.train.batch_size, config.model.dtype, checkpoint.threads)
    return partial(threads.gradients, parts, pool)


def check_initial_loss(checkpoint: Checkpoint, corpus: Corpus) -> InitialLoss:
    """The loss of the first batch beside log V."""
    config = checkpoint.config
    first = next(batches(corpus, config, 0))
    room = Activations(checkpoint.sizes, len(first.targets), config.model.dtype)
    losses = ops.cross_entropy(model.forward(checkpoint.parameters, first, room), first.targets)  # (B,)
    value = float(losses.mean(dtype=np.float64))
    V, atol = checkpoint.sizes.V, config.check.initial_loss_atol
    if atol == "auto":
        atol = tolerances.initial_loss(room.h, first.targets, V)
    return checks.initial_loss(value, V, float(atol))


def take_back(checkpoint: Checkpoint, witness: Witness) -> None:
    """Undo a step whose checks were cut short by a signal: when the run goes on it is made and checked again."""
    checkpoint.step = witness.step
    checkpoint.parameters.flat[...] = witness.before.flat
    for name, vector in checkpoint.state.items():
        vector[...] = witness.state_before[name]
