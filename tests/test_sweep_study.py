"""Whole sweeps: what they leave, and that neither kills nor the number of processes change it."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
import yaml
from conftest import ROOT, Trainer, rows

from trainer import config as configuration

SEARCHED = "train.learning_rate=0.01..1 model.hidden=4..16 train.dropout=0..0.5 train.optimizer=sgd,adamw"
QUICK = "train.steps=20 train.batch_size=4 model.embedding=3 log.eval_every=5 log.samples=0"
# The command with a fast heartbeat: a trial that dies is found within seconds.
FAST_HEART = """
import functools, sys
from trainer.tools import command
from trainer.tools.sweep import search
if __name__ == "__main__":
    search.Address = functools.partial(search.Address, heartbeat=1, grace=5)
    sys.exit(command.main())
"""
Ended = tuple[str, float | None, dict[str, object], dict[int, float]]  # how, loss, values, losses on the way


@pytest.fixture
def config(place: Path) -> str:
    (place / "small.yaml").write_text("data: {path: text.txt}\n")
    return "small.yaml"


def arguments(name: str, trials: int, jobs: int = 2, settings: str = QUICK) -> list[str]:
    limits = ["--trials", str(trials), "--jobs", str(jobs)]
    return ["sweep", "--config", "small.yaml", "--name", name, *SEARCHED.split(), *settings.split(), *limits]


def trials_of(name: str, storage: str | None = None) -> list[optuna.trial.FrozenTrial]:
    study = optuna.load_study(study_name=name, storage=storage or f"sqlite:///runs/{name}/sweep.db")
    return study.get_trials()


def ended(name: str, storage: str | None = None) -> dict[int, Ended]:
    """The trials that have ended well, by place: every place once, and none that still runs or waits."""
    found: dict[int, Ended] = {}
    for trial in trials_of(name, storage):
        assert trial.state.is_finished()
        if trial.state.name != "FAIL":
            place = trial.user_attrs["place"]
            assert place not in found
            found[place] = trial.state.name, trial.value, trial.params, trial.intermediate_values
    return dict(sorted(found.items()))


def test_a_sweep_from_beginning_to_end(trainer: Trainer, config: str) -> None:
    status, out, err = trainer(*arguments("first", 3))
    assert (status, err) == (0, "")
    found = ended("first")
    assert list(found) == [0, 1, 2]
    best = min(found, key=lambda place: found[place][1] or 0)
    for trial in trials_of("first"):
        run = Path(trial.user_attrs["run"])
        assert rows(run, "end")[0]["val_loss"] == trial.value  # the loss of the whole split, of the best state
        assert {row["step"]: row["val_loss"] for row in rows(run, "eval")} == trial.intermediate_values
        assert rows(run, "start")[0]["threads"] == 1
        own = configuration.to_dict(configuration.read(run / "config.yaml"))
        if trial.user_attrs["place"] == best:
            assert own == yaml.safe_load(Path("runs/first/best.yaml").read_text())
        for key, value in trial.params.items():
            section, _, name = key.partition(".")
            assert own[section][name] == value
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["trial", str(best)]
    shares = [int(found) for found in re.findall(r"^importance +(\d+)%", out, re.MULTILINE)]
    assert 98 <= sum(shares) <= 102  # each is rounded
    assert lines[-1].endswith("runs/first/best.yaml")

    # The same command has nothing left to do; more trials go on from there; another range is another sweep.
    assert trainer(*arguments("first", 3, jobs=1))[:2] == (0, out)
    assert len(trials_of("first")) == 3
    assert trainer(*arguments("first", 4, jobs=1))[0] == 0
    assert list(ended("first")) == [0, 1, 2, 3]
    assert {place: ended("first")[place] for place in found} == found
    status, _, err = trainer(*arguments("first", 4), "train.weight_decay=0..0.1")
    assert (status, err.count("\n")) == (2, 1)
    assert "begun with train.weight_decay 0.0, and 0.0..0.1 is asked for" in err


@pytest.mark.long
def test_a_diverged_trial_is_a_bad_one(trainer: Trainer, config: str) -> None:
    spoilt = ["sweep", "--config", config, "--name", "wild", *QUICK.split(), "train.schedule=constant", "--trials", "3"]
    status, out, _ = trainer(*spoilt, "train.learning_rate=0.1,1e25")
    assert status == 0
    losses = {trial.params["train.learning_rate"]: trial.value for trial in trials_of("wild")}
    assert losses[1e25] == float("inf")
    assert losses[0.1] < 3
    assert "diverged" in out.splitlines()[3]
    spoilt[4] = "hopeless"
    status, _, err = trainer(*spoilt, "train.learning_rate=1e25,1e26")
    assert (status, err.startswith("failed: every trial diverged")) == (1, True)


@pytest.mark.long
def test_what_ends_a_trial_with_an_error_ends_the_sweep(trainer: Trainer, config: str) -> None:
    status, _, err = trainer("sweep", "--config", config, *QUICK.split(), "model.hidden=5,100000000000")
    assert (status, err.count("\n")) == (2, 1)
    assert "GiB" in err


def start(command: list[str]) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    Path("fast_heart.py").write_text(FAST_HEART)
    return subprocess.Popen(
        [sys.executable, "fast_heart.py", *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def workers_of(process: "subprocess.Popen[bytes]") -> list[int]:
    """The processes that train for a command."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def wait_for_runs(process: "subprocess.Popen[bytes]", name: str, count: int) -> None:
    """Until so many runs, those that have been killed included, have been evaluated once."""
    while len(list(Path("runs", name).glob("*/best.npz"))) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
SLOWER = "train.steps=4000 train.batch_size=4 model.embedding=3 log.every=1000 log.eval_every=100 log.samples=0"


@needs_proc
@pytest.mark.long
def test_killed_worker_killed_command_interrupted_command(trainer: Trainer, config: str) -> None:
    command = arguments("killed", 3, settings=SLOWER)
    process = start(command)
    wait_for_runs(process, "killed", 2)
    os.kill(workers_of(process)[0], signal.SIGKILL)
    wait_for_runs(process, "killed", 3)
    orphans = workers_of(process)
    process.kill()
    process.wait()
    while any(Path(f"/proc/{orphan}").exists() for orphan in orphans):
        time.sleep(0.1)  # they notice, give their trials back, and end
    process = start(command)
    wait_for_runs(process, "killed", 4)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert b"the same command goes on" in err
    process = start(command)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert trainer(*arguments("whole", 3, settings=SLOWER))[0] == 0
    assert ended("killed") == ended("whole")
    assert (
        Path("runs/killed/best.yaml").read_text().splitlines()[1:]
        == (Path("runs/whole/best.yaml").read_text().splitlines()[1:])
    )


@needs_proc
@pytest.mark.long
def test_twenty_kills_at_random(trainer: Trainer, config: str) -> None:
    """20 trials, of which the last learn from the first and some are pruned: one job, two jobs, two that are killed."""
    rng = random.Random(1)
    kills = 0
    process = start(arguments("killed", 20, settings=SLOWER))
    while kills < 20:
        time.sleep(rng.uniform(1, 6))
        workers = workers_of(process)
        assert process.poll() is None
        if rng.random() < 0.3:
            process.kill()
            process.wait()
            process = start(arguments("killed", 20, settings=SLOWER))
        elif workers:
            os.kill(rng.choice(workers), signal.SIGKILL)
        else:
            continue
        kills += 1
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert trainer(*arguments("one", 20, jobs=1, settings=SLOWER))[0] == 0
    assert trainer(*arguments("two", 20, settings=SLOWER))[0] == 0
    assert len(ended("one")) == 20
    assert ended("one") == ended("two") == ended("killed")
    assert any(how == "PRUNED" for how, *_ in ended("one").values())
