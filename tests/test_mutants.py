"""The checks' own code is checked: each line of it that is spoilt here is seen by the test that stands beside it."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import test_checks as of_checks
import test_referee as of_referee
from planted.planting import Bug, plant

from trainer.core.tolerances import of_slopes, tolerances


@pytest.mark.parametrize(
    ("method", "dtype", "entry", "slope"),
    [
        ("central", "float64", 1.6e-7, 2.5e-6),
        ("complex-step", "float64", 1.9e-12, 1.5e-11),
        ("central", "float32", 5.2e-4, 7.0e-5),
    ],
)
def test_tolerances_are_as_wide_as_they_were(method: str, dtype: str, entry: float, slope: float) -> None:
    """How far an entry of dC may be off, and a slope, relative to the largest entry or the norm, at one step."""
    s = of_checks.scene(*of_checks.SHAPES[2], method=method)
    entries, slopes = (of(s.at, s.check, dtype) for of in (tolerances, of_slopes))
    largest, norm = float(abs(s.hand["C"]).max()), float(np.linalg.norm(s.hand["C"]))
    assert entries.atol["C"] / largest + entries.rtol["C"] == pytest.approx(entry, rel=0.1)
    assert slopes.atol["C"] / norm + slopes.rtol["C"] == pytest.approx(slope, rel=0.1)


@pytest.mark.parametrize("method", of_checks.METHODS)
@pytest.mark.parametrize("eps", [1e-6, 1e-3, 0.1, 0.5])
def test_a_right_gradient_passes_at_any_eps(method: str, eps: float) -> None:
    for coordinates in ("all", "directions"):
        s = of_checks.scene(*of_checks.SHAPES[2], method=method, eps=eps, coordinates=coordinates)
        assert all(verdict.passed for verdict in s.verdicts(s.hand))


WIDTH = partial(test_tolerances_are_as_wide_as_they_were, "central", "float64", 1.6e-7, 2.5e-6)
WIDTH32 = partial(test_tolerances_are_as_wide_as_they_were, "central", "float32", 5.2e-4, 7.0e-5)
ANY_EPS = partial(test_a_right_gradient_passes_at_any_eps, "central", 0.1)
FINITE = partial(of_checks.test_what_is_not_finite_is_caught, "z", np.nan)
SECOND = partial(of_checks.test_directions_see_a_wrong_tensor_and_then_look_at_every_entry, "W1", "central")
GIVEN = partial(of_checks.test_tolerances_that_are_given_hold, "rtol", 1.0)
AUTOGRAD = partial(of_checks.test_numerical_gradients_are_autograds, *of_checks.SHAPES[2], "central")
DESCENT = of_checks.test_descent_is_right_for_the_gradient_and_wrong_for_another
ABSENT = partial(of_checks.test_an_absent_character_must_have_exactly_no_gradient, "all")
SUM = partial(of_checks.test_sum_to_zero_takes_the_largest_row, np.array([[0.5, -0.5 + 1e-14]]), False, 1e-14)
FORWARD = partial(of_referee.test_each_tensor_of_the_forward_pass_is_held_against_its_definition, "float32")
MOVE = partial(of_referee.test_every_entry_of_the_move_is_held_against_the_rule, of_referee.RULES[2], "float64")
FED = of_referee.test_a_batch_that_is_not_of_the_text_is_found_and_stops_nothing
MASKS = of_referee.test_masks_hold_two_values_and_keep_what_chance_allows
SHOWN = of_referee.test_evaluation_is_held_against_the_plain_pass
BLIND = partial(of_referee.test_a_check_that_sees_nothing_says_so, "all", {"rtol": 0.5}, "check.rtol=0.5: ")
THREADS = of_referee.test_the_sum_over_the_threads_is_computed_again
CHANCE = partial(of_referee.test_a_count_is_as_far_off_as_it_is_surprising_at_most_that_often, 40, 0.9)
RATE = of_referee.test_the_learning_rate_follows_its_definition
AGAIN = of_referee.test_a_batch_that_comes_again_is_found_where_chance_does_not_draw_it_twice
TOL, CHECKS, NUMBERS = "core.tolerances:", "core.checks:", "core.numerical:"
PASS, UPDATE, FEED = "referee.forward:", "referee.update:", "referee.feeding:"
MUTANTS: list[tuple[str, str, str, Callable[[], None]]] = [
    (TOL + "tolerances", "float(large.chain * rounding", "30 * float(large.chain * rounding", WIDTH),
    (TOL + "tolerances", "quotient = lost + bend * t", "quotient = lost", ANY_EPS),
    (TOL + "of_slopes", "atol[name] = entry", "atol[name] = 30 * entry", WIDTH32),
    (TOL + "given", 'rtol if check.rtol == "auto"', "rtol if True", GIVEN),
    (TOL + "nudges", "ROUNDING ** (1 / 3)", "ROUNDING ** (1 / 4)", WIDTH),
    (TOL + "longest", "np.vecdot(scaled, scaled).max()", "np.vecdot(scaled, scaled).sum()", WIDTH),
    (TOL + "sum_of", "min(n,", "30 * min(n,", FORWARD),
    (CHECKS + "check_gradients", "if all(verdict.passed for verdict in verdicts)", "if True", SECOND),
    (CHECKS + "check_entries", "allowed[unread(at)] = 0", "pass", ABSENT),
    (CHECKS + "check_entries", "if not math.isfinite(tol.atol[name])", "if True", SECOND),
    (CHECKS + "descent", "(0.05 + doubt)", "(5 + doubt)", DESCENT),
    (CHECKS + "sum_to_zero", "np.full(B, 2 * u", "np.full(B, 60 * u", SUM),
    ("core.verdict:compare", "np.isnan(excess), np.inf", "np.isnan(excess), 0", FINITE),
    ("core.verdict:compare", "excess[worst] <= 1", "excess[worst] <= 1000", MOVE),
    (NUMBERS + "quotient", "/ (2 * eps)", "/ (2.001 * eps)", AUTOGRAD),
    (NUMBERS + "gradients", "/ len(at.batch.targets)", "/ 1", AUTOGRAD),
    (NUMBERS + "point", "astype(np.float64))", "astype(np.float32))", AUTOGRAD),
    (PASS + "bounds", "u * sum_of(len(p.W1))", "30 * u * sum_of(len(p.W1))", FORWARD),
    (PASS + "bounds", "u * sum_of(len(p.W2))", "30 * u * sum_of(len(p.W2))", FORWARD),
    (PASS + "bounds", "2 * u * size", "300 * u * size", FORWARD),
    (PASS + "bounds", "8 * u * size", "300 * u * size", FORWARD),
    (PASS + "bounds", "(8 + sum_of(V)", "100 * (8 + sum_of(V)", SHOWN),
    (PASS + "in_float64", "np.tanh(", "np.sin(", FORWARD),
    (PASS + "in_float64", "W2 + b2", "W2", FORWARD),
    (UPDATE + "check_update", "4 * u * (1 + move.rate", "120 * u * (1 + move.rate", MOVE),
    (UPDATE + "check_update", "4 * u * (np.abs(held)", "120 * u * (np.abs(held)", MOVE),
    (UPDATE + "check_update", "8 * ROUNDING", "240 * ROUNDING", MOVE),
    (UPDATE + "scheduled_rate", "int(step >= train.steps * 3 / 4)", "0", RATE),
    (UPDATE + "move_of", "< len(witness.before.matrices)", "< len(p)", MOVE),
    (FEED + "check_batch", "positions >= end", "positions > 10 * end", FED),
    (FEED + "check_batch", "(found != right).any(axis=1)", "np.zeros(B)", FED),
    (FEED + "examples_at", "ids[:, :K][ends_behind > 0] = 0", "pass", FED),
    (FEED + "check_mask", "2 * unit(mask.dtype)", "1e5 * unit(mask.dtype)", MASKS),
    (FEED + "check_mask", "surprises.max() > tolerance", "surprises.max() > 30 * tolerance", MASKS),
    ("referee.spread:surprise", "trials * (yes + no)", "2 * trials * (yes + no)", CHANCE),
    ("referee.spread:surprise", "share > 0", "share > 0.5", CHANCE),
    ("referee.spread:most", "2 * NEVER * counts", "NEVER * counts", CHANCE),
    ("referee.evaluation:examine", "distinct < n", "distinct < n - 5", SHOWN),
    ("referee.evaluation:examine", "1e-9 * (1", "1e-6 * (1", SHOWN),
    ("referee.evaluation:rounded", "2 * off_logits", "200 * off_logits", SHOWN),
    ("referee.gradients:seen_by", "< BLIND * size", "< 30 * size", BLIND),
    ("referee.gradients:check_gradients", "if len(witness.passes) > 1", "if False", THREADS),
    ("referee.gradients:check_again", "rtol * float", "30 * rtol * float", THREADS),
]  # fmt: skip


@pytest.mark.parametrize(("function", "old", "new", "probe"), MUTANTS)
def test_a_check_that_is_spoilt_is_seen(
    function: str, old: str, new: str, probe: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    probe()
    plant(Bug(function, old, new, "", ""), monkeypatch)
    with pytest.raises((AssertionError, StopIteration, ValueError)):
        probe()
