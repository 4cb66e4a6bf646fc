"""One step: its batch, and its gradients, on one thread or on several."""

import math
from collections.abc import Iterator
from concurrent.futures import Executor
from itertools import count, pairwise
from typing import NamedTuple

import numpy as np

from trainer import model, ops, text
from trainer.config import Config
from trainer.model import Activations, Batch, Parameters, Sizes
from trainer.ops import Array
from trainer.runs import TRAINING, cores
from trainer.text import Corpus


def batches(corpus: Corpus, config: Config, step: int) -> Iterator[Batch]:
    """Batches from a step on, drawn a block of steps at once, for a draw and its windows cost 50 us.

    Each block has a generator of its own, made from seed and block, so that any step can be drawn again.
    """
    B, K = config.train.batch_size, config.model.context
    size = max(1, min(64, (1 << 18) // (B * K)))  # steps
    start, end = corpus.splits["train"]
    for block in count(step // size):
        rng = np.random.default_rng([config.seed, TRAINING, block])
        contexts, targets = text.windows(corpus, rng.integers(start, end, size * B), K)
        for k in range(size):
            masks = draw_masks(config, rng)
            if block * size + k >= step:
                rows = slice(k * B, (k + 1) * B)
                yield Batch(contexts[rows], targets[rows], *masks)


def draw_masks(config: Config, rng: np.random.Generator) -> list[Array | None]:
    """Dropout masks of a batch for emb (B, K*D) and h (B, H); None where nothing is dropped."""
    m, t = config.model, config.train
    emb, h = (t.batch_size, m.context * m.embedding), (t.batch_size, m.hidden)
    return [
        draw_mask(embedding_rate(config), emb, m.dtype, rng) if t.embedding_dropout or t.context_dropout else None,
        draw_mask(t.dropout, h, m.dtype, rng) if t.dropout else None,
    ]


def embedding_rate(config: Config) -> float | Array:
    """The share of emb that is dropped: one for all, or with `context_dropout` one for each entry, (K*D,).

    That rises evenly from 0 at the nearest character to `context_dropout` at the farthest: what stands far back tells
    training examples apart more than it foretells the next character, and invites to learn them by heart.
    Where `embedding_dropout` is given too, the shares that the two keep are multiplied.
    """
    m, t = config.model, config.train
    if not t.context_dropout:
        return t.embedding_dropout
    distance = np.arange(m.context)[::-1] / max(1, m.context - 1)  # (K,) from 1 down to 0
    kept = (1 - t.embedding_dropout) * (1 - t.context_dropout * distance)  # (K,)
    return np.repeat(1 - kept, m.embedding)


def draw_mask(rate: float | Array, shape: tuple[int, int], dtype: str, rng: np.random.Generator) -> Array:
    """0 for a dropped entry, 1 / (1 - rate) for a kept one; the rate is one number or one for each column."""
    # Integers of 16 bits take half the time of floats, and meet the rate to within 2^-16.
    dropped = np.minimum(np.round(np.multiply(rate, 1 << 16)), (1 << 16) - 1).astype(np.uint16)  # of 2^16 equal chances
    kept = rng.integers(0, 1 << 16, shape, np.uint16) >= dropped
    return np.multiply(kept, (1 << 16) / ((1 << 16) - dropped.astype(float)), dtype=dtype)


class Part(NamedTuple):
    """A thread's share of the batch, and its own arrays."""

    rows: slice
    a: Activations
    g: Parameters


def choose_threads(sizes: Sizes, batch_size: int) -> int:
    """Threads for a step, by shapes and cores: below 16 million multiplications, threads cost more than they save."""
    work = batch_size * (sizes.K * sizes.D + sizes.V) * sizes.H
    return max(1, min(cores(), batch_size // 64)) if work >= 1 << 24 else 1


def split_batch(sizes: Sizes, batch_size: int, dtype: str, threads: int, g: Parameters) -> list[Part]:
    """The batch in so many parts of nearly equal size; a single part writes straight into g."""
    ends = [batch_size * k // threads for k in range(threads + 1)]
    return [
        Part(slice(i, j), Activations(sizes, j - i, dtype), g if threads == 1 else model.zeros(sizes, dtype))
        for i, j in pairwise(ends)
    ]


def gradients(p: Parameters, batch: Batch, parts: list[Part], g: Parameters, pool: Executor) -> None:
    """Forward and backward, a thread for each part; the parts' gradients are added in the order of the parts."""
    weight = 1 / len(batch.targets)
    if len(parts) == 1:
        both_ways(p, batch, parts[0], weight)
        return
    others = [pool.submit(both_ways, p, batch.rows(part.rows), part, weight) for part in parts[1:]]
    both_ways(p, batch.rows(parts[0].rows), parts[0], weight)
    total = parts[0].g.flat
    for part, other in zip(parts[1:], others, strict=True):
        other.result()
        total = np.add(total, part.g.flat, g.flat)


def both_ways(p: Parameters, batch: Batch, part: Part, weight: float) -> None:
    """Forward and backward on a thread's share of the batch."""
    model.forward(p, batch, part.a)
    model.backward(p, batch, part.a, part.g, weight)


def batch_loss(parts: list[Part], batch: Batch) -> float:
    """The mean loss of the batch that `gradients` ran last, in nats."""
    losses = [model.losses(part.a, batch.rows(part.rows)).sum(dtype=np.float64) for part in parts]
    return float(sum(losses)) / len(batch.targets)


def by_hand(p: Parameters, batch: Batch, parts: list[Part], g: Parameters) -> dict[str, Array]:
    """Every gradient that backward left behind, by name, for the whole batch; with demb, where it was spared."""
    for part in parts:
        if model.spares_demb(batch, part.a):
            ops.affine_backward_input(part.a.dz, p.W1, part.a.demb)
    inner = {name: np.concatenate([getattr(part.a, "d" + name) for part in parts]) for name in model.INNER}
    return inner | {name: getattr(g, name) for name in model.NAMES}


def mean_loss(p: Parameters, sizes: Sizes, corpus: Corpus, positions: Array, pool: Executor) -> float:
    """The mean loss at some positions of the text, in nats, without dropout."""
    size = max(1, min(1024, (1 << 22) // (sizes.H + sizes.V + sizes.K * sizes.D)))

    def total(first: int) -> float:
        contexts, targets = text.windows(corpus, positions[first : first + size], sizes.K)
        batch, a = Batch(contexts, targets), Activations(sizes, len(targets), p.flat.dtype, backward=False)
        model.forward(p, batch, a)
        return float(model.losses(a, batch).sum(dtype=np.float64))

    return math.fsum(pool.map(total, range(0, len(positions), size))) / len(positions)
