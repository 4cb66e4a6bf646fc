"""The backward pass by hand equals autograd's, in every tensor, at random sizes, on one thread and on several."""

import math
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from itertools import product

import numpy as np
import plain_model
import pytest

from trainer.config import Config, Data, Model, Train
from trainer.core import loop, model, ops
from trainer.core.model import INNER, NAMES, Activations, Batch, Parameters, Sizes
from trainer.core.ops import Array
from trainer.core.witness import Witness, copy
from trainer.runs import threads
from trainer.text import batches

SHAPES = list(product((0.0, 0.3), (0.0, 0.5), (1, 2, 3), range(4)))
ONCE, AGAIN = SHAPES[::2], [pytest.param(*shape, marks=pytest.mark.long) for shape in SHAPES[1::2]]


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def random_sizes(rng: np.random.Generator) -> Sizes:
    return Sizes(*(int(rng.integers(least, most + 1)) for least, most in ((2, 300), (1, 16), (1, 32), (1, 300))))


def witness(p: Parameters, batch: Batch, sizes: Sizes, threads_: int, pool: Executor) -> Witness:
    """A watched step of a training with so many threads."""
    parts = threads.split_batch(sizes, len(batch.targets), str(p.flat.dtype), threads_)
    for part in parts:
        part.g.flat[...] = 99  # whatever the step before left behind
    compute = partial(threads.gradients, parts, pool)
    train = Train(learning_rate=1e-300)
    loop.watched_step(train, sizes, copy(p, sizes), {}, 0, batch, compute)  # the next one writes over its arrays
    return loop.watched_step(train, sizes, copy(p, sizes), {}, 1, batch, compute)


def random_parameters(rng: np.random.Generator, sizes: Sizes) -> Parameters:
    p = model.initial(sizes, np.float64, rng)
    p.W2[...] *= 10  # far from uniform
    p.b1[...], p.b2[...] = rng.standard_normal(sizes.H), rng.standard_normal(sizes.V)
    return p


def mask(rng: np.random.Generator, shape: tuple[int, int], rate: float) -> Array | None:
    return (rng.random(shape) >= rate) / (1 - rate) if rate else None


@pytest.mark.parametrize(("emb_rate", "rate", "threads_", "repeat"), [*ONCE, *AGAIN])
def test_every_gradient_equals_autograds(
    emb_rate: float, rate: float, threads_: int, repeat: int, pool: Executor
) -> None:
    rng = np.random.default_rng([SHAPES.index((emb_rate, rate, threads_, repeat))])
    B = int(rng.integers(8 * threads_, 129))
    sizes = random_sizes(rng)
    V, K, D, H = sizes
    p = random_parameters(rng, sizes)
    # A third of the characters at most, so that rows of C are read twice, also within a context, and others never.
    contexts, targets = rng.integers(0, max(1, V // 3), (B, K)), rng.integers(0, V, B)
    batch = Batch(contexts, targets, mask(rng, (B, K * D), emb_rate), mask(rng, (B, H), rate))

    seen = witness(p, batch, sizes, threads_, pool)
    assert (len(seen.observations), seen.changed) == (threads_, [])
    hand, expected = seen.gradients, plain_model.gradients(p, batch)
    assert set(hand) == set(expected) == {*NAMES, *INNER}
    for name, value in expected.items():
        assert hand[name].shape == value.shape
        # Sums of up to 128 * 512 products, each rounded to 1e-16: in practice 1e-14.
        assert abs(hand[name] - value).max() <= 1e-12 * abs(value).max(), name


def test_the_loss_is_the_mean_over_all_parts(pool: Executor) -> None:
    rng, sizes = np.random.default_rng(0), Sizes(5, 2, 3, 4)
    p = random_parameters(rng, sizes)
    batch = Batch(rng.integers(0, 5, (7, 2)), rng.integers(0, 5, 7))
    expected = plain_model.loss(plain_model.inputs(p, batch), batch)
    for threads_ in (1, 2, 3):
        assert witness(p, batch, sizes, threads_, pool).loss == pytest.approx(expected, rel=1e-14)  # a few roundings


@pytest.mark.parametrize(
    "operation", ["tanh", "tanh_backward", "affine_backward_weight", "affine", "softmax", "dropout"]
)
def test_what_an_operation_returns_is_what_counts(
    operation: str, pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, sizes, B = np.random.default_rng(0), Sizes(5, 2, 3, 7), 6
    p = random_parameters(rng, sizes)
    masks = mask(rng, (B, 6), 0.2), mask(rng, (B, 7), 0.2)
    batch = Batch(rng.integers(0, 5, (B, 2)), rng.integers(0, 5, B), *masks)
    right, real = witness(p, batch, sizes, 2, pool).gradients, getattr(ops, operation)

    def returns_another_array(*given: Array) -> Array:
        few = 3 if operation == "affine" else 1 if operation in ("tanh", "softmax") else 2
        return np.array(real(*given[:few]))

    monkeypatch.setattr(ops, operation, returns_another_array)
    for name, gradient in witness(p, batch, sizes, 2, pool).gradients.items():
        np.testing.assert_array_equal(gradient, right[name], err_msg=name)


def test_an_operation_that_writes_into_what_it_is_given_is_named(
    pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(dh: Array, h: Array, out: Array) -> Array:
        dh *= 1 - h * h
        return dh

    rng, sizes = np.random.default_rng(0), Sizes(5, 2, 3, 7)
    p, batch = random_parameters(rng, sizes), Batch(rng.integers(0, 5, (6, 2)), rng.integers(0, 5, 6))
    right = witness(p, batch, sizes, 1, pool).gradients
    monkeypatch.setattr(ops, "tanh_backward", careless)
    seen = witness(p, batch, sizes, 1, pool)
    assert seen.changed == ["tanh_backward changed dh, which was given to it"]
    np.testing.assert_array_equal(seen.gradients["h"], right["h"])  # as it was when its link was done


@pytest.mark.parametrize("H", [1, 2, 10, 200, 3000])
@pytest.mark.parametrize("V", [2, 27, 1000])
def test_the_first_loss_is_close_to_log_v(V: int, H: int) -> None:
    for seed in range(5 if H < 1000 else 1):
        rng, sizes = np.random.default_rng(seed), Sizes(V, 3, 10, H)
        batch, room = Batch(rng.integers(0, V, (32, 3)), rng.integers(0, V, 32)), Activations(sizes, 32, np.float32)
        logits = model.forward(model.initial(sizes, np.float32, rng), batch, room)
        assert abs(ops.cross_entropy(logits, batch.targets).mean() - math.log(V)) <= 0.05


def test_the_first_weights_have_their_sizes() -> None:
    sizes = Sizes(500, 5, 40, 800)
    p = model.initial(sizes, np.float64, np.random.default_rng(0))
    z = p.C[np.random.default_rng(1).integers(0, 500, (200, 5))].reshape(200, -1) @ p.W1
    # Five standard errors of a deviation from 20,000 numbers or more, 1 / sqrt(2 n), are 2.5 %. z shares rows: 5 %.
    for name, (values, deviation, within) in {
        "C": (p.C, 1, 0.025),
        "W1": (p.W1, 5 / 3 / math.sqrt(5 * 40), 0.025),
        "W2": (p.W2, 0.1 / math.sqrt(800), 0.025),
        "z": (z, 5 / 3, 0.05),
    }.items():
        assert values.std() == pytest.approx(deviation, rel=within), name
        assert abs(values.mean()) < 0.05 * deviation, name
    assert not p.b1.any()
    assert not p.b2.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [Sizes(27, 3, 10, 200), Sizes(3, 1, 1, 1), Sizes(16, 4, 4, 16)])
def test_views_of_one_flat_vector(sizes: Sizes, dtype: type) -> None:
    V, K, D, H = sizes
    p = model.zeros(sizes, dtype)
    shapes = {"C": (V, D), "W1": (K * D, H), "W2": (H, V), "b1": (H,), "b2": (V,)}
    assert sizes.parameters() == sum(math.prod(shape) for shape in shapes.values())
    start = 0
    for number, (name, shape) in enumerate(shapes.items(), 1):
        view = getattr(p, name)
        assert (view.shape, view.dtype) == (shape, np.dtype(dtype))
        view[...] = number
        end = start + view.size
        assert (p.flat[start:end] == number).all()
        start = end
        if name == "W2":
            assert len(p.matrices) == end
            assert np.shares_memory(p.matrices, p.flat)
            assert (p.matrices == p.flat[:end]).all()
    assert start == len(p.flat)


def test_nothing_of_the_flat_gradient_lies_outside_its_views(pool: Executor) -> None:
    rng, sizes = np.random.default_rng(0), Sizes(5, 2, 3, 7)
    p = random_parameters(rng, sizes)
    batch = Batch(rng.integers(0, 5, (9, 2)), rng.integers(0, 5, 9))
    g = witness(p, batch, sizes, 3, pool).g
    size = float(np.linalg.norm(g.flat))
    for name in NAMES:
        getattr(g, name)[...] = 0
    assert size > 0
    assert not g.flat.any()


def test_dropout_masks_keep_the_mean() -> None:
    config = Config(Data("x"), Model(2, 50, 300), Train(batch_size=64, dropout=0.25, embedding_dropout=0.5))
    emb, h = batches.draw_masks(config, np.random.default_rng(0))
    assert emb is not None
    assert h is not None
    assert (emb.shape, h.shape, emb.dtype, h.dtype) == ((64, 100), (64, 300), np.float32, np.float32)
    assert set(np.unique(emb)) == {0, 2}
    assert set(np.unique(h)) == {0, np.float32(4 / 3)}
    # The mean of n masks deviates by sqrt(rate / (1 - rate) / n), 0.0125 and 0.004: four times that.
    assert emb.mean() == pytest.approx(1, abs=0.05)
    assert h.mean() == pytest.approx(1, abs=0.017)
    without = batches.draw_masks(Config(Data("x"), train=Train(dropout=0.1)), np.random.default_rng(0))
    assert without[0] is None
    assert without[1] is not None


@pytest.mark.parametrize(
    ("K", "embedding_dropout", "kept"),
    [(3, 0.0, [0.25, 0.625, 1]), (3, 0.5, [0.125, 0.3125, 0.5]), (2, 0.0, [0.25, 1]), (1, 0.0, [1])],
)
def test_context_dropout_rises_with_the_distance(K: int, embedding_dropout: float, kept: list[float]) -> None:
    B, D = 500, 40
    train = Train(batch_size=B, embedding_dropout=embedding_dropout, context_dropout=0.75)
    emb, h = batches.draw_masks(Config(Data("x"), Model(K, D, 2), train), np.random.default_rng(0))
    assert h is None
    assert emb is not None
    assert emb.dtype == np.float32
    for place, share in zip(emb.reshape(B, K, D).transpose(1, 0, 2), kept, strict=True):
        assert set(np.unique(place)) == ({1} if share == 1 else {0, np.float32(1 / share)})
        # The share of 20,000 kept entries deviates by 0.0035 at most: four times that.
        assert np.mean(place > 0) == pytest.approx(share, abs=0.014)


def test_a_rate_close_to_one_leaves_finite_masks() -> None:
    mask = batches.draw_mask(0.9999999, (1000, 1000), "float32", np.random.default_rng(0))
    # One entry in 2^16 is kept: of a million 15 in the mean, with a deviation of 4: five times that.
    assert set(np.unique(mask)) == {0, 1 << 16}
    assert np.count_nonzero(mask) == pytest.approx(15, abs=20)
