"""A step that is looked at, as a whole: the parts of its batch put together, and what it changed."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from trainer.core import ops
from trainer.core.loop import Before, Step
from trainer.core.model import INNER, NAMES, Activations, Batch, InnerGradients, Parameters
from trainer.core.ops import Array


class Witness:
    """All that a step computed. The next step moves `after` and `state_after` on, and writes over `g`."""

    def __init__(self, step: Step, before: Before, own: Mapping[str, str] | None = None) -> None:
        self.own = own or {}  # for each link, where it is written, if the backward pass is the user's own
        self.number, self.rate, self.batch, self.passes, self.g = step[:5]
        self.before, self.after, self.sizes = before.p, step.p, step.p.sizes
        self.state_before, self.state_after = before.state, step.state

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
    """The masks of dropout, where there are any, by what they are taken times."""
    given = {"emb": batch.emb_mask, "h": batch.h_mask}
    return {name: mask for name, mask in given.items() if mask is not None}
