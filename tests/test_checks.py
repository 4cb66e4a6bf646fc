"""Numerical gradients against autograd's, and each check of the core on what is right and on what is wrong."""

import math
from typing import Any, NamedTuple

import numpy as np
import plain_model
import pytest

from trainer.config import Check, Config, Data, Model, Train
from trainer.core import checks, model, numerical
from trainer.core.links import LINKS, ORDER
from trainer.core.model import INNER, NAMES, Batch, Parameters, Sizes
from trainer.core.numerical import Point
from trainer.core.ops import Array
from trainer.core.tolerances import tolerances
from trainer.core.verdict import Verdict, compare
from trainer.text.batches import draw_masks

METHODS = ("central", "complex-step")
SHAPES = [(Sizes(2, 1, 1, 1), 1), (Sizes(2, 3, 2, 4), 5), (Sizes(9, 3, 4, 6), 7), (Sizes(5, 2, 7, 3), 3)]


class Scene(NamedTuple):
    """A step about to be taken: its point, its gradients by hand, how it is checked."""

    p: Parameters
    batch: Batch
    at: Point
    hand: dict[str, Array]
    check: Check
    rng: np.random.Generator

    def numerical(self) -> dict[str, Array]:
        return numerical.gradients(self.at, self.check.method, tolerances(self.at, self.check, "float64").eps)

    def verdicts(self, hand: dict[str, Array]) -> list[Verdict]:
        return checks.check_gradients(self.at, hand, self.check, "float64", self.rng)


def scene(sizes: Sizes, B: int, seed: int = 0, **options: Any) -> Scene:
    """Random weights of a started training, a batch with repeated characters, both dropouts."""
    rng = np.random.default_rng(seed)
    train = Train(batch_size=B, dropout=0.3, embedding_dropout=0.2)
    config = Config(Data("-"), Model(sizes.K, sizes.D, sizes.H, "float64"), train, Check(enabled=True, **options))
    p = plain_model.parameters(rng, sizes)
    few = max(1, 2 * sizes.V // 3)  # the other characters are not in the batch
    contexts, targets = rng.integers(few, size=(B, sizes.K)), rng.integers(sizes.V, size=B)
    batch = Batch(contexts, targets, *draw_masks(config, rng))
    activations, g = model.forward(p, batch), model.zeros(sizes, np.float64)
    inner = model.backward(p, batch, activations, g, 1 / B)
    hand = dict(zip(INNER, inner, strict=True)) | {name: getattr(g, name) for name in NAMES}
    return Scene(p, batch, numerical.point(p, batch), hand, config.check, rng)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("sizes", "B"), SHAPES)
def test_numerical_gradients_and_slopes_are_autograds(sizes: Sizes, B: int, method: str) -> None:
    s = scene(sizes, B, method=method)
    right, found = plain_model.gradients(s.p, s.batch), s.numerical()
    for name, eps in tolerances(s.at, s.check, "float64", slopes=True).eps.items():
        # What a central difference of step 6e-6 rounds and truncates is of the order of 1e-10.
        near = (1e-8 if method == "central" else 1e-14) * abs(right[name]).max()
        np.testing.assert_allclose(found[name], right[name], rtol=0, atol=near, err_msg=name)
        direction = s.rng.standard_normal(right[name].shape)
        direction /= np.linalg.norm(direction)
        slope = numerical.slope(s.at, name, direction, method, eps)
        assert slope == pytest.approx(float(np.vdot(right[name], direction)), abs=10 * near), name


def test_the_formulas_of_the_links_are_right() -> None:
    s = scene(Sizes(9, 3, 4, 6), 7)
    s = s._replace(batch=s.batch._replace(emb_mask=None, h_mask=None))
    a, right = model.forward(s.p, s.batch), plain_model.gradients(s.p, s.batch)
    exps = np.exp(a.logits)
    arrays: dict[str, Any] = {**vars(s.p), **a._asdict(), "X": s.batch.contexts, "B": 7, "V": 9, "D": 4}
    arrays |= {"p": exps / exps.sum(1, keepdims=True), "y": np.eye(9)[s.batch.targets]}
    arrays |= {"d" + name: gradient for name, gradient in right.items()}
    for name, link in LINKS.items():
        found = link.right(**{each: arrays[each] for each in link.takes})
        np.testing.assert_allclose(found, right[name], rtol=0, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(6))
def test_an_error_of_a_thousandth_in_one_entry_is_caught(method: str, seed: int) -> None:
    s = scene(*SHAPES[1:][seed % 3], seed, method=method)
    tol, found = tolerances(s.at, s.check, "float64"), s.numerical()
    for name, hand in s.hand.items():
        places = np.argwhere(abs(hand) > 1000 * tol.atol[name])
        assert len(places) > 0
        for place in s.rng.permutation(places)[:40]:
            for factor in (0.999, 1.001):
                wrong = hand.copy()
                wrong[tuple(place)] *= factor
                verdict = checks.check_entries(s.at, name, wrong, found[name], tol)
                assert (verdict.passed, verdict.worst) == (False, place.tolist())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ORDER)
def test_directions_see_a_wrong_tensor_and_then_look_at_every_entry(name: str, method: str) -> None:
    s = scene(*SHAPES[2], method=method, coordinates="directions")
    slopes = s.verdicts(s.hand)
    assert [(verdict.of, verdict.passed, verdict.count) for verdict in slopes[:9]] == [(of, True, 1) for of in ORDER]
    wrong = s.verdicts(s.hand | {name: 1.01 * s.hand[name]})
    assert [verdict.of for verdict in wrong if verdict.name == "gradient" and not verdict.passed] == [name]
    assert [verdict.count for verdict in wrong[:9]] == [s.hand[of].size for of in ORDER]


def test_the_smallest_error_of_one_entry_that_directions_see() -> None:
    """At the lecture shape, one per cent of a tensor's largest gradient, in nine steps of ten."""
    s = scene(Sizes(27, 3, 10, 200), 32)
    tol = tolerances(s.at, s.check, "float32", slopes=True)
    for name, gradient in s.hand.items():
        wrong = gradient.copy()
        wrong[np.unravel_index(int(abs(wrong).argmax()), wrong.shape)] *= 1.01
        drawn = [np.random.default_rng(k) for k in range(40)]
        seen = sum(not checks.check_slope(s.at, name, wrong, tol, "central", rng).passed for rng in drawn)
        assert seen >= 32, name  # 36 are expected, or more
        assert all(checks.check_slope(s.at, name, gradient, tol, "central", rng).passed for rng in drawn)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ORDER)
def test_what_is_not_finite_is_caught(name: str, value: float) -> None:
    s = scene(*SHAPES[2])
    hand = s.hand[name].copy()
    place = tuple(i - 1 for i in hand.shape) if name != "C" else (int(s.batch.contexts[0, 0]), 1)
    hand[place] = value
    with np.errstate(invalid="ignore"):  # as in training
        (wrong,) = [verdict for verdict in s.verdicts(s.hand | {name: hand})[:9] if not verdict.passed]
    assert (wrong.of, wrong.worst) == (name, list(place))


COMPARED = """\
1 2       1 2.5   1 1     passes 1
1 2       1.2 2.5 0.1 1   fails 0
0 1       0 1     0 1     passes 0
1e-300 1  0 1     0 1     fails 0     exactly zero is asked for
1 nan     1 1     1 1     fails 1
1 1       1 nan   1 1     fails 1
1 inf     1 inf   1 1     fails 1
1 nan     1 1     1 inf   passes 0    where numbers are too large, nothing can be said
"""


@pytest.mark.parametrize("row", COMPARED.splitlines())
def test_compare_finds_the_worst_entry(row: str) -> None:
    """Two entries found, two expected, their tolerances; whether they pass, and which is the worst."""
    *numbers, word, worst = row.split()[:8]
    found, expected, tolerance = np.array(numbers, float).reshape(3, 2)
    verdict = compare("x", found, expected, tolerance)
    assert (verdict.passed, verdict.worst, verdict.count) == (word == "passes", [int(worst)], 2)
    assert verdict.tolerance == tolerance[int(worst)]


@pytest.mark.parametrize("coordinates", ["all", "directions"])
def test_an_absent_character_must_have_exactly_no_gradient(coordinates: str) -> None:
    s = scene(*SHAPES[2], coordinates=coordinates)
    absent = int(np.setdiff1d(np.arange(9), s.batch.contexts)[-1])
    assert all(verdict.passed for verdict in s.verdicts(s.hand))
    dC = s.hand["C"].copy()
    dC[absent, 2] = 1e-300
    (wrong,) = [verdict for verdict in s.verdicts(s.hand | {"C": dC}) if not verdict.passed]
    assert (wrong.of, wrong.worst, wrong.found, wrong.expected) == ("C", [absent, 2], 1e-300, 0.0)


@pytest.mark.parametrize(("key", "value"), [("rtol", 1.0), ("atol", 10.0), ("rtol", 0.0), ("atol", 0.0)])
def test_tolerances_that_are_given_hold(key: str, value: float) -> None:
    for coordinates in ("all", "directions"):
        s = scene(*SHAPES[2], coordinates=coordinates, **{"rtol": 0.0, "atol": 0.0, key: value})
        wrong = {name: 1.5 * gradient for name, gradient in s.hand.items()}
        gradients = [verdict for verdict in s.verdicts(wrong) if verdict.name == "gradient"]
        assert [verdict.passed for verdict in gradients] == [bool(value)] * 9


def test_descent_is_right_for_the_gradient_and_wrong_for_another() -> None:
    s = scene(*SHAPES[2])
    tol, g = tolerances(s.at, s.check, "float64"), checks.as_parameters(s.p.sizes, s.hand).flat
    fall = lambda factor: checks.check_descent(s.at, Parameters(s.p.sizes, factor * g), tol)
    verdict, nothing = fall(1), fall(0)
    lower = Parameters(s.p.sizes, s.p.flat - verdict.expected / (g @ g) * g)
    before, after = (plain_model.loss(plain_model.inputs(p, s.batch), s.batch) for p in (s.p, lower))
    assert verdict.passed
    assert verdict.found == pytest.approx(before - after, abs=1e-14)  # two roundings
    assert verdict.found == pytest.approx(verdict.expected, rel=0.05)
    for factor in (2.0, -1.0):  # the loss falls by slope * step: a gradient twice too long promises twice too much
        wrong = fall(factor)
        assert not wrong.passed
        assert wrong.found / wrong.expected == pytest.approx(1 / factor, abs=0.01)
    assert (nothing.passed, nothing.found, nothing.expected) == (True, 0.0, 0.0)


@pytest.mark.parametrize(
    ("dlogits", "passed", "value"),
    [
        (np.array([[0.5, -0.5], [0.25, -0.125], [0.5, -0.75]]), False, -0.25),
        (np.array([[0.5, -0.5]]), True, 0.0),
        (np.array([[0.5, -0.5 + 1e-15]]), True, 1e-15),  # (V + 4) roundings of 2e-16, twice
        (np.array([[0.5, -0.5 + 1e-14]]), False, 1e-14),
        (np.array([[0.5, -0.5 + 1e-7]], np.float32), True, 1e-7),
    ],
)
def test_sum_to_zero_takes_the_largest_row(dlogits: Array, passed: bool, value: float) -> None:
    verdict = checks.check_sum_to_zero(dlogits)
    assert (verdict.passed, verdict.found) == (passed, pytest.approx(value, rel=0.3))  # 1e-7 in float32 is 1.19e-7


def test_initial_loss_beside_log_V() -> None:
    verdict = checks.check_initial_loss(3.35, 27, 0.1)
    assert (verdict.passed, verdict.expected) == (True, pytest.approx(3.2958, abs=1e-4))
    assert [checks.check_initial_loss(value, 27, 0.1).passed for value in (3.19, 3.40, math.nan)] == [False] * 3
