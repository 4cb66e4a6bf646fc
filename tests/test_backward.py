"""Training with a backward pass of one's own: a right one trains as the model's, a wrong link is named in its line."""

import signal
import sys
from pathlib import Path

import pytest
from conftest import Trainer, assert_one_line, at_step, folder, fresh, rows
from practice_files import RIGHT

from trainer.runs.checkpoint import load
from trainer.tools.report.run import read_run, verdict

pytestmark = pytest.mark.usefixtures("place")

STEPS = "train.steps=200 log.every=1 log.eval_every=100 log.checkpoint_every=100"


def losses(name: str) -> list[float]:
    return [row["loss"] for row in rows(folder(name)) if row["event"] == "step"]


def test_right_derivatives_train_as_the_models_own(trainer: Trainer) -> None:
    Path("mine.py").write_text(RIGHT)
    assert trainer(*fresh("plain", STEPS))[0] == 0
    assert trainer(*fresh("own", STEPS), "--backward", "mine.py")[0] == 0
    # Two orders of the same sums in float32, over 200 steps of a rate of 0.1.
    assert losses("own") == pytest.approx(losses("plain"), abs=1e-5)
    assert rows(folder("own"))[0]["backward"] == "mine.py"
    assert rows(folder("plain"))[0]["backward"] is None


def test_a_wrong_link_is_named_in_its_own_line(trainer: Trainer) -> None:
    Path("mine.py").write_text(RIGHT.replace("(1 - h**2)", "(1 - h)"))
    outcome = trainer(*fresh("own", STEPS), "--backward", "mine.py", "--check")
    words = "step 0: mine.py: dz WRONG, line 5: dz = dh * (1 - h); you wrote dh · (1 - h): the square is missing"
    assert_one_line(outcome, 1, f"{words}; see `python -m trainer practice mine.py`")
    assert load(folder("own") / "checkpoint.npz").step == 0


def test_a_run_goes_on_with_the_file_it_began_with(trainer: Trainer) -> None:
    Path("mine.py").write_text(RIGHT)
    settings = "train.schedule=constant", "log.samples=0"
    assert trainer(*fresh("own", *settings), "--backward", "mine.py")[0] == 0
    assert trainer(*fresh("plain", *settings))[0] == 0
    assert_one_line(trainer("--resume", "runs/own", "train.steps=30"), 2, "trained with --backward mine.py, runs/own/")
    assert_one_line(trainer("--resume", "runs/plain", "--backward", "mine.py"), 2, "trained with no --backward, ")
    assert trainer("--resume", "runs/own", "train.steps=30", "--backward", "mine.py")[0] == 0
    assert load(folder("own") / "checkpoint.npz").step == 30


def test_an_error_in_the_file_is_told_by_log_and_report(trainer: Trainer) -> None:
    later = """
from pathlib import Path
with Path("calls").open("a+") as calls:
    calls.write("a")
    calls.seek(0)
    if len(calls.read()) > 7:
        raise ValueError("far off")
"""
    Path("mine.py").write_text(RIGHT + later)
    words = f"ValueError: far off, line {len(RIGHT.splitlines()) + 7} of mine.py"
    assert_one_line(trainer(*fresh("own"), "--backward", "mine.py"), 2, words)
    last = (folder("own") / "train.log").read_text().splitlines()[-1]
    assert f"ended: {words}" in last
    assert verdict(read_run(folder("own")))[2].startswith(f"The run failed: {words}")


def test_a_mistake_that_leaves_no_trace_at_the_start_is_found_before_the_first_step(trainer: Trainer) -> None:
    Path("mine.py").write_text(RIGHT.replace("dlogits.sum(0)", "dlogits.sum(0) + b2"))  # b2 is zero at the start
    assert trainer(*fresh("unchecked"), "--backward", "mine.py")[0] == 0
    outcome = trainer(*fresh("checked"), "--backward", "mine.py", "--check")
    assert_one_line(outcome, 1, "step 0: mine.py: db2 WRONG, line 3: db2 = dlogits.sum(0) + b2")
    status, _, err = trainer(*fresh("own", "train.steps=1 check.on_failure=warn"), "--backward", "mine.py", "--check")
    assert status == 1
    assert "warning: step 0: mine.py: db2 WRONG" in err


def test_what_is_wrong_is_told_once_for_a_check(trainer: Trainer) -> None:
    Path("mine.py").write_text(RIGHT.replace("(1 - h**2)", "(1 - h)"))
    err = trainer(*fresh("warned", "train.steps=3 check.on_failure=warn"), "--backward", "mine.py", "--check")[2]
    first, second = [line for line in err.splitlines() if "warning: step" in line]
    assert "warning: step 0: mine.py: dz WRONG, line 5" in first
    assert "warning: step 0: a small step against the gradient does not lower the loss" in second


def test_a_file_imports_what_lies_beside_it(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("there").mkdir()
    Path("there/slopes_of_mine.py").write_text("def of_tanh(h):\n    return 1 - h**2\n")
    Path("there/mine.py").write_text("from slopes_of_mine import of_tanh\n" + RIGHT.replace("(1 - h**2)", "of_tanh(h)"))
    assert trainer(*fresh("own"), "--backward", "there/mine.py", "--check")[0] == 0


def test_a_run_that_is_interrupted_names_the_file_to_go_on_with(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine.py").write_text(RIGHT)
    at_step(monkeypatch, 3, lambda: signal.raise_signal(signal.SIGTERM))
    status, _, err = trainer(*fresh("own"), "--backward", "mine.py")
    how = f"python -m trainer --resume {folder('own')} --backward mine.py"
    assert (status, err.splitlines()[-1]) == (130, f"interrupted at step 4, state saved; go on with: {how}")
