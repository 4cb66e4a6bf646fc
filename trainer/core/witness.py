"""A step that is looked at, as a whole: the parts of its batch put together, and what it changed."""

from functools import cached_property

import numpy as np

from trainer.core import ops
from trainer.core.loop import Before, Step
from trainer.core.model import INNER, NAMES
from trainer.core.ops import Array


class Witness:
    """All that a step computed. The next step moves `after` and `state_after` on, and writes over `g`."""

    def __init__(self, step: Step, before: Before) -> None:
        self.number, self.rate, self.batch, self.passes, self.g = step[:5]
        self.before, self.after, self.sizes = before.p, step.p, step.p.sizes
        self.state_before, self.state_after = before.state, step.state

    @cached_property
    def forward(self) -> dict[str, Array]:
        """emb, z, tanh, h and logits, as training computed them."""
        parts = zip(*(each.activations for each in self.passes), strict=True)
        return dict(zip(("emb", "z", "tanh", "h", "logits"), map(np.concatenate, parts), strict=True))

    @cached_property
    def gradients(self) -> dict[str, Array]:
        """The nine gradients by hand."""
        parts = zip(*(each.inner for each in self.passes), strict=True)
        inner = dict(zip(INNER, map(np.concatenate, parts), strict=True))
        return inner | {name: getattr(self.g, name) for name in NAMES}

    @cached_property
    def loss(self) -> float:
        """The mean loss of the batch, in nats."""
        losses = ops.cross_entropy(self.forward["logits"], self.batch.targets)  # (B,)
        return float(losses.mean(dtype=np.float64))
