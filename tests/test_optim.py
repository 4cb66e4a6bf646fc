"""The update rules against their textbook formulas, and the learning rate at chosen steps."""

import math

import numpy as np
import pytest

from trainer.config import Train
from trainer.core import model, optim
from trainer.core.model import NAMES, Sizes
from trainer.core.ops import Array

SIZES = Sizes(5, 2, 3, 4)
MATRICES = ("C", "W1", "W2")


def textbook(train: Train, start: dict[str, Array], gradients: list[dict[str, Array]]) -> dict[str, Array]:
    """Each tensor on its own, written as in the papers."""
    after = {}
    for name, first in start.items():
        x, velocity, m, v = first, np.zeros_like(first), np.zeros_like(first), np.zeros_like(first)
        for t, g in enumerate((gradient[name] for gradient in gradients), 1):
            rate = optim.learning_rate(train, t - 1)
            if name in MATRICES:
                x = x - rate * train.weight_decay * x
            if train.optimizer == "sgd":
                velocity = train.momentum * velocity + g
                x = x - rate * velocity
            else:
                m = 0.9 * m + 0.1 * g
                v = 0.999 * v + 0.001 * g**2
                x = x - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        after[name] = x
    return after


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_updates_follow_the_textbook(optimizer: str, momentum: float, decay: float, schedule: str) -> None:
    train = Train(
        steps=12, optimizer=optimizer, momentum=momentum, weight_decay=decay, schedule=schedule, warmup_steps=3
    )
    rng = np.random.default_rng(0)
    p = model.zeros(SIZES, np.float64)
    for name in NAMES:
        getattr(p, name)[...] = rng.standard_normal(getattr(p, name).shape)
    start = {name: getattr(p, name).copy() for name in NAMES}
    state, g = optim.initial_state(train, p), model.zeros(SIZES, np.float64)
    gradients = []
    for t in range(train.steps):
        # From 1e-9, where Adam's eps counts, to 1e3.
        gradients.append({n: rng.standard_normal(x.shape) * 10.0 ** rng.integers(-9, 4) for n, x in start.items()})
        for name, gradient in gradients[-1].items():
            getattr(g, name)[...] = gradient
        before = g.flat.copy()
        for part in (slice(0, 25), slice(25, None)):  # parts do as the whole does
            optim.update(train, p, g, state, optim.learning_rate(train, t), t, part)
        assert (g.flat == before).all()
    for name, expected in textbook(train, start, gradients).items():
        found = getattr(p, name)
        # 12 steps of some roundings each, 1e-16 of the largest entry.
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * abs(expected).max(), err_msg=name)


def test_first_steps_by_hand() -> None:
    p = np.array([1.0, 1.0])
    optim.sgd(p, np.array([4.0, -0.5]), 0.1)
    np.testing.assert_allclose(p, [0.6, 1.05], rtol=1e-15)
    optim.momentum(p, np.array([4.0, -0.5]), np.array([1.0, 1.0]), 0.1, 0.5)  # velocity 0.5 + g
    np.testing.assert_allclose(p, [0.15, 1.05], rtol=1e-14)
    optim.adam(p, np.array([4.0, -0.5]), np.zeros(2), np.zeros(2), 0.1, 0)  # Adam's first step is rate * sign of g
    np.testing.assert_allclose(p, [0.05, 1.15], rtol=1e-6)  # but for eps, 1e-8 / 0.5 of the step


def test_state_is_what_the_rule_remembers() -> None:
    p = model.zeros(SIZES, np.float32)
    adamw = Train(optimizer="adamw", momentum=0.9)
    assert [set(optim.initial_state(train, p)) for train in (Train(), adamw)] == [set(), {"m", "v"}]
    (vector,) = optim.initial_state(Train(momentum=0.9), p).values()
    assert (vector.shape, vector.dtype, vector.any()) == (p.flat.shape, np.float32, False)


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("constant", 10, {0: 0.1, 4: 0.5, 9: 1, 10: 1, 99: 1}),
        ("step", 0, {0: 1, 49: 1, 50: 0.1, 74: 0.1, 75: 0.01, 99: 0.01}),
        ("step", 60, {0: 1 / 60, 59: 1, 60: 0.1, 75: 0.01}),
        ("cosine", 0, {0: 1, 25: (1 + math.sqrt(0.5)) / 2, 50: 0.5, 75: (1 - math.sqrt(0.5)) / 2}),
        ("cosine", 20, {0: 0.05, 19: 1, 20: 1, 60: 0.5, 80: (1 - math.sqrt(0.5)) / 2}),
        ("cosine", 1000, {0: 0.001, 99: 0.1}),
    ],
)
def test_learning_rate(schedule: str, warmup: int, expected: dict[int, float]) -> None:
    train = Train(steps=100, learning_rate=2.0, schedule=schedule, warmup_steps=warmup)
    for step, share in expected.items():
        assert optim.learning_rate(train, step) == pytest.approx(2 * share, rel=1e-12), step


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
@pytest.mark.parametrize("warmup", [0, 1, 7, 100])
def test_the_learning_rate_is_never_zero(schedule: str, warmup: int) -> None:
    for steps in (1, 2, 7, 8, 100, 10**9, 10**15):  # the cosine of the last steps of many rounds to -1
        train = Train(steps=steps, schedule=schedule, warmup_steps=warmup)
        for step in (0, steps // 2, steps - 1):
            assert 0 < optim.learning_rate(train, step) <= train.learning_rate
