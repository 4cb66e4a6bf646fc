"""The table of mistakes: every row is named at a step of training; what its rows do not tell is said in other words."""

import inspect
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import plain_model
import pytest
from practice_files.wrong import WRONG

from trainer.core import model
from trainer.core.model import Batch, Sizes
from trainer.core.ops import Array
from trainer.mistakes.blame import wrote_into
from trainer.mistakes.diagnosis import instead, times, what_was_done
from trainer.mistakes.table import MISTAKES, Mistake

SIZES, B = Sizes(27, 3, 10, 64), 32


@cache
def point() -> tuple[dict[str, Any], dict[str, Array]]:
    """A step under the names of the table, and the right gradients, by autograd."""
    rng = np.random.default_rng(0)
    p = model.initial(SIZES, np.float64, rng)
    p.W2[...] *= 20
    p.b1[...], p.b2[...] = rng.standard_normal(SIZES.H) / 2, rng.standard_normal(SIZES.V) / 2
    batch = Batch(rng.integers(SIZES.V, size=(B, SIZES.K)), rng.integers(SIZES.V, size=B))
    a, right = model.forward(p, batch), plain_model.gradients(p, batch)
    exps = np.exp(a.logits)
    given = {"X": batch.contexts, "Y": batch.targets, "y": np.eye(SIZES.V)[batch.targets], "B": B, **SIZES._asdict()}
    given |= {name: getattr(p, name) for name in model.NAMES} | a._asdict()
    given |= {"p": exps / exps.sum(axis=1, keepdims=True)} | {f"d{name}": value for name, value in right.items()}
    return given | {"np": np}, right


def head(mistake: Mistake) -> str:
    return mistake.sentence.partition(": ")[0].replace(" * ", " · ")


def all_rows() -> Iterator[tuple[str, Mistake]]:
    for link, mistakes in MISTAKES.items():
        for mistake in mistakes:
            yield link, mistake


def test_every_row_is_written_out() -> None:
    written = {(link, expected) for link, _, expected in WRONG}
    assert {(link, head(mistake)) for link, mistake in all_rows()} == written


def test_the_formula_in_a_sentence_is_the_one_that_is_evaluated() -> None:
    given, evaluated = point()[0], 0
    for _, mistake in all_rows():
        text = mistake.sentence.partition(": ")[0]
        try:
            written = eval(text, {"exp": np.exp, "tanh": np.tanh, "abs": abs, **given})
        except Exception:
            continue  # told in words
        found = mistake.formula(**{name: given[name] for name in inspect.signature(mistake.formula).parameters})
        found = found if isinstance(found, list) else [found]
        if isinstance(written, np.ndarray) and written.shape == found[0].shape and not mistake.added:
            evaluated += 1
            assert any(np.allclose(written, each, rtol=1e-12, atol=0) for each in found), text
    assert evaluated > 35


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_at_a_step_of_training_the_rows_are_named_in_its_type(dtype: type) -> None:
    given, right = point()
    for link, mistake in all_rows():
        found = mistake.formula(**{name: given[name] for name in inspect.signature(mistake.formula).parameters})
        wrong = found[0] if isinstance(found, list) else found
        wrong = right[link] - 0.1 * wrong if mistake.added else wrong
        words = what_was_done(link, wrong.astype(dtype), right[link], given, mistake.source)
        assert str(words).startswith("it is " + head(mistake)), (link, words)


def test_a_gradient_that_is_right_or_random_is_not_named() -> None:
    (given, right), rng = point(), np.random.default_rng(0)
    for link, gradient in right.items():
        assert what_was_done(link, gradient, gradient, given) is None
        assert what_was_done(link, gradient.astype(np.float32), gradient, given) is None
        assert what_was_done(link, rng.standard_normal(gradient.shape), gradient, given) is None
        assert what_was_done(link, gradient * np.nan, gradient, given) is None


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
    given, right = point()
    for link, gradient in right.items():
        words = str(what_was_done(link, factor * gradient, gradient, given))
        already = any(words.startswith(f"it is {head(row)}") for row in MISTAKES[link])
        assert expected in words or already, (link, words)


def test_what_two_causes_explain_is_explained_by_none() -> None:
    assert times(16, 1e-9, (16, 27, 3)) == "it is 16 times too large, and B is 16: the 1/B of the mean is missing"
    assert times(1 / 16, 1e-9, (16, 16, 3)) == "it is 16 times too small"  # by B, or by V
    assert times(2, 1e-9, (16, 27, 2)) == "it is 2 times too large"  # doubled, or once for each place
    right, rng = np.arange(1.0, 9), np.random.default_rng(0)
    other = rng.standard_normal(8)
    assert instead(other, right, [("one", other)], 1e-9) == "one"
    assert instead(other, right, [("one", other), ("the same in other words", other)], 1e-9) is None
    assert instead(right[:3] * 2, right[:3], [], 1e-9) is None  # three numbers are always some multiple, or nearly
    assert instead(right * (1 + 1e-7), right, [], 1e-9) is None  # not "1 times"


def test_rows_and_columns_that_differ_are_named() -> None:
    given, right = point()

    def words(link: str, place: Any, value: Any) -> str | None:
        wrong = right[link].copy()
        wrong[place] = value
        return what_was_done(link, wrong, right[link], given)

    noise = np.random.default_rng(0).standard_normal(right["z"].shape)
    assert words("z", 3, noise[3]) == "row 3 is wrong, the others right"
    assert words("z", slice(4, 8), 0) == "rows 4 to 7 are zero, the others right"
    assert words("z", [1, 4, 9], noise[:3]) == "3 rows are wrong, the others right"
    assert words("z", (slice(None), 5), 0) == "column 5 is zero, the others right"
    assert words("b1", 7, 9.0) == "entry 7 is wrong, the others right"


def test_a_formula_that_overflows_is_not_what_was_written() -> None:
    given, right = point()
    noise = np.random.default_rng(0).standard_normal(right["logits"].shape)
    with np.errstate(all="raise"):  # exp of these is infinite
        assert what_was_done("logits", noise, right["logits"], given | {"logits": given["logits"] + 1000}) is None


def test_no_sentence_has_a_name_that_its_reader_does_not_have() -> None:
    for _, mistake in all_rows():
        assert re.match(r"[^:]+(:[^:]+)*: \S", mistake.sentence), mistake.sentence
        assert len(mistake.sentence) < 110, mistake.sentence


def test_only_an_operation_that_writes_into_what_it_was_given_is_blamed_for_that() -> None:
    fixed = model.frozen(np.ones(3))
    for wrong, named in ((lambda: fixed.__imul__(2), True), (lambda: fixed + np.ones(2), False)):
        with pytest.raises(ValueError, match=r"read-only|broadcast") as caught:
            wrong()
        words = wrote_into(caught.value)
        assert (words is not None) == named
        assert words is None or "test_mistakes.py" in words
