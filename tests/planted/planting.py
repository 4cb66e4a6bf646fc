"""Bugs of every kind, planted one at a time into a running training: each is caught, under its right name.

A bug is a function that stands in for one of the program's own. `wrong` gets the right one and gives what takes its
place; the sentence that stops the run must hold each of `words`.
"""

import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from trainer.config import Config, build
from trainer.core.model import Batch
from trainer.errors import RunFailed
from trainer.runs import session, threads

Wrong = Callable[..., Any]
DROPOUT = {"train": {"dropout": 0.3, "embedding_dropout": 0.2}}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"V": 20, "train": {"learning_rate": 1.0}},
    "dropout": {"V": 20, **DROPOUT},
    "distance": {"V": 20, "train": {"context_dropout": 0.6, "dropout": 0.3}},
    "widths": {"V": 12, "model": {"embedding": 4, "hidden": 12}, **DROPOUT},
    "large V": {"V": 60, **DROPOUT},
    "threads": {"V": 20, "parts": 2, **DROPOUT},
    "float64": {"V": 20, "model": {"dtype": "float64"}, "check": {"method": "complex-step"}, **DROPOUT},
    "momentum": {"V": 20, "train": {"momentum": 0.9, "weight_decay": 0.1, "learning_rate": 0.5}},
    "adamw": {"V": 20, "train": {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1}},
    "warmup": {"V": 20, "train": {"warmup_steps": 3, "learning_rate": 1.0}},
    "steps": {"V": 20, "train": {"schedule": "step", "learning_rate": 1.0}},
    "stream": {"V": 20, "data": {"mode": "stream"}},
    "directions": {"V": 20, "check": {"coordinates": "directions"}, **DROPOUT},
    "every": {"V": 20, "check": {"every": 2}, "train": {"learning_rate": 1.0}},
    "one": {"V": 20, "check": {"coordinates": 1}, **DROPOUT},
}
STEPS = 6


class Bug(NamedTuple):
    module: Any
    name: str  # of the function
    wrong: Wrong  # the right function -> the wrong one
    setting: str
    words: str  # of the sentence, parted by " | "

    def __str__(self) -> str:
        title = getattr(self.wrong, "title", None) or source_of(self.wrong)
        return f"{self.name}, {self.setting}: {title}"


def source_of(function: Wrong) -> str:
    """How a function is written, in one line: of a lambda, from its arguments on."""
    source = " ".join(inspect.getsource(function).split())
    return source[source.find("lambda") + 7 :][:60] if "lambda" in source else function.__name__


def titled(function: Wrong, title: str) -> Wrong:
    """The function, with a name for reports."""
    function.title = title  # type: ignore[attr-defined]
    return function


def configured(folder: Path, setting: str) -> Config:
    """A small training on random lines."""
    chosen = SETTINGS[setting]
    rng = np.random.default_rng(0)
    letters = [chr(ord("a") + k) if k < 26 else chr(0x4E00 + k) for k in range(chosen["V"] - 1)]
    lines = ["".join(rng.choice(letters, rng.integers(2, 7))) for _ in range(60)]
    (folder / "text").write_text("\n".join([*lines, *letters]), encoding="utf-8")
    tree = {
        "data": {"path": str(folder / "text"), **chosen.get("data", {})},
        "model": {"embedding": 5, "hidden": 9, **chosen.get("model", {})},
        "train": {"steps": STEPS, "batch_size": 16, **chosen.get("train", {})},
        "log": {"samples": 0, "eval_every": 3},
    }
    given = {"enabled": True, **chosen.get("check", {})}
    coordinates = given.pop("coordinates", "all")
    config = build({**tree, "check": given}, "here")
    return replace(config, check=replace(config.check, coordinates=coordinates))


def sentence(folder: Path, setting: str) -> str:
    """What stops a checked training; empty if nothing does."""
    try:
        session.train(configured(folder, setting), quiet=True)
    except RunFailed as error:
        return str(error)
    return ""


def plant(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = SETTINGS[bug.setting].get("parts", 1)
    monkeypatch.setattr(threads, "choose_threads", lambda *_: parts)
    right = getattr(bug.module, bug.name)
    wrong = bug.wrong(right)
    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] == "trainer"]:
        if getattr(module, bug.name, None) is right:
            monkeypatch.setattr(module, bug.name, wrong)


def rewritten(old: str, new: str) -> Wrong:
    """The same function with some of its text replaced."""

    def change(right: Any) -> Any:
        source = inspect.getsource(right)
        assert source.count(old) == 1, f"not exactly once: {old!r}"
        space = dict(right.__globals__)
        exec(source.replace(old, new), space)
        return space[right.__name__]

    return titled(change, f"{old} -> {new}")


def fed(change: Callable[[Batch, Any], Batch]) -> Wrong:
    """Batches that are changed on their way."""

    def wrong(right: Any) -> Any:
        def drawn(corpus: Any, config: Any, step: int) -> Any:
            for batch in right(corpus, config, step):
                yield change(batch, corpus)

        return drawn

    return wrong


def once(change: Callable[[Any], Any]) -> Wrong:
    """What a function gives, changed."""
    return lambda right: lambda *given, **named: change(right(*given, **named))


def moved(change: Callable[..., None]) -> Wrong:
    """An update rule in other words: p, g and what else the rule takes, in place."""
    return lambda right: change


def into(out: Any, value: Any) -> Any:
    """A result, in the room that was given."""
    if out is None:
        return value
    out[...] = value
    return out


def clip(g: Any, most: float) -> Any:
    np.clip(g.flat, -most, most, out=g.flat)
    return g


def added(g: Any, what: Any) -> Any:
    g.flat[...] += what
    return g


def half(x: Any) -> Any:
    return x.astype(np.float16).astype(x.dtype)
