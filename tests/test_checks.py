"""The checks find what is wrong and name it: the numerical gradients, each verdict, each message."""

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import plain_model
import pytest
from search import Inline

from trainer.config import Check, Config, Data, Model, Train
from trainer.core import checks, loop, model, numerical, ops
from trainer.core.model import INNER, NAMES, Batch, Parameters, Sizes
from trainer.core.numerical import ORDER
from trainer.core.ops import Array
from trainer.core.tolerances import tolerances
from trainer.core.verdicts import Direction, Gradient, SumToZero, Verdict
from trainer.core.witness import copy
from trainer.mistakes import blame
from trainer.referee.update import Update
from trainer.runs.inspection import Inspector
from trainer.runs.threads import gradients, split_batch
from trainer.text.batches import draw_masks
from trainer.tools.command import main

METHODS = ("central", "complex-step")
SHAPES = [(Sizes(2, 1, 1, 1), 1), (Sizes(2, 3, 2, 4), 5), (Sizes(9, 3, 4, 6), 7), (Sizes(5, 2, 7, 3), 3)]


class Scene(NamedTuple):
    """A step about to be taken."""

    config: Config
    sizes: Sizes
    p: Parameters
    batch: Batch
    rng: np.random.Generator

    def hand(self) -> dict[str, Array]:
        """Every gradient by hand."""
        parts = split_batch(self.sizes, len(self.batch.targets), self.config.model.dtype, 1)
        compute, p = partial(gradients, parts, Inline()), copy(self.p, self.sizes)
        return loop.watched_step(self.config.train, self.sizes, p, {}, 0, self.batch, compute).gradients

    def point(self) -> numerical.Point:
        return numerical.point(self.p, self.batch, self.sizes)

    def eps(self) -> dict[str, float]:
        return tolerances(self.point(), self.config.check, self.config.model.dtype).eps

    def numerical(self) -> dict[str, Array]:
        check = self.config.check
        return numerical.gradients(self.point(), check.method, self.eps(), check.coordinates, self.rng)

    def compare(self, name: str, by_hand: Array) -> Gradient:
        check = self.config.check
        tol = tolerances(self.point(), check, self.config.model.dtype)
        return checks.compare(name, by_hand, self.numerical()[name], tol, check, self.point())

    def verdicts(self, hand: dict[str, Array]) -> list[Verdict]:
        return checks.check_gradients(self.point(), hand, self.config.check, self.config.model.dtype, self.rng)


def scene(sizes: Sizes, B: int, seed: int = 0, **options: Any) -> Scene:
    """Random weights of a started training, a batch with repeated characters, both dropouts."""
    rng = np.random.default_rng(seed)
    train = Train(batch_size=B, dropout=0.3, embedding_dropout=0.2)
    config = Config(Data("-"), Model(sizes.K, sizes.D, sizes.H, "float64"), train, Check(enabled=True, **options))
    p = model.initial(sizes, np.float64, rng)
    p.W2[...] *= 10
    p.b1[...], p.b2[...] = rng.standard_normal(sizes.H), rng.standard_normal(sizes.V)
    few = max(1, 2 * sizes.V // 3)  # the other characters are not in the batch
    contexts, targets = rng.integers(few, size=(B, sizes.K)), rng.integers(sizes.V, size=B)
    return Scene(config, sizes, p, Batch(contexts, targets, *draw_masks(config, rng)), rng)


def plain_loop(s: Scene, method: str, eps: dict[str, float]) -> dict[str, Array]:
    """One coordinate at a time through the whole forward pass."""
    inputs, found = plain_model.inputs(s.p, s.batch), {}

    def loss(name: str, place: Any, step: complex) -> Any:
        moved = inputs[name].astype(np.result_type(inputs[name], step))
        moved[place] += step
        return plain_model.loss(inputs | {name: moved}, s.batch)

    for name, array in inputs.items():
        e = float(eps[name])
        found[name] = np.zeros(array.shape)
        for place in np.ndindex(array.shape):
            if method == "complex-step":
                found[name][place] = loss(name, place, 1j * e).imag / e
            else:
                found[name][place] = (loss(name, place, e) - loss(name, place, -e)) / (2 * e)
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("sizes", "B"), SHAPES)
def test_numerical_gradients_are_those_of_the_plainest_loop_and_of_autograd(sizes: Sizes, B: int, method: str) -> None:
    s = scene(sizes, B, method=method)
    loop_s, right_s = plain_loop(s, method, s.eps()), plain_model.gradients(s.p, s.batch)
    for name, found in s.numerical().items():
        # What a central difference of step 6e-6 rounds and truncates is of the order of 1e-10.
        atol = 1e-8 * abs(right_s[name]).max()
        np.testing.assert_allclose(found, loop_s[name], rtol=0, atol=atol, err_msg=name)
        close = atol if method == "central" else 1e-6 * atol
        np.testing.assert_allclose(found, right_s[name], rtol=0, atol=close, err_msg=name)


@pytest.mark.parametrize("method", METHODS)
def test_drawn_coordinates_have_their_values_and_reach_every_place(method: str) -> None:
    s = scene(Sizes(11, 3, 4, 6), 8, method=method)
    hand, seen = s.hand(), {name: np.zeros(array.shape, bool) for name, array in s.hand().items()}
    few = s._replace(config=replace(s.config, check=replace(s.config.check, coordinates=5)))
    present = np.isin(np.arange(11), s.batch.contexts)
    for _ in range(60):
        for name, found in few.numerical().items():
            drawn = ~np.isnan(found)
            if name == "C":
                assert (found[~present] == 0).all()
                drawn[~present] = False
            assert drawn.sum() == 5
            assert found[drawn] == pytest.approx(hand[name][drawn], rel=1e-6, abs=1e-9)
            seen[name] |= drawn
    assert (seen["C"].any(axis=1) == present).all()
    assert seen["b1"].all()
    assert seen["b2"].all()
    assert seen["W2"].sum() > 60  # of 66: 300 draws leave out a given one with (61/66)^60 = 0.9 %


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(6))
def test_an_error_of_a_thousandth_in_one_entry_is_caught(method: str, seed: int) -> None:
    s = scene(*SHAPES[1:][seed % 3], seed, method=method)
    tol, found, hand = tolerances(s.point(), s.config.check, "float64"), s.numerical(), s.hand()
    for name in ORDER:
        places = np.argwhere(abs(hand[name]) > 1000 * tol.atol[name])
        assert len(places) > 0
        for place in s.rng.permutation(places)[:40]:
            for factor in (0.999, 1.001):
                wrong = hand[name].copy()
                wrong[tuple(place)] *= factor
                verdict = checks.compare(name, wrong, found[name], tol, s.config.check, s.point())
                assert (verdict.passed, verdict.worst) == (False, place.tolist())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ORDER)
def test_what_is_not_finite_is_caught(name: str, value: float) -> None:
    s = scene(*SHAPES[2])
    hand = s.hand()[name].copy()
    place = tuple(i - 1 for i in hand.shape) if name != "C" else (int(s.batch.contexts[0, 0]), 1)
    hand[place] = value
    with np.errstate(invalid="ignore"):  # as in training
        verdict = s.compare(name, hand)
    assert (verdict.passed, verdict.worst) == (False, list(place))


def test_a_numerical_gradient_that_is_no_number_passes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    s = scene(*SHAPES[2], atol=1.0)
    hand = s.hand()
    monkeypatch.setattr(numerical, "slopes", lambda method, eps, losses: np.full(np.shape(losses(eps))[-1], np.nan))
    with np.errstate(invalid="ignore"):  # as in training
        assert not s.compare("z", hand["z"]).passed


def test_the_worst_of_a_kind_stays_the_worst_even_if_it_is_no_number() -> None:
    tallies = SimpleNamespace(tallies={})
    found = [SumToZero(passed=False, value=value, atol=1.0) for value in (1.0, np.nan, 2.0)]
    assert [Inspector.count(tallies, verdict, step) for step, verdict in enumerate(found)] == [True, True, False]  # type: ignore[arg-type]
    assert tallies.tallies["sum_to_zero"] == {"run": 3, "failed": 3, "worst": 1e308, "where": "step 1"}


def test_an_absent_character_must_have_exactly_no_gradient() -> None:
    s = scene(*SHAPES[2], coordinates=2)
    hand = s.hand()
    absent = int(np.setdiff1d(np.arange(s.sizes.V), s.batch.contexts)[-1])
    assert all(verdict.passed for verdict in s.verdicts(hand))
    hand["C"] = hand["C"].copy()
    hand["C"][absent, 2] = 1e-300
    (wrong,) = [verdict for verdict in s.verdicts(hand) if isinstance(verdict, Gradient) and not verdict.passed]
    assert (wrong.tensor, wrong.worst, wrong.by_hand, wrong.numerical) == ("C", [absent, 2], 1e-300, 0.0)


# The checks of someone who knows backprop by heart.


def test_descent_is_right_for_the_gradient_and_wrong_for_another() -> None:
    s = scene(*SHAPES[2])
    at, tol = s.point(), tolerances(s.point(), s.config.check, "float64")
    g = checks.as_vector(s.sizes, s.hand())
    verdict = checks.descent(at, g, tol)
    lower = model.zeros(s.sizes, np.float64)
    lower.flat[...] = s.p.flat - verdict.predicted / (g @ g) * g
    before, after = (plain_model.loss(plain_model.inputs(p, s.batch), s.batch) for p in (s.p, lower))
    assert verdict.passed
    assert verdict.actual == pytest.approx(before - after, abs=1e-14)  # two roundings
    assert verdict.ratio == pytest.approx(1, abs=0.05)
    assert verdict.ratio == verdict.actual / verdict.predicted
    for factor in (2.0, -1.0):  # the loss falls by slope * step: a gradient twice too long promises twice too much
        wrong = checks.descent(at, factor * g, tol)
        assert (wrong.passed, wrong.ratio) == (False, pytest.approx(1 / factor, abs=0.01))
    nothing = checks.descent(at, 0 * g, tol)
    assert (nothing.passed, nothing.predicted, nothing.actual, nothing.ratio) == (True, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("method", METHODS)
def test_direction_reaches_the_entries_that_are_not_drawn(method: str) -> None:
    s = scene(*SHAPES[2], method=method, coordinates=1)
    at, tol, g = s.point(), tolerances(s.point(), s.config.check, "float64"), checks.as_vector(s.sizes, s.hand())

    def along(by_hand: Array) -> Direction:
        return checks.direction(at, by_hand, tol, s.config.check, np.random.default_rng(5))

    assert along(g).passed
    assert along(g).by_hand == pytest.approx(along(g).numerical, abs=1e-9)
    for k in np.flatnonzero(g)[::7]:
        wrong = g.copy()
        wrong[k] += 0.01
        assert not along(wrong).passed
        assert "in an entry that was not drawn: run with check.coordinates=all" in str(
            blame.blame([along(wrong)], s.config)
        )


@pytest.mark.parametrize(
    ("dlogits", "passed", "value"),
    [
        (np.array([[0.5, -0.5], [0.25, -0.125], [0.5, -0.75]]), False, 0.25),
        (np.array([[0.5, -0.5]]), True, 0.0),
        (np.array([[0.5, -0.5 + 1e-15]]), True, 1e-15),  # (V + 4) roundings of 2e-16, twice
        (np.array([[0.5, -0.5 + 1e-14]]), False, 1e-14),
        (np.array([[0.5, -0.5 + 1e-7]], np.float32), True, 1e-7),
    ],
)
def test_sum_to_zero_takes_the_largest_row(dlogits: Array, passed: bool, value: float) -> None:
    verdict = checks.sum_to_zero(dlogits)
    assert (verdict.passed, verdict.value) == (passed, pytest.approx(value, rel=0.3))  # 1e-7 in float32 is 1.19e-7


def test_initial_loss_beside_log_V() -> None:
    verdict = checks.initial_loss(3.35, 27, 0.1)
    assert (verdict.passed, verdict.expected) == (True, pytest.approx(3.2958, abs=1e-4))
    for value in (3.19, 3.40, math.nan):
        verdict = checks.initial_loss(value, 27, 0.1)
        assert not verdict.passed
        assert blame.blame([verdict], Config(Data("-"))) is None  # a warning, no failure
        assert "output weights are too large" in str(blame.warning([verdict], Config(Data("-"))))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize(
    ("predicted", "after", "says"),
    [(-0.1, 1.9, None), (-0.1, 2.5, "the learning rate is too high"), (0.1, 2.5, "{} moved with the gradient")],
)
def test_an_update_that_goes_uphill_is_a_warning(
    optimizer: str, predicted: float, after: float, says: str | None
) -> None:
    verdict = Update(
        passed=True, predicted=predicted, loss_before=2.0, loss_after=after, tensor="C", max_abs_error=0.0, atol=1e-9,
        found="",
    )  # fmt: skip
    config = Config(Data("-"), train=Train(optimizer=optimizer))
    assert blame.blame([verdict], config) is None
    expected = says and f"the update went uphill, 2.0000 -> 2.5000: {says.format(optimizer)}"
    assert blame.warning([verdict], config) == expected


# The message.

MESSAGES = {
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
    hand, plain = s.hand(), replace(s.config, train=Train())
    assert blame.blame(s.verdicts(hand), s.config) is None
    place = (int(s.batch.contexts[0, 0]), 1) if name == "C" else (1,) * hand[name].ndim
    hand[name] = hand[name].copy()
    hand[name][place] += 0.25
    verdicts = s.verdicts(hand)
    found, start_formula = str(blame.blame(verdicts, plain)), MESSAGES[name]
    right = next(v.numerical for v in verdicts if isinstance(v, Gradient) and v.tensor == name)
    assert found.startswith(start_formula[0])
    assert start_formula[1] in found
    assert found.endswith(f"worst at {list(place)}: by hand {right + 0.25:.4e}, numerical {right:.4e}")
    assert "dropout" not in found
    for train in (s.config.train, Train(dropout=0.1, context_dropout=0.1)):
        message = str(blame.blame(verdicts, replace(s.config, train=train)))
        assert ("dropout" in message) == (name in ("z", "C"))  # the links where dropout sits
    later = ORDER[ORDER.index(name) + 1 :]
    also = [replace(v, passed=False) if isinstance(v, Gradient) and v.tensor in later[:2] else v for v in verdicts]
    assert blame.blame(also, plain) == found


def test_a_remark_and_what_was_done_join_the_message() -> None:
    s = scene(*SHAPES[2])
    hand = s.hand()
    hand["z"] = 2 * hand["z"]
    message = str(blame.blame(s.verdicts(hand), s.config, ["tanh_backward changed dh"], "it is 2 times too large"))
    assert message.startswith("tanh_backward changed dh; dlogits is right, dh is right, dz is wrong")
    assert message.endswith("it is 2 times too large")


def test_the_message_names_softmax_where_p_minus_y_does_not_sum_to_zero() -> None:
    s = scene(*SHAPES[2])
    verdicts: list[Verdict] = [SumToZero(passed=False, value=0.25, atol=1e-15), *s.verdicts(s.hand())]
    assert str(blame.blame(verdicts, s.config)).startswith("p - y does not sum to zero: look at softmax")


def test_a_verdict_is_one_line_and_a_row_of_plain_values() -> None:
    s = scene(*SHAPES[2])
    for verdict in s.verdicts(s.hand()):
        assert repr(verdict).startswith(f"{verdict.name} passed: ")
        assert "\n" not in repr(verdict)
        assert json.loads(json.dumps(verdict.row())) == verdict.row()
    assert set(INNER) | set(NAMES) == set(ORDER)


# Failures in a run.


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> int:
    """A small checked training; its exit status."""
    monkeypatch.chdir(folder)
    (folder / "names.txt").write_text("anna\nbob\ncarla\ndan\neve\nfrank\ngina\nhugo\nida\njan\n")
    (folder / "c.yaml").write_text(
        "data: {path: names.txt}\nmodel: {context: 2, embedding: 3, hidden: 5}\nlog: {samples: 0}\n"
        "train: {steps: 5, batch_size: 6}\ncheck: {enabled: true}\n"
    )
    return main(["--config", "c.yaml", *overrides])


def test_a_failure_stops_the_run_or_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_square(dh: Array, h: Array, out: Array | None = None) -> Array:
        return dh * (1 - h)

    monkeypatch.setattr(ops, "tanh_backward", without_square)
    assert run(tmp_path, monkeypatch) == 1
    told = capsys.readouterr().err
    assert "failed: a check failed at step 0: dlogits is right, dh is right, dz is wrong" in told
    assert "the square is missing" in told

    assert run(tmp_path, monkeypatch, "check.on_failure=warn", "train.steps=3") == 1
    out, err = capsys.readouterr()
    for step in range(3):
        assert f"warning: step {step}: a check failed: dlogits is right, dh is right, dz" in err
    stopped, warned = sorted((tmp_path / "runs" / "c").iterdir())
    assert '"event": "end"' not in (stopped / "metrics.jsonl").read_text()
    rows = [json.loads(line) for line in (warned / "metrics.jsonl").read_text().splitlines()]
    end = rows[-1]
    assert (end["event"], end["step"]) == ("end", 3)
    assert end["checks"]["gradient"]["run"] == 27
    wrong = [row for row in rows if row.get("name") == "gradient" and not row["passed"]]
    assert {row["tensor"] for row in wrong} == {"z", "emb", "W1", "b1", "C"}
    assert end["checks"]["gradient"]["failed"] == len(wrong) == 15
    assert end["checks"]["gradient"]["worst"] == max(row["max_rel_error"] for row in wrong)
    assert end["checks"]["sum_to_zero"] == {"run": 3, "failed": 0, "worst": pytest.approx(0, abs=1e-6)}
    line = next(line.split() for line in out.splitlines() if line.split()[:1] == ["gradient"])
    assert line[1:3] == ["27", "15"]


def test_coordinates_are_drawn_anew_at_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def compare(name: str, hand: Array, found: Array, *others: Any, real: Any = checks.compare) -> Gradient:
        drawn.append(f"{name} {np.flatnonzero(~np.isnan(found)).tolist()} {found[~np.isnan(found)].tolist()}")
        return real(name, hand, found, *others)  # type: ignore[no-any-return]

    monkeypatch.setattr(checks, "compare", compare)
    assert run(tmp_path, monkeypatch, "check.coordinates=3", "train.steps=4") == 0
    assert len(drawn) == len(set(drawn)) == 4 * 9
