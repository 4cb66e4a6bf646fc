"""A sweep ends at once, whatever signal comes to it or to one of its processes, and the same command goes on."""

import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import start_process
from test_sweep import done, words

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds the processes in /proc")
SETTINGS = "train.steps=100 log.eval_every=25"
LIST = f"train.learning_rate={','.join(f'0.{k:03}' for k in range(1, 1000))} {SETTINGS}"
RANGE = f"train.learning_rate=0.001..1 {SETTINGS}"  # need not wait for what was interrupted


def processes(marker: str) -> list[int]:
    """Those that have the marker in their environment and have not ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            pass
    return found


def interrupt(searched: str, rng: random.Random, number: signal.Signals) -> None:
    """Begin or go on, and send a signal to one of the processes: at a random time, or at the end of a trial."""
    marker = f"sweep-{rng.random()}"
    command = start_process(*words(searched, 1000, 2), MARKER=marker)
    ended = set(Path().glob("runs/small/*/samples.txt"))
    delay = rng.uniform(0.5, 5)  # before that, Python itself is starting
    if rng.random() < 0.5:
        while set(Path().glob("runs/small/*/samples.txt")) == ended and command.poll() is None:
            time.sleep(0.002)
        delay /= 50
    time.sleep(delay)
    target = rng.choice(processes(marker))
    os.kill(target, number)
    sent = time.monotonic()
    while processes(marker):
        assert time.monotonic() - sent < 2, (number, target == command.pid, delay)
        time.sleep(0.01)
    _, err = command.communicate()
    assert command.returncode in (130, -number), err
    assert "Traceback" not in err or target != command.pid


@pytest.mark.parametrize(
    ("searched", "numbers"),
    [
        (RANGE, [signal.SIGTERM]),
        pytest.param(LIST, [signal.SIGINT, signal.SIGTERM] * 100, marks=pytest.mark.long),
        pytest.param(LIST, [signal.SIGKILL] * 20, marks=pytest.mark.long),
    ],
    ids=["once", "200", "20 kills"],
)
def test_the_same_command_goes_on(place: Path, searched: str, numbers: Sequence[signal.Signals]) -> None:
    rng = random.Random(2 + len(numbers))
    for number in numbers:
        interrupt(searched, rng, number)
    count = len([*Path().glob("runs/small/*/samples.txt")]) + 2  # more than were done; there may be no study yet
    command = start_process(*words(searched, count, 2))
    _, err = command.communicate()
    assert command.returncode == 0, err
    tried = [trial.params["train.learning_rate"] for trial in done()]
    assert len(tried) == len(set(tried)) >= count
