"""What is seen of a step that is watched: everything it computed, and what it changed."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from trainer.core import model, ops
from trainer.core.links import GIVEN
from trainer.core.model import INNER, NAMES, Batch, Parameters, Sizes
from trainer.core.ops import Array
from trainer.core.optim import State


def copy(p: Parameters, sizes: Sizes) -> Parameters:
    """Parameters with the same values in an array of their own."""
    own = model.zeros(sizes, p.flat.dtype)
    own.flat[...] = p.flat
    return own


def copy_state(state: State) -> State:
    return {name: vector.copy() for name, vector in state.items()}


class Observation:
    """What was seen of a thread's part of a step: each tensor as it was when it had just been computed."""

    def __init__(self, p: Parameters, batch: Batch) -> None:
        self.values: dict[str, Array] = {}  # emb, z, h, logits, dlogits, dh, dz, demb, dW2, db2, dW1, db1, dC
        self.changed: list[str] = []  # sentences
        given = {name: getattr(p, name) for name in NAMES} | batch._asdict()
        self.given = {name: (array, array.tobytes()) for name, array in given.items() if array is not None}

    def watch(self, name: str, value: Array) -> None:
        """Keep a copy; and say so if the operation that made this has written into what it was given.

        Threads share the parameters: if one of them writes into W2, another may notice it first, and names its own
        operation.
        """
        for operation, inputs in GIVEN[name].items():
            if not self.given.keys() >= set(inputs):  # dropout, where there is none
                continue
            for other in inputs:
                array, was = self.given[other]
                if array.tobytes() != was:
                    self.changed.append(f"{operation} changed {other}, which was given to it")
                    del self.given[other]
        self.values[name] = value.copy()
        if name != "z":  # tanh may write over it
            self.given[name] = value, value.tobytes()


@dataclass
class Witness:
    """All that a watched step leaves behind, in arrays of its own: later steps do not change it."""

    step: int
    rate: float  # the learning rate
    sizes: Sizes
    batch: Batch
    before: Parameters
    after: Parameters
    state_before: State
    state_after: State
    g: Parameters  # by hand, of the mean loss of the batch
    observations: list[Observation]  # one for each thread

    @cached_property
    def forward(self) -> dict[str, Array]:
        """emb, z, h and logits, as training computed them."""
        return {name: self.collect(name) for name in ("emb", "z", "h", "logits")}

    @cached_property
    def gradients(self) -> dict[str, Array]:
        """The nine gradients by hand."""
        inner = {name: self.collect("d" + name) for name in INNER}
        return inner | {name: getattr(self.g, name) for name in NAMES}

    @cached_property
    def loss(self) -> float:
        """The mean loss of the batch, in nats."""
        losses = ops.cross_entropy(self.forward["logits"], self.batch.targets)  # (B,)
        return float(losses.mean(dtype=np.float64))

    @property
    def tanh(self) -> Array:
        """tanh(z), which h is before dropout: (B, H)."""
        return ops.tanh(self.collect("z"))

    @property
    def changed(self) -> list[str]:
        """Sentences about operations that wrote into what they were given."""
        return list(dict.fromkeys(sentence for seen in self.observations for sentence in seen.changed))

    def collect(self, name: str) -> Array:
        """A tensor of the whole batch, from the threads' parts of it."""
        return np.concatenate([seen.values[name] for seen in self.observations])
