"""How the parameters move: update rules and learning-rate schedules."""

import math

import numpy as np

from trainer.config import Train
from trainer.core.model import Parameters
from trainer.core.ops import Array

State = dict[str, Array]  # vectors like Parameters.flat, kept from step to step


def learning_rate(train: Train, step: int) -> float:
    """The learning rate of a step, 0 <= step < train.steps.

    It rises linearly over `warmup_steps`; then `constant` stays, `step` drops tenfold at half and at three quarters of
    all steps, `cosine` falls along half a wave to zero (Loshchilov and Hutter 2017, arXiv:1608.03983).
    """
    if step < train.warmup_steps:
        return train.learning_rate * (step + 1) / train.warmup_steps
    if train.schedule == "step":
        drops = (2 * step >= train.steps) + (4 * step >= 3 * train.steps)
        return train.learning_rate * 0.1**drops
    if train.schedule == "cosine":
        progress = (step - train.warmup_steps) / (train.steps - train.warmup_steps)
        # cos² = (1 + cos(pi * progress)) / 2, but never below zero
        return train.learning_rate * math.cos(math.pi / 2 * progress) ** 2
    return train.learning_rate


def initial_state(train: Train, p: Parameters) -> State:
    """What the rule remembers, at first zero."""
    if train.optimizer == "adamw":
        return {"m": np.zeros_like(p.flat), "v": np.zeros_like(p.flat)}
    if train.momentum:
        return {"velocity": np.zeros_like(p.flat)}
    return {}


def update(
    train: Train, p: Parameters, g: Parameters, state: State, rate: float, step: int, part: slice = slice(None)
) -> None:
    """Move p against the gradient g, in place; or a part of the flat vector alone.

    Weight decay is decoupled from the gradient (Loshchilov and Hutter 2019, arXiv:1711.05101) and spares the biases.
    """
    kept = {name: vector[part] for name, vector in state.items()}
    if train.weight_decay:
        matrices = p.matrices[part]  # the beginning of the flat vector: of a part beyond them nothing
        np.multiply(matrices, 1 - rate * train.weight_decay, out=matrices)
    if train.optimizer == "adamw":
        adam(p.flat[part], g.flat[part], kept["m"], kept["v"], rate, step)
    elif train.momentum:
        momentum(p.flat[part], g.flat[part], kept["velocity"], rate, train.momentum)
    else:
        sgd(p.flat[part], g.flat[part], rate)


def sgd(p: Array, g: Array, rate: float) -> None:
    """p -= rate * g."""
    p -= rate * g


def momentum(p: Array, g: Array, velocity: Array, rate: float, keep: float) -> None:
    """velocity = keep * velocity + g; p -= rate * velocity (Sutskever et al. 2013, PMLR 28(3):1139-1147)."""
    velocity *= keep
    velocity += g
    p -= rate * velocity


def adam(p: Array, g: Array, m: Array, v: Array, rate: float, step: int) -> None:
    """p -= rate * mean / (root + eps), bias-corrected means of g and g * g (Kingma and Ba 2015, arXiv:1412.6980).

    m and v leave out the factors (1 - beta), which join the bias corrections as one number each: mean = m * mean_factor
    and root = sqrt(v) * root_factor. Then rate * mean / (root + eps) is m / (sqrt(v) + eps / root_factor), times
    rate * mean_factor / root_factor: four passes over the vectors fewer than the formula has.
    """
    beta1, beta2, eps = 0.9, 0.999, 1e-8
    m *= beta1
    m += g
    v *= beta2
    v += g * g
    mean_factor = (1 - beta1) / (1 - beta1 ** (step + 1))
    root_factor = math.sqrt((1 - beta2) / (1 - beta2 ** (step + 1)))
    p -= m / (np.sqrt(v) + eps / root_factor) * (rate * mean_factor / root_factor)
