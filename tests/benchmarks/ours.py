"""What is measured of this package: each function gives plain numbers, and runs in a process of its own."""

import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

import trainer
from trainer import config as configuration
from trainer.config import Check, Config
from trainer.core import checks, numerical
from trainer.core.numerical import Point
from trainer.core.ops import Array
from trainer.core.step import Step
from trainer.runs import session, threads
from trainer.runs.starting import begin
from trainer.text import corpus as text

ROOT = Path(__file__).parents[2]
NAMES = ROOT / "data" / "names.txt"


def configure(shape: tuple[int, ...]) -> Config:
    """The defaults at a shape (V, K, D, H, B); V is the text's."""
    _, K, D, H, B = shape
    return configuration.read({
        "data": {"path": str(NAMES)},
        "model": {"context": K, "embedding": D, "hidden": H},
        "train": {"batch_size": B},
    })  # fmt: skip


@contextmanager
def training(config: Config) -> Iterator[Iterator[Step]]:
    """The steps of a training."""
    corpus = text.load(config.data, config.model.context)
    with threads.workers() as pool:
        yield session.steps(begin(config, corpus), corpus, None, pool)


def rate(steps: Callable[[int], object], seconds: float = 2.0) -> float:
    """Steps per second of a function that makes so many steps, in hundreds, warmed up."""
    steps(100)
    began = time.perf_counter()
    steps(100)
    n = 100 * (1 + round(seconds / (time.perf_counter() - began)))
    began = time.perf_counter()
    steps(n)
    return n / (time.perf_counter() - began)


def loop(config: Config) -> float:
    """Steps per second of the whole loop, with its batches; nothing is looked at but step 0."""
    with training(replace(config, log=replace(config.log, every=1 << 50))) as steps:
        return rate(lambda n: deque(islice(steps, n), maxlen=0))


def steps(shape: tuple[int, ...]) -> float:
    return loop(configure(shape))


def names_best() -> float:
    return loop(configuration.read(ROOT / "configs" / "names-best.yaml", {"data.path": NAMES}))


def products(shape: tuple[int, ...]) -> float:
    """Steps per second if a step were its six matrix products and nothing else."""
    V, K, D, H, B = shape
    rng = np.random.default_rng(0)
    shapes = (B, K * D), (K * D, H), (B, H), (H, V), (B, V), (B, H)
    emb, W1, h, W2, dlogits, dz = (rng.standard_normal(each, np.float32) for each in shapes)
    pairs = [(emb, W1), (h, W2), (h.T, dlogits), (dlogits, W2.T), (emb.T, dz), (dz, W1.T)]
    work = [(a, b, np.empty((len(a), b.shape[1]), np.float32)) for a, b in pairs]

    def run(steps: int) -> None:
        for _ in range(steps):
            for a, b, out in work:
                np.matmul(a, b, out)

    return rate(run)


def first_step(shape: tuple[int, ...]) -> tuple[Point, dict[str, Array]]:
    """Where the first step stands in float64, and its nine gradients by hand."""
    with training(configure(shape)) as steps:
        step = next(steps)
        assert step.looked_at
        return numerical.point(step.before, step.batch), step.gradients


def checking(shape: tuple[int, ...], method: str) -> float:
    """Seconds to check every entry of all nine gradients of a step."""
    at, by_hand = first_step(shape)
    began = time.perf_counter()
    verdicts = checks.check_gradients(at, by_hand, Check(method=method), "float32", np.random.default_rng(0))
    assert all(verdict.passed for verdict in verdicts)
    return time.perf_counter() - began


def checked_step(shape: tuple[int, ...]) -> float:
    """Seconds of a step with all its checks, gradients along random directions, and with all that is written of it."""
    seldom = {"train.steps": 1201, "log.eval_every": 1 << 50, "log.checkpoint_every": 1 << 50, "log.samples": 0}
    checked = {"check.enabled": True, "check.coordinates": "directions", "log.every": 100}
    config = configuration.read(configure(shape), seldom | checked)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        times = trainer.metrics(trainer.train(config, quiet=True))["step"]["time"]  # of steps 0, 100, ... 1200
    return float(times[-1] - times[2]) / 1000  # of the first hundred, every row is written
