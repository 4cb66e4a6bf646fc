"""What stands in the way of a file, or cannot be read: one line that says so, nothing waited for, nothing lost."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, SETTINGS, Trainer, assert_one_line, at_step, folder, fresh
from test_damage import rewrite

from trainer import referee
from trainer.runs.checkpoint import load
from trainer.runs.folder import find, holding

pytestmark = pytest.mark.usefixtures("place")
OTHERS = ("train.log", "config.yaml", "samples.txt")  # files that are met as those of the first two are


def make_folder(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as each:
        each.bind(path.name)
    os.chdir(here)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


OBSTACLES = {"a folder": make_folder, "a pipe": make_pipe, "a socket": make_socket, "a device": make_device}


@pytest.fixture(params=OBSTACLES)
def obstacle(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    """Puts something that is no regular file in the place of a path."""

    def put(path: Path) -> None:
        path.unlink(missing_ok=True)
        OBSTACLES[request.param](path)

    return put


@pytest.fixture
def run(trainer: Trainer) -> Path:
    assert trainer(*fresh("run", "train.steps=4 train.schedule=constant log.eval_every=2"))[0] == 0
    return folder("run")


def test_what_is_no_regular_file_is_read_by_nothing(
    obstacle: Callable[[Path], None], trainer: Trainer, run: Path
) -> None:
    odd = Path("odd")
    obstacle(odd)
    where = str(odd.absolute())
    assert_one_line(trainer(*fresh("x", "data.path=odd")), 2, where)
    assert_one_line(trainer("--config", "odd"), 2, "cannot read the configuration", where)
    assert_one_line(trainer("practice", "odd"), 2, "cannot read", "no regular file", "odd")
    assert_one_line(trainer("--config", "small.yaml", "--backward", "odd"), 2, "no regular file", "odd")
    assert_one_line(trainer("score", str(run), "odd"), 2, where)
    assert_one_line(trainer("explain", "--context", "ab", "--target", "c", "--html", "odd"), 2, "cannot write", where)
    assert_one_line(trainer("gallery", "odd"), 2, "cannot write", where)
    for file in ("best.npz", "checkpoint.npz"):
        obstacle(run / file)
        assert_one_line(trainer("sample", str(run / file)), 2, str(run.absolute()))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "file", ["metrics.jsonl", "best.npz", *(pytest.param(file, marks=pytest.mark.long) for file in OTHERS)]
)
def test_going_on_and_reporting_name_the_file_in_whose_place_something_stands(
    file: str, obstacle: Callable[[Path], None], trainer: Trainer, run: Path
) -> None:
    obstacle(run / file)
    outcome = trainer("--resume", str(run), "train.steps=6")
    if outcome[0]:
        assert_one_line(outcome, 2, "cannot write", str((run / file).absolute()), "move away what stands in its place")
    if file == "metrics.jsonl":
        assert_one_line(trainer("report", str(run)), 2, "cannot read the metrics", str(run.absolute()))
    else:
        assert trainer("report", str(run))[0] == 0
    assert trainer("sample", "-n", "1")[0] == (0 if file != "best.npz" else 2)


def test_a_page_is_not_written_over_what_is_no_file(
    obstacle: Callable[[Path], None], trainer: Trainer, run: Path
) -> None:
    obstacle(run / "report.html")
    assert_one_line(trainer("report", str(run)), 2, "cannot write", str((run / "report.html").absolute()))


@pytest.mark.usefixtures("undrawn")
def test_a_link_that_was_laid_for_a_temporary_file_is_not_followed(trainer: Trainer, run: Path) -> None:
    Path("precious").write_text("kept")
    (run / ".report.html.tmp").symlink_to(Path("precious").absolute())
    assert trainer("report", str(run))[0] == 0
    assert Path("precious").read_text() == "kept"
    assert not list(run.glob(".*"))


def test_a_working_directory_that_was_deleted_is_named() -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for words in ("sample", "--config small.yaml", "report", "explain --context a --target b", "practice mine.py"):
        script = f"mkdir gone; cd gone; rmdir ../gone; {sys.executable} -m trainer {words}"
        done = subprocess.run(["sh", "-c", script], check=False, env=environment, capture_output=True, text=True)
        assert_one_line((done.returncode, done.stdout, done.stderr), 2, "the working directory is gone")


# Folders of runs of which some may not be read


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The names of folders that may not be read; root, whom nothing is denied, meets them as well."""
    names: set[str] = set()
    scandir, stat = os.scandir, os.stat

    def refuse(path: Any) -> None:
        if names & set(Path(os.fsdecode(path)).parts):
            raise PermissionError(13, "Permission denied", str(path))

    def scan(path: Any = ".") -> Any:
        refuse(path)
        return scandir(path)

    def look(path: Any, *more: Any, **options: Any) -> Any:
        if not isinstance(path, int):
            refuse(Path(path).parent)
        return stat(path, *more, **options)

    monkeypatch.setattr(os, "scandir", scan)
    monkeypatch.setattr(os, "stat", look)
    yield names
    names.clear()


def test_an_unreadable_folder_beside_a_run_is_passed_over_and_alone_is_named(
    trainer: Trainer, run: Path, locked: set[str]
) -> None:
    shutil.copytree(run.parent, "runs/other")
    locked.add("other")
    assert find(None) == run
    assert trainer("sample", "-n", "1")[0] == 0
    locked.add("run")
    for words in (["sample"], ["report"], ["explain", "--context", "a", "--target", "b"], ["--resume", "runs"]):
        assert_one_line(trainer(*words), 2, "cannot look for runs (Permission denied)", str(Path.cwd()))
    assert_one_line(trainer("report", "runs"), 2, "cannot look for runs (Permission denied)")
    assert_one_line(trainer("sample", str(run)), 2, "Permission denied", str(run.absolute()))


def test_a_folder_that_goes_while_runs_are_looked_for_is_passed_over(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("runs/gone").mkdir()
    walk = os.walk

    def walking(*arguments: Any, **more: Any) -> Any:
        for k, each in enumerate(walk(*arguments, **more)):
            if k == 0:
                Path("runs/gone").rmdir()
            yield each

    monkeypatch.setattr(os, "walk", walking)
    assert holding("checkpoint.npz", Path("runs")) == [run]
    Path("runs/gone").mkdir()
    assert holding("nothing.npz", Path("runs")) == []


# What is left behind when memory ends


def test_a_run_that_ends_for_want_of_memory_says_so_in_its_log(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(*_: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(referee, "examine", too_much)
        assert_one_line(trainer(*fresh("checks", SETTINGS["checked"])), 2, "not enough memory")
    at_step(monkeypatch, 4, too_much)
    assert_one_line(trainer(*fresh("steps")), 2, "not enough memory")
    for name, step in (("checks", 0), ("steps", 4)):
        assert (folder(name) / "train.log").read_text().splitlines()[-1].endswith(" not enough memory")
        assert load(folder(name) / "checkpoint.npz").step == step


# What a file says does not reach the terminal as it stands


@pytest.mark.usefixtures("undrawn")
def test_what_a_checkpoint_says_is_shown_and_not_obeyed(trainer: Trainer, run: Path) -> None:
    evil = "\x1b[2J\x1b]0;title\x07"

    def say(arrays: dict[str, Any], meta: dict[str, Any]) -> None:
        meta.update(source=evil, blas=evil, places=[evil])
        for tally in meta["checks"].values():
            tally["where"] = evil

    rewrite(run / "checkpoint.npz", say)
    status, out, err = trainer("--resume", str(run), "train.steps=6")
    assert (status, "\\x1b[2J" in out, "\\x1b[2J" in err) == (0, True, True)
    assert "\x1b" not in out + err + (run / "train.log").read_text()
    (run / "train.log").write_text(f"2026-01-01 12:00:00 a check failed at step 3: {evil}\n")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows += [{"event": "check", "step": 3, "name": evil, "passed": False}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    status, out, err = trainer("report", str(run))
    assert (status, "\x1b" in out + err) == (0, False)


@pytest.mark.usefixtures("undrawn")
def test_parameters_that_are_no_numbers_are_told_and_not_used(trainer: Trainer, run: Path) -> None:
    for value in (np.nan, np.inf):
        rewrite(run / "best.npz", lambda arrays, meta, value=value: arrays["W1"].__setitem__((0, 0), value))
        for words in (["sample"], ["score", str(run), "text.txt"], ["explain", "--context", "ab", "--target", "c"]):
            assert_one_line(trainer(*words), 2, "the parameters are not finite", str(run.absolute()))
    assert trainer("report", str(run))[0] == 0
    assert "no figure of the parameters: W1 is not finite" in (run / "report.html").read_text()
