"""One run, one folder: of its own, never outside of runs/, never written by two."""

import threading
import time
from pathlib import Path

import pytest
from conftest import Trainer, assert_one_line, assert_same, at_step, folder, fresh, start_process

from trainer.runs.folder import create

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
