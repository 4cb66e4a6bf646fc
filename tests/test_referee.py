"""The referee: what should be is what the definition says, what is found is measured, and a wrong number is found."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import plain_model
import pytest
from search import Inline, some_corpus

from trainer import referee
from trainer.config import Check, Config, Data, Model, Train
from trainer.core import loop, model, numerical, ops, optim, tolerances
from trainer.core.model import Batch, Sizes
from trainer.core.ops import Array
from trainer.core.witness import Witness
from trainer.referee import batch, dropout, evaluation, forward, rule, slopes, start, sums, update
from trainer.runs import threads
from trainer.text.batches import batches
from trainer.text.corpus import Corpus

SIZES = Sizes(9, 3, 4, 6)


def configured(dtype: str = "float32", check: dict[str, Any] | None = None, **train: Any) -> Config:
    given: dict[str, Any] = {"steps": 10, "batch_size": 8, **train}
    return Config(
        Data("-"), Model(SIZES.K, SIZES.D, SIZES.H, dtype), Train(**given), Check(enabled=True, **(check or {}))
    )


def watched(config: Config, steps: int = 1, lines: bool = True) -> tuple[Witness, Corpus]:
    """The last of so many steps, from a model with random biases."""
    rng = np.random.default_rng(3)
    corpus = some_corpus(SIZES.V, SIZES.K, lines, "noise", rng)
    p = model.initial(SIZES, config.model.dtype, rng)
    p.b1[...], p.b2[...] = rng.standard_normal(SIZES.H), rng.standard_normal(SIZES.V)
    state = optim.initial_state(config.train, p)
    parts = threads.split_batch(SIZES, config.train.batch_size, config.model.dtype, 1)
    gradients = partial(threads.gradients, parts, Inline())
    drawn = batches(corpus, config, 0)
    for step in loop.steps(config.train, SIZES, p, state, 0, drawn, gradients, lambda number: number == steps - 1):
        if step.witness:
            return step.witness, corpus
    raise AssertionError


def update_of(witness: Witness, train: Train) -> update.Update:
    return update.examine(witness, numerical.point(witness.before, witness.batch, SIZES), train)


# The update.


def test_the_rules_are_those_of_the_papers() -> None:
    """Two steps of one number, by hand."""
    g, p = np.array([2.0]), np.array([1.0])
    train = Train(momentum=0.9, weight_decay=0.5)
    move = rule.Move(train, 0, SIZES, p, g, np.ones(1), {"velocity": np.array([10.0])}, {"velocity": np.array([11.0])})
    assert rule.memory(move)["velocity"] == pytest.approx([0.9 * 10 + 2])
    assert rule.direction(move) == pytest.approx([11.0])
    assert rule.moved(move, np.array([11.0]), 0.1, 0.5) == pytest.approx([1 - 0.1 * 11 - 0.1 * 0.5 * 1])
    adam = replace(train, optimizer="adamw")
    state = {"m": np.array([2.0]), "v": np.array([4.0])}  # of the first gradient, without 1 - beta
    move = rule.Move(adam, 0, SIZES, p, g, np.ones(1), {name: np.zeros(1) for name in state}, state)
    assert rule.memory(move) == {"m": pytest.approx([2.0]), "v": pytest.approx([4.0])}
    assert rule.direction(move) == pytest.approx([2 / (2 + 1e-8)])  # both means are the first gradient's own


def test_the_learning_rate_follows_its_definition() -> None:
    cosine = Train(steps=100, warmup_steps=20, learning_rate=2.0, schedule="cosine")
    assert [rule.learning_rate(cosine, step) for step in (0, 9, 20, 60)] == pytest.approx([0.1, 1.0, 2.0, 1.0])
    stepped = Train(steps=100, learning_rate=2.0, schedule="step")
    assert [rule.learning_rate(stepped, step) for step in (49, 50, 74, 75)] == pytest.approx([2, 0.2, 0.2, 0.02])
    for schedule in ("constant", "step", "cosine"):
        for warmup in (0, 7):
            train = Train(steps=50, warmup_steps=warmup, schedule=schedule)
            for step in range(50):  # (1 + cos) / 2 loses digits near its end: 1e-16 of the rate at the start
                wanted = optim.learning_rate(train, step)
                assert rule.learning_rate(train, step) == pytest.approx(wanted, rel=1e-12, abs=1e-16)


RULES: list[dict[str, Any]] = [
    {"learning_rate": 1.0},
    {"momentum": 0.9, "weight_decay": 0.1},
    {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1, "warmup_steps": 5},
]


@pytest.mark.parametrize("train", RULES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_entry_of_the_move_is_held_against_the_rule(train: dict[str, Any], dtype: str) -> None:
    config = configured(dtype, **train)
    witness, _ = watched(config, steps=4)
    row = update_of(witness, config.train)
    assert (row.name, row.passed, row.found) == ("update", True, "")
    assert row.loss_before == pytest.approx(witness.loss, rel=1e-5)
    move = (witness.after.flat - witness.before.flat).astype(np.float64)
    assert row.predicted == pytest.approx(float(witness.g.flat.astype(np.float64) @ move), rel=1e-4)
    for name in model.NAMES:  # ten units in the last place of one entry are ten times what rounding may do
        value = getattr(witness.after, name)
        place = tuple(n - 1 for n in value.shape)
        right = value[place].copy()
        value[place] += 40 * np.spacing(max(abs(right), abs(getattr(witness.before, name)[place])))
        row = update_of(witness, config.train)
        assert (row.passed, row.tensor) == (False, name)
        assert row.max_abs_error > row.atol
        value[place] = right


def test_what_underflows_in_storage_is_no_slip() -> None:
    config = configured(optimizer="adamw")
    witness, _ = watched(config)
    small = witness.g.flat
    small[...] *= np.float32(1e-24)  # its square is below the smallest number of float32
    after, state = witness.before.flat.copy(), {name: 0 * vector for name, vector in witness.state_after.items()}
    p = model.zeros(SIZES, np.float32)
    p.flat[...] = after
    g = model.zeros(SIZES, np.float32)
    g.flat[...] = small
    optim.update(config.train, p, g, state, 0)
    assert not state["v"].any()
    witness = replace(witness, after=p, state_after=state)
    assert update_of(witness, config.train).passed


def test_the_function_that_moves_the_parameters_is_the_one_that_is_named() -> None:
    for train, function in zip(RULES, ("sgd", "momentum", "adam"), strict=True):
        config = configured(**train)
        witness, _ = watched(config, steps=2)
        for vector in witness.state_after.values():
            vector[...] *= 2
        witness.after.flat[...] *= 2
        assert f"look at {function} in optim.py" in update_of(witness, config.train).found


def test_a_wrong_move_in_a_warm_up_that_lasts_for_the_whole_training_is_told() -> None:
    config = configured(warmup_steps=10)
    witness, _ = watched(config, steps=4)
    witness.after.flat[...] *= 2
    assert not update_of(witness, config.train).passed


# What a step is fed.


@pytest.mark.parametrize("lines", [True, False])
def test_contexts_are_looked_up_character_by_character(lines: bool) -> None:
    corpus = Corpus(np.array([0, 1, 2, 0, 3, 4, 5, 0]), "", lines, {"train": (1, 8)}, "")
    assert batch.context_of(corpus, 6, 4) == ([0, 0, 3, 4] if lines else [2, 0, 3, 4])
    assert batch.context_of(corpus, 2, 1) == [1]


def test_a_batch_from_elsewhere_is_found() -> None:
    config = configured()
    witness, corpus = watched(config)
    rng = np.random.default_rng(0)

    def found(changed: Batch, seen: dict[int, int]) -> batch.Examples:
        return batch.examine(replace(witness, batch=changed), corpus, rng, seen)

    right = witness.batch
    assert right.positions is not None
    row = found(right, {})
    assert (row.name, row.passed, row.examples, row.wrong) == ("batch", True, 4, 0)
    wrong = found(right._replace(positions=right.positions + 320), {})
    assert not wrong.passed
    assert wrong.wrong >= 7
    assert "of the val split" in wrong.found or "of the test split" in wrong.found
    assert "reversed" in found(right._replace(contexts=right.contexts[:, ::-1]), {}).found


def test_a_batch_that_comes_again_is_found_where_chance_does_not_draw_it_twice() -> None:
    config = configured(batch_size=16)
    witness, corpus = watched(config)
    seen: dict[int, int] = {}
    rng = np.random.default_rng(0)
    assert batch.examine(witness, corpus, rng, seen).passed
    assert batch.examine(witness, corpus, rng, seen).passed  # the same step once more
    later = batch.examine(replace(witness, step=7), corpus, rng, seen)
    assert "that of step 0" in later.found
    few, corpus = watched(configured(batch_size=2))  # 319 places, two of them: chance does
    seen = {}
    assert batch.examine(few, corpus, rng, seen).passed
    assert batch.examine(replace(few, step=7), corpus, rng, seen).passed


# Dropout.


def test_rates_of_the_places_and_shares_that_are_kept() -> None:
    train = Train(embedding_dropout=0.2, context_dropout=0.5)
    assert dropout.rates(train, 3) == pytest.approx([1 - 0.8 * 0.5, 1 - 0.8 * 0.75, 0.2])
    assert dropout.rates(train, 1) == pytest.approx([0.2])
    assert dropout.kept_share(0.5) == 0.5
    assert dropout.kept_share(1 - 1e-9) == 2**-16


def test_masks_hold_two_values_and_keep_what_chance_allows() -> None:
    config = configured(dropout=0.25, embedding_dropout=0.5, batch_size=64)
    witness, _ = watched(config)
    rows = dropout.examine(witness, config, {})
    assert [(row.place, row.passed) for row in rows] == [("emb", True), ("h", True)]
    assert rows[1].expected == 64 * 6 * 0.75
    # Of four groups, once in 10^9 steps each: sqrt(n ln(2 * 10^9 * 4) / 2).
    assert rows[1].bound == pytest.approx(np.sqrt(64 * 6 * np.log(8e9) / 2))
    mask = witness.batch.h_mask
    assert mask is not None
    for change, words in ((mask * 1.001, "should be 0 or"), (np.where(mask > 0, 0, 4 / 3), "entries are kept")):
        changed = witness.batch._replace(h_mask=change.astype(np.float32))
        row = dropout.examine(replace(witness, batch=changed), config, {})[1]
        assert not row.passed
        assert words in row.found or "keeps what it should drop" in row.found


def test_a_mask_with_right_values_that_keeps_too_few_is_told_by_its_count() -> None:
    config = configured(dropout=0.25, batch_size=64)
    witness, _ = watched(config)
    mask = witness.batch.h_mask
    assert mask is not None
    mask[::3] = 0
    (row,) = dropout.examine(witness, config, {})
    assert f"{(mask != 0).sum()} of 384 entries are kept, 288 are expected" in row.found


def test_what_wrote_into_its_input_is_the_one_that_was_given_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoiling(x: Array, mask: Array, out: Array | None = None, right: Any = ops.dropout) -> Array:
        result: Array = right(x, mask, out)
        mask[0] += 1
        return result

    monkeypatch.setattr(ops, "dropout", spoiling)
    witness, _ = watched(configured(dropout=0.25, embedding_dropout=0.5))
    assert witness.changed == [f"dropout changed {name}_mask, which was given to it" for name in ("emb", "h")]
    twice = replace(witness, observations=[*witness.observations, *witness.observations])
    assert twice.changed == witness.changed


# The forward pass.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_tensor_of_the_forward_pass_is_held_against_its_definition(dtype: str) -> None:
    witness, _ = watched(configured(dtype, dropout=0.3, embedding_dropout=0.2))
    rows = forward.examine(witness)
    assert [row.tensor for row in rows] == ["emb", "z", "h", "logits", "loss"]
    assert all(row.passed for row in rows)
    eps = float(np.finfo(dtype).eps)
    for name in ("emb", "z", "h", "logits"):
        value = witness.forward[name]
        place = np.unravel_index(int(abs(value).argmax()), value.shape)
        kept = value[place]
        value[place] *= 1 + 200 * eps  # the bound of z and logits is about 13 roundings of a sum of magnitudes
        (first, *_) = [row for row in forward.examine(witness) if not row.passed]
        assert first.tensor == name
        assert f"{name} is wrong" in first.found
        value[place] = kept


def test_nothing_is_judged_where_the_type_cannot_hold_the_numbers() -> None:
    config = configured()
    witness, corpus = watched(config)
    witness.before.b2[...] = 3.4e38
    witness.forward["logits"][...] = np.inf
    with np.errstate(all="ignore"):
        verdicts = referee.examine(witness, corpus, config, np.random.default_rng(0), {})
    assert {verdict.name for verdict in verdicts} == {"forward"}
    assert all(verdict.passed for verdict in verdicts)


# Slopes.


@pytest.mark.parametrize("method", ["central", "complex-step"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_slopes_are_the_gradient_times_the_direction(method: str, dtype: str) -> None:
    config = configured(dtype, {"method": method, "coordinates": "directions"}, dropout=0.3, embedding_dropout=0.2)
    witness, _ = watched(config)
    at = numerical.point(witness.before, witness.batch, SIZES)
    eps = tolerances.tolerances(at, config.check, dtype).eps
    exact = numerical.gradients(at, method, eps, "all", np.random.default_rng(0))
    rows = slopes.examine(at, exact, config.check, dtype, np.random.default_rng(1))
    assert [row.tensor for row in rows] == list(numerical.ORDER)
    assert all(row.passed and row.coordinates == "directions" for row in rows)
    for row in rows:  # both are numerical: 1e-9 is what central differences round
        assert row.by_hand == pytest.approx(row.numerical, abs=1e-9)
    assert all(
        row.passed for row in slopes.examine(at, witness.gradients, config.check, dtype, np.random.default_rng(2))
    )


@pytest.mark.parametrize("eps", [1e-6, 0.5])
def test_nudged_losses_are_those_of_the_plain_model_with_the_tensor_moved(eps: float) -> None:
    witness, _ = watched(configured("float64", dropout=0.3, embedding_dropout=0.2))
    witness.before.W2[...] *= 50  # so that logits move farther than z
    at = numerical.point(witness.before, witness.batch, SIZES)
    v = slopes.directions(at, np.random.default_rng(0))
    moves = slopes.lines(at, v)
    found = slopes.nudged_losses(at, moves, dict.fromkeys(numerical.ORDER, eps), (1, -1))
    plain = plain_model.inputs(at.p, at.batch)
    for name, (up, down) in zip([*moves.z, *moves.logits], found, strict=True):
        higher, lower = (plain | {name: plain[name] + sign * eps * v[name]} for sign in (1, -1))
        # a dozen roundings of logits of order 100; what a small nudge is off by, (1e-6 * reach)³, is less
        assert up == pytest.approx(plain_model.loss(higher, at.batch), abs=1e-12)
        assert down == pytest.approx(plain_model.loss(lower, at.batch), abs=1e-12)
        moved = np.abs(plain_model.logits(higher, at.batch) - at.logits).max()
        assert moved <= eps * moves.reach[name] * (1 + 1e-6)


def escaped(by_hand: dict[str, Array], config: Config, at: numerical.Point, tensor: str, steps: int) -> int:
    """How many steps let a gradient pass."""
    rows = (slopes.examine(at, by_hand, config.check, "float32", np.random.default_rng(k)) for k in range(steps))
    return sum(row.passed for step in rows for row in step if row.tensor == tensor)


def test_an_error_of_one_entry_escapes_few_directions() -> None:
    config = configured("float32", {"coordinates": "directions"})
    witness, _ = watched(config)
    at = numerical.point(witness.before, witness.batch, SIZES)
    for name in numerical.ORDER:
        g = witness.gradients[name].copy()
        place = np.unravel_index(int(abs(g).argmax()), g.shape)
        g[place] *= 1.03
        # 3 % of the largest entry: a random number is small enough to hide it in less than half of the steps.
        assert escaped(witness.gradients | {name: g}, config, at, name, 30) < 15
    swapped = witness.gradients["W1"].copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert escaped(witness.gradients | {"W1": swapped}, config, at, "W1", 30) < 3


def test_the_smallest_error_of_one_entry_that_is_seen() -> None:
    """The README's number: at the lecture shape, one per cent of a tensor's largest gradient, in nine steps of ten."""
    sizes = Sizes(27, 3, 10, 200)
    rng = np.random.default_rng(0)
    p = model.initial(sizes, "float32", rng)
    drawn = Batch(rng.integers(27, size=(32, 3)), rng.integers(27, size=32))
    parts = threads.split_batch(sizes, 32, "float32", 1)
    watch = loop.Observation(p, drawn)
    g = threads.gradients(parts, Inline(), p, drawn, lambda: watch.watch)
    by_hand = {name: watch.values["d" + name] for name in model.INNER}
    by_hand |= {name: getattr(g, name) for name in model.NAMES}
    at, check = numerical.point(p, drawn, sizes), Check(coordinates="directions")
    for name in numerical.ORDER:
        wrong = by_hand[name].copy()
        place = np.unravel_index(int(abs(wrong).argmax()), wrong.shape)
        wrong[place] *= 1.01
        seen = 0
        for k in range(40):
            rows = slopes.examine(at, by_hand | {name: wrong}, check, "float32", np.random.default_rng(k))
            seen += sum(not row.passed for row in rows)
        assert seen >= 32, name  # 36 are expected, or more


def test_a_row_of_a_character_that_was_not_read_is_exactly_zero() -> None:
    config = configured("float32", {"coordinates": "directions"}, batch_size=1)
    witness, _ = watched(config)
    at = numerical.point(witness.before, witness.batch, SIZES)
    wrong = witness.gradients["C"].copy()
    wrong[np.setdiff1d(np.arange(SIZES.V), witness.batch.contexts)[0], 1] = 1e-30
    rows = slopes.examine(at, witness.gradients | {"C": wrong}, config.check, "float32", np.random.default_rng(0))
    assert [row.tensor for row in rows if not row.passed] == ["C"]


# Evaluation, sums, the start.


def test_evaluation_is_held_against_the_plain_pass() -> None:
    witness, corpus = watched(configured())
    mean = partial(threads.mean_loss, witness.before, SIZES, corpus, pool=Inline())
    for factor, passed in ((1.0, True), (1.0001, False)):
        row = evaluation.examine(
            witness.before, corpus, "val", SIZES.K, lambda at, f=factor: f * mean(at), np.random.default_rng(0)
        )
        assert (row.name, row.split, row.passed) == ("evaluation", "val", passed)
        assert row.shown == pytest.approx(factor * row.expected, rel=1e-5)


def test_an_evaluation_that_is_not_finite_is_told() -> None:
    witness, corpus = watched(configured())
    rng = np.random.default_rng(0)
    row = evaluation.examine(witness.before, corpus, "val", SIZES.K, lambda at: np.inf, rng)
    assert not row.passed
    assert "it is not finite" in row.found


def test_the_sum_of_the_threads_is_recomputed() -> None:
    witness, _ = watched(configured())
    assert sums.remarks(witness) == []
    witness.g.W1[...] += np.float32(0.01) * witness.before.W1
    (said,) = sums.remarks(witness)
    assert "dW1: look at gradients in threads.py" in said
    assert "0.01 times the parameters was added" in said


def test_a_start_from_which_nothing_is_learnt_is_worth_a_warning() -> None:
    witness, _ = watched(configured())
    assert start.warnings(witness) == []
    witness.forward["z"][...] = 50
    witness.before.W1[...] = 0
    zero, saturated = start.warnings(witness)
    assert "W1 is all zero" in zero
    assert "100% of the hidden units are saturated" in saturated


def test_the_first_loss_is_near_log_V_within_what_its_batch_lets_expect() -> None:
    """One example spreads as far as a logit; many that have nothing in common spread less."""
    one = tolerances.initial_loss(np.ones((1, 100)), np.array([3]), 27)
    assert one == pytest.approx(5 * 0.1 * np.sqrt(26 / 27) + 3 * 0.01, abs=2e-5)
    h = np.kron(np.eye(16), np.ones(10)) * 4  # sixteen examples that share no unit
    many = tolerances.initial_loss(h, np.arange(16), 27)
    alone = tolerances.initial_loss(h[:1], np.arange(1), 27)
    bias = 3 * 0.01 * 1.0 + 1e-5  # |h|² / H = 1
    assert many - bias == pytest.approx((alone - bias) / 4, rel=1e-6)
