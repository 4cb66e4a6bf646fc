"""How a bug is planted into a running training, and the trainings it is planted into.

A bug is a function of the program with some of its text replaced; the sentence that stops the run must hold each of its
words. What the text names `lasting` is a dictionary that lasts.
"""

import inspect
import linecache
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from trainer.config import Config, build
from trainer.errors import RunFailed
from trainer.runs import session, threads

DROPOUT = {"train": {"dropout": 0.3, "embedding_dropout": 0.2}}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"train": {"learning_rate": 1.0}},
    "dropout": DROPOUT,
    "distance": {"train": {"context_dropout": 0.6, "dropout": 0.3}},
    "widths": {"V": 12, "model": {"embedding": 4, "hidden": 12}, **DROPOUT},
    "large V": {"V": 60, **DROPOUT},
    "threads": {"parts": 2, "train": {"batch_size": 128, **DROPOUT["train"]}},
    "float64": {"model": {"dtype": "float64"}, "check": {"method": "complex-step"}, **DROPOUT},
    "momentum": {"train": {"momentum": 0.9, "weight_decay": 0.1, "learning_rate": 0.5}},
    "adamw": {"train": {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1}},
    "warmup": {"train": {"warmup_steps": 3, "learning_rate": 1.0}},
    "steps": {"train": {"schedule": "step", "learning_rate": 1.0}},
    "stream": {"data": {"mode": "stream"}},
    "directions": {"check": {"coordinates": "directions"}, **DROPOUT},
    "every": {"check": {"every": 2}, "train": {"learning_rate": 1.0}},
}
STEPS = 6


class Bug(NamedTuple):
    function: str  # module:name, or module:class:method
    old: str
    new: str
    setting: str
    words: str  # of the sentence, parted by " | "

    def __str__(self) -> str:
        return f"{self.function}, {self.setting}: {self.old} -> {self.new}"


def bugs(function: str, old: str, rows: list[tuple[str, str, str]]) -> list[Bug]:
    """Bugs that stand in the place of one text: what stands there instead, the setting, the words."""
    return [Bug(function, old, *row) for row in rows]


def wrong(right: Any, old: str, new: str) -> Any:
    """The function with some of its text replaced, which stands in it exactly once."""
    source = textwrap.dedent(inspect.getsource(right))
    assert source.count(old) == 1, f"not exactly once: {old!r}"
    space = right.__globals__ | {"lasting": {}}
    linecache.cache["planted.py"] = 0, None, source.replace(old, new).splitlines(keepends=True), "planted.py"
    exec(compile(source.replace(old, new), "planted.py", "exec"), space)
    return space[right.__name__]


def plant(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the wrong function into the place of the right one, wherever that has been imported."""
    module, name, *method = bug.function.split(":")
    owner = getattr(import_module(f"trainer.{module}"), name)
    right = getattr(owner, method[0]) if method else owner
    planted = wrong(right, bug.old, bug.new)
    if method:
        monkeypatch.setattr(owner, method[0], planted)
        return
    for path, other in list(sys.modules.items()):
        if path.startswith(("trainer", "test_")) and getattr(other, name, None) is right:
            monkeypatch.setattr(other, name, planted)


def configured(folder: Path, setting: str) -> Config:
    """A small training on random lines."""
    chosen = SETTINGS[setting]
    rng = np.random.default_rng(0)
    letters = [chr(ord("a") + k) if k < 26 else chr(0x4E00 + k) for k in range(chosen.get("V", 20) - 1)]
    lines = ["".join(rng.choice(letters, rng.integers(2, 7))) for _ in range(60)]
    (folder / "text").write_text("\n".join([*lines, *letters]), encoding="utf-8")
    tree = {
        "data": {"path": str(folder / "text"), **chosen.get("data", {})},
        "model": {"embedding": 5, "hidden": 9, **chosen.get("model", {})},
        "train": {"steps": STEPS, "batch_size": 16, **chosen.get("train", {})},
        "log": {"samples": 0, "eval_every": 3},
        "check": {"enabled": True, **chosen.get("check", {})},
    }
    return build(tree, "here")


def sentence(folder: Path, setting: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What stops a checked training; empty if nothing does."""
    parts = SETTINGS[setting].get("parts", 1)
    monkeypatch.setattr(threads, "choose_threads", lambda *_: parts)
    try:
        session.train(configured(folder, setting), quiet=True)
    except RunFailed as error:
        return str(error)
    return ""
