"""Correct trainings at the edges: random shapes, types, rules, rates and texts, some of their steps checked in full."""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

import numpy as np

from trainer import referee
from trainer.config import Config, read
from trainer.core import loop, model, optim
from trainer.core.model import Parameters, Sizes
from trainer.referee.feeding import Spread
from trainer.runs import threads
from trainer.text.batches import batches
from trainer.text.corpus import Corpus


class Inline(Executor):
    """No threads: the tests are quicker without."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(call(*arguments, **named))
        return future


class Scene(NamedTuple):
    """A training, and which of its steps are checked."""

    config: Config
    sizes: Sizes
    corpus: Corpus
    p: Parameters
    threads: int
    checked: frozenset[int]


def some_corpus(V: int, K: int, lines: bool, kind: str, rng: np.random.Generator) -> Corpus:
    """A text of noise, of few characters, or one in which each character follows from the one before."""
    n = 400
    if kind == "noise":
        ids = rng.integers(1 if lines else 0, V, n)
    elif kind == "few":
        ids = rng.choice(np.arange(1 if lines else 0, V)[:3], n)
    else:
        ids = np.arange(n) % V
    cuts = {"train": (K, 320), "val": (320, 360), "test": (360, n)}
    if lines:
        ids[rng.integers(0, n, n // 5)] = 0
        parts = np.split(ids, np.flatnonzero(ids == 0))
        some = (tuple(part[part > 0].tolist()) for part in parts if part.any())
        distinct = list(dict.fromkeys([*some, *((1,) * k for k in (60, 61, 62))]))
        ends = np.cumsum([len(line) + 1 for line in distinct]) + 1
        ids = np.concatenate([[0], *(np.append(line, 0) for line in distinct)])
        first, second = int(ends[-3]), int(ends[-2])
        cuts = {"train": (1, first), "val": (first, second), "test": (second, len(ids))}
    return Corpus(ids.astype(np.min_scalar_type(V)), "", lines, cuts, "")


def configured(sizes: Sizes, *settings: str) -> Config:
    """A training of such a model, checked, with settings of which one may hold several; of two the later one holds."""
    shape = f"model.context={sizes.K} model.embedding={sizes.D} model.hidden={sizes.H}"
    words = " ".join(["data.path=- check.enabled=true", shape, *settings]).split()
    return read({}, dict(word.split("=") for word in words))


def scene(seed: int) -> Scene:
    """A random scene."""
    rng = np.random.default_rng([7, seed])

    def one(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    V, K, D = one(2, 2, 3, 5, 27, 60, 300, 2000, 20000), one(1, 1, 2, 3, 8), one(1, 2, 4, 10, 16)
    H, B = one(1, 1, 2, 7, 30, 100), one(1, 1, 2, 5, 16, 40)
    if V >= 2000:  # a full check of one step costs minutes
        H, B = min(H, 20_000 // V), min(B, 20_000 // V)
    small = V * (H + B) < 10_000
    lines, dtype = one(True, False), one("float32", "float64")
    rate = 10 ** rng.uniform(-4, 1.5)
    rule = one(
        f"train.learning_rate={rate}",
        f"train.learning_rate={rate / 10} train.momentum={one(0.5, 0.9, 0.999)}",
        f"train.learning_rate={rate / 30} train.optimizer=adamw train.weight_decay={one(0.0, 0.01, 1.0)}",
        f"train.learning_rate={rate} train.weight_decay={one(0.01, 0.5)}",
    )
    dropped = one(
        "", "", f"train.dropout={one(0.1, 0.5, 0.999)}", "train.embedding_dropout=0.2",
        "train.dropout=0.2 train.context_dropout=0.7",
    )  # fmt: skip
    steps = one(1, 20, 300, *((2000,) if small else ())) if V < 2000 else one(1, 20)
    scheduled = f"train.schedule={one('constant', 'step', 'cosine')} train.warmup_steps={one(0, 0, 5)}"
    method = one("central", "complex-step")
    coordinates = one("all", "directions") if V * (H + B) < 1000 else "directions"
    sizes = Sizes(V, K, D, H)
    config = configured(
        sizes, f"seed={seed} model.dtype={dtype} train.steps={steps} train.batch_size={B}", rule, dropped, scheduled,
        f"check.method={method} check.coordinates={coordinates}",
    )  # fmt: skip
    p = model.initial(sizes, dtype, rng)
    with np.errstate(all="ignore"):
        distort(p, one("start", "start", "W1", "W2", "C", "biases", "tiny", "both", "subnormal"), rng)
    checked = {0, steps - 1, *rng.integers(0, steps, 20).tolist()}
    corpus = some_corpus(V, K, lines, one("noise", "few", "certain"), rng)
    return Scene(config, sizes, corpus, p, one(1, 1, min(2, B)), frozenset(checked))


# Trainings that once stopped although nothing was wrong.
HARD = [
    # Close to a minimum, where no step is small enough for first order.
    (Sizes(2, 1, 1, 2), "train.steps=4000 train.batch_size=2 train.learning_rate=0.1 data.mode=stream"),
    # A single unit close to zero, whose rounding is all there is to dW2.
    (Sizes(27, 8, 10, 1), "train.steps=3000 train.batch_size=1 train.learning_rate=0.01 check.coordinates=directions"),
    (Sizes(27, 3, 10, 1), "train.steps=3000 train.batch_size=1 train.learning_rate=0.01"),
    # A sum over thousands of characters.
    (Sizes(3000, 1, 1, 2), "train.steps=100 train.batch_size=2 model.dtype=float64 check.coordinates=directions"),
    # Weights that decay below the smallest normal number.
    (Sizes(5, 2, 3, 4), "train.steps=3000 train.batch_size=4 train.weight_decay=1 check.method=complex-step"),
]


def hard(which: int, seed: int) -> Scene:
    """One of them, a tenth of its steps checked."""
    sizes, settings = HARD[which]
    rng, config = (
        np.random.default_rng([8, which, seed]),
        configured(sizes, settings, f"train.schedule=constant seed={seed}"),
    )
    steps = config.train.steps
    checked = rng.choice(steps, steps // 10, replace=False)
    p = model.initial(sizes, config.model.dtype, rng)
    corpus = some_corpus(sizes.V, sizes.K, config.data.mode == "lines", "noise", rng)
    return Scene(config, sizes, corpus, p, 1, frozenset(checked.tolist()))


def distort(p: Parameters, kind: str, rng: np.random.Generator) -> None:
    """Move a model far outside of training."""
    if kind in ("W1", "both"):
        p.W1[...] *= 10 ** rng.uniform(0, 4)
    if kind in ("W2", "both"):
        p.W2[...] *= 10 ** rng.uniform(0, 5)
    if kind == "C":
        p.C[...] *= 10 ** rng.uniform(0, 3)
    if kind == "biases":
        p.b1[...], p.b2[...] = (rng.standard_normal(len(b)) * 10 ** rng.uniform(0, 3) for b in (p.b1, p.b2))
    if kind == "tiny":
        p.flat[...] *= 10 ** rng.uniform(-12, 0)
    if kind == "subnormal":
        getattr(p, str(rng.choice(model.NAMES)))[...] *= 10 ** rng.uniform(-44, -36)


def false_alarms(scenes: Iterable[Scene]) -> tuple[int, list[str]]:
    """How many steps were checked, and what failed; a training ends when its numbers are no longer finite."""
    count, alarms = 0, []
    for s in scenes:
        train, seen = s.config.train, Spread(s.corpus)
        gradients = threads.gradients(s.p, s.threads, Inline())
        state, drawn = optim.initial_state(train, s.p), batches(s.corpus, s.config, 0)
        with np.errstate(all="ignore"):
            for step in loop.steps(train, s.p, state, 0, drawn, gradients, s.checked.__contains__):
                if not step.looked_at:
                    continue
                count += 1
                rng = np.random.default_rng([s.config.seed, step.number])
                verdicts = referee.examine(step, s.corpus, s.config, rng, seen)
                wrong = [verdict for verdict in verdicts if not verdict.passed]
                alarms += [f"seed {s.config.seed}, {s.sizes}, step {step.number}: {verdict}" for verdict in wrong]
                if not np.isfinite(s.p.flat.sum(dtype=np.float64)):
                    break
    return count, alarms
