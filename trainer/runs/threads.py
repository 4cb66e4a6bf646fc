"""A batch in parts: the gradients of one step on one thread or on several, and losses of many examples."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from trainer.core import model, ops
from trainer.core.loop import NewWatch
from trainer.core.model import Activations, Batch, Parameters, Sizes, Watch
from trainer.core.ops import Array
from trainer.text import corpus as text
from trainer.text.corpus import Corpus


class Part(NamedTuple):
    """What a thread takes of the batch, and its own arrays."""

    rows: slice
    room: Activations
    g: Parameters


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_threads(sizes: Sizes, batch_size: int) -> int:
    """Threads for a step, by shapes and cores: below 16 million multiplications, threads cost more than they save."""
    work = batch_size * (sizes.K * sizes.D + sizes.V) * sizes.H
    if work < 1 << 24:
        return 1
    return max(1, min(cores(), batch_size // 64))


def split_batch(sizes: Sizes, batch_size: int, dtype: str, threads: int) -> list[Part]:
    """The batch in so many parts of nearly equal size."""
    ends = [batch_size * k // threads for k in range(threads + 1)]
    return [
        Part(slice(start, end), Activations(sizes, end - start, dtype), model.zeros(sizes, dtype))
        for start, end in pairwise(ends)
    ]


def mapper(pool: Executor, threads: int) -> Callable[..., Iterable[Any]]:
    """`map`, on the threads of the pool where a step is large enough to gain by threads."""
    return pool.map if threads > 1 else map


def gradients(parts: Sequence[Part], pool: Executor, p: Parameters, batch: Batch, new_watch: NewWatch) -> Parameters:
    """Forward and backward, a thread for each part; the parts' gradients are added up in those of the first part."""
    share = 1 / len(batch.targets)
    first, *others = parts
    if not others:
        forward_and_backward(p, batch, first, share, new_watch())
        return first.g
    own_watch = new_watch()
    running = [pool.submit(forward_and_backward, p, batch.rows(part.rows), part, share, new_watch()) for part in others]
    forward_and_backward(p, batch.rows(first.rows), first, share, own_watch)
    for part, future in zip(others, running, strict=True):
        future.result()
        np.add(first.g.flat, part.g.flat, out=first.g.flat)
    return first.g


def forward_and_backward(p: Parameters, batch: Batch, part: Part, share: float, watch: Watch) -> None:
    """The gradients of a part of the batch."""
    model.forward(p, batch, part.room, watch)
    model.backward(p, batch, part.room, part.g, share, watch)


def mean_loss(p: Parameters, sizes: Sizes, corpus: Corpus, positions: Array, pool: Executor) -> float:
    """The mean loss at some positions of the text, in nats, without dropout; nan for no position."""
    if not len(positions):
        return math.nan
    size = max(1, min(1024, (1 << 22) // (sizes.H + sizes.V + sizes.K * sizes.D)))  # examples that go together

    def total(first: int) -> float:
        losses = example_losses(p, sizes, corpus, positions[first : first + size])
        return float(losses.sum(dtype=np.float64))

    return math.fsum(pool.map(total, range(0, len(positions), size))) / len(positions)


def example_losses(p: Parameters, sizes: Sizes, corpus: Corpus, positions: Array) -> Array:
    """The loss at each position of the text, in nats, without dropout: (n,) -> (n,)."""
    batch = Batch(*text.windows(corpus, positions, sizes.K))
    logits = model.forward(p, batch, Activations(sizes, len(positions), p.flat.dtype))
    return ops.cross_entropy(logits, batch.targets)


@contextmanager
def workers(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that compute in silence; what they have not begun when the block ends is dropped."""
    pool = ThreadPoolExecutor(count, initializer=np.seterr, initargs=("ignore",))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
