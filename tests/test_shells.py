"""Names that a shell makes difficult: they are shown, they work, and a printed command can be pasted."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Outcome, Trainer, assert_one_line, folder, fresh

from trainer.runs.checkpoint import load

pytestmark = pytest.mark.usefixtures("place")


def in_shell(words: str, **variables: str) -> Outcome:
    """What a shell makes of the words after `python -m trainer `."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    command = ["bash", "-c", f"{shlex.quote(sys.executable)} -m trainer {words}"]
    done = subprocess.run(command, check=False, env=environment, capture_output=True)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_names_that_are_not_ascii_work_in_a_c_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path("zoë").absolute()
    here.mkdir()
    Path("text.txt").rename(here / "text.txt")
    monkeypatch.chdir(here)
    assert in_shell(shlex.join(fresh("été", "train.steps=4")), LC_ALL="C")[0] == 0
    assert load(folder("été") / "checkpoint.npz").places == [str(here / "text.txt")]
    assert_one_line(in_shell("--config nö.yaml", LC_ALL="C"), 2, f"{here}/nö.yaml")


def test_a_printed_command_can_be_pasted_whatever_the_folder_is_called(trainer: Trainer) -> None:
    assert trainer(*fresh("run", "train.steps=2 train.schedule=constant"))[0] == 0
    odd = Path("runs", "o'd d $x `y` \\n é🚀")
    Path("runs/run").rename(odd)
    (run,) = odd.iterdir()
    status, out, _ = trainer("--resume", str(run), "train.steps=3")
    command = out.split("for more samples: python -m trainer ")[1].splitlines()[0]
    assert (status, in_shell(command)[0]) == (0, 0)
