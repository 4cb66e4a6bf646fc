"""The rules by which parameters move, in float64, from the papers' formulas.

SGD with momentum in the form of PyTorch, v = momentum * v + g and p = p - rate * v (Sutskever et al. 2013); AdamW, with
m = beta1 * m + (1 - beta1) * g, v = beta2 * v + (1 - beta2) * g², both divided by 1 - beta^t, and
p = p - rate * (m / (sqrt(v) + eps) + decay * p) (Kingma and Ba 2015, arXiv:1412.6980; Loshchilov and Hutter 2019,
arXiv:1711.05101). Weight decay spares the biases. Training stores m / (1 - beta1) and v / (1 - beta2).
"""

import math
from dataclasses import dataclass

import numpy as np

from trainer.config import Train
from trainer.core import model
from trainer.core.model import NAMES, Sizes
from trainer.core.ops import Array
from trainer.core.witness import Witness

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Move:
    """One move in float64: flat vectors, in the order of Parameters.flat."""

    train: Train
    step: int
    sizes: Sizes
    p: Array  # before
    g: Array
    decayed: Array  # 1 where weight decay applies, 0 for the biases
    before: dict[str, Array]  # what the rule remembers: velocity, or m and v as they are stored
    after: dict[str, Array]

    @property
    def rule(self) -> str:
        """The rule in words."""
        train = self.train
        momentum = f" with momentum {train.momentum:g}" if train.momentum and train.optimizer == "sgd" else ""
        decay = f", weight decay {train.weight_decay:g}" if train.weight_decay else ""
        return train.optimizer + momentum + decay


def move_of(witness: Witness, train: Train) -> Move:
    """The move of a checked step."""
    sizes = witness.sizes
    g, decayed = model.zeros(sizes, np.float64), model.zeros(sizes, np.float64)
    for name in NAMES:
        getattr(g, name)[...] = witness.gradients[name]
        getattr(decayed, name)[...] = 0 if name in ("b1", "b2") else 1
    return Move(
        train=train,
        step=witness.step,
        sizes=sizes,
        p=witness.before.flat.astype(np.float64),
        g=g.flat,
        decayed=decayed.flat,
        before={name: array.astype(np.float64) for name, array in witness.state_before.items()},
        after={name: array.astype(np.float64) for name, array in witness.state_after.items()},
    )


def learning_rate(train: Train, step: int) -> float:
    """Linear over the warm-up; then constant, tenfold less at half and at three quarters, or half a cosine wave."""
    if step < train.warmup_steps:
        return train.learning_rate * (step + 1) / train.warmup_steps
    if train.schedule == "step":
        drops = int(step >= train.steps / 2) + int(step >= train.steps * 3 / 4)
        return train.learning_rate * 0.1**drops
    if train.schedule == "cosine":
        share = (step - train.warmup_steps) / (train.steps - train.warmup_steps)
        return train.learning_rate * (1 + math.cos(math.pi * share)) / 2
    return float(train.learning_rate)


def memory(move: Move) -> dict[str, Array]:
    """What the rule should remember after this gradient, as it is stored."""
    g, before = move.g, move.before
    if move.train.optimizer == "adamw":
        return {"m": BETA1 * before["m"] + g, "v": BETA2 * before["v"] + g * g}
    return {"velocity": move.train.momentum * before["velocity"] + g} if move.train.momentum else {}


def direction(move: Move) -> Array:
    """What the parameters should move against, for a rate of 1 and without decay, from the memory as it is stored."""
    if move.train.optimizer == "adamw":
        t = move.step + 1
        square = (1 - BETA2) * move.after["v"] / (1 - BETA2**t)
        scaled = move.after["m"] / (np.sqrt(square) + EPS)  # first, because a tiny m times 1 - beta loses digits
        adapted: Array = (1 - BETA1) / (1 - BETA1**t) * scaled
        return adapted
    return move.after["velocity"] if move.train.momentum else move.g


def moved(move: Move, along: Array, rate: float, decay: float) -> Array:
    """The parameters after a step: p - rate * (along + decay * p), without decay for the biases."""
    return move.p - rate * (along + decay * move.decayed * move.p)
