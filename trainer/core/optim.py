"""How the parameters move: update rules and learning-rate schedules."""

import math

import numpy as np

from trainer.config import Train
from trainer.core.model import Parameters
from trainer.core.ops import Array

State = dict[str, Array]  # vectors like Parameters.flat, kept from step to step


def learning_rate(train: Train, step: int) -> float:
    """The learning rate of a step, 0 <= step < train.steps.

    It rises linearly over `warmup_steps`; then `constant` stays, `step` drops tenfold at half of all steps and again at
    three quarters, `cosine` falls along half a wave, from there on, to zero at step train.steps, which is not made
    (Loshchilov and Hutter 2017, arXiv:1608.03983).
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


def update(train: Train, p: Parameters, g: Parameters, state: State, step: int) -> None:
    """Move p against the gradient g, in place.

    Weight decay is decoupled from the gradient (Loshchilov and Hutter 2019, arXiv:1711.05101) and spares the biases.

    g is written over, and is no gradient afterwards.
    """
    rate = learning_rate(train, step)
    if train.weight_decay:
        np.multiply(p.matrices, 1 - rate * train.weight_decay, out=p.matrices)
    if train.optimizer == "adamw":
        adam(p.flat, g.flat, state["m"], state["v"], rate, step)
    elif train.momentum:
        momentum(p.flat, g.flat, state["velocity"], rate, train.momentum)
    else:
        sgd(p.flat, g.flat, rate)


def sgd(p: Array, g: Array, rate: float) -> None:
    """p -= rate * g; g is written over."""
    np.multiply(g, rate, out=g)
    np.subtract(p, g, out=p)


def momentum(p: Array, g: Array, velocity: Array, rate: float, keep: float) -> None:
    """velocity = keep * velocity + g; p -= rate * velocity, in the form of PyTorch.

    The method: Sutskever et al. 2013, PMLR 28(3):1139-1147.
    """
    np.multiply(velocity, keep, out=velocity)
    np.add(velocity, g, out=velocity)
    np.multiply(velocity, rate, out=g)
    np.subtract(p, g, out=p)


def adam(
    p: Array, g: Array, m: Array, v: Array, rate: float, step: int,
    beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8,
) -> None:  # fmt: skip
    """p -= rate * mean / (root + eps), bias-corrected means of g and g * g (Kingma and Ba 2015, arXiv:1412.6980).

    m and v leave out the factors (1 - beta), which join the bias corrections as one number each: mean = m * mean_factor
    and root = sqrt(v) * root_factor. Then rate * mean / (root + eps) is m / (sqrt(v) + eps / root_factor), times
    rate * mean_factor / root_factor: four passes over the vectors fewer than the formula has. g is written over.
    """
    np.multiply(m, beta1, out=m)
    np.add(m, g, out=m)
    np.multiply(v, beta2, out=v)
    np.multiply(g, g, out=g)
    np.add(v, g, out=v)
    mean_factor = (1 - beta1) / (1 - beta1 ** (step + 1))
    root_factor = math.sqrt((1 - beta2) / (1 - beta2 ** (step + 1)))
    divisor = np.sqrt(v, out=g)
    np.add(divisor, eps / root_factor, out=divisor)
    move = np.divide(m, divisor, out=divisor)
    np.multiply(move, rate * mean_factor / root_factor, out=move)
    np.subtract(p, move, out=p)
