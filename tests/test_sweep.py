"""Whole sweeps: what they try, how often, what they leave, and how they end and go on."""

import math
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import optuna
import pytest
from conftest import Capture, Trainer, assert_one_line, rows, start_process
from optuna.trial import TrialState, create_trial
from sqlalchemy import text

from trainer.config import read
from trainer.tools.command import main
from trainer.tools.sweep import command, search

QUICK = "train.steps=20 train.batch_size=4 model.hidden=5 log.eval_every=10 log.checkpoint_every=20 log.samples=0"


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trials in this process, for others take seconds to begin; what was killed is soon dead."""
    monkeypatch.setattr(search, "GRACE", 1)
    monkeypatch.setattr(command, "begin", lambda worker: None)
    monkeypatch.setattr(command, "run_together", lambda jobs, *words: main([*words, "--worker", "0"]))


def words(searched: str, trials: int = 50, jobs: int = 1) -> list[str]:
    """The command for a small model."""
    Path("small.yaml").write_text("data: {path: text.txt}\n")
    fixed = [word for word in QUICK.split() if word.partition("=")[0] + "=" not in searched]
    return ["sweep", "--config", "small.yaml", *fixed, *f"{searched} --trials {trials} --jobs {jobs}".split()]


def load(storage: str = "sqlite:///runs/small/sweep.db") -> optuna.Study:
    return optuna.load_study(study_name="small", storage=storage)


def done() -> list[optuna.trial.FrozenTrial]:
    return load().get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))


def trained(*keys: str) -> Counter[tuple[Any, ...]]:
    """How often the values of these keys were trained to the end, with each seed."""
    runs = [log.parent for log in Path().glob("**/runs/small/*/metrics.jsonl") if rows(log.parent, "end")]
    return Counter(attrgetter(*keys, "seed")(read(run / "config.yaml")) for run in runs)


def test_a_sweep_from_beginning_to_end(trainer: Trainer, place: Path) -> None:
    command = words("train.learning_rate=0.01..1 train.optimizer=sgd,adamw --no-pruning", 3)
    status, out, err = trainer(*command, "--jobs", "2")
    assert (status, err) == (0, "")
    trials = done()
    best = min(trials, key=lambda trial: trial.value or 0)
    for trial in trials:
        ((run, loss, _),) = trial.user_attrs["runs"].values()
        assert loss == trial.value == rows(Path(run), "end")[0]["val_loss"]
        assert {row["step"]: row["val_loss"] for row in rows(Path(run), "eval")} == trial.intermediate_values
        own = read(Path(run, "config.yaml"))
        assert {key: attrgetter(key)(own) for key in trial.params} == trial.params
        assert trial != best or own == read("runs/small/best.yaml")
        assert re.search(rf"^{trial.number} +{loss:.4f}  complete .* {run}$", out, re.MULTILINE)
    lines = out.splitlines()
    assert [lines[1].split()[0], lines[-1]] == [str(best.number), f"best {best.value:.4f}: runs/small/best.yaml"]
    assert "importance" not in out


@pytest.mark.usefixtures("inline")
def test_more_trials_go_on_and_another_range_is_another_sweep(trainer: Trainer, place: Path) -> None:
    command = words("train.learning_rate=0.01..1 train.optimizer=sgd,adamw --no-pruning", 3)
    trainer(*command)
    trials = load().trials
    _, out, _ = trainer(*command, "--trials", "10")
    assert load().trials[:3] == trials
    assert 99 <= sum(int(share) for share in re.findall(r"^importance +(\d+)%", out, re.MULTILINE)) <= 101
    assert trainer(*command)[:2] == (0, out)
    outcome = trainer(*command, "train.weight_decay=0..0.1", "train.patience=3")
    assert_one_line(outcome, 2, "small was begun with train.patience=0, train.weight_decay=0.0; give the same, or")


@pytest.mark.usefixtures("inline")
def test_each_combination_once_with_every_seed(trainer: Trainer, place: Path) -> None:
    for limit, tried in ((1, 1), (50, 2)):
        status, out, _ = trainer(*words("train.learning_rate=0.05,0.1 seed=1,2", limit, min(limit, 2)))
        assert (status, len(out.splitlines())) == (0, tried + 2)
    assert trained("train.learning_rate") == {(rate, seed): 1 for rate in (0.05, 0.1) for seed in (1, 2)}
    for trial in done():
        runs = [run for run, *_ in trial.user_attrs["runs"].values()]
        assert trial.value == sum(rows(Path(run), "end")[0]["val_loss"] for run in runs) / 2
        assert ", ".join(runs) in out


@pytest.mark.long
def test_two_commands_share_a_store(place: Path) -> None:
    commands = [start_process(*words("train.learning_rate=0.05,0.1,0.2,0.3 model.hidden=3,4")) for _ in range(2)]
    outcomes = [command.communicate() for command in commands]
    assert [command.returncode for command in commands] == [0, 0], outcomes
    assert outcomes[0][0] == outcomes[1][0]
    counts = trained("train.learning_rate", "model.hidden")
    assert (len(counts), set(counts.values())) == (8, {1})


@pytest.mark.usefixtures("inline")
def test_values_that_are_drawn_again_are_not_trained_again(trainer: Trainer, place: Path) -> None:
    status, out, _ = trainer(*words("model.hidden=4..5", 12))
    assert (status, len(out.splitlines())) == (0, 4)
    assert trained("model.hidden") == {(4, 42): 1, (5, 42): 1}


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    "searched", [pytest.param("train.learning_rate=0.05,0.1", marks=pytest.mark.long), "train.learning_rate=0.05..0.1"]
)
def test_what_died_is_offered_again(trainer: Trainer, place: Path, searched: str) -> None:
    """A trial gives no sign of life any more, and another, with the same values, never gave any."""
    trainer(*words(searched, 1))
    study = load()
    (before,) = done()
    with study._storage._backend.engine.begin() as connection:  # type: ignore[attr-defined]
        for change in (
            "UPDATE trials SET state = 'RUNNING'",
            "UPDATE trial_heartbeats SET heartbeat = '2000-01-01 00:00:00'",
            "DELETE FROM trial_user_attributes",
        ):
            connection.execute(text(change))
    study.add_trial(create_trial(state=TrialState.RUNNING, params=before.params, distributions=before.distributions))
    assert trainer(*words(searched, 1))[0] == 0
    assert load().trials[0].state == TrialState.FAIL
    assert [(trial.params, trial.value) for trial in done()] == [(before.params, before.value)]
    assert list(trained("train.learning_rate").values()) == [2]


@pytest.mark.usefixtures("inline")
def test_how_trials_end(trainer: Trainer, place: Path) -> None:
    # The order is drawn by the seed: 1e-9 comes last, when there is a median.
    status, out, _ = trainer(*words("train.schedule=constant train.learning_rate=0.1,0.2,0.3,1e-9,0.4,1e25,0.5"))
    assert status == 0
    assert {trial.params["train.learning_rate"]: trial.value for trial in done()}["1e25"] == math.inf
    assert re.search(r"inf  diverged +1e25  runs/small/\d", out)
    assert re.search(r"pruned +1e-9  runs/small/\d", out)
    outcome = trainer(*words("train.schedule=constant train.learning_rate=1e25,1e26 --name hopeless"))
    assert_one_line(outcome, 1, "every trial diverged, runs/hopeless")


def test_what_ends_a_trial_with_an_error_ends_the_sweep(place: Path, capfd: Capture) -> None:
    status = main(words("model.hidden=5,100000000000"))
    assert_one_line((status, *capfd.readouterr()), 2, "smaller")


# A sweep ends at once, whatever signal comes to it or to one of its processes, and the same command goes on

LIST = f"train.learning_rate={','.join(f'0.{k:03}' for k in range(1, 1000))} train.steps=100 log.eval_every=25"


def processes(marker: str) -> list[int]:
    """Those that have the marker in their environment and have not ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def interrupt(rng: random.Random, number: signal.Signals) -> None:
    """Begin or go on, and send a signal to one of the processes: at a random time, or at the end of a trial."""
    marker = f"sweep-{rng.random()}"
    command = start_process(*words(LIST, 1000, 2), MARKER=marker)
    ended = set(Path().glob("runs/small/*/samples.txt"))
    delay = rng.uniform(0.5, 5)  # before that, Python itself is starting
    if rng.random() < 0.5:
        while set(Path().glob("runs/small/*/samples.txt")) == ended and command.poll() is None:
            time.sleep(0.002)
        delay /= 50
    time.sleep(delay)
    target = rng.choice(processes(marker))
    os.kill(target, number)
    sent = time.monotonic()
    while processes(marker):
        assert time.monotonic() - sent < 2, (number, target == command.pid, delay)
        time.sleep(0.01)
    _, err = command.communicate()
    assert command.returncode in (130, -number), err
    assert "Traceback" not in err or target != command.pid


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the processes in /proc")
@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    "numbers",
    [
        [signal.SIGTERM],
        pytest.param([signal.SIGINT, signal.SIGTERM] * 100, marks=pytest.mark.long),
        pytest.param([signal.SIGKILL] * 20, marks=pytest.mark.long),
    ],
    ids=["once", "200", "20 kills"],
)
def test_the_same_command_goes_on(trainer: Trainer, place: Path, numbers: Sequence[signal.Signals]) -> None:
    rng = random.Random(2 + len(numbers))
    for number in numbers:
        interrupt(rng, number)
    count = len([*Path().glob("runs/small/*/samples.txt")]) + 2  # more than were done; there may be no study yet
    assert trainer(*words(LIST, count))[0] == 0
    tried = [trial.params["train.learning_rate"] for trial in done()]
    assert len(tried) == len(set(tried)) >= count
