"""Full, broken and read-only disks: one line, and a run that goes on once there is room."""

import errno
import io
import os
import random
import re
import resource
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Trainer, assert_one_line, assert_same, folder, fresh, trained

from trainer import files
from trainer.errors import UserError
from trainer.runs import metrics
from trainer.runs.checkpoint import load

pytestmark = pytest.mark.usefixtures("place")


def refuse(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EROFS, "Read-only file system")


class HalfFile(io.FileIO):
    """A file on a disk that is full after half of what is written."""

    def write(self, data: Any) -> int:
        super().write(memoryview(data)[: len(data) // 2])
        return refuse()  # type: ignore[no-any-return]


@pytest.mark.parametrize("fault", ["write", "file fsync", "replace", "folder fsync"])
def test_a_fault_while_writing_leaves_the_old_file_or_the_new_one_whole(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, fsync = tmp_path / "c.npz", os.fsync
    files.write_whole(path, b"old" * 99)

    def fsync_of_one_kind(number: int) -> None:
        if stat.S_ISDIR(os.fstat(number).st_mode) == ("folder" in fault):
            refuse()
        fsync(number)

    with monkeypatch.context() as patch:
        if "fsync" in fault:
            patch.setattr(os, "fsync", fsync_of_one_kind)
        elif fault == "write":
            patch.setattr(files, "open", HalfFile, raising=False)
        else:
            patch.setattr(os, fault, refuse)
        with pytest.raises(UserError, match=re.escape(f"cannot write (Read-only file system), {path}; make room")):
            files.write_whole(path, b"new" * 99)
    assert path.read_bytes() == 99 * (b"new" if "folder" in fault else b"old")
    assert [file for file in tmp_path.iterdir() if file.is_file()] == [path]


def test_rows_and_checkpoint_reach_the_disk_before_the_name_does(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power failure could leave a checkpoint that is empty, or that counts on rows that are lost."""
    events: list[Any] = []

    def noting(function: Callable[..., None], note: Callable[..., Any]) -> Callable[..., None]:
        return lambda *given: events.append(note(*given)) or function(*given)  # type: ignore[func-returns-value]

    inode = lambda file: os.stat(file).st_ino
    monkeypatch.setattr(os, "replace", noting(os.replace, lambda old, new: (Path(new).name, inode(old))))
    monkeypatch.setattr(os, "fsync", noting(os.fsync, inode))
    path, saves = trained("run"), 0
    for k, event in enumerate(events):
        if isinstance(event, tuple) and event[0] == "checkpoint.npz":
            before = events[max(i for i in range(k) if isinstance(events[i], tuple)) + 1 : k]
            assert {inode(path / "metrics.jsonl"), event[1]} <= set(before)
            assert events[k + 1] == inode(path)
            saves += 1
    assert saves == 1 + 24 // 2


def test_a_full_disk_is_one_line_and_room_lets_the_run_go_on(trainer: Trainer) -> None:
    """No file may grow beyond a limit: rows are cut in two, as on a full disk. (Python ignores SIGXFSZ.)"""
    trained("whole")
    sizes = sorted(path.stat().st_size for path in folder("whole").iterdir())
    rng, before = random.Random(2), resource.getrlimit(resource.RLIMIT_FSIZE)
    resumed = 0
    for k in range(8):
        limit = rng.randrange(sizes[0], sizes[-1] * 9 // 10) if k else 10
        arguments = fresh(f"full{k}")
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            outcome = trainer(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert_one_line(outcome, 2, "cannot write", str(Path.cwd()))
        path = folder(f"full{k}")
        if (path / "checkpoint.npz").exists():
            assert trainer("--resume", str(path))[0] == 0
            assert_same(folder("whole"), path)
            resumed += 1
    assert resumed >= 3


def test_a_folder_that_cannot_be_written_is_one_line(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    trained("run")
    monkeypatch.setattr(metrics, "open", refuse, raising=False)
    assert_one_line(trainer("--resume", "runs"), 2, "Read-only", str(Path.cwd()))
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert_one_line(trainer(*fresh("other")), 2, "Read-only", str(Path.cwd()))


@pytest.mark.parametrize("sign", [">/dev/full", ">&-", "2>/dev/full"])
def test_a_full_or_closed_output_is_no_traceback(sign: str) -> None:
    command = f"{shlex.join([sys.executable, '-m', 'trainer', *fresh('run', 'train.steps=2')])} {sign}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", command], check=False, env=environment, capture_output=True, text=True)
    assert "Traceback" not in done.stderr + done.stdout
    assert "Exception ignored" not in done.stderr
    assert done.returncode == (0 if "&-" in sign else 2)
    assert sign == "2>/dev/full" or load(folder("run") / "checkpoint.npz").step == 2
