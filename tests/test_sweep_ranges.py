"""What a sweep may search, held against the configuration's own rules, and what it proposes."""

import statistics
from pathlib import Path

import optuna
import pytest
from conftest import Trainer, assert_one_line

from trainer.tools.sweep import ranges
from trainer.tools.sweep.proposals import AT_RANDOM, hopeless, learns_from, propose
from trainer.tools.sweep.ranges import Choices, Range, Span, read

SPANS: dict[str, Span] = {
    "train.learning_rate": Range(0.01, 1.0, True),
    "model.hidden": Range(10, 1000, True),
    "train.dropout": Range(0.0, 0.5, False),
    "train.optimizer": Choices(("sgd", "adamw")),
}


@pytest.fixture
def config(place: Path) -> str:
    (place / "small.yaml").write_text("data: {path: text.txt}\n")
    return "small.yaml"


@pytest.mark.parametrize(
    ("written", "span"),
    [
        ("train.learning_rate=0.01..1", Range(0.01, 1.0, True)),
        ("train.learning_rate=1e-4..1e-2", Range(1e-4, 1e-2, True)),
        ("model.hidden=100..1000", Range(100, 1000, True)),
        ("train.steps=1e2..1e3", Range(100, 1000, True)),
        ("train.weight_decay=0..0.1", Range(0.0, 0.1, False)),
        ("train.warmup_steps=0..500", Range(0, 500, False)),
        ("train.dropout=0..0.5", Range(0.0, 0.5, False)),
        ("train.dropout=.1...5", Range(0.1, 0.5, False)),
        ("train.optimizer=sgd,adamw", Choices(("sgd", "adamw"))),
        ("train.batch_size=32,64,64", Choices((32, 64))),
        ("check.enabled=true,false", Choices((True, False))),
        ("seed=1,2,3", Choices((1, 2, 3))),
        ("check.eps=auto,1e-3", Choices(("auto", 1e-3))),
    ],
)
def test_what_is_searched(config: str, written: str, span: Span) -> None:
    plan = read(config, [written])
    assert plan.spans == {written.partition("=")[0]: span}
    first = span.low if isinstance(span, Range) else span.values[0]
    assert ranges.value_of(plan.config, written.partition("=")[0]) == first


@pytest.mark.parametrize(
    "fixed", ["data.path=../texts/a,b.txt", "data.split=0.7,0.2,0.1", "data.split=[0.7, 0.2, 0.1]", "train.dropout=0.5"]
)
def test_text_and_lists_are_ordinary_overrides(config: str, fixed: str) -> None:
    plan = read(config, ["model.hidden=5,6", fixed])
    assert list(plan.spans) == ["model.hidden"]
    assert plan.config == ranges.configuration.read(config, ["model.hidden=5", fixed])


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("train.learning_rate=0..1", ["train.learning_rate is 0,", "a number above 0"]),
        ("train.dropout=0..1", ["train.dropout is 1,", "below 1"]),
        ("model.hidden=1..2.5", ["model.hidden is 2.5,", "a whole number"]),
        ("model.hidden=..5", ["model.hidden is ''", "a whole number"]),
        ("model.hiden=1..5", ["model.hiden", "did you mean model.hidden?"]),
        ("train.optimizer=sgd,adam", ["train.optimizer is 'adam'", "one of sgd, adamw"]),
        ("train.optimizer=sgd..adamw", ["a range needs two numbers"]),
        ("check.eps=auto..1", ["a range needs two numbers"]),
        ("train.dropout=0.5..0", ["write the smaller number first"]),
        ("train.dropout=0.5..0.5", ["write the smaller number first"]),
        ("train.dropout=0.5", ["nothing to search"]),
        ("train", ["'train' is no override"]),
    ],
)
def test_impossible_ranges_are_told_in_one_line(trainer: Trainer, config: str, written: str, words: list[str]) -> None:
    outcome = trainer("sweep", "--config", config, written)
    assert_one_line(outcome, 2, *words)
    assert not Path("runs").exists()


def test_a_key_is_searched_once(trainer: Trainer, config: str) -> None:
    outcome = trainer("sweep", "--config", config, "seed=1,2", "seed=3")
    assert_one_line(outcome, 2, "seed is given twice")


def test_values_keep_to_their_spans_and_depend_on_place_and_seed_alone() -> None:
    first = [propose(SPANS, 42, place, []) for place in range(30)]
    assert first == [propose(SPANS, 42, place, []) for place in range(30)]
    assert all(0.01 <= values["train.learning_rate"] <= 1 for values in first)
    assert all(isinstance(values["model.hidden"], int) and 10 <= values["model.hidden"] <= 1000 for values in first)
    assert {values["train.optimizer"] for values in first} == {"sgd", "adamw"}
    # On a logarithmic scale half of the sizes are below the geometric mean, 100; on a linear one, one in eleven.
    assert 8 <= sum(values["model.hidden"] < 100 for values in first) <= 22
    assert len({values["train.dropout"] for values in first}) == 30
    assert propose(SPANS, 43, 0, []) != first[0]


def known_trials(count: int) -> list[optuna.trial.FrozenTrial]:
    """Trials that have ended, the better the smaller their dropout."""
    trials = []
    for place in range(count):
        values = propose(SPANS, 1, place, [])
        loss = values["train.dropout"]
        trials.append(
            optuna.trial.create_trial(
                params=values,
                distributions=ranges.distributions(SPANS),
                value=loss,
                intermediate_values={100: loss + 1, 500: loss},
            )
        )
    return trials


def test_what_is_known_is_used() -> None:
    known = known_trials(30)
    blind = [propose(SPANS, 2, place, [])["train.dropout"] for place in range(40, 60)]
    seeing = [propose(SPANS, 2, place, known)["train.dropout"] for place in range(40, 60)]
    assert sum(seeing) < 0.6 * sum(blind)


def test_a_trial_learns_from_trials_that_may_have_ended() -> None:
    assert [learns_from(place) for place in range(14)] == [0] * 14
    assert [learns_from(place) for place in (14, 40, 200)] == [AT_RANDOM, 30, 150]


def test_hopeless_is_what_is_worse_than_the_median_after_a_fifth_of_the_steps() -> None:
    known = known_trials(10)
    median = statistics.median(trial.intermediate_values[500] for trial in known)
    assert hopeless({500: median + 0.1}, 1000, known)
    assert not hopeless({500: median - 0.1}, 1000, known)
    assert not hopeless({100: 9.0}, 1000, known)  # too early to tell
    assert not hopeless({500: 9.0}, 1000, [])  # nothing to compare with
    assert not hopeless({500: median - 0.1, 700: 9.0}, 1000, known)  # its best loss counts
