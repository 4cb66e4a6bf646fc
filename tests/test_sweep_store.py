"""The store of a sweep: no trial is taken twice, one that dies is tried again, what cannot be is told in one line."""

import sys
import threading
from pathlib import Path

import pytest
from conftest import Trainer, assert_one_line
from sqlalchemy import text

from trainer.errors import UserError
from trainer.tools.sweep.ranges import Choices, Range, Span
from trainer.tools.sweep.store import ATTEMPTS, Address, Store, TakenOver

SPANS: dict[str, Span] = {"train.dropout": Range(0.0, 0.5, False)}
VALUES = {"train.dropout": 0.25}
SEARCHED = "train.dropout=0..0.5"


@pytest.fixture
def address(place: Path) -> Address:
    return Address("sqlite:///sweep.db", "small")


@pytest.fixture
def store(address: Address) -> Store:
    return Store(address, create=True)


def states(store: Store) -> list[str]:
    trials = store.storage.get_all_trials(store.study_id)
    return [trial.state.name for trial in sorted(trials, key=lambda trial: trial.number)]


def stop_the_heart(store: Store) -> None:
    """The last sign of life of every trial is long ago."""
    with store.storage.engine.begin() as connection:
        connection.execute(text("UPDATE trial_heartbeats SET heartbeat = '2000-01-01 00:00:00'"))


def test_a_trial_is_taken_by_one_process_only(address: Address, store: Store) -> None:
    for place in range(12):
        store.add(place, VALUES, SPANS)
    taken: list[int] = []
    together = threading.Barrier(6)

    def take_all() -> None:
        mine = Store(address)
        together.wait()
        while (trial := mine.take(12)) is not None:
            taken.append(trial.user_attrs["place"])

    threads = [threading.Thread(target=take_all) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(12))
    assert states(store) == ["RUNNING"] * 12


def test_of_two_trials_for_one_place_the_first_counts(address: Address, store: Store) -> None:
    store.add(0, VALUES, SPANS)
    store.add(0, VALUES, SPANS)
    assert states(store) == ["WAITING", "FAIL"]
    first = store.take(1)
    assert first is not None
    assert first.number == 0
    assert store.take(1) is None
    store.end(first, "COMPLETE", 2.0)
    store.add(0, VALUES, SPANS)
    assert store.take(1) is None
    assert store.places()[0].value == 2.0


def test_a_trial_that_does_not_count_is_taken_back_though_who_added_it_was_killed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(0, VALUES, SPANS)
    with monkeypatch.context() as killed:
        killed.setattr(Store, "withdraw", lambda self, trial_id: None)
        store.add(0, VALUES, SPANS)
    store.tidy()
    assert states(store) == ["WAITING", "WAITING"]  # the place is still open: if the first fails, the second counts
    first = store.take(1)
    assert first is not None
    store.end(first, "COMPLETE", 2.0)
    store.tidy()
    assert states(store) == ["COMPLETE", "FAIL"]


def test_no_more_trials_are_taken_than_asked_for(store: Store) -> None:
    for place in range(3):
        store.add(place, VALUES, SPANS)
    assert [trial and trial.user_attrs["place"] for trial in (store.take(2), store.take(2), store.take(2))] == [
        0,
        1,
        None,
    ]


def test_a_trial_that_dies_is_tried_again_with_its_values(store: Store) -> None:
    store.add(0, VALUES, SPANS)
    lost = store.take(1)
    assert lost is not None
    store.report(lost, 100, 3.0)
    store.bury()
    assert states(store) == ["RUNNING"]  # it has just begun
    stop_the_heart(store)
    store.beat(lost)
    store.bury()
    assert states(store) == ["RUNNING"]
    stop_the_heart(store)
    store.bury()
    assert states(store) == ["FAIL"]
    assert store.places() == {}
    store.add(0, VALUES, SPANS)
    again = store.take(1)
    assert again is not None
    assert again.params == lost.params
    for late in (lambda: store.report(lost, 200, 2.5), lambda: store.end(lost, "COMPLETE", 2.0)):
        with pytest.raises(TakenOver):
            late()
    store.end(again, "COMPLETE", 2.5)
    assert [trial.value for trial in store.places().values()] == [2.5]


def test_a_trial_that_dies_before_its_first_sign_of_life_is_found(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(0, VALUES, SPANS)
    assert store.take(1) is not None  # and killed at once: nobody beats for it
    stop_the_heart(store)
    store.bury()
    assert states(store) == ["FAIL"]


def test_a_trial_that_dies_again_and_again_ends_the_sweep(store: Store) -> None:
    for attempt in range(ATTEMPTS):
        assert len(states(store)) == attempt
        store.add(0, VALUES, SPANS)
        assert store.take(1) is not None
        stop_the_heart(store)
        store.bury()
    with pytest.raises(UserError, match=f"the process of trial 0 died {ATTEMPTS} times, sqlite:///sweep.db; look"):
        store.places()


def test_an_interrupted_trial_has_not_died(store: Store) -> None:
    for _ in range(ATTEMPTS + 1):
        store.add(0, VALUES, SPANS)
        trial = store.take(1)
        assert trial is not None
        store.note(trial, "why", "interrupted")
        store.end(trial, "FAIL")
    assert store.places() == {}


def test_all_processes_agree_on_what_is_searched(store: Store) -> None:
    store.agree({"train.dropout": "0.0..0.5", "seed": "42"})
    store.agree({"train.dropout": "0.0..0.5", "seed": "42"})
    with pytest.raises(
        UserError, match=r"begun with train.dropout 0.0..0.5, and 0.0..0.3 is asked for, sqlite:///sweep"
    ):
        store.agree({"train.dropout": "0.0..0.3", "seed": "42"})
    with pytest.raises(UserError, match=r"begun with model.hidden left out, and 1,2 is asked for"):
        store.agree({"train.dropout": "0.0..0.5", "seed": "42", "model.hidden": str(Choices((1, 2)))})


def test_without_optuna_one_line_says_what_to_install(
    trainer: Trainer, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    Path("small.yaml").write_text("data: {path: text.txt}\n")
    outcome = trainer("sweep", "--config", "small.yaml", SEARCHED)
    assert_one_line(outcome, 2, "Optuna", "pip install 'handmade-char-lm[sweep]'")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:////no/such/folder/sweep.db", ["cannot reach the store", "unable to open database file"]),
        ("sweep.db", ["cannot reach the store", "'sweep.db'"]),
        ("nosuchsql://host/sweeps", ["cannot reach the store", "nosuchsql"]),
        ("mysql+oursql2://host/sweeps", ["cannot reach the store"]),
        (
            "oracle://me:secret@host/sweeps",
            ["the driver of this database is missing", "pip install", "oracle://me:***@host/sweeps"],
        ),
    ],
)
def test_a_store_that_cannot_be_reached(trainer: Trainer, place: Path, url: str, words: list[str]) -> None:
    Path("small.yaml").write_text("data: {path: text.txt}\n")
    outcome = trainer("sweep", "--config", "small.yaml", SEARCHED, "--storage", url)
    assert_one_line(outcome, 2, *words)
    assert "secret" not in outcome[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trials", "0"], ["--trials is 0"]),
        (["--jobs", "0"], ["--jobs is 0"]),
        (["--name", "../x"], ["--name"]),
        (["data.path=-"], ["data.path is -"]),
        (["data.path=none.txt"], ["none.txt"]),
        (["data.split=0.9,0,0.1"], ["data.split", "validation"]),
    ],
)
def test_what_a_sweep_cannot_do(trainer: Trainer, place: Path, arguments: list[str], words: list[str]) -> None:
    Path("small.yaml").write_text("data: {path: text.txt}\n")
    if any("data.path" in argument for argument in arguments):
        Path("small.yaml").write_text("{}\n")
    outcome = trainer("sweep", "--config", "small.yaml", SEARCHED, *arguments)
    assert_one_line(outcome, 2, *words)
    assert not Path("runs").exists()
