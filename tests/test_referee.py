"""The referee: what should be is what the definition says, what is found is measured, and a wrong number is found."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import search
from conftest import rows, trained
from search import Inline, some_corpus

from trainer import referee
from trainer.config import Config, Train
from trainer.core import loop, model, numerical, optim
from trainer.core.model import Batch, Sizes
from trainer.core.ops import Array
from trainer.core.step import Step
from trainer.core.verdict import Verdict
from trainer.referee import feeding
from trainer.referee.feeding import NEVER, Spread, by_chance
from trainer.referee.forward import check_evaluation, check_forward
from trainer.referee.update import against, check_update, remembered, scheduled_rate
from trainer.runs import threads
from trainer.text.batches import batches, draw_mask
from trainer.text.corpus import Corpus

SIZES = Sizes(9, 3, 4, 6)


def configured(*settings: str, **check: Any) -> Config:
    """A training with such settings; those of the check are taken as they are, sensible or not."""
    config = search.configured(SIZES, "train.steps=10 train.batch_size=8", *settings)
    return replace(config, check=replace(config.check, **check))


def last_step(config: Config, steps: int = 1, lines: bool = True, parts: int = 1) -> tuple[Step, Corpus]:
    """The last of so many steps, from a model with random biases."""
    rng = np.random.default_rng(3)
    corpus = some_corpus(SIZES.V, SIZES.K, lines, "noise", rng)
    p = model.initial(SIZES, config.model.dtype, rng)
    p.b1[...], p.b2[...] = rng.standard_normal(SIZES.H), rng.standard_normal(SIZES.V)
    gradients = threads.gradients(p, parts, Inline())
    state, drawn = optim.initial_state(config.train, p), batches(corpus, config, 0)
    made = loop.steps(config.train, p, state, 0, drawn, gradients, lambda number: number == steps - 1)
    return next(step for step in made if step.looked_at), corpus


# The update.


def test_the_rules_are_those_of_the_papers() -> None:
    g, state = np.array([2.0]), {"m": np.array([0.9 * 1 + 2.0]), "v": np.array([0.999 * 1 + 4.0])}  # after 1 and 2
    mean, square = 0.1 * 2.9 / (1 - 0.81), 0.001 * 4.999 / (1 - 0.999**2)
    assert against(g, state, 1) == pytest.approx([mean / (math.sqrt(square) + 1e-8)])
    assert against(g, {"velocity": np.array([11.0])}, 1).tolist() == [11]
    assert against(g, {}, 1).tolist() == [2]
    assert [factor for factor, _ in remembered(Train(optimizer="adamw"), g).values()] == [0.9, 0.999]
    assert remembered(Train(momentum=0.5), g) == {"velocity": (0.5, g)}


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine"])
@pytest.mark.parametrize("warmup", [0, 7])
def test_the_learning_rate_follows_its_definition(schedule: str, warmup: int) -> None:
    train = Train(steps=52, warmup_steps=warmup, schedule=schedule)
    for step in range(52):  # (1 + cos) / 2 loses digits near its end: 1e-16 of the rate at the start
        assert scheduled_rate(train, step) == pytest.approx(optim.learning_rate(train, step), rel=1e-12, abs=1e-16)


def move_verdict(step: Step, config: Config) -> Verdict:
    return check_update(step, numerical.point(step.before, step.batch), config.train)


RULES = [
    "train.learning_rate=1",
    "train.momentum=0.9 train.weight_decay=0.1",
    "train.optimizer=adamw train.learning_rate=0.01 train.weight_decay=0.1 train.warmup_steps=5",
]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_entry_of_the_move_is_held_against_the_rule(rule: str, dtype: str) -> None:
    config = configured(rule, f"model.dtype={dtype}")
    step, _ = last_step(config, steps=4)
    verdict = move_verdict(step, config)
    assert (verdict.name, verdict.passed, verdict.count) == ("update", True, step.g.flat.size)
    for name in model.NAMES:  # ten units in the last place of one entry are ten times what rounding may do
        value = getattr(step.after, name)
        place = tuple(range(1, 1 + value.ndim))
        right = value[place].copy()
        value[place] += 40 * np.spacing(max(abs(right), abs(getattr(step.before, name)[place])))
        verdict = move_verdict(step, config)
        assert (verdict.passed, verdict.of, verdict.worst) == (False, name, list(place))
        assert verdict.error > verdict.tolerance
        value[place] = right
    for name, vector in step.state_after.items():
        vector[7] *= 1 + 40 * np.finfo(dtype).eps
        assert move_verdict(step, config).of == name
        vector[7] /= 1 + 40 * np.finfo(dtype).eps
    step.rate *= 1 + 1e-14
    assert move_verdict(step, config).of == "learning_rate"


def test_what_underflows_in_storage_is_no_slip() -> None:
    config = configured("train.optimizer=adamw")
    step, _ = last_step(config)
    step.g.flat[...] *= np.float32(1e-24)  # its square is below the smallest number of float32
    state = {name: 0 * vector for name, vector in step.state_after.items()}
    step.after.flat[...], step.state_after = step.before.flat, state
    optim.update(config.train, step.after, step.g, state, step.rate, 0)
    assert not state["v"].any()
    assert move_verdict(step, config).passed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_rate_and_a_decay_above_one_round_no_worse_than_they_may(dtype: str) -> None:
    steady = "train.learning_rate=3 train.weight_decay=3 train.steps=8 train.schedule=constant"
    config = configured(steady, f"model.dtype={dtype}")
    for steps in range(1, 8):
        assert move_verdict(last_step(config, steps)[0], config).passed


def test_a_move_that_raises_the_loss_is_worth_a_warning() -> None:
    config = configured("train.learning_rate=30 train.schedule=constant")
    verdict = move_verdict(last_step(config)[0], config)
    assert verdict.passed
    assert str(verdict.words).startswith("the update went uphill, ")


# What a step is fed.


@pytest.mark.parametrize("lines", [True, False])
def test_contexts_are_looked_up_character_by_character(lines: bool) -> None:
    corpus = Corpus(np.array([0, 1, 2, 0, 3, 4, 5, 0]), "", lines, {"train": (1, 8)}, "")
    first, second = feeding.examples_at(corpus, np.array([6, 2]), 4).tolist()
    assert first == ([0, 0, 3, 4, 5] if lines else [2, 0, 3, 4, 5])
    assert second[3:] == [1, 2]


def test_a_batch_that_is_not_of_the_text_is_found_and_stops_nothing() -> None:
    config = configured()
    step, corpus = last_step(config)
    right = step.batch
    assert right.positions is not None
    changes: list[tuple[Batch, str]] = [
        (right, ""),
        (right._replace(positions=right.positions * 0 + corpus.splits["val"][0]), "8 are of val"),
        (right._replace(positions=right.positions - 10**6), "8 of 8 examples are not of the training split"),
        (right._replace(contexts=right.contexts[:, ::-1]), "example 0 has context ["),
        (right._replace(targets=right.targets + 100), "and target 1"),
        (right._replace(contexts=right.contexts - 100), "has context [-"),
        (right.rows(slice(1, None)), "it has 7 examples, and train.batch_size is 8"),
    ]
    for batch, words in changes:
        found = feeding.check_batch(batch, corpus, config.train, Spread(corpus), 0)
        assert (found.name, found.passed) == ("batch", not words)
        assert words in (found.words or "")
    step.batch = right._replace(contexts=right.contexts - 100)
    verdicts = referee.examine(step, corpus, config, np.random.default_rng(0), Spread(corpus))
    assert [verdict.name for verdict in verdicts if not verdict.passed] == ["batch"]


# Dropout.


def test_the_shares_that_are_kept() -> None:
    train = Train(embedding_dropout=0.5, context_dropout=0.5, dropout=1 - 1e-9)
    kept = feeding.kept_shares(train, Sizes(9, 3, 2, 1))
    assert kept["emb"] == pytest.approx(np.repeat([0.25, 0.375, 0.5], 2))
    assert kept["h"] == 2**-16
    assert feeding.kept_shares(train, Sizes(9, 1, 1, 1))["emb"] == 0.5


def test_masks_hold_two_values_and_keep_what_chance_allows() -> None:
    config = configured("train.dropout=0.25 train.embedding_dropout=0.5 train.batch_size=64")
    step, corpus = last_step(config)
    mask = step.batch.h_mask
    assert mask is not None

    def masked(h_mask: Array) -> Verdict:
        batch = step.batch._replace(h_mask=h_mask.astype(np.float32))
        return feeding.check_masks(batch, step.g, config.train, Spread(corpus))[1]

    right = masked(mask)
    assert (right.of, right.passed, right.found, right.expected) == ("h", True, (mask > 0).sum(), 64 * 6 * 0.75)
    assert right.tolerance == pytest.approx(math.log(2 * NEVER))  # once in 10^9 steps, up or down
    fewer = mask.copy()
    fewer[::3] = 0
    changes = (mask * 1.001, "should be 0 or"), (mask > 0, "not scaled"), (fewer, f"{(fewer > 0).sum()} of 384")
    for changed, words in changes:
        assert words in str(masked(changed).words)


@pytest.mark.parametrize(("n", "q"), [(1, 0.5), (7, 0.1), (40, 0.9), (200, 0.02)])
def test_a_count_is_as_far_off_as_it_is_surprising_at_most_that_often(n: int, q: float) -> None:
    """Hoeffding's bound against the binomial distribution itself."""
    chances = [math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(n + 1)]
    for k in range(n + 1):
        tail = math.fsum(chances[k:]) if k >= n * q else math.fsum(chances[: k + 1])
        assert tail <= math.exp(-by_chance("x", "y", "", k, n, q).error) * (1 + 1e-9)
    assert by_chance("x", "y", "", n * q, n, q).error == pytest.approx(0, abs=1e-12)
    assert [by_chance("x", "y", "", found, 1, 1 - found).error for found in (0.0, 1.0)] == [math.inf, math.inf]
    assert by_chance("x", "y", "", n, n, q, 5).tolerance == math.log(2 * NEVER * 5)


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 70))])
def test_chance_is_called_chance(seed: int) -> None:
    """Steps as chance draws them: places, and masks whose columns have rates of their own."""
    rng = np.random.default_rng([5, seed])
    V, B, n = (int(rng.choice(some)) for some in ((2, 27, 300), (1, 2, 5, 32), (1, 4, 31)))
    corpus = some_corpus(V, 1, bool(rng.integers(2)), "noise", rng)
    rates = rng.choice([0.0, 1 / 1024, 0.25, 0.99609375], n)  # of 16 bits
    seen = Spread(corpus)
    for number in range(320):
        seen.see_positions(rng.integers(*corpus.splits["train"], B), number)
        seen.see_mask("h", draw_mask(rates, (B, n), "float32", rng) != 0, 1 - rates)
        assert all(verdict.passed for verdict in seen.verdicts())


def test_a_line_that_stands_in_two_splits_is_found() -> None:
    ids = np.array([0, 1, 2, 0, 3, 0, 1, 2, 0, 4, 0])
    splits = {"train": (1, 6), "val": (6, 9), "test": (9, 11)}
    corpus = Corpus(ids, "", True, splits, "", "\nab\nc\nab\nd\n")
    seen = Spread(corpus)
    seen.see_positions(np.array([1, 2]), 0)
    (verdict,) = seen.verdicts()
    assert (verdict.name, verdict.of, verdict.passed, verdict.found) == ("spread", "positions", False, 1)
    assert "lines of other splits stand in training" in str(verdict.words)


# The forward pass.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_tensor_of_the_forward_pass_is_held_against_its_definition(dtype: str) -> None:
    dropouts = "train.dropout=0.3 train.embedding_dropout=0.2"
    step, _ = last_step(configured(dropouts, f"model.dtype={dtype}"))
    verdicts = check_forward(step)
    assert [verdict.of for verdict in verdicts] == ["emb", "z", "h", "logits", "loss"]
    assert all(verdict.passed for verdict in verdicts)
    for name in ("emb", "z", "h", "logits"):
        value = step.forward[name]
        place = np.unravel_index(int(abs(value).argmax()), value.shape)
        kept = value[place]
        value[place] *= 1 + 200 * np.finfo(dtype).eps  # z and logits are off by 13 roundings of a sum of magnitudes
        first = next(verdict for verdict in check_forward(step) if not verdict.passed)
        assert (first.of, first.worst) == (name, [int(i) for i in place])
        assert f"{name} is wrong" in str(first.words)
        value[place] = kept
    step.loss *= 1 + 200 * np.finfo(dtype).eps  # the mean that is shown
    last = check_forward(step)[-1]
    assert (last.passed, last.of, last.worst) == (False, "loss", [8])


def test_nothing_is_judged_where_the_type_cannot_hold_the_numbers() -> None:
    config = configured()
    step, corpus = last_step(config)
    step.before.b2[...] = 3.4e38
    step.forward["logits"][...] = np.inf
    with np.errstate(all="ignore"):
        verdicts = referee.examine(step, corpus, config, np.random.default_rng(0), Spread(corpus))
    assert {(verdict.name, verdict.passed) for verdict in verdicts} == {("forward", True), ("batch", True)}


# Gradients.


def gradient_verdicts(step: Step, config: Config) -> list[Verdict]:
    at = numerical.point(step.before, step.batch)
    return referee.check_derivatives(step, at, config, np.random.default_rng(0), map)


def test_the_sum_over_the_threads_is_computed_again() -> None:
    config = configured("train.learning_rate=1e-6", coordinates="directions")
    step, _ = last_step(config, parts=3)
    assert all(verdict.passed for verdict in gradient_verdicts(step, config))
    place = np.unravel_index(int(abs(step.g.W1).argmax()), step.g.W1.shape)
    step.g.W1[place] *= 1 + 4e-5  # which a slope along a random direction does not see
    (wrong,) = [verdict for verdict in gradient_verdicts(step, config) if not verdict.passed]
    assert (wrong.of, wrong.worst) == ("W1", [int(i) for i in place])
    assert "dz is right, dW1 is wrong: look at gradients in threads.py" in str(wrong.words)


@pytest.mark.parametrize("coordinates", ["all", "directions"])
@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ({"eps": 0.1}, "check.eps=0.1, and passes an error of a tenth; give auto"),
        ({"eps": 1e-13}, "check.eps=1e-13, and passes an error of a tenth; give auto"),
        ({"rtol": 0.5}, "check.rtol=0.5, and passes an error of a tenth; give auto"),
        ({"atol": 1.0}, "check.atol=1, and passes an error of a tenth; give auto"),
        ({"eps": 1e-5, "rtol": 1e-3, "atol": 1e-6}, ""),
    ],
)
def test_a_check_that_sees_nothing_says_so(given: dict[str, Any], advice: str, coordinates: str) -> None:
    config = configured("model.dtype=float64", coordinates=coordinates, **given)
    verdicts = gradient_verdicts(last_step(config)[0], config)
    blind = [verdict for verdict in verdicts if not verdict.passed]
    assert all(f"the check of d{verdict.of} sees nothing at {advice}" in str(verdict.words) for verdict in blind)
    assert bool(blind) == bool(advice)


def test_tolerances_below_rounding_are_blamed_on_nobody() -> None:
    config = configured(rtol=1e-12, atol=1e-14)
    failed = [verdict for verdict in gradient_verdicts(last_step(config)[0], config) if not verdict.passed]
    assert failed
    for verdict in failed:
        assert f"d{verdict.of} is off by " in str(verdict.words)
        assert "check.rtol=1e-12, check.atol=1e-14 is too strict for float32; give auto" in str(verdict.words)
    config = configured(rtol=0.05, atol=1e-20)  # too strict for small entries, too wide for large ones
    step, _ = last_step(config)
    step.g.W1[:, 1] *= 1.1
    assert "dz is right, dW1 is wrong" in str(gradient_verdicts(step, config))


def test_where_its_own_tolerances_see_nothing_either_a_check_is_silent() -> None:
    config = configured(eps=1e-4)
    step, _ = last_step(config)
    for gradient in step.gradients.values():
        gradient.setflags(write=True)
        gradient[...] = 0
    assert not any("sees nothing" in str(verdict.words) for verdict in gradient_verdicts(step, config))


def test_a_wrong_link_of_ones_own_is_named_in_its_own_line() -> None:
    config = configured()
    step, corpus = last_step(config)
    own = step.own = {link: f"line {k} of mine.py: {link}" for k, link in enumerate(step.gradients)}
    for name, words in (("logits", "p - y does not sum to zero"), ("W2", "dlogits is right, dW2 is wrong")):
        gradient = step.gradients[name]
        kept = gradient.copy()
        gradient.setflags(write=True)
        gradient[1, 1] += 1
        rng = np.random.default_rng(0)
        verdicts = referee.examine(step, corpus, config, rng, Spread(corpus))
        first = next(verdict for verdict in verdicts if not verdict.passed)
        assert str(first.words).startswith(f"{words}: look at {own[name]}")
        assert not any("threads.py" in str(each.words) or "_backward" in str(each.words) for each in verdicts[:7])
        gradient[...] = kept


# Evaluation.


def test_evaluation_is_held_against_the_plain_pass() -> None:
    step, corpus = last_step(configured())
    start, end = corpus.splits["val"]
    places = np.arange(start, end)
    right = threads.losses(step.before, corpus, places)

    def judged(positions: Array, losses: Array, shown: float) -> Verdict:
        rng = np.random.default_rng(0)
        return check_evaluation(step.before, corpus, "val", positions, losses, shown, rng)

    mean = float(right.mean(dtype=np.float64))
    verdict = judged(places, right, mean)
    assert (verdict.name, verdict.of, verdict.passed, verdict.found) == ("evaluation", "val", True, mean)
    changes: list[tuple[Array, Array, float, str]] = [
        (places, right * np.float32(1.0001), mean, "losses in threads.py"),
        (places, right * np.inf, mean, "losses in threads.py"),
        (places, right, mean * (1 + 1e-6), "evaluate in session.py"),
        (places, right, math.nan, "evaluate in session.py"),
        (places, right[:-1], mean, "losses in threads.py"),
        (places + 1, right, mean, "1 are of test"),
        (np.append(places[1:], places[1]), right, mean, "distinct places of the split"),
    ]
    for positions, losses, shown, words in changes:
        verdict = judged(positions, losses, shown)
        assert not verdict.passed
        assert words in str(verdict.words)


@pytest.mark.usefixtures("place")
def test_every_loss_that_a_run_shows_is_checked() -> None:
    run = trained("shown", "check.enabled=true train.steps=2 log.samples=0")
    checked = [(row["of"], row["found"]) for row in rows(run, "check") if row["name"] == "evaluation"]
    (evaluated,), (end,) = rows(run, "eval"), rows(run, "end")
    shown = [("train", evaluated), ("val", evaluated), ("train", end), ("val", end), ("test", end)]
    assert checked == [(split, row[f"{split}_loss"]) for split, row in shown]
