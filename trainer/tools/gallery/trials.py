"""A training for each mistake of the table: the right backward pass, with one derivative replaced by a wrong one."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from trainer import config
from trainer.core import checks, loop, model, numerical, ops
from trainer.core.links import LINKS
from trainer.core.model import NAMES, Batch, InnerGradients, Parameters
from trainer.core.ops import Array
from trainer.core.verdict import Verdict
from trainer.mistakes.table import MISTAKES, Mistake, ratios
from trainer.runs.starting import begin
from trainer.text import corpus as text
from trainer.text.batches import batches
from trainer.tools.practice.point import given

STEPS = 3000
# The steps that are checked. At step 0 the biases are zero, and a mistake with them leaves no trace; later on a mistake
# may have saturated all units, whose gradients are then zero, right or wrong.
CHECKED = (1, 50)
BINS = 60  # points of a curve, each the mean of so many losses
ADDED = 0.1  # the share of what is added, where any share is the same mistake
CHAIN = [link for link in MISTAKES if link in LINKS]  # each after what it takes


class Trial(NamedTuple):
    """A mistake to train with."""

    link: str  # empty where all is right
    written: str
    cause: str
    gradient: Callable[[Array, Mapping[str, Any]], Any] = lambda right, arrays: right  # in place of the right one
    scaled: bool = False  # the right one times a number


class Outcome(NamedTuple):
    """What became of a training."""

    losses: list[float]  # nats, means over equal stretches of the training
    val_loss: float  # nats, at the end
    wrong: list[str]  # the links whose gradients are found wrong, in the order of the chain
    others: list[str]  # the other checks that fail


def trials() -> list[Trial]:
    """The right one, then every mistake of this model that differs in numbers, in the order of the chain."""
    found = [Trial("", "all right", "")]
    for link in CHAIN:
        for mistake in MISTAKES[link]:
            if not mistake.source:
                found.append(of_table(link, mistake))
    sizes = [(-1.0, "the sign is turned round")]
    sizes += [(float(value), cause) for value, name, cause in ratios(32, 27, 3) if name != "K"]
    for size, cause in sizes:
        scaled = partial(lambda right, arrays, size: size * right, size=size)
        found.append(Trial("logits", f"{size:.4g} · the right one", cause, scaled, True))
    return found


def of_table(link: str, mistake: Mistake) -> Trial:
    """A row of the table; of several faces of one mistake the first."""

    def gradient(right: Array, arrays: Mapping[str, Any]) -> Any:
        wrong = mistake.faces(arrays)[0]
        return right + ADDED * wrong if mistake.added else wrong

    written, _, cause = mistake.sentence.partition(": ")
    return Trial(link, written.replace(" * ", " · "), cause, gradient)


def train(number: int, path: str, steps: int = STEPS) -> Outcome:
    """Train with a mistake, by its place in `trials`, at the ordinary sizes on a list. Raises UserError."""
    trial, losses, verdicts = trials()[number], list[float](), list[Verdict]()
    settings = config.read({"data": {"path": path}, "train": {"steps": steps}})
    corpus = text.load(settings.data, settings.model.context)
    start = begin(settings, corpus)
    p, by_hand = start.parameters, dict[str, Array]()  # the gradients of the newest step

    def gradients(p: Parameters, g: Parameters, batch: Batch) -> list[loop.Pass]:
        a = model.forward(p, batch)
        losses.append(float(ops.cross_entropy(a.logits, batch.targets).mean(dtype=np.float64)))
        arrays = given(p, batch, a)
        for link in CHAIN:
            right = LINKS[link].right(**{name: arrays[name] for name in LINKS[link].takes})
            found = trial.gradient(right, arrays) if link == trial.link else right
            arrays[f"d{link}"] = by_hand[link] = np.asarray(found, p.flat.dtype)
        for name in NAMES:
            getattr(g, name)[...] = by_hand[name]
        return [loop.Pass(a, InnerGradients(*(by_hand[name] for name in model.INNER)))]

    with np.errstate(all="ignore"):
        drawn = batches(corpus, settings, 0)
        for step in loop.steps(settings.train, p, start.state, 0, drawn, gradients, CHECKED.__contains__):
            if step.before and math.isfinite(losses[-1]):
                at, rng = numerical.point(step.before.p, step.batch), np.random.default_rng(0)
                verdicts.append(checks.sum_to_zero(by_hand["logits"]))
                verdicts += checks.check_gradients(at, by_hand, settings.check, settings.model.dtype, rng)
        val = Batch(*text.windows(corpus, text.sample_positions(corpus, "val", 20_000, 0), p.sizes.K))
        val_loss = float(ops.cross_entropy(model.forward(p, val).logits, val.targets).mean(dtype=np.float64))
    failed = dict.fromkeys((verdict.name, verdict.of) for verdict in verdicts if not verdict.passed)
    wrong = [str(of) for name, of in failed if name == "gradient"]
    means = [float(np.mean(stretch)) for stretch in np.array_split(np.array(losses), BINS)]
    return Outcome(means, val_loss, wrong, [name for name, _ in failed if name != "gradient"])
