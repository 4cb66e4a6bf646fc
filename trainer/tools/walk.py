"""One batch walked forward and backward: every number on the way, by hand and numerical, in float64."""

from typing import NamedTuple

import numpy as np

from trainer.core import model, numerical, ops
from trainer.core.model import Batch, Parameters, Sizes
from trainer.core.numerical import ORDER, Point
from trainer.core.ops import Array

NUDGE = 1e-20  # of the complex step, which subtracts nothing, so that no step is too small


class Walk(NamedTuple):
    """The numbers of a batch."""

    vocabulary: str
    sizes: Sizes
    batch: Batch
    p: Parameters
    forward: dict[str, Array]  # emb, z, h, logits, p: (B, width); loss: (B,)
    by_hand: dict[str, Array]  # the nine gradients of the mean loss, by the names of numerical.ORDER
    numerical: dict[str, Array]  # the same, numerically; empty if that was not asked for


def walk(p: Parameters, vocabulary: str, batch: Batch, sizes: Sizes, cross_check: bool = True) -> Walk:
    """Forward and backward through the operations that training uses; without dropout where the batch has no masks."""
    at = numerical.point(p, batch, sizes)
    forward = {name: getattr(at, name) for name in ("emb", "z", "h", "logits")}
    forward["p"] = ops.softmax(at.logits)  # (B, V)
    forward["loss"] = ops.cross_entropy(at.logits, batch.targets)  # (B,)
    found = by_nudging(at) if cross_check else {}
    return Walk(vocabulary, sizes, batch, at.p, forward, by_hand(at), found)


def by_hand(at: Point) -> dict[str, Array]:
    """The nine gradients as training computes them, each copied when its link is done."""
    B = len(at.batch.targets)
    room, g = model.Activations(at.sizes, B, float), model.zeros(at.sizes, float)
    seen: dict[str, Array] = {}

    def watch(name: str, value: Array) -> None:
        seen[name] = value.copy()

    model.forward(at.p, at.batch, room)
    model.backward(at.p, at.batch, room, g, 1 / B, watch)
    if "demb" not in seen:  # where backward can do without it
        seen["demb"] = ops.affine_backward_input(seen["dz"], at.p.W1)
    return {name: seen["d" + name] for name in ORDER}


def by_nudging(at: Point) -> dict[str, Array]:
    """The nine gradients by complex steps, each in its own shape."""
    eps = dict.fromkeys(ORDER, NUDGE)
    return numerical.gradients(at, "complex-step", eps, "all", np.random.default_rng(0))
