"""Every reader is fed inputs that are right on the outside and wrong inside: each is accepted, or refused in one line.

Each input has little memory and little time, and is made again from its seed: `seed()` below, or the line of a failure.
"""

import os
import random
import resource
import select
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
import pytest
from hostile import answers, checkpoints, configurations, logs, texts

from trainer.errors import UserError, printable
from trainer.tools.practice import process
from trainer.tools.practice.point import exercise

READERS: dict[str, ModuleType] = {
    "text": texts, "configuration": configurations, "checkpoint": checkpoints, "metrics": logs, "practice": answers,
}  # fmt: skip
FEW = dict.fromkeys(READERS, 50) | {"practice": 20}
MANY, CHUNK = 10_000, 500
ROOM = 100 << 20  # bytes of address space that an input may take, and three times its size besides
SECONDS = 5.0

pytestmark = pytest.mark.usefixtures("place")


class Forked:
    """In place of a new Python that judges a file: a copy of this one, which is there at once."""

    def __init__(self) -> None:
        (child_in, self.to_child), (self.from_child, child_out) = os.pipe(), os.pipe()
        self.returncode = 0
        self.pid = os.fork()
        if self.pid:
            os.close(child_in)
            os.close(child_out)
            return
        try:
            os.setsid()
            os.close(self.to_child)
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.dup2(child_in, 0)
            os.dup2(child_out, 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            sys.stdin = open(0, closefd=False)  # noqa: SIM115
            process.child()
        finally:
            os._exit(1)

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.from_child)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def communicate(self, data: bytes, seconds: float) -> tuple[bytes, None]:
        with open(self.to_child, "wb") as file:
            file.write(data)
        told, until = b"", time.monotonic() + seconds
        while True:
            ready, _, _ = select.select([self.from_child], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise subprocess.TimeoutExpired("child", seconds, told)
            block = os.read(self.from_child, 1 << 16)
            if not block:
                return told, None
            told += block


@pytest.fixture
def quick_practice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Practice files are judged in copies of this process, in which the right answers are known already."""
    known = exercise()
    monkeypatch.setattr(process, "start", Forked)
    for module in (process, answers):
        monkeypatch.setattr(module, "exercise", lambda: known)


class TooLong(BaseException):
    """An input took more than its time."""


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Little more address space than there is taken, and little time."""

    def late(*_: Any) -> None:
        raise TooLong

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM + 3 * size, before[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGALRM, handler)


def seed(reader: str, number: int) -> tuple[bytes, random.Random]:
    """An input, and the random numbers with which it is read."""
    rng = random.Random(f"{reader} {number}")
    return READERS[reader].make(rng), rng


def answer(reader: str, number: int) -> str:
    """What a reader makes of an input: accepted, refused in one line, or what should not be."""
    data, rng = seed(reader, number)
    path = Path("hostile", f"{reader}.{number % 10}").absolute()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    try:
        with limited(len(data)):
            return str(READERS[reader].read(path, rng))
    except UserError as error:
        told = printable(str(error))
        assert len(told) < 2000, told
        return "refused"
    except BaseException:
        where = f"{reader} {number}: {data[:300]!r}\n"
        raise AssertionError(where + "".join(traceback.format_exc().splitlines(keepends=True)[-12:])) from None


def feed(reader: str, numbers: range) -> None:
    """Every input of these is answered; both kinds of answer are met."""
    counts = Counter(answer(reader, number) for number in numbers)
    told = ", ".join(f"{n:,} {word}" for word, n in counts.most_common())
    print(f"{reader}: {sum(counts.values()):,} inputs, {told}")
    assert sum(counts.values()) == len(numbers)
    assert len(counts) > 1
    assert not Path("hacked").exists()


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Power failures are not the matter here."""
    monkeypatch.setattr(os, "fsync", lambda number: None)


@pytest.mark.usefixtures("quick_practice", "quick_disk")
@pytest.mark.parametrize("reader", READERS)
def test_a_few_hostile_inputs_are_accepted_or_refused_in_one_line(reader: str) -> None:
    feed(reader, range(FEW[reader]))


@pytest.mark.long
@pytest.mark.usefixtures("quick_practice", "quick_disk")
@pytest.mark.parametrize("first", range(0, MANY, CHUNK))
@pytest.mark.parametrize("reader", READERS)
def test_ten_thousand_hostile_inputs_are_accepted_or_refused_in_one_line(reader: str, first: int) -> None:
    feed(reader, range(first, first + CHUNK))


@pytest.mark.parametrize("reader", READERS)
def test_an_input_is_made_again_from_its_seed(reader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = [seed(reader, number)[0] for number in range(9)]
    monkeypatch.setattr(time, "time", lambda: 2e9)
    monkeypatch.setattr(time, "localtime", lambda *_: time.gmtime(2e9))
    assert [seed(reader, number)[0] for number in range(9)] == earlier


@pytest.mark.parametrize("fault", ["a traceback", "memory", "time"])
def test_what_should_not_be_is_told_with_its_seed(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path, rng: random.Random) -> str:
        if fault == "a traceback":
            raise KeyError("x")
        if fault == "memory":
            np.ones(2 * ROOM, np.uint8)
        while fault == "time":
            pass
        return "accepted"

    monkeypatch.setattr(texts, "read", read)
    monkeypatch.setattr("test_hostile.SECONDS", 0.2)
    names = {"a traceback": "KeyError", "memory": "MemoryError", "time": "TooLong"}
    with pytest.raises(AssertionError, match=f"(?s)^text 7: .*{names[fault]}"):
        answer("text", 7)
