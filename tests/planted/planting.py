"""How a bug is planted into a running training, and the trainings for it; bugs.txt says how a bug is written."""

import inspect
import linecache
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from trainer.config import Config
from trainer.config import read as read_config
from trainer.core.model import Sizes, zeros
from trainer.core.verdict import Verdict
from trainer.errors import RunFailed
from trainer.referee.feeding import Spread, check_batch, check_masks
from trainer.runs import session, threads
from trainer.text import batches
from trainer.text.corpus import Corpus, load

DROPOUT = "train.dropout=0.3 train.embedding_dropout=0.2"
SETTINGS = {
    "plain": "train.learning_rate=1",
    "dropout": DROPOUT,
    "distance": "train.context_dropout=0.6 train.dropout=0.3",
    "widths": f"{DROPOUT} model.embedding=4 model.hidden=12",
    "large V": DROPOUT,
    "threads": f"{DROPOUT} train.batch_size=128",
    "float64": f"{DROPOUT} model.dtype=float64 check.method=complex-step",
    "momentum": "train.momentum=0.9 train.weight_decay=0.1 train.learning_rate=0.5",
    "adamw": "train.optimizer=adamw train.learning_rate=0.01 train.weight_decay=0.1",
    "warmup": "train.warmup_steps=3 train.learning_rate=1",
    "steps": "train.schedule=step train.learning_rate=1",
    "stream": "data.mode=stream",
    "directions": f"{DROPOUT} check.coordinates=directions",
    "every": "check.every=2 train.learning_rate=1",
}
CHARACTERS = {"widths": 12, "large V": 40}  # else 9, the boundary among them
SMALL = "model.embedding=3 model.hidden=5 train.steps=6 train.batch_size=16 log.samples=0 log.eval_every=3"


class Bug(NamedTuple):
    function: str  # module:name, or module:class:method
    old: str
    new: str
    setting: str
    words: list[str]  # of the sentence

    def __str__(self) -> str:
        return f"{self.function}, {self.setting}: {self.old} -> {self.new}"


def read(file: str) -> list[Bug]:
    """The bugs in a file of this folder."""
    found, function, old = list[Bug](), "", ""
    for line in Path(__file__).with_name(file).read_text().splitlines():
        if line.startswith("in "):
            function, old = line.removeprefix("in ").replace("\\n", "\n").split(": ", 1)
        elif line and not line.startswith("#"):
            new, setting, *words = line.replace("\\n", "\n").split(" | ")
            found.append(Bug(function, old, new, setting, words))
    return found


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


@cache
def text(characters: int) -> str:
    """Random lines of so many characters, and each of them, but for the boundary, once more alone."""
    rng = np.random.default_rng(0)
    letters = [chr(ord("a") + k) if k < 26 else chr(0x4E00 + k) for k in range(characters - 1)]
    return "\n".join(["".join(rng.choice(letters, rng.integers(2, 7))) for _ in range(60)] + letters)


def configured(folder: Path, setting: str) -> Config:
    """A small training on random lines."""
    (folder / "text").write_text(text(CHARACTERS.get(setting, 9)), encoding="utf-8")
    words = f"{SMALL} check.enabled=true {SETTINGS[setting]}".split()
    return read_config({"data.path": folder / "text"}, dict(word.split("=") for word in words))


def sentence(folder: Path, setting: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What stops a checked training; empty if nothing does."""
    parts = 2 if setting == "threads" else 1
    monkeypatch.setattr(threads, "choose_threads", lambda *_: parts)
    try:
        session.train(configured(folder, setting), quiet=True)
    except RunFailed as error:
        return str(error)
    return ""


def drawn_from(folder: Path, setting: str) -> tuple[Corpus, Config]:
    """A text and a training with batches of so many examples, or with "rare" dropout."""
    config = configured(folder, "plain")
    dropped = {"dropout": 0.01} if setting == "rare" else {"dropout": 0.3, "embedding_dropout": 0.2}
    train = replace(config.train, batch_size=32 if setting == "rare" else int(setting), **dropped)
    return load(config.data, config.model.context), replace(config, train=train)


def over_a_run(corpus: Corpus, config: Config, steps: int) -> Iterator[Verdict]:
    """The verdicts on what is drawn in each of so many steps."""
    seen, shape = Spread(corpus), config.model
    p = zeros(Sizes(len(corpus.vocabulary), shape.context, shape.embedding, shape.hidden), shape.dtype)
    for number, batch in enumerate(islice(batches.batches(corpus, config, 0), steps)):
        yield check_batch(batch, corpus, config.train, seen, number)
        yield from (*check_masks(batch, p, config.train, seen), *seen.verdicts())
