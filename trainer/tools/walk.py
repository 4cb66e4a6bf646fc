"""One batch walked forward and backward: every number on the way, by hand and numerical, in float64."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from trainer import model, numerical, ops, step
from trainer.model import INNER, Batch, Parameters, Sizes
from trainer.ops import Array

NUDGE = 1e-20  # of the complex step, which subtracts nothing, so that no step is too small


class Walk(NamedTuple):
    """The numbers of a batch."""

    vocabulary: str
    sizes: Sizes
    batch: Batch
    p: Parameters
    forward: dict[str, Array]  # emb, z, h, logits, p: (B, width); loss: (B,)
    by_hand: dict[str, Array]  # the nine gradients, by the names of numerical.ORDER
    numerical: dict[str, Array]  # the same, numerically; empty if that was not asked for


def walk(p: Parameters, vocabulary: str, batch: Batch, sizes: Sizes, cross_check: bool = True) -> Walk:
    """Forward and backward through the operations that training uses; without dropout where the batch has no masks."""
    at = numerical.point(p, batch, sizes)
    probabilities, losses = softmax(at.logits, batch.targets)
    forward = {name: getattr(at, name) for name in ("emb", "z", "h", "logits")}
    forward |= {"p": probabilities, "loss": losses}
    found = by_nudging(at) if cross_check else {}
    return Walk(vocabulary, sizes, batch, at.p, forward, by_hand(at), found)


def softmax(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Probabilities (B, V) and each example's loss in nats (B,)."""
    shifted, exps, total = ops.softmax(logits)
    return exps / total[:, None], ops.cross_entropy(shifted, total, targets)


def by_hand(at: numerical.Point) -> dict[str, Array]:
    """The nine gradients of the mean loss as training computes them."""
    B = len(at.batch.targets)
    room, g = model.Activations(at.sizes, B, float), model.zeros(at.sizes, float)
    model.forward(at.p, at.batch, room)
    model.backward(at.p, at.batch, room, g, 1 / B)
    return step.by_hand(at.p, at.batch, [step.Part(slice(None), room, g)], g)


def by_nudging(at: numerical.Point) -> dict[str, Array]:
    """The nine gradients by complex steps, each in its own shape."""
    eps = dict.fromkeys(numerical.ORDER, NUDGE)
    shapes = {name: getattr(at if name in INNER else at.p, name).shape for name in numerical.ORDER}
    with ThreadPoolExecutor(1) as pool:
        found = numerical.numerical(at, "all", "complex-step", eps, np.random.default_rng(), pool)
    result = {name: np.zeros(shape) for name, shape in shapes.items()}
    for name, (index, values) in found.items():
        result[name][tuple(index[-len(shapes[name]) :])] = values
    return result
