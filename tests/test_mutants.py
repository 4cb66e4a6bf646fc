"""The checks' own code is checked: each line of it that is spoilt here is seen by the test that stands beside it."""

from functools import partial

import numpy as np
import pytest
import test_checks as of_checks
import test_referee as of_referee
from planted.planting import Bug, plant, read

from trainer.core.tolerances import tolerances

Width = tuple[float, float]  # rtol, and atol relative to the size of the gradient
WIDTHS: list[tuple[str, str, Width, Width]] = [
    ("central", "float64", (2.93e-10, 1.63e-7), (2.93e-10, 5.21e-7)),
    ("complex-step", "float64", (3.63e-14, 1.88e-12), (1.51e-15, 3.13e-12)),
    ("central", "float32", (1.95e-5, 5.05e-4), (8.12e-7, 6.77e-5)),
]


@pytest.mark.parametrize(("method", "dtype", "entry", "slope"), WIDTHS)
def test_tolerances_are_as_wide_as_they_were(method: str, dtype: str, entry: Width, slope: Width) -> None:
    """Of an entry of dC, beside the largest, and of a slope, beside the root mean square, at one step."""
    s = of_checks.scene(*of_checks.SHAPES[2], method=method)
    sizes = abs(s.hand["C"]).max(), np.sqrt((s.hand["C"] ** 2).mean())
    for slopes, size, expected in zip((False, True), sizes, (entry, slope), strict=True):
        tol = tolerances(s.at, s.check, dtype, slopes)
        assert (tol.rtol["C"], tol.atol["C"] / size) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("method", of_checks.METHODS)
@pytest.mark.parametrize("eps", [1e-6, 1e-3, 0.1, 0.5])
def test_a_right_gradient_passes_at_any_eps(method: str, eps: float) -> None:
    for coordinates in ("all", "directions"):
        s = of_checks.scene(*of_checks.SHAPES[2], method=method, eps=eps, coordinates=coordinates)
        assert all(verdict.passed for verdict in s.verdicts(s.hand))


PROBES = {
    "WIDTH": partial(test_tolerances_are_as_wide_as_they_were, *WIDTHS[0]),
    "WIDTH32": partial(test_tolerances_are_as_wide_as_they_were, *WIDTHS[2]),
    "ANY_EPS": partial(test_a_right_gradient_passes_at_any_eps, "central", 0.1),
    "FINITE": partial(of_checks.test_what_is_not_finite_is_caught, "z", np.nan),
    "SECOND": partial(of_checks.test_directions_see_a_wrong_tensor_and_then_look_at_every_entry, "W1", "central"),
    "GIVEN": partial(of_checks.test_tolerances_that_are_given_hold, "rtol", 1.0),
    "AUTOGRAD": partial(of_checks.test_numerical_gradients_and_slopes_are_autograds, *of_checks.SHAPES[2], "central"),
    "DESCENT": of_checks.test_descent_is_right_for_the_gradient_and_wrong_for_another,
    "ABSENT": partial(of_checks.test_an_absent_character_must_have_exactly_no_gradient, "all"),
    "SUM": partial(of_checks.test_sum_to_zero_takes_the_largest_row, np.array([[0.5, -0.5 + 1e-14]]), False, 1e-14),
    "FORWARD": partial(of_referee.test_each_tensor_of_the_forward_pass_is_held_against_its_definition, "float32"),
    "MOVE": partial(of_referee.test_every_entry_of_the_move_is_held_against_the_rule, of_referee.RULES[2], "float64"),
    "FED": of_referee.test_a_batch_that_is_not_of_the_text_is_found_and_stops_nothing,
    "MASKS": of_referee.test_masks_hold_two_values_and_keep_what_chance_allows,
    "SHOWN": of_referee.test_evaluation_is_held_against_the_plain_pass,
    "BLIND": partial(of_referee.test_a_check_that_sees_nothing_says_so, {"rtol": 0.5}, "check.rtol=0.5, and ", "all"),
    "THREADS": of_referee.test_the_sum_over_the_threads_is_computed_again,
    "CHANCE": partial(of_referee.test_a_count_is_as_far_off_as_it_is_surprising_at_most_that_often, 40, 0.9),
    "RATE": partial(of_referee.test_the_learning_rate_follows_its_definition, "step", 0),
}


@pytest.mark.parametrize("mutant", read("mutants.txt"), ids=str)
def test_a_check_that_is_spoilt_is_seen(mutant: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = PROBES[mutant.setting]
    probe()
    plant(mutant, monkeypatch)
    with pytest.raises((AssertionError, StopIteration, ValueError)):
        probe()
