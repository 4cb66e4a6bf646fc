"""Bugs in what a step is fed: its batch and its dropout masks."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from planted.planting import Bug, Wrong, fed, once
from trainer.config import Config
from trainer.text import batches
from trainer.text import corpus as text

# What a step is fed.

FED = "look at batches.py"


def block(right: Any) -> Any:
    """The first batch for ever."""

    def drawn(corpus: Any, config: Any, step: int) -> Any:
        first = next(right(corpus, config, step))
        while True:
            yield first

    return drawn


def elsewhere(split: str) -> Wrong:
    def wrong(right: Any) -> Any:
        def drawn(corpus: Any, config: Any, step: int) -> Any:
            return right(replace(corpus, splits={"train": corpus.splits[split]}), config, step)

        return drawn

    return wrong


def leaking(corpus: Any, positions: Any, context: int) -> Any:
    return corpus.ids[positions[:, None] + np.arange(-context, 0)].astype(np.intp), corpus.ids[positions].astype(
        np.intp
    )


BATCHES = [
    Bug(
        batches,
        "batches",
        fed(lambda b, c: b._replace(targets=np.roll(b.targets, 1))),
        "plain",
        f"{FED} | other examples",
    ),
    Bug(batches, "batches", fed(lambda b, c: b._replace(targets=b.targets[::-1].copy())), "stream", f"{FED} | target"),
    Bug(
        batches,
        "batches",
        fed(lambda b, c: b._replace(targets=c.ids.take(b.positions + 1, mode="clip").astype(int))),
        "plain",
        f"{FED} | shifted",
    ),
    Bug(
        batches,
        "batches",
        fed(lambda b, c: b._replace(targets=c.ids[b.positions - 1].astype(int))),
        "stream",
        f"{FED} | one place early",
    ),
    Bug(batches, "batches", fed(lambda b, c: b._replace(targets=0 * b.targets)), "plain", f"{FED} | target"),
    Bug(
        batches,
        "batches",
        fed(lambda b, c: b._replace(contexts=b.contexts[:, ::-1].copy())),
        "plain",
        f"{FED} | context is reversed",
    ),
    Bug(
        batches,
        "batches",
        fed(lambda b, c: b._replace(contexts=np.roll(b.contexts, 1, 0))),
        "plain",
        f"{FED} | context",
    ),
    Bug(batches, "batches", fed(lambda b, c: b._replace(contexts=0 * b.contexts)), "stream", f"{FED} | context"),
    Bug(text, "windows", lambda right: leaking, "plain", f"{FED} | line before leak"),
    Bug(
        text,
        "windows",
        lambda right: lambda c, at, K: (right(c, at - 1, K)[0], right(c, at, K)[1]),
        "stream",
        f"{FED} | leaves out the nearest",
    ),
    Bug(
        text,
        "windows",
        lambda right: lambda c, at, K: (right(c, np.minimum(at + 1, len(c.ids) - 1), K)[0], right(c, at, K)[1]),
        "stream",
        f"{FED} | holds the target",
    ),
    Bug(batches, "batches", elsewhere("test"), "plain", f"{FED} | of the test split"),
    Bug(batches, "batches", elsewhere("val"), "stream", f"{FED} | of the val split"),
    Bug(batches, "batches", block, "plain", f"{FED} | that of step 0"),
    Bug(batches, "batches", block, "stream", f"{FED} | that of step 0"),
    Bug(batches, "batches", block, "dropout", "that of step 0"),
]

# Dropout masks.

MASKS = "look at draw_masks"


def mask(change: Callable[..., Any]) -> Wrong:
    """A mask from its right one, its rate and its random numbers."""
    return lambda right: lambda rate, shape, dtype, rng: change(right(rate, shape, dtype, rng), rate).astype(dtype)


def same_mask(right: Any) -> Any:
    kept: dict[Any, Any] = {}
    return lambda rate, shape, dtype, rng: kept.setdefault(shape, right(rate, shape, dtype, rng))


def tiled(right: Any) -> Any:
    """The rates of the places laid out column by column."""

    def wrong(config: Config) -> Any:
        D = config.model.embedding
        return np.tile(right(config)[::D], D)

    return wrong


MASKED = [
    Bug(batches, "draw_mask", mask(lambda m, rate: m > 0), "dropout", f"{MASKS} | not scaled"),
    Bug(batches, "draw_mask", mask(lambda m, rate: (m > 0) / np.maximum(rate, 1e-3)), "dropout", f"{MASKS} | 1 / rate"),
    Bug(
        batches,
        "draw_mask",
        mask(lambda m, rate: (m == 0) / (1 - rate)),
        "dropout",
        f"{MASKS} | keeps what it should drop",
    ),
    Bug(batches, "draw_mask", mask(lambda m, rate: 1.01 * m), "directions", MASKS),
    Bug(batches, "draw_mask", mask(lambda m, rate: np.ones_like(m)), "dropout", MASKS),
    Bug(batches, "draw_mask", mask(lambda m, rate: 0 * m), "dropout", f"{MASKS} | all is dropped"),
    Bug(batches, "draw_mask", mask(lambda m, rate: m[:1]), "dropout", f"{MASKS} | its shape is (1, 15)"),
    Bug(batches, "draw_mask", mask(lambda m, rate: m[0]), "directions", "its shape is"),
    Bug(batches, "draw_mask", same_mask, "dropout", f"{MASKS} | the mask of step 0"),
    Bug(batches, "embedding_rate", once(lambda rate: rate[::-1]), "distance", f"{MASKS} | reversed"),
    Bug(batches, "embedding_rate", tiled, "distance", f"{MASKS} | laid out"),
    Bug(batches, "embedding_rate", once(lambda rate: rate.mean()), "distance", f"{MASKS} | one rate"),
    Bug(batches, "draw_masks", once(lambda masks: (None, masks[1])), "dropout", f"{MASKS} | emb is not dropped"),
    Bug(batches, "draw_masks", once(lambda masks: (masks[0], None)), "dropout", f"{MASKS} | h is not dropped"),
]
