"""One run, one folder: of its own, never outside of runs/, never written by two."""

import threading
import time
from pathlib import Path

import pytest
from conftest import Trainer, assert_one_line, assert_same, at_step, folder, fresh, start_process

from trainer.config import Data
from trainer.errors import UserError
from trainer.runs.folder import create
from trainer.text.corpus import load as load_text
from trainer.tools.practice import execute

pytestmark = pytest.mark.usefixtures("place")


def test_runs_of_one_second_have_folders_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda _: f"{time.monotonic() * 20:.0f}")  # seconds of 50 ms
    made: list[Path] = []
    barrier = threading.Barrier(4)

    def make() -> None:
        barrier.wait()
        made.append(create("same"))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 4
    assert sorted(made) == sorted(Path("runs/same").iterdir())


def test_a_run_that_another_process_writes_cannot_be_resumed(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = []

    def intrude() -> None:
        before = (folder("busy") / "metrics.jsonl").read_bytes()
        process = start_process("--resume", str(folder("busy")))
        out, err = process.communicate()
        outcomes.append((process.returncode, out, err))
        assert (folder("busy") / "metrics.jsonl").read_bytes() == before

    assert trainer(*fresh("whole"))[0] == 0
    at_step(monkeypatch, 5, intrude)
    assert trainer(*fresh("busy"))[0] == 0
    assert_one_line(outcomes[0], 2, "another process", str(folder("busy").absolute()))
    assert_same(folder("whole"), folder("busy"))


NAMES = [
    "../x", "..", ".", "a/b", "a/../../x", "/tmp/survival-x", "..\\x", "a\0b", "", ".hidden", "a" * 300,
    "\N{ROCKET}" * 90, "a\nb", "a\rb", "a\x1b[31mb", "a\u202eb", "a\udcffb",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_never_escapes_its_folder(name: str, trainer: Trainer, place: Path) -> None:
    before = set(place.parent.rglob("*"))
    words = {"\N{ROCKET}" * 90: "cannot write", "a\udcffb": "not UTF-8"}  # 360 bytes; no text at all
    assert_one_line(trainer(*fresh(name)), 2, words.get(name, "--name"))
    assert set(place.parent.rglob("*")) - before <= {place / "small.yaml", place / "runs"}
    assert not Path("/tmp/survival-x").exists()


def test_a_file_in_the_place_of_the_runs_is_named(trainer: Trainer) -> None:
    Path("runs").write_text("")
    assert_one_line(trainer("sample"), 2, "runs is no folder")


def test_a_configuration_whose_name_is_hidden_needs_another(trainer: Trainer) -> None:
    arguments = fresh("x")
    Path(".hid.yaml").write_text("data: {path: text.txt}\n")
    assert_one_line(trainer("--config", ".hid.yaml", *arguments[4:]), 2, "give --name NAME")


@pytest.mark.parametrize("path", ["\ud800.txt", "a\0b"])
def test_a_path_that_no_file_system_holds_is_one_line(path: str) -> None:
    for read in (lambda: load_text(Data(path), 3), lambda: execute.read(path)):
        with pytest.raises(UserError, match="cannot read"):
            read()


def test_a_device_is_no_backward_pass() -> None:
    with pytest.raises(UserError, match="no regular file"):
        execute.read("/dev/zero")
