"""The table of mistakes: every row is named at a step of training; what its rows do not tell is said in other words."""

from functools import cache
from typing import Any

import numpy as np
import plain_model
import pytest
from practice_files import WRONG

from trainer.core import model
from trainer.core.ops import Array, frozen
from trainer.errors import RunFailed
from trainer.mistakes.blame import only_reading
from trainer.mistakes.diagnosis import instead, times, what_was_done
from trainer.mistakes.names import given
from trainer.mistakes.table import LECTURE, MISTAKES
from trainer.tools.practice.point import draw

ROWS = [(link, mistake) for link, mistakes in MISTAKES.items() for mistake in mistakes]


@cache
def point() -> tuple[dict[str, Any], dict[str, Array]]:
    """A step under the names of the table, and the right gradients, by autograd."""
    p, batch = draw()
    right = plain_model.gradients(p, batch)
    return given(p, batch, model.forward(p, batch)) | {f"d{name}": value for name, value in right.items()}, right


def test_every_row_is_written_out() -> None:
    assert {(link, mistake.written) for link, mistake in ROWS} == {(link, expected) for link, expected, _ in WRONG}
    for mistake in [row for rows in (*MISTAKES.values(), *LECTURE.values()) for row in rows]:
        assert mistake.cause
        assert len(mistake.written + mistake.cause) < 113


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_at_a_step_of_training_the_rows_are_named_in_its_type(dtype: type) -> None:
    arrays, right = point()
    for link, mistake in ROWS:
        wrong = mistake.faces(arrays)[0]
        wrong = right[link] - 0.1 * wrong if mistake.added else wrong
        words = what_was_done(link, wrong.astype(dtype), right[link], arrays, mistake.source or None)
        begun = "these are the numbers of" if mistake.source else "it is"
        assert str(words).startswith(f"{begun} {mistake.written}: "), (link, words)


def test_a_gradient_that_is_right_or_random_is_not_named() -> None:
    (arrays, right), rng = point(), np.random.default_rng(0)
    for link, gradient in right.items():
        noise = rng.standard_normal(gradient.shape)
        for found in (gradient, gradient.astype(np.float32), noise, gradient * np.nan):
            assert what_was_done(link, found, gradient, arrays) is None
    with np.errstate(all="raise"):  # exp of these is infinite
        assert what_was_done("logits", noise, gradient, arrays | {"logits": arrays["logits"] + 1000}) is None


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (-1, "the sign is turned round"),
        (32, "it is 32 times too large, and B is 32: the 1/B of the mean is missing"),
        (1 / 32, "it is 32 times too small, and B is 32: the 1/B was taken once more"),
        (32 / 27, "divided by V, not by B"),
        (1 / 27, "it is 27 times too small, and V is 27: the mean is over the examples, not"),
        (1 / 32 / 27, ".mean() over everything"),
        (2, "it is 2 times too large: doubled"),
        (0.5, "halved"),
        (3, "and K is 3: once for each place of the context"),
        (1 / 3, "divided by the places of the context"),
        (1 / np.log(2), "not to base 2"),
        (1 / np.log(10), "not to base 10"),
        (32 / 31, "divided by B - 1"),
        (-32, "the sign is turned round, and it is 32 times too large, and B is 32"),
        (1.25, "it is 1.25 times too large"),
        (0, "it is all zero: was it filled?"),
    ],
)
def test_a_constant_factor_is_named(factor: float, expected: str) -> None:
    arrays, right = point()
    for link, gradient in right.items():
        words = str(what_was_done(link, factor * gradient, gradient, arrays))
        already = any(words.startswith(f"it is {row.written}") for row in MISTAKES[link])
        assert expected in words or already, (link, words)


def test_what_two_causes_explain_is_explained_by_none() -> None:
    for ratio, B, V, K, words in [
        (16, 16, 27, 3, "it is 16 times too large, and B is 16: the 1/B of the mean is missing"),
        (1 / 16, 16, 16, 3, "it is 16 times too small"),  # by B, or by V
        (2, 16, 27, 2, "it is 2 times too large"),  # doubled, or once for each place
    ]:
        assert times(ratio, 1e-9, {"B": B, "V": V, "K": K}) == words
    right, rng = np.arange(1.0, 9), np.random.default_rng(0)
    other = rng.standard_normal(8)
    assert instead(other, right, [("one", other)], 1e-9) == "one"
    assert instead(other, right, [("one", other), ("the same in other words", other)], 1e-9) is None
    assert instead(right[:3] * 2, right[:3], [], 1e-9) is None  # three numbers are always some multiple, or nearly
    assert instead(right * (1 + 1e-7), right, [], 1e-9) is None  # not "1 times"


def test_rows_and_columns_that_differ_are_named() -> None:
    arrays, right = point()
    noise = np.random.default_rng(0).standard_normal(right["z"].shape)
    cases: list[tuple[str, Any, Any, str]] = [
        ("z", 3, noise[3], "1 of 32 rows are wrong, from 3 to 3; others right"),
        ("z", slice(4, 8), 0, "4 of 32 rows are zero, from 4 to 7; others right"),
        ("z", (slice(30), 5), noise[:30, 5], "1 of 64 columns are wrong, from 5 to 5; others right"),
        ("b1", [7, 9], 9.0, "2 of 64 entries are wrong, from 7 to 9; others right"),
    ]
    for link, place, value, words in cases:
        wrong = right[link].copy()
        wrong[place] = value
        assert what_was_done(link, wrong, right[link], arrays) == words


def test_only_an_operation_that_writes_into_what_it_was_given_is_blamed_for_that() -> None:
    fixed = frozen(np.ones(3))
    with pytest.raises(RunFailed, match=r"step 3: .*test_mistakes.py"), only_reading(3):
        fixed *= 2
    with pytest.raises(ValueError, match="broadcast"), only_reading(3):
        fixed + np.ones(2)
