"""The commands of the README, run as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")
SHELL = re.compile(r"^    ((?:python -m trainer|sed|mv) .*)$", re.MULTILINE)
COMMANDS = SHELL.findall(README.partition("## Commands")[0])
CHECKED = "python -m trainer --config configs/names-check.yaml"


def in_bash(command: str, here: Path) -> tuple[int, str]:
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # this Python, as in its environment
    variables = os.environ | {"PYTHONPATH": str(here), "OPENBLAS_NUM_THREADS": "1", "PATH": programs}
    done = subprocess.run(["bash", "-c", command], cwd=here, env=variables, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The program, its configurations and data in a folder of their own."""
    for name in ("trainer", "configs", "data"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_commands_before_a_training_do_what_is_said(copy: Path) -> None:
    practice, logits, walk, *_ = COMMANDS
    assert in_bash(practice, copy)[0] == 0
    assert (copy / "mine.py").read_text().count("= ...") == 9
    status, out = in_bash(logits, copy)
    assert (status, "0.66524  0.24473   0.090031       1" in out) == (0, True)
    assert in_bash(walk, copy)[0] == 0
    assert "<html" in (copy / "chain.html").read_text("utf-8")


def test_the_experiment_says_what_is_promised(copy: Path) -> None:
    *_, edit, train, back = COMMANDS
    assert (edit.split()[0], train, back.split()[0]) == ("sed", CHECKED, "mv")
    before = (copy / "trainer/core/ops.py").read_bytes()
    assert in_bash(edit, copy) == (0, "")
    status, out = in_bash(train, copy)
    promised = " ".join(line.strip() for line in re.findall(r"    failed: .*\n    .*\n    .*", README)[0].splitlines())
    assert (status, out.splitlines()[-1]) == (1, promised)
    assert in_bash(back, copy) == (0, "")
    assert (copy / "trainer/core/ops.py").read_bytes() == before


@pytest.mark.long
def test_the_checked_training_passes_all_its_checks(copy: Path) -> None:
    status, out = in_bash(CHECKED, copy)
    assert status == 0
    assert re.search(r"gradient +450 +0 ", out)
