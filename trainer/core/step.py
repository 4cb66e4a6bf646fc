"""A step that has been made: all that it computed, the parts of its batch put together, and what it changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from trainer.core import ops
from trainer.core.model import INNER, NAMES, Activations, Batch, InnerGradients, Parameters
from trainer.core.ops import Array
from trainer.core.optim import State


class Pass(NamedTuple):
    """What a forward and backward pass through a part of a batch computed."""

    activations: Activations
    inner: InnerGradients


@dataclass
class Step:
    """The next step moves `after` and `state_after` on, and writes over `g`."""

    number: int
    rate: float  # the learning rate
    batch: Batch
    passes: Sequence[Pass]  # the parts of the batch, in their order
    g: Parameters  # of the mean loss of the batch
    after: Parameters
    state_after: State
    looked_at: bool
    before: Parameters  # a copy if the step is looked at, else the same as after
    state_before: State
    own: Mapping[str, str] = field(default_factory=dict)  # for each link, where a user's own backward pass has it

    @cached_property
    def forward(self) -> dict[str, Array]:
        """emb, z, tanh, h and logits, as training computed them."""
        parts = zip(*(each.activations for each in self.passes), strict=True)
        return Activations(*map(np.concatenate, parts))._asdict()

    @cached_property
    def gradients(self) -> dict[str, Array]:
        """The nine gradients by hand."""
        return by_name([each.inner for each in self.passes], self.g)

    @cached_property
    def loss(self) -> float:
        """The mean loss of the batch, in nats."""
        losses = ops.cross_entropy(self.forward["logits"], self.batch.targets)  # (B,)
        return float(losses.mean(dtype=np.float64))


def by_name(inner: Sequence[InnerGradients], g: Parameters) -> dict[str, Array]:
    """The nine gradients, of which each part of a batch has its rows of four."""
    parts = dict(zip(INNER, map(np.concatenate, zip(*inner, strict=True)), strict=True))
    return parts | {name: getattr(g, name) for name in NAMES}


def masks(batch: Batch) -> dict[str, Array]:
    """The masks of dropout, where there are any, by the tensor that each multiplies."""
    given = {"emb": batch.emb_mask, "h": batch.h_mask}
    return {name: mask for name, mask in given.items() if mask is not None}
