"""Full, broken and read-only disks: one line, and a run that goes on once there is room."""

import errno
import io
import os
import random
import resource
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Trainer, assert_one_line, assert_readable, assert_same, folder, fresh

from trainer import regular
from trainer.runs import checkpoint, files, journal
from trainer.runs.checkpoint import load

pytestmark = pytest.mark.usefixtures("place")


class HalfFile(io.FileIO):
    """A file on a disk that is full after half of what is written."""

    def write(self, data: Any) -> int:
        super().write(memoryview(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


FAULTS = {
    "open": errno.EROFS, "write": errno.ENOSPC, "fsync": errno.EIO, "replace": errno.EIO,
    "folder open": errno.EMFILE, "folder fsync": errno.EIO,
}  # fmt: skip


def break_third_save(patch: pytest.MonkeyPatch, file: str, fault: str) -> None:
    """The third time that this file is saved, this operation fails."""
    write_whole, replace, fsync, os_open = files.write_whole, os.replace, os.fsync, os.open
    saves, armed = 0, False

    def third(path: Path, data: bytes) -> None:
        nonlocal saves, armed
        saves += path.name == file
        armed = path.name == file and saves == 3
        write_whole(path, data)
        assert not armed, "the fault was not met"

    def meet(operation: str) -> None:
        if armed and operation == fault:
            raise OSError(FAULTS[fault], os.strerror(FAULTS[fault]))

    def faulty_open(path: Any, *mode: Any, **more: Any) -> Any:
        meet("open")
        return HalfFile(path, *mode) if armed and fault == "write" else open(path, *mode, **more)

    def faulty_os_open(*arguments: Any, **more: Any) -> int:
        meet("folder open")
        return os_open(*arguments, **more)

    def faulty_fsync(number: int) -> None:
        meet("folder fsync" if stat.S_ISDIR(os.fstat(number).st_mode) else "fsync")
        fsync(number)

    def faulty_replace(source: Any, target: Any) -> None:
        meet("replace")
        replace(source, target)

    patch.setattr(checkpoint, "write_whole", third)
    patch.setattr(files, "open", faulty_open, raising=False)
    patch.setattr(os, "open", faulty_os_open)
    patch.setattr(os, "fsync", faulty_fsync)
    patch.setattr(os, "replace", faulty_replace)


@pytest.mark.parametrize("file", ["checkpoint.npz", "best.npz"])
def test_a_fault_while_saving_leaves_a_whole_checkpoint(
    file: str, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trainer(*fresh("whole"))[0] == 0
    second, third = {"checkpoint.npz": (2, 4), "best.npz": (14, 21)}[file]  # the steps of these saves
    for fault, number in FAULTS.items():
        with monkeypatch.context() as patch:
            break_third_save(patch, file, fault)
            outcome = trainer(*fresh(fault))
        path = folder(fault)
        assert_one_line(outcome, 2, "cannot write", os.strerror(number), str(path.absolute()))
        assert_readable(path)
        assert not list(path.glob(".*"))  # nothing half-written is left
        assert load(path / file).step == (third if "folder" in fault else second)
        assert trainer("--resume", str(path))[0] == 0
        assert_same(folder("whole"), path)


def test_rows_and_checkpoint_reach_the_disk_before_the_name_does(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power failure could leave a checkpoint that is empty, or that counts on rows that are lost."""
    fsync, replace, events = os.fsync, os.replace, []

    def note_fsync(number: int) -> None:
        events.append(os.fstat(number).st_ino)
        fsync(number)

    def note_replace(source: Any, target: Any) -> None:
        events.append((Path(target).name, os.stat(source).st_ino))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    assert trainer(*fresh("run"))[0] == 0
    path, saves = folder("run"), 0
    for k, event in enumerate(events):
        if isinstance(event, tuple) and event[0] == "checkpoint.npz":
            before = events[max(i for i in range(k) if isinstance(events[i], tuple)) + 1 : k]
            assert {(path / "metrics.jsonl").stat().st_ino, event[1]} <= set(before)
            assert events[k + 1] == path.stat().st_ino
            saves += 1
    assert saves == 1 + 24 // 2


def test_a_full_disk_is_one_line_and_room_lets_the_run_go_on(trainer: Trainer) -> None:
    """No file may grow beyond a limit: rows are cut in two, as on a full disk. (Python ignores SIGXFSZ.)"""
    assert trainer(*fresh("whole"))[0] == 0
    sizes = sorted(path.stat().st_size for path in folder("whole").iterdir())
    rng, before = random.Random(2), resource.getrlimit(resource.RLIMIT_FSIZE)
    limits = [10, *(rng.randrange(sizes[0], sizes[-1] * 9 // 10) for _ in range(9))]
    resumed = 0
    for k, limit in enumerate(limits):
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


@pytest.mark.parametrize("file", ["train.log", "metrics.jsonl"])
def test_a_full_disk_under_the_log_is_one_line(file: str, trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trainer(*fresh("run"))[0] == 0
    path = folder("run") / file
    path.unlink()
    path.symlink_to("/dev/full")
    monkeypatch.setattr(regular, "refuse_others", lambda path: None)  # it is no regular file
    assert_one_line(trainer("--resume", "runs"), 2, "cannot write")


def test_a_read_only_folder_is_one_line(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    assert trainer(*fresh("run"))[0] == 0
    for module in (files, journal):
        monkeypatch.setattr(module, "open", refuse, raising=False)
    assert_one_line(trainer("--resume", "runs"), 2, "Read-only", str(Path.cwd()))
    assert_one_line(trainer(*fresh("other")), 2, "Read-only", str(Path.cwd()))
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert_one_line(trainer(*fresh("third")), 2, "Read-only", str(Path.cwd()))


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("state", ["full", "closed"])
def test_a_full_or_closed_output_is_no_traceback(stream: str, state: str) -> None:
    sign = {"stdout": ">", "stderr": "2>"}[stream] + {"full": "/dev/full", "closed": "&-"}[state]
    command = f"{shlex.join([sys.executable, '-m', 'trainer', *fresh('run', 'train.steps=2')])} {sign}"
    done = subprocess.run(
        ["sh", "-c", command], check=False, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr + done.stdout
    assert "Exception ignored" not in done.stderr
    assert done.returncode == (0 if state == "closed" else 2)
    assert sign == "2>/dev/full" or load(folder("run") / "checkpoint.npz").step == 2
