"""The backward pass by hand equals autograd's, in every tensor, at random sizes, on one thread and on several."""

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, product, repeat

import numpy as np
import plain_model
import pytest

from trainer.config import Train
from trainer.core import loop, model, ops
from trainer.core.model import INNER, NAMES, Batch, Parameters, Sizes
from trainer.core.ops import Array
from trainer.core.step import Step
from trainer.runs import threads

SHAPES = list(product((0.0, 0.3), (0.0, 0.5), (1, 2, 3), range(4)))


def second_step(p: Parameters, batch: Batch, parts: int) -> Step:
    """The second step of a training that stands still, on so many threads."""
    with ThreadPoolExecutor(3) as pool:
        compute = threads.gradients(p, parts, pool)
        made = loop.steps(Train(learning_rate=1e-300), p, {}, 0, repeat(batch), compute, lambda step: step == 1)
        first, second = islice(made, 2)
    assert not first.looked_at
    assert second.looked_at
    assert len(second.passes) == parts
    return second


def mask(rng: np.random.Generator, shape: tuple[int, int], rate: float) -> Array | None:
    return (rng.random(shape) >= rate) / (1 - rate) if rate else None


@pytest.mark.parametrize(
    ("emb_rate", "rate", "parts", "draw"),
    [pytest.param(*shape, marks=[pytest.mark.long] if k % 2 else []) for k, shape in enumerate(SHAPES)],
)
def test_every_gradient_equals_autograds(emb_rate: float, rate: float, parts: int, draw: int) -> None:
    rng = np.random.default_rng([parts, draw])
    sizes = Sizes(*(int(rng.integers(least, most + 1)) for least, most in ((2, 300), (1, 16), (1, 32), (1, 300))))
    (V, K, D, H), B = sizes, int(rng.integers(8 * parts, 129))
    p = plain_model.parameters(rng, sizes)
    # A third of the characters at most, so that rows of C are read twice, also within a context, and others never.
    contexts, targets = rng.integers(0, max(1, V // 3), (B, K)), rng.integers(0, V, B)
    batch = Batch(contexts, targets, mask(rng, (B, K * D), emb_rate), mask(rng, (B, H), rate))

    expected = plain_model.gradients(p, batch)
    seen = second_step(p, batch, parts)
    assert seen.loss == pytest.approx(plain_model.loss(plain_model.inputs(p, batch), batch), rel=1e-13)
    hand = seen.gradients
    assert set(hand) == set(expected) == {*NAMES, *INNER}
    for name, value in expected.items():
        assert hand[name].shape == value.shape
        # Sums of up to 128 * 512 products, each rounded to 1e-16: in practice 1e-14.
        assert abs(hand[name] - value).max() <= 1e-12 * abs(value).max(), name


def test_a_step_that_is_looked_at_keeps_what_was_before() -> None:
    rng = np.random.default_rng(0)
    p, batch = plain_model.parameters(rng, Sizes(5, 2, 3, 4)), Batch(rng.integers(0, 5, (7, 2)), rng.integers(0, 5, 7))
    train, start = Train(momentum=0.5, learning_rate=0.1, schedule="constant"), p.flat.copy()
    state = {"velocity": np.ones_like(p.flat)}
    compute = threads.gradients(p, 1, ThreadPoolExecutor(1))
    (step,) = islice(loop.steps(train, p, state, 0, repeat(batch), compute, lambda step: True), 1)
    assert (step.before.flat == start).all()
    assert (step.state_before["velocity"] == 1).all()
    np.testing.assert_array_equal(state["velocity"], 0.5 + step.g.flat)
    np.testing.assert_array_equal(step.after.flat, start - 0.1 * state["velocity"])


@pytest.mark.parametrize("H", [1, 2, 10, 200, 3000])
@pytest.mark.parametrize("V", [2, 27, 1000])
def test_the_first_loss_is_close_to_log_v(V: int, H: int) -> None:
    for seed in range(5 if H < 1000 else 1):
        rng, sizes = np.random.default_rng(seed), Sizes(V, 3, 10, H)
        batch = Batch(rng.integers(0, V, (32, 3)), rng.integers(0, V, 32))
        logits = model.forward(model.initial(sizes, np.float32, rng), batch).logits
        assert abs(ops.cross_entropy(logits, batch.targets).mean() - math.log(V)) <= 0.05


def test_the_first_weights_have_their_sizes() -> None:
    p = model.initial(Sizes(500, 5, 40, 800), np.float64, np.random.default_rng(0))
    z = p.C[np.random.default_rng(1).integers(0, 500, (200, 5))].reshape(200, -1) @ p.W1
    # Five standard errors of a deviation from 20,000 numbers or more, 1 / sqrt(2 n), are 2.5 %. z shares rows: 5 %.
    for values, deviation in ((p.C, 1), (p.W1, 5 / 3 / math.sqrt(5 * 40)), (p.W2, 0.1 / math.sqrt(800)), (z, 5 / 3)):
        assert values.std() == pytest.approx(deviation, rel=0.05 if values is z else 0.025)
        assert abs(values.mean()) < 0.05 * deviation
    assert not p.flat[len(p.matrices) :].any()  # the biases
