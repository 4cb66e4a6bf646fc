"""The checks find what is wrong and nothing else: the numerical gradients, the tolerances, each row, each message."""

import json
import math
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import autograd
import autograd.numpy
import numpy as np
import pytest
from trainer.step import by_hand, draw_masks, gradients, split_batch

from trainer import checks, model, numerical, ops, optim
from trainer.__main__ import main
from trainer.checks import Row
from trainer.config import Check, Config, Data, Model, Train
from trainer.model import INNER, NAMES, Batch, Parameters, Sizes
from trainer.numerical import ORDER
from trainer.ops import Array

METHODS = ("central", "complex-step")
OPTIMIZERS = ("sgd", "momentum", "adamw")


class Inline(Executor):
    """No threads: the tests are quicker without."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(call(*arguments, **named))
        return future


POOL = Inline()


class Scene(NamedTuple):
    """A step about to be taken."""

    config: Config
    sizes: Sizes
    p: Parameters
    batch: Batch
    parts: int
    rng: np.random.Generator

    def hand(self) -> dict[str, Array]:
        """Every gradient by hand."""
        g = model.zeros(self.sizes, self.p.flat.dtype)
        parts = split_batch(self.sizes, len(self.batch.targets), self.config.model.dtype, self.parts, g)
        gradients(self.p, self.batch, parts, g, POOL)
        return by_hand(self.p, self.batch, parts, g)

    def point(self) -> numerical.Point:
        return numerical.point(self.p, self.batch, self.sizes)

    def tolerances(self) -> checks.Tolerances:
        return checks.tolerances(self.point(), self.config.check, self.config.model.dtype)

    def numerical(self) -> dict[str, tuple[Array, Array]]:
        check = self.config.check
        return numerical.numerical(self.point(), check.coordinates, check.method, self.tolerances().eps, self.rng, POOL)

    def rows(self, hand: dict[str, Array]) -> list[Row]:
        check, dtype = self.config.check, self.config.model.dtype
        return checks.gradient_rows(self.point(), hand, check, dtype, self.rng, POOL)


def scene(sizes: Sizes, B: int, seed: int = 0, dtype: str = "float64", parts: int = 1, **options: Any) -> Scene:
    """Random weights of a started training, a batch with repeated characters, both dropouts."""
    rng = np.random.default_rng(seed)
    train = Train(batch_size=B, dropout=0.3, embedding_dropout=0.2)
    config = Config(Data("-"), Model(sizes.K, sizes.D, sizes.H, dtype), train, Check(enabled=True, **options))
    p = model.initial(sizes, dtype, rng)
    p.W2[...] *= 10
    p.b1[...], p.b2[...] = rng.standard_normal(sizes.H), rng.standard_normal(sizes.V)
    few = max(1, 2 * sizes.V // 3)  # the other characters are not in the batch
    contexts, targets = rng.integers(few, size=(B, sizes.K)), rng.integers(sizes.V, size=B)
    return Scene(config, sizes, p, Batch(contexts, targets, *draw_masks(config, rng)), parts, rng)


# The plainest model there is, in one piece, with a place to add to each of the nine tensors.


def plain_loss(a: dict[str, Array], batch: Batch, xp: Any = np) -> Any:
    B = len(batch.targets)
    emb = xp.reshape(a["C"][batch.contexts], (B, -1)) * batch.emb_mask + a["emb"]
    z = xp.dot(emb, a["W1"]) + a["b1"] + a["z"]
    h = xp.tanh(z) * batch.h_mask + a["h"]
    logits = xp.dot(h, a["W2"]) + a["b2"] + a["logits"]
    return xp.mean(xp.log(xp.sum(xp.exp(logits), 1)) - logits[np.arange(B), batch.targets])


def plain_inputs(s: Scene) -> dict[str, Array]:
    at = s.point()
    zeros = {name: np.zeros_like(getattr(at, name)) for name in INNER}
    return zeros | {name: getattr(s.p, name).astype(np.float64) for name in NAMES}


def plain_loop(s: Scene, method: str, eps: dict[str, float]) -> dict[str, Array]:
    """One coordinate at a time through the whole forward pass."""
    inputs, gradient = plain_inputs(s), {}
    for name, array in inputs.items():
        gradient[name] = np.zeros(array.shape)
        for place in np.ndindex(array.shape):

            def loss(step: complex, name: str = name, array: Array = array, place: Any = place) -> Any:
                moved = array.astype(np.result_type(array, step))
                moved[place] += step
                return plain_loss(inputs | {name: moved}, s.batch)

            e = float(eps[name])
            slope = loss(1j * e).imag / e if method == "complex-step" else (loss(e) - loss(-e)) / (2 * e)
            gradient[name][place] = slope
    return gradient


SHAPES = [(Sizes(2, 1, 1, 1), 1), (Sizes(2, 3, 2, 4), 5), (Sizes(9, 3, 4, 6), 7), (Sizes(5, 2, 7, 3), 3)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("sizes", "B"), SHAPES)
def test_numerical_gradients_are_those_of_the_plainest_loop_and_of_autograd(sizes: Sizes, B: int, method: str) -> None:
    s = scene(sizes, B, method=method)
    inputs = plain_inputs(s)
    loop = plain_loop(s, method, s.tolerances().eps)
    for name, (index, values) in s.numerical().items():
        place = tuple(index[1:] if name in ("b1", "b2") else index)
        right = autograd.grad(lambda x, n=name: plain_loss(inputs | {n: x}, s.batch, autograd.numpy))(inputs[name])
        rows = len(np.unique(s.batch.contexts)) if name == "C" else len(right)
        assert len(values) == rows * math.prod(right.shape[1:])  # each place
        assert len(set(zip(*place, strict=True))) == len(values)  # once
        # What a central difference of step 6e-6 rounds and truncates is of the order of 1e-10.
        atol = 1e-8 * abs(right).max()
        assert values == pytest.approx(loop[name][place], rel=0, abs=atol)
        assert values == pytest.approx(right[place], rel=0, abs=atol if method == "central" else 1e-6 * atol)


def test_a_step_that_rounds_away_on_one_side_moves_the_same_examples_on_both() -> None:
    s = scene(Sizes(5, 2, 3, 4), 6)
    v = int(s.batch.contexts[0, 0])
    s.p.C[v, 1] = 256.0
    s.p.W1[...] *= 1e-3
    at, index, e = s.point(), np.array([[v], [1]]), np.array([2e-14])
    assert (256.0 + e, 256.0 - e) == (256.0, 256.0 - 2.0**-45)  # numbers lie half as far apart below a power of two
    up, down = numerical.perturb_C(at, index, e), numerical.perturb_C(at, index, -e)
    assert up == pytest.approx(down, rel=0, abs=1e-12)
    assert (up[:, 0] != 0).tolist() == (s.batch.contexts == v).any(axis=1).tolist()


# Sampled coordinates.


@pytest.mark.parametrize("method", METHODS)
def test_sampled_coordinates_are_places_of_the_tensor_with_their_values(method: str) -> None:
    s = scene(Sizes(11, 3, 4, 6), 8, method=method)
    hand, seen = s.hand(), {name: set() for name in ORDER}
    for _ in range(60):
        for name, (index, values) in s._replace(config=with_check(s, coordinates=5)).numerical().items():
            row, column = index - [[{"b1": 12, "b2": 6}.get(name, 0)], [0]]  # a bias is one more row of its matrix
            assert len(values) == 5
            assert len(set(zip(row, column, strict=True))) == 5
            right = np.atleast_2d(hand[name])[row, column]  # by hand, which the other tests hold against a loop
            assert values == pytest.approx(right, rel=1e-6, abs=1e-9)
            seen[name] |= set(zip(row.tolist(), column.tolist(), strict=True))
    present = set(np.unique(s.batch.contexts).tolist())
    assert {v for v, _ in seen["C"]} == present
    for name in ("b1", "b2"):
        assert seen[name] == {(0, k) for k in range(len(hand[name]))}
    assert len(seen["W2"]) > 60  # of 66: 300 draws leave out a given one with (61/66)^60 = 0.9 %


def with_check(s: Scene, **options: Any) -> Config:
    return replace(s.config, check=replace(s.config.check, **options))


def test_coordinates_are_drawn_anew_at_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def compare(name: str, hand: Array, index: Array, *others: Any, real: Any = checks.compare) -> Row:
        drawn.append(f"{name} {index.tolist()}")
        return real(name, hand, index, *others)

    monkeypatch.setattr(checks, "compare", compare)
    assert run(tmp_path, monkeypatch, "check.coordinates=3", "train.steps=4") == 0
    assert len(drawn) == len(set(drawn)) == 4 * 9


# What must be caught.


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(6))
def test_an_error_of_a_thousandth_in_one_entry_is_caught(method: str, seed: int) -> None:
    sizes, B = SHAPES[1:][seed % 3]
    s = scene(sizes, B, seed, method=method)
    at, tol, found, hand = s.point(), s.tolerances(), s.numerical(), s.hand()
    for name in ORDER:
        places = np.argwhere(abs(hand[name]) > 1000 * tol.atol[name])
        assert len(places) > 0
        for place in s.rng.permutation(places)[:40]:
            for factor in (0.999, 1.001):
                wrong = hand[name].copy()
                wrong[tuple(place)] *= factor
                row = checks.compare(name, wrong, *found[name], at, tol, s.config.check)
                assert not row["passed"]
                assert row["worst"] == place.tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ORDER)
def test_what_is_not_finite_is_caught(name: str, value: float) -> None:
    s = scene(*SHAPES[2])
    hand = s.hand()
    place = tuple(i - 1 for i in hand[name].shape) if name != "C" else (int(s.batch.contexts[0, 0]), 1)
    hand[name] = hand[name].copy()
    hand[name][place] = value
    with np.errstate(invalid="ignore"):  # as in training
        row = checks.compare(name, hand[name], *s.numerical()[name], s.point(), s.tolerances(), s.config.check)
    assert (row["passed"], row["worst"]) == (False, list(place))


def test_an_absent_character_must_have_exactly_no_gradient() -> None:
    s = scene(*SHAPES[2], coordinates=2)
    hand = s.hand()
    absent = int(np.setdiff1d(np.arange(s.sizes.V), s.batch.contexts)[-1])
    assert all(row["passed"] for row in s.rows(hand))
    hand["C"][absent, 2] = 1e-300
    row = next(row for row in s.rows(hand) if row.get("tensor") == "C")
    assert (row["passed"], row["worst"], row["by_hand"], row["numerical"]) == (False, [absent, 2], 1e-300, 0.0)


# What must pass.


def drawn_scene(seed: int) -> Scene:
    """A random shape, type, method, optimiser, and a model at the start, at the end, or far outside of training."""
    rng = np.random.default_rng([3, seed])

    def one(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    kind = one("start", "end", "certain", "W1", "W2", "C", "biases", "both")
    dtype, optimizer = one("float32", "float64"), one(*OPTIMIZERS)
    check = Check(enabled=True, method=one(*METHODS), coordinates=20)
    if kind in ("end", "certain"):
        config, sizes, flat = trained(dtype, optimizer, kind == "certain")
        p = model.zeros(sizes, dtype)
        p.flat[...] = flat
        s = Scene(replace(config, check=check), sizes, p, None, 1, rng)  # type: ignore[arg-type]
        return s._replace(batch=some_batch(s.config, sizes, rng, kind == "certain"))
    sizes = Sizes(one(2, 3, 5, 27, 60, 300), one(1, 2, 3, 6), one(1, 2, 4, 10, 16), one(1, 2, 7, 30, 100))
    config = configured(sizes, one(1, 1, 2, 5, 16, 40), dtype, optimizer, one(0.0, 0.2, 0.9), one(0.0, 0.2, 0.5))
    p = model.initial(sizes, dtype, rng)
    p.W1[...] *= 10 ** rng.uniform(0, 3) if kind in ("W1", "both") else 1  # |z| up to some thousand
    p.W2[...] *= 10 ** rng.uniform(0, 5) if kind in ("W2", "both") else 1  # logits up to 1e5: probabilities underflow
    p.C[...] *= 10 ** rng.uniform(0, 3) if kind == "C" else 1
    if kind == "biases":
        p.b1[...], p.b2[...] = (rng.standard_normal(len(b)) * 10 ** rng.uniform(0, 3) for b in (p.b1, p.b2))
    batch = some_batch(config, sizes, rng, False)
    parts = min(one(1, 1, 2), len(batch.targets))
    return Scene(replace(config, check=check), sizes, p, batch, parts, rng)


def configured(sizes: Sizes, B: int, dtype: str, optimizer: str, dropout: float, embedding_dropout: float) -> Config:
    rule: dict[str, Any] = {
        "sgd": {}, "momentum": {"momentum": 0.9, "learning_rate": 0.02},
        "adamw": {"optimizer": "adamw", "learning_rate": 3e-3, "weight_decay": 0.01},
    }[optimizer]  # fmt: skip
    train = Train(steps=10**6, batch_size=B, dropout=dropout, embedding_dropout=embedding_dropout, **rule)
    return Config(Data("-"), Model(sizes.K, sizes.D, sizes.H, dtype), train)


def some_batch(config: Config, sizes: Sizes, rng: np.random.Generator, certain: bool) -> Batch:
    B = config.train.batch_size
    contexts = rng.integers(rng.integers(1, sizes.V + 1), size=(B, sizes.K))
    targets = contexts.sum(axis=1) % sizes.V if certain else rng.integers(sizes.V, size=B)
    return Batch(contexts, targets, *draw_masks(config, rng))


@cache
def trained(dtype: str, optimizer: str, certain: bool) -> tuple[Config, Sizes, Array]:
    """The parameters after 2,000 steps: on noise, or on a text whose characters follow from their context."""
    k = OPTIMIZERS.index(optimizer) + (dtype == "float64")
    sizes, B = [(Sizes(27, 3, 4, 20), 8), (Sizes(3, 2, 2, 30), 1), (Sizes(12, 1, 8, 10), 16), (Sizes(5, 2, 3, 7), 1)][k]
    config, rng = configured(sizes, B, dtype, optimizer, 0.2 * (k % 2), 0.2 * (k < 2)), np.random.default_rng(k)
    p, g, scratch = model.initial(sizes, dtype, rng), model.zeros(sizes, dtype), model.zeros(sizes, dtype)
    parts, state = split_batch(sizes, B, dtype, 1, g), optim.initial_state(config.train, p)
    for step in range(2000):
        gradients(p, some_batch(config, sizes, rng, certain), parts, g, POOL)
        optim.update(config.train, p, g, state, step, scratch.flat)
    return config, sizes, p.flat


def false_alarms(seeds: range) -> list[tuple[int, Row]]:
    alarms = []
    for seed in seeds:
        s = drawn_scene(seed)
        g, after, t = model.zeros(s.sizes, s.p.flat.dtype), model.zeros(s.sizes, s.p.flat.dtype), s.config.train
        parts = split_batch(s.sizes, len(s.batch.targets), s.config.model.dtype, s.parts, g)
        gradients(s.p, s.batch, parts, g, POOL)
        hand = by_hand(s.p, s.batch, parts, g)
        after.flat[...] = s.p.flat
        optim.update(t, after, g, optim.initial_state(t, after), 0, np.empty_like(g.flat))
        zero = checks.sum_to_zero([part.a.dlogits for part in parts], len(s.batch.targets))
        rows = [zero, *s.rows(hand), checks.update(s.config, s.point(), hand, after)]
        assert len(rows) == 1 + 9 + 1 + 1 + 1
        alarms += [(seed, row) for row in rows if not row["passed"]]
        assert all(math.isfinite(checks.severity(row)[0]) for row in rows if row["name"] != "update")
    return alarms


def test_no_false_alarm() -> None:
    with np.errstate(all="ignore"):
        assert false_alarms(range(150)) == []


@pytest.mark.long
def test_no_false_alarm_in_20000_steps() -> None:
    with np.errstate(all="ignore"):
        assert false_alarms(range(150, 20_150)) == []


# The checks of someone who knows backprop by heart.


def test_descent_is_right_for_the_gradient_and_wrong_for_another() -> None:
    s = scene(*SHAPES[2])
    at, tol = s.point(), s.tolerances()
    g = checks.flat(s.sizes, s.hand())
    row = checks.descent(at, g, tol)
    p = model.zeros(s.sizes, np.float64)
    p.flat[...] = s.p.flat - row["predicted"] / (g @ g) * g
    lower = plain_loss(plain_inputs(s._replace(p=p)), s.batch)
    assert row["passed"]
    assert row["actual"] == pytest.approx(plain_loss(plain_inputs(s), s.batch) - lower, abs=1e-14)  # two roundings
    assert row["ratio"] == pytest.approx(1, abs=0.05)
    assert row["ratio"] == row["actual"] / row["predicted"]
    for factor in (2.0, -1.0):  # the loss falls by slope * step: a gradient twice too long promises twice too much
        wrong = checks.descent(at, factor * g, tol)
        assert not wrong["passed"]
        assert wrong["ratio"] == pytest.approx(1 / factor, abs=0.01)
    assert checks.descent(at, 0 * g, tol) == {
        "name": "descent", "passed": True, "predicted": 0.0, "actual": 0.0, "ratio": 1.0
    }  # fmt: skip


def moved(s: Scene, along: float) -> tuple[dict[str, Array], Parameters]:
    """The gradients, and the parameters so far along them."""
    hand, after = s.hand(), model.zeros(s.sizes, np.float64)
    after.flat[...] = s.p.flat + along * checks.flat(s.sizes, hand)
    return hand, after


@pytest.mark.parametrize("train", [{}, {"momentum": 0.9}, {"optimizer": "adamw"}])
def test_update_beside_its_prediction(train: dict[str, Any]) -> None:
    s = scene(*SHAPES[2])
    config = replace(s.config, train=replace(s.config.train, **train))
    name, plain = config.train.optimizer, not train
    g = checks.flat(s.sizes, s.hand())
    for along, passed, word in (
        (-0.01, True, None),
        (-1e6, True, "the learning rate is too high"),
        (0.01, not plain, f"{name} moved with the gradient"),
    ):
        hand, after = moved(s, along)
        row = checks.update(config, s.point(), hand, after)
        assert row["passed"] == passed
        # The move is a difference of parameters: each is rounded to 2e-16 of itself.
        assert row["predicted"] == pytest.approx(along * (g @ g), rel=1e-10)
        assert row["loss_before"] == pytest.approx(plain_loss(plain_inputs(s), s.batch), rel=1e-13)
        if along > -1:  # farther, the plain model overflows
            assert row["loss_after"] == pytest.approx(plain_loss(plain_inputs(s._replace(p=after)), s.batch), rel=1e-13)
        warning, broken = checks.warning([row], config), checks.blame([row], config)
        assert (warning is None) == (word is None or not passed)
        assert word is None or not warning or word in warning
        assert (broken is None) == passed
        assert passed or (broken and "look at sgd in optim.py" in broken)


def test_an_update_across_the_gradient_must_not_raise_the_loss_under_plain_sgd() -> None:
    s = scene(*SHAPES[2])
    _, after = moved(s, 0.01)
    nothing = {name: 0 * array for name, array in s.hand().items()}
    row = checks.update(s.config, s.point(), nothing, after)
    assert (row["passed"], row["predicted"]) == (False, 0)
    assert checks.update(s.config, s.point(), nothing, s.p)["passed"]


@pytest.mark.parametrize("method", METHODS)
def test_direction_reaches_the_entries_that_are_not_drawn(method: str) -> None:
    s = scene(*SHAPES[2], method=method, coordinates=1)
    at, tol, g = s.point(), s.tolerances(), checks.flat(s.sizes, s.hand())
    row = checks.direction(at, g, tol, s.config.check, np.random.default_rng(5))
    assert row["passed"]
    assert row["by_hand"] == pytest.approx(row["numerical"], abs=1e-9)
    for k in np.flatnonzero(g)[::7]:
        wrong = g.copy()
        wrong[k] += 0.01
        row = checks.direction(at, wrong, tol, s.config.check, np.random.default_rng(5))
        assert not row["passed"]
        message = checks.blame([row], s.config)
        assert message
        assert "in an entry that was not drawn: run with check.coordinates=all" in message


def test_sum_to_zero_takes_the_largest_row_of_all_parts() -> None:
    parts = [np.array([[0.5, -0.5], [0.25, -0.125]]), np.array([[0.5, -0.75]])]
    row = checks.sum_to_zero(parts, 3)
    assert (row["passed"], row["value"]) == (False, 0.25)
    assert checks.sum_to_zero([np.array([[0.5, -0.5]])], 1)["passed"]
    assert checks.sum_to_zero([np.array([[0.5, -0.5 + 1e-15]])], 1)["passed"]  # (V + 4) roundings of 2e-16, twice
    assert not checks.sum_to_zero([np.array([[0.5, -0.5 + 1e-14]])], 1)["passed"]
    assert checks.sum_to_zero([np.array([[0.5, -0.5 + 1e-7]], np.float32)], 1)["passed"]


def test_initial_loss_beside_log_V() -> None:
    row = checks.initial_loss(3.35, 27, 0.1)
    assert (row["passed"], row["expected"]) == (True, pytest.approx(3.2958, abs=1e-4))
    for value in (3.19, 3.40, math.nan):
        row = checks.initial_loss(value, 27, 0.1)
        assert not row["passed"]
        assert checks.blame([row], Config(Data("-"))) is None  # a warning, no failure
        assert "output weights are too large" in str(checks.warning([row], Config(Data("-"))))


# The message.

LINKS = {
    "logits": ("dlogits is wrong: look at softmax_cross_entropy_backward", "dlogits = (p - y) / B"),
    "h": ("dlogits is right, dh is wrong: look at affine_backward_input", "dh = dlogits · W2ᵀ"),
    "z": ("dlogits is right, dh is right, dz is wrong: look at tanh_backward", "dz = dh · (1 - h²)"),
    "emb": ("dh is right, dz is right, demb is wrong: look at affine_backward_input", "demb = dz · W1ᵀ"),
    "W2": ("dlogits is right, dW2 is wrong: look at affine_backward_weight", "dW2 = hᵀ · dlogits"),
    "b2": ("dlogits is right, db2 is wrong: look at affine_backward_bias", "db2 = sum of dlogits over the batch"),
    "W1": ("dz is right, dW1 is wrong: look at affine_backward_weight", "dW1 = embᵀ · dz"),
    "b1": ("dz is right, db1 is wrong: look at affine_backward_bias", "db1 = sum of dz over the batch"),
    "C": ("dz is right, demb is right, dC is wrong: look at embedding_backward", "dC[v] = sum of demb where v stands"),
}


@pytest.mark.parametrize("name", ORDER)
def test_the_message_names_the_first_wrong_link(name: str) -> None:
    s = scene(*SHAPES[2])
    hand = s.hand()
    assert checks.blame(s.rows(hand), s.config) is None
    place = (int(s.batch.contexts[0, 0]), 1) if name == "C" else (1,) * hand[name].ndim
    hand[name] = hand[name].copy()
    hand[name][place] += 0.25
    rows = s.rows(hand)
    dropped = s.config.train, Train(dropout=0.1, context_dropout=0.1)
    found, *wanted = (str(checks.blame(rows, replace(s.config, train=t))) for t in (Train(), *dropped))
    start, formula = LINKS[name]
    right = next(row["numerical"] for row in rows if row.get("tensor") == name)
    assert found.startswith(start)
    assert formula in found
    assert found.endswith(f"worst at {list(place)}: by hand {right + 0.25:.4e}, numerical {right:.4e}")
    assert ["dropout" in message for message in wanted] == [name in ("z", "C")] * 2  # the links where dropout sits
    assert "dropout" not in found
    later = ORDER[ORDER.index(name) + 1 :]
    for row in rows:
        row["passed"] &= row.get("tensor") not in later[:2]
    assert checks.blame(rows, replace(s.config, train=Train())) == found


def test_the_message_names_the_sum_over_parts() -> None:
    s = scene(*SHAPES[2], parts=2)
    hand = s.hand()
    message = checks.blame(s.rows(hand | {name: 2 * hand[name] for name in NAMES}), s.config)
    assert message == (
        "every inner gradient is right and every parameter's is wrong: look at gradients, which adds up the parts"
    )


def test_the_message_names_softmax_where_p_minus_y_does_not_sum_to_zero() -> None:
    s = scene(*SHAPES[2])
    rows = [checks.sum_to_zero([np.array([[0.5, -0.25]])], 1), *s.rows(s.hand())]
    assert str(checks.blame(rows, s.config)).startswith("p - y does not sum to zero: look at softmax")


# Failures in a run.


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> int:
    """A small checked training; its exit status."""
    monkeypatch.chdir(folder)
    (folder / "names.txt").write_text("anna\nbob\ncarla\ndan\neve\nfrank\ngina\nhugo\nida\njan\n" * 3)
    (folder / "c.yaml").write_text(
        "data: {path: names.txt}\nmodel: {context: 2, embedding: 3, hidden: 5}\nlog: {samples: 0}\n"
        "train: {steps: 5, batch_size: 6}\ncheck: {enabled: true}\n"
    )
    return main(["--config", "c.yaml", *overrides])


def test_a_failure_stops_the_run_or_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_square(dh: Array, h: Array, out: Array) -> Array:
        return np.multiply(dh, 1 - h, out)

    monkeypatch.setattr(ops, "tanh_backward", without_square)
    assert run(tmp_path, monkeypatch, "check.on_failure=stop") == 1
    assert "failed: a check failed at step 0: dlogits is right, dh is right, dz is wrong" in capsys.readouterr().err

    assert run(tmp_path, monkeypatch, "check.on_failure=warn", "check.every=2") == 1
    out, err = capsys.readouterr()
    for step in range(5):
        assert (f"warning: step {step}: a check failed: dlogits is right, dh is right, dz" in err) == (step % 2 == 0)
    stopped, warned = sorted((tmp_path / "runs" / "c").iterdir())
    assert '"event": "end"' not in (stopped / "metrics.jsonl").read_text()
    rows = [json.loads(line) for line in (warned / "metrics.jsonl").read_text().splitlines()]
    end = rows[-1]
    assert (end["event"], end["step"]) == ("end", 5)
    assert end["checks"]["gradient"]["run"] == 27
    wrong = [row for row in rows if row.get("name") == "gradient" and not row["passed"]]
    assert {row["tensor"] for row in wrong} == {"z", "emb", "W1", "b1", "C"}
    assert end["checks"]["gradient"]["failed"] == len(wrong) == 15
    assert end["checks"]["gradient"]["worst"] == max(row["max_rel_error"] for row in wrong)
    assert end["checks"]["sum_to_zero"] == {"run": 3, "failed": 0, "worst": pytest.approx(0, abs=1e-6)}
    line = next(line.split() for line in out.splitlines() if line.split()[:1] == ["gradient"])
    assert line[1:3] == ["27", "15"]
