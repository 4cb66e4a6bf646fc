"""How the parameters move: update rules and learning-rate schedules."""

import math

import numpy as np

from trainer.config import Train
from trainer.model import Parameters
from trainer.ops import Array

State = dict[str, Array]  # vectors like Parameters.flat, kept from step to step


def learning_rate(train: Train, step: int) -> float:
    """The learning rate of a step, 0 <= step < train.steps. Never zero.

    It rises linearly over `warmup_steps`; then `constant` stays, `step` drops tenfold
    at half of the steps and again at three quarters, `cosine` falls along half a wave to zero at the end.
    """
    if step < train.warmup_steps:
        return train.learning_rate * (step + 1) / train.warmup_steps
    if train.schedule == "step":
        return train.learning_rate * 0.1 ** ((2 * step >= train.steps) + (4 * step >= 3 * train.steps))
    if train.schedule == "cosine":
        done = (step - train.warmup_steps) / (train.steps - train.warmup_steps)
        return train.learning_rate * math.cos(math.pi / 2 * done) ** 2
    return train.learning_rate


def initial_state(train: Train, p: Parameters) -> State:
    """What the rule remembers, at first zero."""
    if train.optimizer == "adamw":
        return {"m": np.zeros_like(p.flat), "v": np.zeros_like(p.flat)}
    return {"velocity": np.zeros_like(p.flat)} if train.momentum else {}


def update(train: Train, p: Parameters, g: Parameters, state: State, step: int, scratch: Array) -> None:
    """Move p against the gradient g, in place. Weight decay is decoupled and spares the biases."""
    rate = learning_rate(train, step)
    if train.weight_decay:
        np.multiply(p.matrices, 1 - rate * train.weight_decay, p.matrices)
    if train.optimizer == "adamw":
        adam(p.flat, g.flat, state["m"], state["v"], rate, step, scratch)
    else:
        sgd(p.flat, g.flat, state.get("velocity"), rate, train.momentum, scratch)


def sgd(p: Array, g: Array, velocity: Array | None, rate: float, momentum: float, scratch: Array) -> None:
    """velocity = momentum * velocity + g; p -= rate * velocity (Sutskever et al. 2013, in the form of PyTorch)."""
    if velocity is not None:
        np.multiply(velocity, momentum, velocity)
        g = np.add(velocity, g, velocity)
    np.multiply(g, rate, scratch)
    np.subtract(p, scratch, p)


def adam(
    p: Array, g: Array, m: Array, v: Array, rate: float, step: int, scratch: Array,
    beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8,
) -> None:  # fmt: skip
    """p -= rate * mean / (root + eps), bias-corrected means of g and g * g (Kingma and Ba 2015, arXiv:1412.6980).

    m and v leave out the factors (1 - beta), which join the bias corrections
    as one number each: four passes over the vectors less.
    """
    np.multiply(m, beta1, m)
    np.add(m, g, m)  # mean = m * mean_factor
    np.multiply(v, beta2, v)
    np.multiply(g, g, scratch)
    np.add(v, scratch, v)  # root = sqrt(v) * root_factor
    mean_factor = (1 - beta1) / (1 - beta1 ** (step + 1))
    root_factor = math.sqrt((1 - beta2) / (1 - beta2 ** (step + 1)))
    np.sqrt(v, scratch)
    np.add(scratch, eps / root_factor, scratch)
    np.divide(m, scratch, scratch)
    np.multiply(scratch, rate * mean_factor / root_factor, scratch)
    np.subtract(p, scratch, p)
