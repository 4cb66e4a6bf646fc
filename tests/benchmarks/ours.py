"""What is measured of this package: each function gives plain numbers, and runs in a process of its own."""

import os
import pty
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from trainer import config as configuration
from trainer.config import Config
from trainer.core import checks, loop, model, numerical
from trainer.core.loop import Step
from trainer.core.witness import Witness
from trainer.runs import threads
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.journal import Journal
from trainer.runs.listening import Session
from trainer.runs.sampling import sample
from trainer.runs.signals import Signals
from trainer.runs.starting import begin, gradients_of
from trainer.text import corpus as text
from trainer.text.batches import ahead, batches
from trainer.text.corpus import Corpus

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


class Training:
    """A training before its first step, without a folder."""

    def __init__(self, config: Config, pool: Executor) -> None:
        self.corpus: Corpus = text.load(config.data, config.model.context)
        self.checkpoint: Checkpoint = begin(config, self.corpus)
        self.config, self.pool = config, pool

    def steps(self, watched: Callable[[int], bool] = lambda step: False) -> Iterator[Step]:
        """The training loop alone: no logging, no checks, no evaluation."""
        c = self.checkpoint
        drawn = batches(self.corpus, self.config, 0)
        if c.threads > 1:
            drawn = ahead(drawn, self.pool)
        gradients = gradients_of(c, self.pool)
        return loop.steps(self.config.train, c.sizes, c.parameters, c.state, 0, drawn, gradients, watched)

    def first(self) -> tuple[Witness, numerical.Point]:
        """The first step, and where it stands in float64."""
        witness = next(self.steps(lambda step: True)).witness
        assert witness
        return witness, numerical.point(witness.before, witness.batch, witness.sizes)


POOL = ThreadPoolExecutor(max(2, threads.cores()), initializer=np.seterr, initargs=("ignore",))


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
    steps = Training(configure(shape, optimizer), POOL).steps()
    return rate(lambda n: deque(islice(steps, n), maxlen=0))


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


def checking(shape: tuple[int, ...], method: str) -> tuple[float, float]:
    """Seconds to check every coordinate of all nine tensors at one step, and MB above the trainer's own."""
    training = Training(configure(shape), POOL)
    witness, at = training.first()
    mapper = threads.mapper(POOL, training.checkpoint.threads)
    check, before, times = configuration.Check(method=method), peak(), []
    for _ in range(3):
        began = time.perf_counter()
        rng = np.random.default_rng(0)
        verdicts = checks.check_gradients(at, witness.gradients, check, "float32", rng, mapper)
        times.append(time.perf_counter() - began)
        assert all(verdict.passed for verdict in verdicts)
    return statistics.median(times), peak() - before


def checked_step(shape: tuple[int, ...], steps: int = 1000) -> float:
    """Seconds of a step with all its checks, gradients along random directions, and with all that is written of it."""
    config = configure(shape)
    config = replace(config, check=configuration.Check(enabled=True, coordinates="directions"))
    training = Training(config, POOL)
    checkpoint = training.checkpoint
    folder = tempfile.TemporaryDirectory()
    with folder as name, np.errstate(all="ignore"), Journal(Path(name), checkpoint, quiet=True) as journal:
        session = Session(checkpoint, training.corpus, journal, Signals(journal.say), POOL, None)
        told = session.steps()
        for step in islice(told, 200):  # of the first hundred, every row is written
            session.hear(step)
        began = time.perf_counter()
        for step in islice(told, steps):
            session.hear(step)
        return (time.perf_counter() - began) / steps


def plain_loop(shape: tuple[int, ...]) -> float:
    """Seconds for central differences of the five parameters, one coordinate at a time through the whole pass."""
    witness, at = Training(configure(shape), POOL).first()
    hand = witness.gradients
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
    training = Training(configure((0, 12, 24, 400, 128), mode="stream", path=path), POOL)
    loaded = time.perf_counter() - began
    next(training.steps())
    seconds = time.perf_counter() - began
    c, corpus = training.checkpoint, training.corpus
    for split in ("train", "val"):  # evaluations count in the memory
        positions = text.evenly(corpus, split, training.config.log.eval_examples)
        threads.mean_loss(c.parameters, c.sizes, corpus, positions, POOL)
    return loaded, seconds, peak(), max(0, peak() - 150) * 1e6 / len(corpus.ids)


def sampling(shape: tuple[int, ...], n: int) -> float:
    """Characters per second of n running texts."""
    checkpoint = Training(configure(shape, mode="stream"), POOL).checkpoint
    length = 500 if n > 1 else 20_000
    list(sample(checkpoint, n, length=100))
    began = time.perf_counter()
    assert sum(map(len, sample(checkpoint, n, length=length))) == n * length
    return n * length / (time.perf_counter() - began)


def program(shape: tuple[int, ...]) -> dict[str, float]:
    """What logging, evaluations and checkpoints at their defaults add to the time of the bare loop, in percent."""
    terminal, end = pty.openpty()  # the progress bar wants a terminal
    threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(terminal, 4096), b"")], daemon=True).start()
    sys.stderr = os.fdopen(end, "w")
    training, n = Training(configure(shape), POOL), 5000
    log = training.config.log

    def timed(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        checkpoint = training.checkpoint
        with Journal(Path(folder), checkpoint, quiet=False) as journal:
            session = Session(checkpoint, training.corpus, journal, Signals(journal.say), POOL, None)
            bare, logged = training.steps(), session.steps()

            def listen() -> None:
                for step in islice(logged, n):
                    session.hear(step)

            deque(islice(bare, n), maxlen=0)
            rounds = []
            for _ in range(7):
                alone = timed(lambda: deque(islice(bare, n), maxlen=0))
                full = timed(listen)
                checkpoint.best_loss = float("inf")  # best.npz is written, as early in a run
                evaluation, save = timed(lambda: session.evaluate(None)), timed(lambda: session.save("checkpoint.npz"))
                rounds.append((alone / n, full / alone, evaluation, save))
    step, logging, evaluation, save = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {
        "logging %": 100 * (logging - 1),
        "evaluations %": 100 * evaluation / (log.eval_every * step),
        "checkpoints %": 100 * save / (log.checkpoint_every * step),
        "evaluation ms": 1e3 * evaluation,
        "checkpoint ms": 1e3 * save,
    }
