"""What is measured of this package: each function gives plain numbers, and runs in a process of its own."""

import os
import pty
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trainer import checks, model, numerical, optim, text
from trainer import config as configuration
from trainer.config import Config
from trainer.runs import Journal
from trainer.sample import sample
from trainer.step import by_hand, gradients
from trainer.train import Run, start

NAMES = Path(__file__).parents[2] / "data" / "names.txt"


def configure(shape: tuple[int, ...], optimizer: str = "sgd", mode: str = "lines", path: object = NAMES) -> Config:
    """The defaults at a shape (V, K, D, H, B); V is the text's."""
    _, K, D, H, B = shape
    tree = {
        "data": {"path": str(path), "mode": mode},
        "model": {"context": K, "embedding": D, "hidden": H},
        "train": {"batch_size": B, "optimizer": optimizer, "learning_rate": 1e-3 if optimizer == "adamw" else 0.1},
    }
    return configuration.build(tree, "the benchmark")


def begin(config: Config) -> Run:
    """A run before its first step, without a folder."""
    corpus = text.load(config.data, config.model.context)
    return Run(start(config, corpus), corpus)


def loop(run: Run, steps: int) -> None:
    """The training loop alone: no logging, no checks, no evaluation."""
    c = run.c
    for step in range(c.step, c.step + steps):
        batch = next(run.batches)
        gradients(c.parameters, batch, run.parts, run.g, run.pool)
        optim.update(run.config.train, c.parameters, run.g, c.state, step, run.scratch.flat)


def rate(steps: Callable[[int], object], seconds: float = 2.0) -> float:
    """Steps per second of a function that makes so many steps, warmed up."""
    steps(100)
    n = 100
    while True:
        began = time.perf_counter()
        steps(n)
        took = time.perf_counter() - began
        if n > 100 or took > seconds:
            return n / took
        n = 100 * (1 + round(seconds / took))


def peak() -> float:
    """The most memory that this process has held, in MB (10**6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def training(shape: tuple[int, ...], optimizer: str = "sgd") -> float:
    """Steps per second of the whole loop."""
    run = begin(configure(shape, optimizer))
    return rate(lambda n: loop(run, n))


def products(shape: tuple[int, ...]) -> float:
    """Steps per second if a step were its six matrix products and nothing else."""
    V, K, D, H, B = shape
    rng = np.random.default_rng(0)
    emb, W1, h, W2, dlogits, dz = (
        rng.standard_normal(s, np.float32) for s in ((B, K * D), (K * D, H), (B, H), (H, V), (B, V), (B, H))
    )
    pairs = [(emb, W1), (h, W2), (h.T, dlogits), (dlogits, W2.T), (emb.T, dz), (dz, W1.T)]
    work = [(a, b, np.empty((len(a), b.shape[1]), np.float32)) for a, b in pairs]

    def run(steps: int) -> None:
        for _ in range(steps):
            for a, b, out in work:
                np.matmul(a, b, out)

    return rate(run)


def first_step(shape: tuple[int, ...]) -> tuple[Run, numerical.Point, dict[str, Any]]:
    """A run after its first step, where it stands in float64, and its gradients by hand."""
    run = begin(configure(shape))
    batch = next(run.batches)
    gradients(run.c.parameters, batch, run.parts, run.g, run.pool)
    at = numerical.point(run.c.parameters, batch, run.c.sizes)
    return run, at, by_hand(run.c.parameters, batch, run.parts, run.g)


def checking(shape: tuple[int, ...], method: str) -> tuple[float, float]:
    """Seconds to check every coordinate of all nine tensors at one step, and MB above the trainer's own."""
    run, at, hand = first_step(shape)
    check, before, times = configuration.Check(method=method), peak(), []
    for _ in range(3):
        began = time.perf_counter()
        rows = checks.gradient_rows(at, hand, check, "float32", np.random.default_rng(0), run.pool)
        times.append(time.perf_counter() - began)
        assert all(row["passed"] for row in rows)
    return statistics.median(times), peak() - before


def plain_loop(shape: tuple[int, ...]) -> float:
    """Seconds for central differences of the five parameters, one coordinate at a time through the whole pass."""
    _, at, hand = first_step(shape)
    p, rows = at.p, np.arange(shape[-1])

    def loss() -> float:
        emb = p.C[at.batch.contexts].reshape(len(rows), -1)
        logits = np.tanh(emb @ p.W1 + p.b1) @ p.W2 + p.b2
        shifted = logits - logits.max(axis=1, keepdims=True)
        return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[rows, at.batch.targets]).mean())

    began = time.perf_counter()
    for name in model.NAMES:
        array, slope = getattr(p, name), np.empty(getattr(p, name).shape)
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + 1e-5
            above = loss()
            array[index] = value - 1e-5
            slope[index] = (above - loss()) / 2e-5
            array[index] = value
        assert np.allclose(slope, hand[name], rtol=1e-3, atol=1e-5)
    return time.perf_counter() - began


def encoding(path: str) -> tuple[float, float, float, float]:
    """Seconds to load a text and to the first gradients; peak MB, and bytes per character above 150 MB."""
    began = time.perf_counter()
    config = configure((0, 12, 24, 400, 128), mode="stream", path=path)
    corpus = text.load(config.data, config.model.context)
    loaded = time.perf_counter() - began
    run = Run(start(config, corpus), corpus)
    gradients(run.c.parameters, next(run.batches), run.parts, run.g, run.pool)
    seconds = time.perf_counter() - began
    run.losses(run.c, config.log.eval_examples, "train", "val")  # evaluations count in the memory
    return loaded, seconds, peak(), max(0, peak() - 150) * 1e6 / len(corpus.ids)


def sampling(shape: tuple[int, ...], n: int) -> float:
    """Characters per second of n running texts."""
    c = begin(configure(shape, mode="stream")).c
    length = 500 if n > 1 else 20_000
    list(sample(c, n, length=100))
    began = time.perf_counter()
    assert sum(map(len, sample(c, n, length=length))) == n * length
    return n * length / (time.perf_counter() - began)


def program(shape: tuple[int, ...]) -> dict[str, float]:
    """What logging, evaluations and checkpoints at their defaults add to the time of the bare loop, in percent."""
    terminal, end = pty.openpty()  # the progress bar wants a terminal
    threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(terminal, 4096), b"")], daemon=True).start()
    sys.stderr = os.fdopen(end, "w")
    run, n = begin(configure(shape)), 5000
    log = run.config.log

    def timed(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    def logged() -> None:
        batch = next(run.batches)
        for step in range(n):
            batch = run.step(batch, step)

    with (
        tempfile.TemporaryDirectory() as folder,
        np.errstate(all="ignore"),
        Journal(Path(folder), run.c) as run.journal,
    ):
        run.clock, run.mark, run.last = time.monotonic(), time.monotonic(), 0
        loop(run, n)
        rounds = []
        for _ in range(7):
            bare, full = timed(lambda: loop(run, n)), timed(logged)
            run.c.best_loss = float("inf")  # best.npz is written, as early in a run
            rounds.append((bare / n, full / bare, timed(run.evaluate), timed(lambda: run.save("checkpoint.npz"))))
    bare, logging, evaluation, save = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {
        "logging %": 100 * (logging - 1),
        "evaluations %": 100 * evaluation / (log.eval_every * bare),
        "checkpoints %": 100 * save / (log.checkpoint_every * bare),
        "evaluation ms": 1e3 * evaluation,
        "checkpoint ms": 1e3 * save,
    }
