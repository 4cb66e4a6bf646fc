"""What a step is fed: examples drawn from the training split, and dropout masks."""

from collections.abc import Iterator
from itertools import count

import numpy as np

from trainer.config import Config
from trainer.core.model import Batch
from trainer.core.ops import Array, frozen
from trainer.text.corpus import Corpus, windows

# The random streams of a seed, each with generators of its own. A seed sequence fills up with zeros, so that [seed, s]
# and [seed, s, 0] are one stream: the initial weights need a number apart from the batches'.
TRAINING, CHECKS, SAMPLES, WEIGHTS = 1, 2, 3, 4
CHANCES = 1 << 16  # dropout is decided by integers of 16 bits, four of which are drawn at once


def batches(corpus: Corpus, config: Config, step: int) -> Iterator[Batch]:
    """The batches from a step on. They are drawn for a block of steps at once, because a draw costs much to begin.

    Each block has a generator of its own, made from seed and block, so that any step can be drawn again.
    """
    B, K = config.train.batch_size, config.model.context
    size = max(1, min(64, (1 << 18) // (B * K)))  # steps in a block
    start, end = corpus.splits["train"]
    for block in count(step // size):
        rng = np.random.default_rng([config.seed, TRAINING, block])
        positions = rng.integers(start, end, size * B)  # (size * B,)
        contexts, targets = map(frozen, windows(corpus, positions, K))  # (size * B, K), (size * B,)
        for k in range(size):
            emb_mask, h_mask = draw_masks(config, rng)
            if block * size + k >= step:
                rows = slice(k * B, (k + 1) * B)
                yield Batch(contexts[rows], targets[rows], emb_mask, h_mask, positions[rows])


def draw_masks(config: Config, rng: np.random.Generator) -> tuple[Array | None, Array | None]:
    """Dropout masks of a batch for emb (B, K*D) and h (B, H); None where nothing is dropped."""
    B, sizes, train = config.train.batch_size, config.model, config.train
    emb_mask = h_mask = None
    if train.embedding_dropout or train.context_dropout:
        emb_mask = draw_mask(embedding_rate(config), (B, sizes.context * sizes.embedding), sizes.dtype, rng)
    if train.dropout:
        h_mask = draw_mask(train.dropout, (B, sizes.hidden), sizes.dtype, rng)
    return emb_mask, h_mask


def embedding_rate(config: Config) -> Array:
    """The share of each entry of emb that is dropped: (K*D,).

    `embedding_dropout` drops all alike; `context_dropout` rises evenly from 0 at the nearest character to its value at
    the farthest, and the shares that the two keep are multiplied. What stands far back says little about the next
    character, but it tells the training examples apart and so lets them be learned by heart.
    """
    K, D, train = config.model.context, config.model.embedding, config.train
    distance = np.linspace(0, 1, K)[::-1]  # (K,) from 1 down to 0
    kept = (1 - train.embedding_dropout) * (1 - train.context_dropout * distance)  # (K,)
    return np.repeat(1 - kept, D)


def draw_mask(rate: float | Array, shape: tuple[int, int], dtype: str, rng: np.random.Generator) -> Array:
    """0 for a dropped entry, 1 / (1 - rate) for a kept one; the rate is one number or one for each column."""
    dropped = np.round(np.multiply(rate, CHANCES))  # of so many equal chances
    dropped = np.minimum(dropped, CHANCES - 1).astype(np.uint16)
    B, n = shape
    drawn = rng.integers(0, 1 << 64, -(-B * n // 4), np.uint64).view(np.uint16)  # (B * n,), or up to three more
    kept = drawn[: B * n].reshape(shape) >= dropped  # (B, n)
    scale = CHANCES / (CHANCES - dropped.astype(float))  # for the rate that is really drawn
    return frozen(np.multiply(kept, scale, dtype=dtype))
