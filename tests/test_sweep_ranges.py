"""What a sweep may search, held against the configuration's own rules."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Trainer, assert_one_line

from trainer.config import read as read_config
from trainer.tools.sweep import ranges


@pytest.fixture
def config(place: Path) -> str:
    (place / "small.yaml").write_text("data: {path: text.txt}\n")
    return "small.yaml"


def read(config: str, *overrides: str, trials: int = 1000) -> ranges.Plan:
    return ranges.read(config, overrides, trials)


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("train.learning_rate=1e-4..1", (1e-4, 1.0)),
        ("train.steps=1e2..1e3", (100, 1000)),
        ("train.dropout=.1...5", (0.1, 0.5)),
        ("train.optimizer=sgd,adamw", ["sgd", "adamw"]),
        ("train.batch_size=32,64,32", ["32", "64"]),
        ("check.eps=auto,1e-3", ["auto", "1e-3"]),
    ],
)
def test_what_is_searched(config: str, written: str, found: Any) -> None:
    key = written.partition("=")[0]
    plan = read(config, written, "data.path=a,b..txt", "data.split=0.7,0.2,0.1", "seed=1,2,3")
    assert (plan.ranges | plan.lists, plan.seeds) == ({key: found}, ["1", "2", "3"])
    assert [type(low) for low, _ in plan.ranges.values()] == ([type(found[0])] if isinstance(found, tuple) else [])
    one = plan.config({key: found[1]}, "2")
    assert (one.data.path, one.data.split, one.seed) == ("a,b..txt", (0.7, 0.2, 0.1), 2)
    assert one == read_config(config, {key: found[1], **plan.fixed, "seed": 2})


def test_combinations_come_in_an_order_drawn_by_the_seed_and_more_of_them_begin_alike(config: str) -> None:
    lists = "model.hidden=5,6,7", "train.batch_size=1,2,3,4"
    every = read(config, *lists).combinations
    assert len({str(each) for each in every}) == len(every) == 12
    assert every != sorted(every, key=str)
    assert read(config, *lists, trials=5).combinations == every[:5]
    assert read(config, *lists, "seed=1").combinations not in (every, read(config, *lists, "seed=2").combinations)
    assert read(config, *lists, "train.dropout=0..0.5").combinations == []
    assert read(config, "seed=1,2").combinations == [{}]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("train.learning_rate=0..1", "train.learning_rate is '0', on the command line"),
        ("model.hidden=1..2.5", "model.hidden is"),
        ("model.hidden=..5", "model.hidden is ''"),
        ("model.hiden=1..5", "did you mean model.hidden?"),
        ("train.optimizer=sgd,adam", "train.optimizer is 'adam'"),
        ("train.optimizer=sgd..adamw", "is no range"),
        ("check.eps=1e-3..auto", "is no range"),
        ("train.dropout=0.5..0", "is no range"),
        ("seed=1..3", "seed=1..3 is no range, on the command line; give the smaller one first, or a list"),
        ("train", "'train' is no override"),
        ("seed=1,2 --trials 0", "--trials 0"),
        ("seed=1,2 --jobs 0", "--jobs 0"),
        ("seed=1,2 --name ../x", "--name"),
        ("seed=1,2 data.path=-", "data.path"),
        ("seed=1,2 data.path=none.txt", "none.txt"),
        ("seed=1,2 data.split=0.9,0,0.1", "a share for validation"),
    ],
)
def test_what_cannot_be_searched_is_told_in_one_line(trainer: Trainer, config: str, words: str, told: str) -> None:
    Path(config).write_text("" if "data.path" in words else "data: {path: text.txt}\n")
    assert_one_line(trainer("sweep", "--config", config, *words.split()), 2, told)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite:////no/such/folder/sweep.db", "unable to open database file"),
        ("sweep.db", "Could not parse"),
        ("oracle://me:secret@host/sweeps", "No module named"),
    ],
)
def test_a_store_that_cannot_be_reached(
    trainer: Trainer, config: str, url: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    outcome = trainer("sweep", "--config", config, "seed=1,2", "--storage", url)
    assert_one_line(outcome, 2, "the search stopped", told)
    assert "secret" not in outcome[2]
