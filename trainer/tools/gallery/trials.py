"""A training for each mistake of the table: the right backward pass, with one derivative replaced by a wrong one."""

import inspect
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from trainer import config
from trainer.core import checks, loop, model, numerical, ops, optim
from trainer.core.model import Activations, Batch, Parameters, Sizes
from trainer.core.ops import Array
from trainer.core.verdicts import Gradient
from trainer.core.witness import Witness
from trainer.mistakes.table import MISTAKES, RATIOS, Mistake
from trainer.runs import threads
from trainer.text import corpus as text
from trainer.text.batches import CHECKS, WEIGHTS, batches
from trainer.tools.practice.point import given

STEPS = 3000
# The steps that are checked. At step 0 the biases are zero, and a mistake with them leaves no trace; later on a mistake
# may have saturated all units, whose gradients are then zero, right or wrong.
CHECKED = (1, 50)
BINS = 60  # points of a curve, each the mean of so many losses
ADDED = 0.1  # the share of what is added, where any share is the same mistake

# Each gradient from those before it, in the order of the chain.
RIGHT: dict[str, Callable[..., Array]] = {
    "logits": lambda p, y, B: (p - y) / B,
    "W2": lambda h, dlogits: h.T @ dlogits,
    "b2": lambda dlogits: dlogits.sum(axis=0),
    "h": lambda dlogits, W2: dlogits @ W2.T,
    "z": lambda dh, h: dh * (1 - h * h),
    "W1": lambda emb, dz: emb.T @ dz,
    "b1": lambda dz: dz.sum(axis=0),
    "emb": lambda dz, W1: dz @ W1.T,
    "C": lambda demb, X, V, D: ops.embedding_backward(demb.reshape(*X.shape, D), X, V),
}


class Trial(NamedTuple):
    """A mistake to train with: in this link the formula stands in place of the right one. No link: the right one."""

    link: str
    written: str
    cause: str
    formula: Callable[..., Any]
    added: bool = False


class Outcome(NamedTuple):
    """What became of a training."""

    losses: list[float]  # nats, means over equal stretches of the training
    val_loss: float  # nats, at the end
    wrong: list[str]  # the links whose gradients are found wrong, in the order of the chain
    others: list[str]  # the other checks that fail


RIGHT_TRIAL = Trial("", "all right", "", lambda: None)


def trials() -> list[Trial]:
    """The right one, then every mistake that differs in numbers, in the order of the chain."""
    found = [RIGHT_TRIAL]
    for link in RIGHT:
        factors = [(-1.0, "the sign is turned round")] if link in ("logits", "h") else []
        if link == "logits":
            factors += [(value(32, 27, 3), cause) for value, name, cause in RATIOS if name != "K"]
        found += [times(link, factor, cause) for factor, cause in factors]
        found += [of_table(link, mistake) for mistake in MISTAKES[link] if not mistake.source]
    return found


def of_table(link: str, mistake: Mistake) -> Trial:
    """A row of the table."""
    written, _, cause = mistake.sentence.partition(": ")
    return Trial(link, written, cause, mistake.formula, mistake.added)


def times(link: str, factor: float, cause: str) -> Trial:
    """The right gradient times a number."""

    def formula(**arrays: Any) -> Array:
        return np.asarray(factor * evaluate(RIGHT[link], arrays))

    size = f"{factor:.4g}" if factor > -1 else "-1"
    return Trial(link, f"{size} · the right one", cause, formula)


def evaluate(formula: Callable[..., Any], arrays: dict[str, Any]) -> Array:
    """A formula at a step; of several faces of one mistake the first."""
    wanted = inspect.signature(formula).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in wanted.values()):
        found = formula(**arrays)
    else:
        found = formula(**{name: arrays[name] for name in wanted})
    return np.asarray(found[0] if isinstance(found, list) else found)


def gradients(trial: Trial, sizes: Sizes, batch_size: int, dtype: str, losses: list[float]) -> loop.Gradients:
    """The gradients of a step with the mistake in them; the loss of each batch is noted."""
    room, g = Activations(sizes, batch_size, dtype), model.zeros(sizes, dtype)

    def of_batch(p: Parameters, batch: Batch, new_watch: loop.NewWatch) -> Parameters:
        watch = new_watch()
        forward: dict[str, Array] = {}

        def keep(name: str, value: Array) -> None:
            watch(name, value)
            forward[name] = value.copy()  # the model writes h over z

        logits = model.forward(p, batch, room, keep)
        losses.append(float(ops.cross_entropy(logits, batch.targets).mean(dtype=np.float64)))
        arrays = given(p, batch, forward)
        for link, right in RIGHT.items():
            gradient = evaluate(right, arrays)
            if link == trial.link:
                wrong = evaluate(trial.formula, arrays)
                gradient = gradient + ADDED * wrong if trial.added else wrong
            arrays[f"d{link}"] = gradient = gradient.astype(dtype)
            watch(f"d{link}", gradient)
            if link in model.NAMES:
                getattr(g, link)[...] = gradient
        return g

    return of_batch


def train(trial: Trial, path: str, steps: int = STEPS) -> Outcome:
    """Train with the mistake, at the ordinary sizes; `path` is the list of names. Raises UserError."""
    settings = config.build({"data": {"path": path}, "train": {"steps": steps}}, "the gallery")
    corpus = text.load(settings.data, settings.model.context)
    shape = settings.model
    sizes = Sizes(len(corpus.vocabulary), shape.context, shape.embedding, shape.hidden)
    p = model.initial(sizes, shape.dtype, np.random.default_rng([settings.seed, WEIGHTS]))
    losses: list[float] = []
    wrong: list[str] = []
    others: list[str] = []
    made = loop.steps(
        settings.train, sizes, p, optim.initial_state(settings.train, p), 0, batches(corpus, settings, 0),
        gradients(trial, sizes, settings.train.batch_size, shape.dtype, losses),
        lambda step: step in CHECKED,
    )  # fmt: skip
    with np.errstate(all="ignore"), ThreadPoolExecutor(1) as pool:
        for step in made:
            if step.witness and math.isfinite(step.witness.loss):
                links, more = failed(step.witness, settings)
                wrong = wrong or links
                others += [name for name in more if name not in others]
        val_loss = threads.mean_loss(p, sizes, corpus, text.evenly(corpus, "val", 20000), pool)
    return Outcome(means(losses), val_loss, wrong, others)


def failed(witness: Witness, settings: config.Config) -> tuple[list[str], list[str]]:
    """The links whose gradients fail at a step, and the other checks that do."""
    at = numerical.point(witness.before, witness.batch, witness.sizes)
    rng = np.random.default_rng([settings.seed, CHECKS])
    verdicts = [
        checks.sum_to_zero(witness.gradients["logits"]),
        *checks.check_gradients(at, witness.gradients, settings.check, settings.model.dtype, rng),
    ]
    failures = [verdict for verdict in verdicts if not verdict.passed]
    wrong = [verdict.tensor for verdict in failures if isinstance(verdict, Gradient)]
    return wrong, [verdict.name for verdict in failures if not isinstance(verdict, Gradient)]


def means(losses: Sequence[float]) -> list[float]:
    """The losses in equal stretches, each one's mean."""
    return [math.fsum(stretch) / len(stretch) for stretch in np.array_split(np.array(losses), BINS) if len(stretch)]
