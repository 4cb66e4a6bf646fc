"""Ctrl-C and its like: the state is saved, and the run goes on as if nothing had happened."""

import shlex
import signal
import time

import pytest
from conftest import SETTINGS, Trainer, assert_same, at_step, folder, fresh, rows, trained

from trainer.errors import UserError
from trainer.runs import signals
from trainer.runs.checkpoint import load

pytestmark = pytest.mark.usefixtures("place")


ODD = "o'd d $x `y` é🚀"  # a name that a shell makes difficult


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_says_how_to_go_on_and_does(
    number: signal.Signals, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained("whole", SETTINGS["adamw"])
    with monkeypatch.context() as patch:
        at_step(patch, 4, lambda: signal.raise_signal(number))
        status, _, err = trainer(*fresh(ODD, SETTINGS["adamw"]))
    run = folder(ODD)
    command = f"python -m trainer --resume {shlex.quote(str(run))}"
    told = f"interrupted at step 5, state saved; go on with: {command}"
    assert (status, err.splitlines()[-1]) == (130, told)
    assert (run / "train.log").read_text().splitlines()[-1].endswith(told)
    assert load(run / "checkpoint.npz").step == 5
    assert trainer(*shlex.split(command)[3:])[0] == 0
    assert_same(folder("whole"), run)  # an interruption saves once more; nothing else differs


def test_a_signal_in_the_last_step_lets_the_run_end(monkeypatch: pytest.MonkeyPatch) -> None:
    at_step(monkeypatch, 23, lambda: signal.raise_signal(signal.SIGINT))
    trained("last")
    assert rows(folder("last"))[-1]["event"] == "end"


AT_ONCE = "stopped at once; --resume goes on from the last state that was saved"


@pytest.mark.parametrize(
    ("apart", "step", "says"),
    [
        (0.001, 10, "interrupted at step 10, state saved"),  # a wrapper delivers the terminal's own once more
        (0.6, 8, AT_ONCE),
    ],
)
def test_a_later_signal_stops_at_once(
    apart: float, step: int, says: str, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)

    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        later = time.monotonic() + apart
        monkeypatch.setattr(signals.time, "monotonic", lambda: later)
        signal.raise_signal(signal.SIGTERM)

    at_step(monkeypatch, 9, twice)
    status, _, err = trainer(*fresh("late", "log.checkpoint_every=4"))
    assert (status, load(folder("late") / "checkpoint.npz").step) == (130, step)
    assert err.splitlines()[-1].startswith(says)
    assert err.count("finishing the step") == 1
    assert signal.getsignal(signal.SIGINT) == before


def test_hanging_up_does_nothing_where_that_was_ignored_before(monkeypatch: pytest.MonkeyPatch) -> None:
    at_step(monkeypatch, 4, lambda: signal.raise_signal(signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        trained("ignored")
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_is_answered_even_where_the_log_cannot_be_written() -> None:
    def full(line: str) -> None:
        raise UserError("cannot write")

    with signals.interruptible(full) as asked:
        signal.raise_signal(signal.SIGTERM)
        assert asked
