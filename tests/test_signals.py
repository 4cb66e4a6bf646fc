"""Ctrl-C and SIGTERM: the state is saved, and the run goes on as if nothing had happened."""

import shlex
import signal
import time
from pathlib import Path

import pytest
from conftest import LONG_STEPS, SETTINGS, Trainer, assert_same, at_step, folder, fresh, rows, start_process

from trainer.runs.checkpoint import load

pytestmark = pytest.mark.usefixtures("place")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on_and_does(
    number: signal.Signals, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trainer(*fresh("whole", SETTINGS["adamw"]))[0] == 0
    with monkeypatch.context() as patch:
        at_step(patch, 4, lambda: signal.raise_signal(number))
        status, _, err = trainer(*fresh("a name", SETTINGS["adamw"]))
    command = shlex.split(err.splitlines()[-1].partition("go on with: ")[2])
    assert (status, command[:4]) == (130, ["python", "-m", "trainer", "--resume"])
    assert load(folder("a name") / "checkpoint.npz").step == 5
    assert trainer(*command[3:])[0] == 0
    # An interruption saves once more than the whole run does; nothing else differs.
    assert_same(folder("whole"), folder("a name"))


def test_a_signal_in_the_last_step_or_after_it_lets_the_run_end(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(monkeypatch, 23, lambda: signal.raise_signal(signal.SIGINT))
    assert trainer(*fresh("last"))[0] == 0
    assert rows(folder("last"))[-1]["event"] == "end"


def test_signals_reach_a_process() -> None:
    arguments, step = fresh("live", LONG_STEPS), 0
    for number in (signal.SIGINT, signal.SIGTERM):
        process = start_process(*arguments)
        assert process.stderr
        next(line for line in process.stderr if line.startswith(("step 7:", "resuming")))
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "--resume" in err.splitlines()[-1]
        saved = load(folder("live") / "checkpoint.npz").step
        assert f"interrupted at step {saved}," in err
        assert saved > step
        step, arguments = saved, ["--resume", "runs"]


def test_a_second_signal_ends_a_process_at_once() -> None:
    # Every coordinate of 60,000 is perturbed: the first step takes far longer than the two signals.
    sizes = "model.hidden=600 model.embedding=30 train.batch_size=256 check.enabled=true"
    process = start_process(*fresh("live", LONG_STEPS, sizes))
    while process.poll() is None and not list(Path("runs/live").glob("*/checkpoint.npz")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None  # it finishes its step
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "saved" not in err
    assert load(folder("live") / "checkpoint.npz").step == 0
