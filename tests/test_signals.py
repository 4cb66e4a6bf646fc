"""Ctrl-C and its like: the state is saved, and the run goes on as if nothing had happened."""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import LONG_STEPS, SETTINGS, Trainer, assert_same, at_step, folder, fresh, rows, start_process

from trainer.errors import UserError
from trainer.runs import signals
from trainer.runs.checkpoint import load
from trainer.runs.listening import Session
from trainer.runs.signals import ended_by_signals, interruptible

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


def begun() -> "subprocess.Popen[str]":
    """A process in the checks of its first step, which take many seconds."""
    sizes = "model.hidden=600 model.embedding=30 train.batch_size=256 check.enabled=true"
    process = start_process(*fresh("live", LONG_STEPS, sizes))
    while process.poll() is None and not list(Path("runs/live").glob("*/checkpoint.npz")):
        time.sleep(0.01)
    return process


def test_a_step_whose_checks_were_cut_short_is_made_again(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trainer(*fresh("whole", SETTINGS["checked"], "check.every=1"))[0] == 0
    passes = Session.until_signal

    def interrupted(self: Session, function: Any, many: Any) -> Any:
        for k, result in enumerate(passes(self, function, many)):
            if self.checkpoint.step == 7 and k == 0:  # the first pass of the checks of step 6
                signal.raise_signal(signal.SIGINT)
            yield result

    with monkeypatch.context() as patch:
        patch.setattr(Session, "until_signal", interrupted)
        assert trainer(*fresh("cut", SETTINGS["checked"], "check.every=1"))[0] == 130
    assert load(folder("cut") / "checkpoint.npz").step == 6
    assert trainer("--resume", "runs/cut")[0] == 0
    assert_same(folder("whole"), folder("cut"))


def test_a_signal_within_the_checks_of_a_process_ends_it_soon() -> None:
    process = begun()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "finishing the step; again to stop now\n" in err
    assert load(folder("live") / "checkpoint.npz").step == 0


def test_a_signal_that_arrives_twice_is_one(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrapper that forwards Ctrl-C delivers it within a millisecond of the terminal's own."""

    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)

    at_step(monkeypatch, 4, twice)
    status, _, err = trainer(*fresh("twice"))
    assert status == 130
    assert err.count("finishing the step") == 1
    assert "interrupted at step 5, state saved" in err


def test_a_later_signal_stops_at_once_and_says_what_is_lost(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient() -> None:
        signal.raise_signal(signal.SIGINT)
        later = time.monotonic() + 0.6
        monkeypatch.setattr(signals.time, "monotonic", lambda: later)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        at_step(patch, 9, impatient)
        status, _, err = trainer(*fresh("late", "log.checkpoint_every=4"))
    path = folder("late") / "checkpoint.npz"
    assert (status, load(path).step) == (130, 8)
    assert err.splitlines()[-1] == f"stopped at once; {path} is of step 8, the steps after it are lost"
    assert signal.getsignal(signal.SIGINT) == before


def test_a_second_signal_ends_a_process() -> None:
    process = begun()
    process.send_signal(signal.SIGINT)
    time.sleep(0.6)
    process.send_signal(signal.SIGINT)  # unless it has ended by then
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert load(folder("live") / "checkpoint.npz").step == 0


def test_hanging_up_ends_a_run_unless_that_was_ignored_before(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(monkeypatch, 4, lambda: signal.raise_signal(signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert trainer(*fresh("ignored"))[0] == 0
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        assert trainer(*fresh("hung up"))[0] == 130
    finally:
        signal.signal(signal.SIGHUP, before)
    assert load(folder("hung up") / "checkpoint.npz").step == 5


def test_a_signal_is_answered_even_where_the_log_cannot_be_written() -> None:
    def full(line: str) -> None:
        raise UserError("cannot write")

    with interruptible(full) as asked:
        signal.raise_signal(signal.SIGTERM)
        assert asked


def interrupted_import() -> None:
    """A library in C that is being imported makes an ImportError of the KeyboardInterrupt."""
    with ended_by_signals():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            raise ImportError("could not import module") from None


def test_a_signal_that_an_import_swallows_ends_the_command_all_the_same() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted_import()
    with pytest.raises(ImportError), ended_by_signals():
        raise ImportError("no module")
