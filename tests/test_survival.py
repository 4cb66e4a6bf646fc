"""A run survives kills, signals, full disks, divergence and damaged files, and goes on bit for bit."""

import ast
import errno
import io
import json
import math
import os
import random
import resource
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Outcome, Trainer
from trainer.sample import sample

from trainer import optim, runs, text
from trainer.__main__ import main
from trainer.errors import UserError

ROOT = Path(__file__).parents[1]
LONG_STEPS = "train.steps=1000000000"  # never reached: the process is stopped first
SMALL = (
    "data.path=text.txt model.hidden=8 model.embedding=3 train.batch_size=4 train.steps=24"
    " log.every=1 log.eval_every=7 log.checkpoint_every=2 log.samples=3"
)
SETTINGS = {
    "sgd": "",
    "momentum": "train.momentum=0.9 train.schedule=step train.warmup_steps=5 train.dropout=0.2",
    "adamw": "train.optimizer=adamw train.schedule=constant train.weight_decay=0.1 train.embedding_dropout=0.2",
    "checked": "train.optimizer=adamw check.enabled=true check.every=3 check.coordinates=4 train.dropout=0.2",
    "stream": "data.mode=stream model.dtype=float64 train.momentum=0.5 log.every=3 log.checkpoint_every=3",
    # 128 * (3 * 40 + V) * 1100 multiplications are more than 2**24: a batch is split over two threads
    "threads": "train.batch_size=128 model.hidden=1100 model.embedding=40 train.steps=12 log.checkpoint_every=1",
}
TIMES = ("seconds", "steps_per_second")


class Killed(BaseException):
    """Stands for a kill inside this process: nothing in the program catches it."""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a text of 60 lines, seeded."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    rng = random.Random(1)
    lines = ("".join(rng.choices("abcdefgh", k=rng.randint(2, 7))) for _ in range(60))
    (here / "text.txt").write_text("\n".join(lines) + "\n")
    return here


def fresh(name: str, *settings: str) -> list[str]:
    """The arguments that train a small model under runs/NAME, with settings of which one may hold several."""
    Path("small.yaml").write_text("data: {path: text.txt}\n")
    return ["--config", "small.yaml", "--name", name, *SMALL.split(), *" ".join(settings).split()]


def folder(name: str) -> Path:
    (found,) = Path("runs", name).iterdir()
    return found


def no_json(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def rows(path: Path) -> list[dict[str, Any]]:
    """The whole rows of metrics.jsonl without times; NaN and Infinity, which are not JSON, are refused."""
    data = (path / "metrics.jsonl").read_bytes()
    found = [json.loads(line, parse_constant=no_json) for line in data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in found]


def values(path: Path) -> dict[str, Any]:
    """All that a checkpoint holds, without times, arrays as bytes."""
    c = runs.load(path)
    kept = {
        key: value for key, value in vars(c).items() if key not in ("parameters", "state", "seconds", "metrics_length")
    }
    return kept | {
        "flat": c.parameters.flat.tobytes(),
        "state": {k: (v.dtype, v.tobytes()) for k, v in c.state.items()},
    }


def assert_same(a: Path, b: Path) -> None:
    """Two finished runs agree in every number that is not a time."""
    assert rows(a) == rows(b)
    for file in ("checkpoint.npz", "best.npz"):
        assert values(a / file) == values(b / file)
    assert (a / "samples.txt").read_bytes() == (b / "samples.txt").read_bytes()


def assert_readable(path: Path) -> None:
    """Whatever exists of a run, written to at this moment or not, can be read."""
    for file in ("checkpoint.npz", "best.npz"):
        if (path / file).exists():
            runs.load(path / file)
    if (path / "metrics.jsonl").exists():
        rows(path)
        runs.read_metrics(path)
    assert all((path / file).stat().st_size for file in ("config.yaml", "samples.txt") if (path / file).exists())


def assert_one_line(outcome: Outcome, status: int, *words: str) -> None:
    """The exit status, and one last line with these words on standard error, and no other `error:` or `failed:`."""
    code, _, err = outcome
    told = [line for line in err.splitlines() if line.startswith(("error: ", "failed: "))]
    assert (code, told, err.splitlines()[-1:]) == (status, told[:1], told[:1])
    assert all(word in told[0] for word in words), told


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Do something in the middle of a step, before its update."""
    update = optim.update

    def wrapped(train: Any, p: Any, g: Any, state: Any, at: int, scratch: Any) -> None:
        if at == step:
            act()
        update(train, p, g, state, at, scratch)

    monkeypatch.setattr(optim, "update", wrapped)


def start(arguments: list[str]) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", "trainer", *arguments], env=environment, stdout=pipe, stderr=pipe, text=True
    )


# Kills


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_run_cut_off_at_any_save_ends_as_if_it_never_was(
    settings: str, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trainer(*fresh("whole", settings))[0] == 0
    rng, replace = random.Random(settings), os.replace
    arguments = fresh("cut", settings)
    for _ in range(3):  # it is cut off again before it may end
        left, after = rng.randint(2, 4), rng.random() < 0.5

        def cut(source: Any, target: Any, after: bool = after) -> None:
            nonlocal left
            left -= 1
            if left > 0 or after:
                replace(source, target)
            if left <= 0:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", cut)
            with pytest.raises(Killed):
                main(arguments)
        with (folder("cut") / "metrics.jsonl").open("ab") as file:
            file.write(b'{"event": "step", "step": 5, "lo')  # a row that the kill cut in two
        arguments = ["--resume", str(folder("cut"))]
    assert trainer(*arguments)[0] == 0
    assert_same(folder("whole"), folder("cut"))
    steps = [row["step"] for row in rows(folder("whole")) if row["event"] == "step"]
    c = runs.load(folder("whole") / "checkpoint.npz")
    assert steps == list(range(0, c.config.train.steps, c.config.log.every))
    assert c.threads == (min(2, runs.cores()) if settings == SETTINGS["threads"] else 1)


def kill_and_resume(seed: int) -> int:
    """Kill a run one to three times at random moments, then let it end; returns how often it was killed."""
    rng, name, kills = random.Random(seed), f"killed{seed}", 0
    which = list(SETTINGS)[seed % len(SETTINGS)]
    settings = SETTINGS[which] + " train.steps=40 log.every=1 log.checkpoint_every=1 log.eval_every=3"
    if not Path("runs", which).exists():
        began = time.monotonic()
        assert start(fresh(which, settings)).wait() == 0
        training = runs.load(folder(which) / "checkpoint.npz").seconds
        LENGTHS[which] = time.monotonic() - began - training, training
    starting, training = LENGTHS[which]
    wanted, status, err = rng.randint(1, 3), -signal.SIGKILL, ""
    while status:
        begun = list(Path("runs").glob(f"{name}/*/checkpoint.npz"))
        process = start(["--resume", str(begun[0])] if begun else fresh(name, settings))
        if kills < wanted:
            left = 1 - runs.load(begun[0]).step / 40 if begun else 1
            time.sleep(rng.uniform(0.7 * starting, starting + left * training))
            for path in Path("runs").glob(f"{name}/*"):
                assert_readable(path)  # while it is being written
            process.kill()
        _, err = process.communicate()
        status = process.returncode
        kills += status == -signal.SIGKILL
        assert status in (0, -signal.SIGKILL), err
        for path in Path("runs").glob(f"{name}/*"):
            assert_readable(path)
            if not (path / "checkpoint.npz").exists() or not kills:
                shutil.rmtree(path)  # killed before step 0, or not at all: from the start again
                status = status or -signal.SIGKILL
    assert_same(folder(which), folder(name))
    return kills


LENGTHS: dict[str, tuple[float, float]] = {}  # seconds that starting a process takes, and training in it


def test_a_run_killed_three_times_ends_as_if_it_never_was() -> None:
    assert kill_and_resume(10) > 0  # fewer than three where the machine stood still


@pytest.mark.long
def test_a_hundred_killed_runs_end_as_if_they_never_were() -> None:
    kills = sum(kill_and_resume(seed) for seed in range(100))
    print(f"{kills} kills")
    assert kills >= 100


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on_and_does(
    number: signal.Signals, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trainer(*fresh("whole", SETTINGS["adamw"]))[0] == 0
    with monkeypatch.context() as patch:
        at_step(patch, 4, lambda: signal.raise_signal(number))
        status, _, err = trainer(*fresh("a name", SETTINGS["adamw"]))
    command = shlex.split(err.splitlines()[-1].partition("go on with: ")[2])
    assert (status, command[:4]) == (130, ["python", "-m", "trainer", "--resume"])
    assert runs.load(folder("a name") / "checkpoint.npz").step == 5
    assert trainer(*command[3:])[0] == 0
    # An interruption saves once more than the whole run does; nothing else differs.
    assert_same(folder("whole"), folder("a name"))


def test_a_signal_in_the_last_step_or_after_it_lets_the_run_end(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(monkeypatch, 23, lambda: signal.raise_signal(signal.SIGINT))
    assert trainer(*fresh("last"))[0] == 0
    assert rows(folder("last"))[-1]["event"] == "end"


def test_signals_reach_a_process() -> None:
    arguments, step = fresh("live", LONG_STEPS), 0
    for number in (signal.SIGINT, signal.SIGTERM):
        process = start(arguments)
        assert process.stderr
        next(line for line in process.stderr if line.startswith(("step 7:", "resuming")))
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "--resume" in err.splitlines()[-1]
        saved = runs.load(folder("live") / "checkpoint.npz").step
        assert f"interrupted at step {saved}," in err
        assert saved > step
        step, arguments = saved, ["--resume", "runs"]


def test_a_second_signal_ends_a_process_at_once() -> None:
    # Every coordinate of 60,000 is perturbed: the first step takes far longer than the two signals.
    sizes = "model.hidden=600 model.embedding=30 train.batch_size=256 check.enabled=true"
    process = start(fresh("live", LONG_STEPS, sizes))
    while process.poll() is None and not list(Path("runs/live").glob("*/checkpoint.npz")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None  # it finishes its step
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "saved" not in err
    assert runs.load(folder("live") / "checkpoint.npz").step == 0


# Disks


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
    write_whole, replace, fsync, os_open = runs.write_whole, os.replace, os.fsync, os.open
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

    patch.setattr(runs, "write_whole", third)
    patch.setattr(runs, "open", faulty_open, raising=False)
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
        assert runs.load(path / file).step == (third if "folder" in fault else second)
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
def test_a_full_disk_under_the_log_is_one_line(file: str, trainer: Trainer) -> None:
    assert trainer(*fresh("run"))[0] == 0
    path = folder("run") / file
    path.unlink()
    path.symlink_to("/dev/full")
    assert_one_line(trainer("--resume", "runs"), 2, "cannot write")


def test_a_read_only_folder_is_one_line(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    assert trainer(*fresh("run"))[0] == 0
    monkeypatch.setattr(runs, "open", refuse, raising=False)
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
    assert sign == "2>/dev/full" or runs.load(folder("run") / "checkpoint.npz").step == 2


# Damaged and foreign checkpoints


@contextmanager
def little_memory() -> Iterator[None]:
    """Fail if more than 16 MiB are asked for at any moment: a size in a file's header was believed."""
    tracemalloc.start()
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**24


def damage(data: bytes, rng: random.Random) -> bytes:
    """Truncated, a byte flipped, or 512 bytes zeroed, at a random place."""
    kind, at = rng.randrange(3), rng.randrange(len(data))
    if kind == 0:
        return data[:at]
    new = bytes([data[at] ^ rng.randrange(1, 256)]) if kind == 1 else bytes(min(512, len(data) - at))
    return data[:at] + new + data[at + len(new) :]


def test_a_damaged_checkpoint_is_rejected_or_loads_right(trainer: Trainer, place: Path) -> None:
    assert trainer(*fresh("run", SETTINGS["adamw"]))[0] == 0
    path = folder("run") / "checkpoint.npz"
    right, data, rng = values(path), path.read_bytes(), random.Random(3)
    victim, right_ones, rejected = place / "damaged.npz", 0, 0
    for k in range(1000):
        victim.write_bytes(damage(data, rng))
        try:
            with little_memory() if k % 5 == 0 else nullcontext():  # watching memory is slow
                assert values(victim) == right
            right_ones += 1
        except UserError as error:
            told = str(error)
            rejected += "\n" not in told and str(victim) in told
    assert rejected + right_ones == 1000
    assert right_ones < 100  # hits on bytes that hold nothing, such as dates


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> None:
    """Change a checkpoint's arrays and meta data, and make its checksum right again."""
    with np.load(path) as archive:
        arrays = dict(archive)
    del arrays["checksum"]
    meta = json.loads(arrays.pop("meta").tobytes())
    changed = change(arrays, meta)
    arrays["meta"] = np.frombuffer(json.dumps(meta if changed is None else changed).encode(), np.uint8)
    arrays["checksum"] = np.frombuffer(runs.checksum(arrays), np.uint8)
    np.savez(path, **arrays)


WRONG: dict[str, Callable[[dict[str, Any], dict[str, Any]], Any]] = {
    "meta a list": lambda a, m: [m],
    "meta a number": lambda a, m: 7,
    "another vector": lambda a, m: a.update(surprise=a["b1"]),
    "no config": lambda a, m: m.__delitem__("config"),
    "no vocabulary": lambda a, m: m.__delitem__("vocabulary"),
    "no step": lambda a, m: m.__delitem__("step"),
    "an unknown key": lambda a, m: m.update(surprise=1),
    "config a list": lambda a, m: m.update(config=[1]),
    "config null": lambda a, m: m.update(config=None),
    "config invalid": lambda a, m: m["config"]["model"].update(hidden=-1),
    "config huge": lambda a, m: m["config"]["model"].update(hidden=2**52),
    "config of other sizes": lambda a, m: m["config"]["model"].update(hidden=9),
    "config of another optimizer": lambda a, m: m["config"]["train"].update(optimizer="sgd", momentum=0.5),
    "vocabulary shorter": lambda a, m: m.update(vocabulary=m["vocabulary"][:-1]),
    "vocabulary with a double": lambda a, m: m.update(vocabulary=m["vocabulary"][:-1] + m["vocabulary"][0]),
    "vocabulary a list": lambda a, m: m.update(vocabulary=list(m["vocabulary"])),
    "step negative": lambda a, m: m.update(step=-1),
    "step text": lambda a, m: m.update(step="4"),
    "step null": lambda a, m: m.update(step=None),
    "threads 0": lambda a, m: m.update(threads=0),
    "threads huge": lambda a, m: m.update(threads=10**9),
    "best_loss text": lambda a, m: m.update(best_loss="low"),
    "checks a list": lambda a, m: m.update(checks=[1]),
    "metrics_length negative": lambda a, m: m.update(metrics_length=-5),
    "checks null": lambda a, m: m.update(checks=None),
    "seconds text": lambda a, m: m.update(seconds="long"),
    "fingerprint null": lambda a, m: m.update(fingerprint=None),
    "opening null": lambda a, m: m.update(opening=None),
    "no C": lambda a, m: a.__delitem__("C"),
    "C of shape (1,)": lambda a, m: a.update(C=np.ones(1, np.float32)),
    "C transposed": lambda a, m: a.update(C=np.ascontiguousarray(a["C"].T)),
    "C float64": lambda a, m: a.update(C=a["C"].astype(np.float64)),
    "C complex": lambda a, m: a.update(C=a["C"].astype(np.complex64)),
    "C text": lambda a, m: a.update(C=a["C"].astype("U8")),
    "no m": lambda a, m: a.__delitem__("optimizer_m"),
    "m shorter": lambda a, m: a.update(optimizer_m=a["optimizer_m"][:-1]),
    "m float64": lambda a, m: a.update(optimizer_m=a["optimizer_m"].astype(np.float64)),
}


def test_a_checkpoint_that_says_what_cannot_be_is_one_line(trainer: Trainer) -> None:
    assert trainer(*fresh("run", SETTINGS["adamw"], "train.steps=2"))[0] == 0
    path = folder("run") / "checkpoint.npz"
    right, data = values(path), path.read_bytes()
    rewrite(path, lambda arrays, meta: None)
    assert values(path) == right  # rewriting alone does no harm
    for change in WRONG.values():
        path.write_bytes(data)
        rewrite(path, change)
        for arguments in (["--resume", str(path)], ["sample", str(path)]):
            assert_one_line(trainer(*arguments), 2, str(path.absolute()))


def test_a_checkpoint_of_the_future_says_so(trainer: Trainer) -> None:
    assert trainer(*fresh("run"))[0] == 0
    path = folder("run") / "checkpoint.npz"
    rewrite(path, lambda arrays, meta: meta.update(format=runs.FORMAT + 1, wonders=[1]))
    assert_one_line(trainer("sample", str(path)), 2, f"format {runs.FORMAT + 1}", str(path.absolute()))


class Trap:
    """Its unpickling makes a folder."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("trapped",)


def test_a_foreign_file_is_one_line_and_runs_no_code(trainer: Trainer, place: Path) -> None:
    assert trainer(*fresh("run"))[0] == 0
    path = folder("run") / "checkpoint.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    files: dict[str, Callable[[Any], Any]] = {
        "altered": lambda file: np.savez(file, **arrays | {"b1": arrays["b1"] + 1}),
        "other arrays": lambda file: np.savez(file, a=np.ones(3)),
        "pickled": lambda file: np.savez(file, **arrays | {"C": np.array([Trap()], object)}),
        "pickled meta": lambda file: np.savez(file, **arrays | {"meta": np.array([Trap()], object)}),
        "a pickled array": lambda file: np.save(file, np.array([Trap()], object)),
        "one array": lambda file: np.save(file, np.ones(3)),
        "a bomb": lambda file: np.savez_compressed(file, **arrays | {"C": np.zeros(2**25, np.uint8)}),
        "text": lambda file: file.write(b"hello\n"),
        "nothing": lambda file: None,
    }
    for name, write in files.items():
        path = place / f"{name}.npz"
        with path.open("wb") as file:
            write(file)
        with little_memory():
            assert_one_line(trainer("sample", str(path)), 2, str(path))
    assert not Path("trapped").exists()


# Divergence


@pytest.mark.parametrize("settings", ["", "train.optimizer=adamw", "log.every=50", SETTINGS["threads"]], ids=len)
@pytest.mark.parametrize("rate", ["1e6", "1e30"])
@pytest.mark.filterwarnings("error")
def test_divergence_says_what_happened_and_spares_the_checkpoint(settings: str, rate: str, trainer: Trainer) -> None:
    outcome = trainer(*fresh("wild", f"train.learning_rate={rate}", settings))
    path = folder("wild")
    saved = runs.load(path / "checkpoint.npz")
    assert_one_line(outcome, 1, "diverged at step", "learning rate", str(path / "checkpoint.npz"), "try ")
    assert any(f"{what} is" in outcome[2] for what in ("loss", "a parameter", "gradient of C", "gradient of W2"))
    step = int(outcome[2].rpartition("at step ")[2].partition(":")[0])
    assert saved.step <= step
    assert np.isfinite(saved.parameters.flat).all()
    assert all(np.isfinite(vector).all() for vector in saved.state.values())
    for row in rows(path):
        assert all(math.isfinite(row[key]) for key in ("loss", "grad_norm") if key in row)


# One run, one folder


def test_runs_of_one_second_have_folders_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda _: f"{time.monotonic() * 20:.0f}")  # seconds of 50 ms
    made: list[Path] = []
    barrier = threading.Barrier(4)

    def create() -> None:
        barrier.wait()
        made.append(runs.create("same"))

    threads = [threading.Thread(target=create) for _ in range(4)]
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
        process = start(["--resume", str(folder("busy"))])
        out, err = process.communicate()
        outcomes.append((process.returncode, out, err))
        assert (folder("busy") / "metrics.jsonl").read_bytes() == before

    assert trainer(*fresh("whole"))[0] == 0
    at_step(monkeypatch, 5, intrude)
    assert trainer(*fresh("busy"))[0] == 0
    assert_one_line(outcomes[0], 2, "another process", str(folder("busy").absolute()))
    assert_same(folder("whole"), folder("busy"))


# Resuming


def contents(path: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in path.rglob("*") if file.is_file() and file.name != "train.log"}


def test_a_changed_text_is_an_error(trainer: Trainer) -> None:
    assert trainer(*fresh("run"))[0] == 0
    before, source = contents(Path("runs")), Path("text.txt").read_bytes()
    for changed in (source + b"abc\n", source.replace(b"a", b"b", 1)):
        Path("text.txt").write_bytes(changed)
        assert_one_line(trainer("--resume", "runs"), 2, "text has changed", str(Path("text.txt").absolute()))
    Path("text.txt").unlink()
    assert_one_line(trainer("--resume", "runs"), 2, "cannot read the text", str(Path("text.txt").absolute()))
    assert contents(Path("runs")) == before


def test_a_constant_schedule_lets_a_run_be_lengthened(trainer: Trainer) -> None:
    settings = "train.schedule=constant train.optimizer=adamw log.eval_every=5"
    assert trainer(*fresh("whole", settings, "train.steps=30"))[0] == 0
    assert trainer(*fresh("longer", settings, "train.steps=20"))[0] == 0
    assert trainer("--resume", "runs/longer", "train.steps=30")[0] == 0
    a, b = values(folder("whole") / "checkpoint.npz"), values(folder("longer") / "checkpoint.npz")
    assert a == b
    assert rows(folder("whole")) == rows(folder("longer"))
    assert (folder("whole") / "config.yaml").read_bytes() == (folder("longer") / "config.yaml").read_bytes()


REFUSED = {
    "cosine": {"train.steps=50": "cosine schedule"},
    "step": {"train.steps=50": "step schedule"},
    "constant": {
        "train.steps=23": "below the 24 steps",
        "train.steps=-1": "train.steps",
        "train.steps=many": "train.steps",
        "train.steps=[": "broken YAML",
        "train.steps": "train.steps",
        "train.learning_rate=1": "only train.steps=N",
        "seed=1": "only train.steps=N",
        "steps=30": "only train.steps=N",
        "--check": "--resume",
        "--name=x": "--resume",
    },
}


@pytest.mark.parametrize("schedule", REFUSED)
def test_other_changes_on_resuming_are_refused(schedule: str, trainer: Trainer) -> None:
    assert trainer(*fresh("run", f"train.schedule={schedule}"))[0] == 0
    before = contents(Path("runs"))
    for override, words in REFUSED[schedule].items():
        assert_one_line(trainer("--resume", "runs", override), 2, words)
    assert contents(Path("runs")) == before


def test_a_finished_run_resumes_to_the_same_end(trainer: Trainer) -> None:
    assert trainer(*fresh("whole", SETTINGS["checked"]))[0] == 0
    assert trainer(*fresh("again", SETTINGS["checked"]))[0] == 0
    for run in (
        "runs/again",
        str(folder("again")),
        str(folder("again") / "checkpoint.npz"),
        str(folder("again") / "best.npz"),
    ):
        assert trainer("--resume", run)[0] == 0
        assert_same(folder("whole"), folder("again"))


def test_a_run_goes_on_after_whatever_happened_to_its_folder(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    """Cut off at step 17; best.npz is of step 14."""

    def half(name: str) -> Path:
        def die() -> None:
            raise Killed

        with monkeypatch.context() as patch:
            at_step(patch, 17, die)
            with pytest.raises(Killed):
                main(fresh(name, f"data.path={place}/text.txt"))
        return folder(name)

    assert trainer(*fresh("whole", f"data.path={place}/text.txt"))[0] == 0
    whole = folder("whole")

    path = half("renamed").rename("elsewhere")
    monkeypatch.chdir("/")
    assert trainer("--resume", str(place / path))[0] == 0
    monkeypatch.chdir(place)
    assert_same(whole, path)

    path = half("edited")
    (path / "config.yaml").write_text("seed: [nonsense\n")
    assert trainer("--resume", str(path))[0] == 0
    assert_same(whole, path)

    path = half("without config")
    (path / "config.yaml").unlink()
    assert trainer("--resume", str(path / "checkpoint.npz"))[0] == 0
    assert_same(whole, path)

    path = half("without log")
    (path / "train.log").unlink()
    assert trainer("--resume", str(path))[0] == 0
    assert_same(whole, path)

    path = half("without metrics")
    (path / "metrics.jsonl").unlink()
    assert trainer("--resume", str(path))[0] == 0
    assert rows(path) == [row for row in rows(whole) if row.get("step", 0) >= 16 and row["event"] != "start"]

    path = half("shortened")
    (path / "metrics.jsonl").write_bytes((path / "metrics.jsonl").read_bytes()[:1000])  # inside a row
    kept = rows(path)
    assert trainer("--resume", str(path))[0] == 0
    assert rows(path) == kept + [row for row in rows(whole) if row.get("step", 0) >= 16 and row["event"] != "start"]

    path = half("without best")
    (path / "best.npz").unlink()
    assert trainer("--resume", str(path))[0] == 0
    assert values(path / "checkpoint.npz")["flat"] == values(whole / "checkpoint.npz")["flat"]

    path = half("without checkpoint")
    (path / "checkpoint.npz").unlink()
    assert_one_line(trainer("--resume", str(path)), 2, str(place / path))
    assert trainer("sample", str(path / "best.npz"))[0] == 0


def test_a_finished_run_without_its_best_parameters_can_still_be_resumed(trainer: Trainer) -> None:
    assert trainer(*fresh("run"))[0] == 0
    (folder("run") / "best.npz").unlink()
    assert trainer("--resume", "runs")[0] == 0
    assert rows(folder("run"))[-1]["event"] == "end"


def test_a_run_cut_off_while_ending_ends_when_resumed(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trainer(*fresh("whole"))[0] == 0
    for k, (module, name) in enumerate([(runs, "load"), (text, "stands_in"), (runs.Journal, "conclude")]):

        def die(*_: Any) -> Any:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(module, name, die)
            with pytest.raises(Killed):
                main(fresh(f"cut{k}"))
        assert trainer("--resume", f"runs/cut{k}")[0] == 0
        assert_same(folder("whole"), folder(f"cut{k}"))


# Names and characters

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


STRANGE = [
    "\x1b[31mred",
    "\u202eright",
    "\N{WOMAN}\u200d\N{ROCKET}",
    "\u2028line",
    "\x85next",
    "\x07\x08\x7f",
    "tab\there",
    "a\rb",
]


@pytest.mark.parametrize("mode", ["lines", "stream"])
def test_any_character_leaves_lines_and_rows_whole(
    mode: str, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("str\x1bange\u202e.txt")
    path.write_bytes("\n".join(STRANGE * 20).encode())
    status, out, err = trainer(
        *fresh("strange", f"data.mode={mode}", 'data.path="str\\x1bange\\u202e.txt"', "log.samples=30")
    )
    assert status == 0
    assert all(character.isprintable() for character in (out + err).replace("\n", ""))
    assert all(c.isprintable() for c in (folder("strange") / "train.log").read_text("utf-8").replace("\n", ""))
    assert rows(folder("strange"))[-1]["event"] == "end"
    c = runs.load(folder("strange") / "best.npz")
    drawn = list(sample(c, 30, seed=c.config.seed))
    assert any(not character.isprintable() for line in drawn for character in line)
    assert (folder("strange") / "samples.txt").read_bytes() == "".join(line + "\n" for line in drawn).encode()
    # To a file or a pipe, sampled text is exactly what the model wrote; a terminal shows what it would obey.
    end = "\n" if mode == "lines" else "\n\n"
    assert trainer("sample", "-n", "5", "--seed", "3")[1] == "".join(t + end for t in sample(c, 5, seed=3))
    assert trainer("sample", "-n", "1", "--seed", "3")[1] == "".join(t + "\n" for t in sample(c, 1, seed=3))
    for n in ("1", "5"):
        with monkeypatch.context() as patch:
            patch.setattr(sys.stdout, "isatty", lambda: True)
            status, out, _ = trainer("sample", "-n", n, "--seed", "3")
        assert status == 0
        assert out.replace("\n", "").isprintable()


TYPED: list[list[str]] = [
    ["--config", "no\nsuch\x1b[31m.yaml"],
    ["--config", "a" * 5000],
    ["--config", "a\0b"],
    ["--config", "small.yaml", "data.path=" + "a" * 5000],
    ["--config", "small.yaml", 'data.path="no\\nsuch\\e.txt"'],
    ["--config", "small.yaml", "train.steps=\udcff"],
    ["--config", "small.yaml", "tr\x1b\nain.steps=3"],
    ["--config", "small.yaml", "\x1b\n"],
    ["--resume", "no\nsuch\x1b"],
    ["--resume", "a" * 5000],
    ["--resume", "a\0b"],
    ["--resume", "runs", "train.steps=\udcff"],
    ["sample", "a" * 5000],
    ["sample", "a\nb\x1b"],
    ["sample", "--prompt", "\x1b\n"],
    ["sample", "--prompt", "\udcff"],
    ["sample", "-n", "\x1b\n"],
    ["\x1b\n"],
    [],
]


def test_whatever_is_typed_an_error_is_one_printable_line(trainer: Trainer) -> None:
    assert trainer(*fresh("run", "train.steps=1"))[0] == 0
    for arguments in TYPED:
        outcome = trainer(*arguments)
        assert_one_line(outcome, 2)
        assert len(outcome[2].splitlines()) == 1
        assert outcome[2][:-1].isprintable()


# Sources


def test_no_source_runs_what_it_reads() -> None:
    modules = {"pickle", "cPickle", "dill", "marshal", "shelve", "joblib", "subprocess", "pty", "ctypes", "code"}
    names = {"eval", "exec", "compile", "__import__"}
    methods = {"os": "system popen execv execve spawnv fork posix_spawn", "yaml": "load unsafe_load full_load load_all"}
    sources = sorted((ROOT / "trainer").rglob("*.py"))
    assert len(sources) > 8
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            where = f"{path.name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
                allowed = {"ctypes"} if path.name == "blas.py" else set()  # it calls the OpenBLAS that NumPy has loaded
                assert not {name.partition(".")[0] for name in imported} & modules - allowed, where
            if isinstance(node, ast.Name):
                assert node.id not in names, where
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.attr not in methods.get(node.value.id, "").split(), where
            if isinstance(node, ast.Call):
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                assert "shell" not in given, where
                if ast.unparse(node.func) == "np.load":
                    assert given.get("allow_pickle") == "False", where
