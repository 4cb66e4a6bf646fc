"""A run that was interrupted, lengthened or moved goes on as if nothing had happened, or says what is in the way."""

import shlex
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import (
    SETTINGS,
    Killed,
    Trainer,
    assert_one_line,
    assert_same,
    at_step,
    contents,
    folder,
    fresh,
    rows,
    timeless,
    trained,
    values,
)  # fmt: skip

from trainer.errors import UserError
from trainer.runs import signals
from trainer.runs.checkpoint import load
from trainer.tools.command import main

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


@pytest.mark.parametrize(
    ("apart", "step", "says"),
    [
        (0.001, 10, "interrupted at step 10, state saved"),  # a wrapper delivers the terminal's own once more
        (0.6, 8, "interrupted at once; --resume goes on from the last state that was saved"),
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
    assert err.count("finishing what has begun") == 1
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


# What a run can be resumed with and after


def test_a_changed_text_is_an_error(trainer: Trainer) -> None:
    trained("run")
    before, source = contents(Path("runs")), Path("text.txt").read_bytes()
    for changed in (source + b"abc\n", source.replace(b"a", b"b", 1)):
        Path("text.txt").write_bytes(changed)
        for words in (("--resume", "runs"), ("sample", "--new")):
            assert_one_line(trainer(*words), 2, "text has changed", str(Path("text.txt").absolute()))
    Path("text.txt").unlink()
    assert_one_line(trainer("sample", "--new"), 2, "cannot read the text again")
    assert contents(Path("runs")) == before


def test_a_constant_schedule_lets_a_run_be_lengthened(trainer: Trainer) -> None:
    settings = "train.schedule=constant train.optimizer=adamw log.eval_every=5"
    trained("whole", settings, "train.steps=30")
    trained("longer", settings, "train.steps=20")
    assert trainer("--resume", "runs/longer", "train.steps=30")[0] == 0
    assert values(folder("whole") / "checkpoint.npz") == values(folder("longer") / "checkpoint.npz")
    assert timeless(folder("whole")) == timeless(folder("longer"))
    assert (folder("whole") / "config.yaml").read_bytes() == (folder("longer") / "config.yaml").read_bytes()
    trained("step", "train.schedule=step")
    says = "with the step schedule only data.path can; start another run from it with --config and --from"
    assert_one_line(trainer("--resume", "runs/step", "train.steps=50"), 2, says)


def test_a_finished_run_resumes_to_the_same_end(trainer: Trainer) -> None:
    for name in ("whole", "again"):
        trained(name, SETTINGS["checked"])
    for run in ("runs/again", folder("again"), folder("again") / "checkpoint.npz", folder("again") / "best.npz"):
        assert trainer("--resume", str(run))[0] == 0
        assert_same(folder("whole"), folder("again"))


HAPPENED: dict[str, Callable[[Path], object]] = {
    "config.yaml was edited": lambda run: (run / "config.yaml").write_text("seed: [nonsense\n"),
    "config.yaml is lost": lambda run: (run / "config.yaml").unlink(),
    "train.log is lost": lambda run: (run / "train.log").unlink(),
    "it was moved": lambda run: shutil.move(run.rename("x"), run.parent / "another"),
    "all rows are lost": lambda run: (run / "metrics.jsonl").unlink(),
}


@pytest.mark.parametrize("case", HAPPENED)
def test_a_run_goes_on_after_what_happened_to_its_folder(
    case: str, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        raise Killed

    trained("whole")
    with monkeypatch.context() as patch:
        at_step(patch, 17, die)  # between the saves of steps 16 and 18; best.npz is of step 14
        with pytest.raises(Killed):
            main(fresh("half"))
    HAPPENED[case](folder("half"))
    half, whole = folder("half"), folder("whole")
    assert trainer("--resume", str(half))[0] == 0
    if "row" in case:
        later = [row for row in timeless(whole) if row.get("step", 0) >= 16 and row["event"] != "start"]
        assert timeless(half) == later
    else:
        assert_same(whole, half)
