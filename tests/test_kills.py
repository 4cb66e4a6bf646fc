"""A run that was killed or interrupted, at any moment and as often as you like, ends as if it never was."""

import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import (
    SETTINGS,
    Killed,
    Trainer,
    assert_readable,
    assert_same,
    folder,
    fresh,
    rows,
    start_process,
    trained,
)

from trainer.runs.checkpoint import load
from trainer.runs.threads import cores
from trainer.tools.command import main

pytestmark = pytest.mark.usefixtures("place")
SIGNALS = [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGSTOP]


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_run_cut_off_at_any_save_ends_as_if_it_never_was(
    settings: str, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained("whole", settings)
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
    c = load(folder("whole") / "checkpoint.npz")
    assert steps == list(range(0, c.config.train.steps, c.config.log.every))
    assert c.threads == (min(2, cores()) if settings == SETTINGS["threads"] else 1)


def disturb_and_resume(seed: int) -> int:
    """Signal a run of a process one to three times at random moments, then let it end; how often that stopped it."""
    rng, name, stops = random.Random(seed), f"stopped{seed}", 0
    which = list(SETTINGS)[seed % len(SETTINGS)]
    settings = SETTINGS[which] + " train.steps=40 log.every=1 log.checkpoint_every=1 log.eval_every=3"
    if not Path("runs", which).exists():
        trained(which, settings)
    training = load(folder(which) / "checkpoint.npz").seconds
    wanted, status = rng.randint(1, 3), -1
    while status:
        begun = list(Path("runs").glob(f"{name}/*/checkpoint.npz"))
        process = start_process(*(["--resume", str(begun[0])] if begun else fresh(name, settings)))
        if stops < wanted:
            number = rng.choice(SIGNALS[:1] * 4 + SIGNALS)
            assert process.stderr
            process.stderr.readline()  # Python itself has started
            time.sleep(rng.uniform(0, 1.2 * training))
            for path in Path("runs").glob(f"{name}/*"):
                assert_readable(path)  # while it is being written
            process.send_signal(number)
            if number == signal.SIGSTOP:
                process.send_signal(signal.SIGCONT)
        _, err = process.communicate()
        status = process.returncode
        stops += status != 0
        assert status in (0, 130, *(-number for number in SIGNALS)), err
        for path in Path("runs").glob(f"{name}/*"):
            assert_readable(path)
            if not (path / "checkpoint.npz").exists() or not stops:
                shutil.rmtree(path)  # stopped before step 0, or not at all: from the start again
                status = status or -1
    assert_same(folder(which), folder(name))
    assert not list(folder(name).glob(".*"))
    return stops


def test_a_run_that_a_process_was_stopped_in_ends_as_if_it_never_was() -> None:
    assert disturb_and_resume(10) > 0


@pytest.mark.long
def test_a_hundred_stopped_runs_end_as_if_they_never_were() -> None:
    stops = sum(disturb_and_resume(seed) for seed in range(100))
    print(f"{stops} stops")
    assert stops >= 100
