"""Damaged and foreign checkpoints are refused in one line, and nothing in them is executed."""

import json
import os
import random
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SETTINGS, Trainer, assert_one_line, folder, fresh, values

from trainer.errors import UserError
from trainer.runs.archive import checksum
from trainer.runs.checkpoint import FORMAT

pytestmark = pytest.mark.usefixtures("place")


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
    arrays["checksum"] = np.frombuffer(checksum(arrays), np.uint8)
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
    rewrite(path, lambda arrays, meta: meta.update(format=FORMAT + 1, wonders=[1]))
    assert_one_line(trainer("sample", str(path)), 2, f"format {FORMAT + 1}", str(path.absolute()))


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
