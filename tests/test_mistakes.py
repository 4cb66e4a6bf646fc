"""The table of mistakes: every row, as a learner writes it, is named as itself, and what is right is not named."""

import inspect
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from practice_files.right import RIGHT
from practice_files.wrong import PAIRS, WRONG

from trainer.mistakes.diagnosis import what_was_done
from trainer.mistakes.table import MISTAKES, Mistake
from trainer.tools.practice.answer import answer
from trainer.tools.practice.point import BLANKS, Exercise, exercise
from trainer.tools.practice.run import program
from trainer.tools.practice.verdict import Verdict

LINES = {
    "logits": "dlogits = (p - y) / B",
    "W2": "dW2 = h.T @ dlogits",
    "b2": "db2 = dlogits.sum(0)",
    "h": "dh = dlogits @ W2.T",
    "z": "dz = dh * (1 - h**2)",
    "W1": "dW1 = emb.T @ dz",
    "b1": "db1 = dz.sum(0)",
    "emb": "demb = dz @ W1.T",
    "C": "dC = np.zeros_like(C)\nnp.add.at(dC, X, demb.reshape(B, K, D))",
}
BATCHES = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 5))]

point = cache(exercise)


def verdicts(link: str, lines: str, seed: int) -> dict[str, Verdict]:
    """What is said of a file that is right but for these lines."""
    text = "\n".join(lines if blank.link == link else LINES[blank.link] for blank in BLANKS)
    return {each.name: each for each in answer(program(text.encode(), "mine.py"), point(seed)).verdicts}


def arrays(exercise: Exercise) -> dict[str, Any]:
    return {**exercise.given, **{f"d{link}": value for link, value in exercise.right.items()}}


def head(mistake: Mistake) -> str:
    return mistake.sentence.partition(": ")[0].replace(" * ", " · ")


def all_rows() -> Iterator[tuple[str, Mistake]]:
    for link, mistakes in MISTAKES.items():
        for mistake in mistakes:
            yield link, mistake


@pytest.mark.parametrize("seed", BATCHES)
def test_every_row_is_named_as_itself(seed: int) -> None:
    for link, lines, expected in WRONG:
        found = verdicts(link, lines, seed)
        said = found.pop(f"d{link}")
        assert said.word == "WRONG", lines
        assert said.sentence.startswith(f"you wrote {expected}: "), (lines, said.sentence)
        assert {each.word for each in found.values()} == {"right"}, lines


def test_every_row_is_written_out() -> None:
    written = {(link, expected) for link, _, expected in WRONG}
    assert {(link, head(mistake)) for link, mistake in all_rows()} == written


@pytest.mark.parametrize("seed", BATCHES)
def test_what_is_right_is_called_right(seed: int) -> None:
    assert len(RIGHT) > 50
    for link, lines in RIGHT:
        found = verdicts(link, lines, seed)
        assert {each.word for each in found.values()} == {"right"}, (lines, found[f"d{link}"])


@pytest.mark.parametrize("seed", BATCHES)
def test_two_mistakes_at_once_are_both_named(seed: int) -> None:
    assert len(PAIRS) > 20
    for link, lines, one, other in PAIRS:
        said = verdicts(link, lines, seed)[f"d{link}"]
        assert one in said.sentence, (lines, said.sentence)
        assert other in said.sentence, (lines, said.sentence)


def test_the_formula_in_a_sentence_is_the_one_that_is_evaluated() -> None:
    names = arrays(point(0))
    evaluated = 0
    for _, mistake in all_rows():
        if mistake.added:
            continue
        text = mistake.sentence.partition(": ")[0]
        try:
            written = eval(text, {"exp": np.exp, "cosh": np.cosh, "tanh": np.tanh, "abs": abs, **names})
        except Exception:
            continue  # told in words
        found = mistake.formula(**{name: names[name] for name in inspect.signature(mistake.formula).parameters})
        found = found if isinstance(found, list) else [found]
        if isinstance(written, np.ndarray) and written.shape == found[0].shape:
            evaluated += 1
            assert any(np.allclose(written, each, rtol=1e-12, atol=0) for each in found), text
    assert evaluated > 45


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_at_a_point_of_training_the_rows_are_named_in_its_type(dtype: type) -> None:
    here = point(0)
    names = arrays(here)
    for link, mistake in all_rows():
        found = mistake.formula(**{name: names[name] for name in inspect.signature(mistake.formula).parameters})
        wrong = found[0] if isinstance(found, list) else found
        wrong = here.right[link] - 0.1 * wrong if mistake.added else wrong
        said = what_was_done(link, wrong.astype(dtype), here.right[link], names, mistake.source)
        assert said is not None
        assert said.startswith("it is " + head(mistake)), (link, said)


def test_a_gradient_that_is_right_or_random_is_not_named() -> None:
    here, rng = point(0), np.random.default_rng(0)
    for link, right in here.right.items():
        assert what_was_done(link, right, right, arrays(here)) is None
        assert what_was_done(link, right.astype(np.float32), right, arrays(here)) is None
        assert what_was_done(link, rng.standard_normal(right.shape), right, arrays(here)) is None


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
    here = point(0)
    for link, right in here.right.items():
        said = what_was_done(link, factor * right, right, arrays(here))
        already = said is not None and any(said.startswith(f"it is {head(row)}") for row in MISTAKES[link])
        assert said is not None
        assert expected in said or already, (link, said)


def test_rows_and_columns_that_differ_are_named() -> None:
    here = point(0)
    right = here.right["z"]

    def said(change: Any) -> str | None:
        wrong = right.copy()
        change(wrong)
        return what_was_done("z", wrong, right, arrays(here))

    rng = np.random.default_rng(0)
    noise = rng.standard_normal(right.shape)
    assert said(lambda x: x.__setitem__(3, noise[3])) == "row 3 is wrong, the others right"
    assert said(lambda x: x.__setitem__(slice(0, 31), 0)) == "only row 31 is right"
    assert said(lambda x: x.__setitem__(slice(4, 8), 0)) == "rows 4 to 7 are zero, the others right"
    assert said(lambda x: x.__setitem__([1, 4, 9], noise[:3])) == "rows 1, 4 and 9 are wrong, the others right"
    assert said(lambda x: x.__setitem__((slice(None), 5), 0)) == "column 5 is zero, the others right"
    b = here.right["b1"].copy()
    b[7] += 1
    assert what_was_done("b1", b, here.right["b1"], arrays(here)) == "entry 7 is wrong, the others right"


def test_a_formula_that_overflows_is_not_what_was_written() -> None:
    here = point(0)
    names = arrays(here) | {"logits": here.given["logits"] + 1000}  # of which exp is infinite
    noise = np.random.default_rng(0).standard_normal(here.right["logits"].shape)
    with np.errstate(all="raise"):
        assert what_was_done("logits", noise, here.right["logits"], names) is None


def test_entries_that_were_not_drawn_are_not_looked_at() -> None:
    here = point(0)
    right = np.where(np.random.default_rng(0).random((32, 64)) < 0.1, here.right["z"], np.nan)
    names = arrays(here)
    said = what_was_done("z", names["dh"] * (1 - names["h"]), right, names)
    assert said == "it is dh · (1 - h): the square is missing"


def test_no_sentence_has_a_name_that_its_reader_does_not_have() -> None:
    for _, mistake in all_rows():
        assert re.match(r"[^:]+(:[^:]+)*: \S", mistake.sentence), mistake.sentence
        assert len(mistake.sentence) < 110, mistake.sentence
