"""A run that was killed, at any moment and as often as you like, ends as if it never was."""

import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import SETTINGS, Killed, Trainer, assert_readable, assert_same, folder, fresh, rows, start_process

from trainer.runs import checkpoint, summary
from trainer.runs.checkpoint import load
from trainer.runs.journal import Journal
from trainer.runs.threads import cores
from trainer.tools.command import main

pytestmark = pytest.mark.usefixtures("place")


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
    c = load(folder("whole") / "checkpoint.npz")
    assert steps == list(range(0, c.config.train.steps, c.config.log.every))
    assert c.threads == (min(2, cores()) if settings == SETTINGS["threads"] else 1)


def kill_and_resume(seed: int) -> int:
    """Kill a run one to three times at random moments, then let it end; returns how often it was killed."""
    rng, name, kills = random.Random(seed), f"killed{seed}", 0
    which = list(SETTINGS)[seed % len(SETTINGS)]
    settings = SETTINGS[which] + " train.steps=40 log.every=1 log.checkpoint_every=1 log.eval_every=3"
    if not Path("runs", which).exists():
        began = time.monotonic()
        assert start_process(*fresh(which, settings)).wait() == 0
        training = load(folder(which) / "checkpoint.npz").seconds
        LENGTHS[which] = time.monotonic() - began - training, training
    starting, training = LENGTHS[which]
    wanted, status, err = rng.randint(1, 3), -signal.SIGKILL, ""
    while status:
        begun = list(Path("runs").glob(f"{name}/*/checkpoint.npz"))
        process = start_process(*(["--resume", str(begun[0])] if begun else fresh(name, settings)))
        if kills < wanted:
            left = 1 - load(begun[0]).step / 40 if begun else 1
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


def test_a_run_cut_off_while_ending_ends_when_resumed(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trainer(*fresh("whole"))[0] == 0
    for k, (module, name) in enumerate([(checkpoint, "load"), (summary, "standing"), (Journal, "conclude")]):

        def die(*_: Any) -> Any:
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(module, name, die)
            with pytest.raises(Killed):
                main(fresh(f"cut{k}"))
        assert trainer("--resume", f"runs/cut{k}")[0] == 0
        assert_same(folder("whole"), folder(f"cut{k}"))
