"""Training with a learner's file: held against what practice says before the first checked step; a signal ends it."""

from pathlib import Path

import pytest
from conftest import Trainer, assert_one_line, folder, fresh
from practice_files import whole

from trainer.runs.checkpoint import load

pytestmark = pytest.mark.usefixtures("place")
AFTER_FOUR_STEPS = """
import pathlib, signal
with pathlib.Path("calls").open("a+") as calls:
    calls.write("a")
    calls.seek(0)
    count = len(calls.read())
if count > 4:
    signal.raise_signal(signal.SIGTERM)
    while True: pass
"""


def test_a_mistake_that_leaves_no_trace_at_the_start_is_found_before_the_first_step(trainer: Trainer) -> None:
    Path("mine.py").write_text(whole.RIGHT.replace("dlogits.sum(0)", "dlogits.sum(0) + b2"))  # b2 is zero at the start
    assert trainer(*fresh("unchecked"), "--backward", "mine.py")[0] == 0
    outcome = trainer(*fresh("checked"), "--backward", "mine.py", "--check")
    assert_one_line(outcome, 1, "step 0: mine.py: db2 WRONG line 3: db2 = dlogits.sum(0) + b2")
    warned = trainer(*fresh("warned", "train.steps=1 check.on_failure=warn"), "--backward", "mine.py", "--check")[2]
    assert "warning: step 0: mine.py: db2 WRONG" in warned


def test_one_signal_ends_a_step_that_never_ends(trainer: Trainer) -> None:
    Path("mine.py").write_text(whole.RIGHT + AFTER_FOUR_STEPS)
    status, _, err = trainer(*fresh("own", "log.checkpoint_every=100"), "--backward", "mine.py")
    run = folder("own")
    told = f"interrupted at step 4, state saved; go on with: python -m trainer --resume {run} --backward mine.py"
    assert (status, err.splitlines()[-1]) == (130, told)
    assert load(run / "checkpoint.npz").step == 4
