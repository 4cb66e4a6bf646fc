"""Threads: a step that is shared by several, losses of many examples, and a BLAS that is kept to one thread.

A BLAS that splits each product once more fights our threads for the cores, and adds in another order, so that the last
bits of a result depend on how many threads it has.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np

from trainer.core import model, ops
from trainer.core.loop import Gradients, InParts
from trainer.core.model import Batch, Parameters, Sizes
from trainer.core.ops import Array
from trainer.core.step import Pass
from trainer.text.corpus import Corpus, windows


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


LOCK = threading.Lock()
BEFORE: list[int] = []  # the BLAS's threads that each block found: a setting of the whole process, where runs overlap


@contextmanager
def workers() -> Iterator[Executor]:
    """A thread for each core, all silent on overflow; the BLAS has one, until the last of such blocks ends."""
    get_threads, set_threads = openblas()
    with LOCK:
        BEFORE.append(get_threads())
        set_threads(1)
    try:
        pool = ThreadPoolExecutor(cores(), initializer=np.seterr, initargs=("ignore",))
        with np.errstate(all="ignore"), pool:
            yield pool
    finally:
        with LOCK:
            set_threads(BEFORE.pop())


def openblas() -> tuple[Callable[[], int], Callable[[int], object]]:
    """Get and set the threads of the OpenBLAS that NumPy is linked with; of another BLAS nothing is known or done.

    A symbol that is looked up in NumPy's extension module is found in the libraries that it has loaded, on Linux and
    macOS; builds differ in what they put before and after each name.
    """
    library = ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__)
    for build in ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}"):
        with suppress(AttributeError):
            return library[build.format("get_num_threads")], library[build.format("set_num_threads")]
    return (lambda: 0), (lambda count: None)


def blas() -> str:
    """What multiplies NumPy's matrices: its name and version."""
    built: Any = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{built.get('name')} {built.get('version')}"


def gradients(like: Parameters, threads: int, pool: Executor) -> Gradients:
    """What computes the gradients of a batch: each thread those of a part, which are added up; of sizes like these."""
    if threads == 1:
        return lambda p, g, batch: [forward_and_backward(p, g, batch, 1 / len(batch.targets))]
    others = [model.zeros(like.sizes, like.flat.dtype) for _ in range(threads - 1)]

    def compute(p: Parameters, g: Parameters, batch: Batch) -> list[Pass]:
        share = 1 / len(batch.targets)
        each = zip([g, *others], map(batch.rows, slices(len(batch.targets), threads)), strict=True)
        passes = together(pool, [partial(forward_and_backward, p, into, rows, share) for into, rows in each])
        for other in others:
            g.flat += other.flat
        return passes

    return compute


def forward_and_backward(p: Parameters, g: Parameters, batch: Batch, share: float) -> Pass:
    """The gradients of a part of the batch, into g."""
    activations = model.forward(p, batch)
    return Pass(activations, model.backward(p, batch, activations, g, share))


def in_parts(threads: int, pool: Executor, size: int) -> InParts:
    """What moves a flat vector of that size: each thread a part of it."""
    parts = slices(size, threads)
    return lambda move: together(pool, [partial(move, part) for part in parts])


def slices(size: int, parts: int) -> list[slice]:
    """A length in so many parts of nearly equal size."""
    ends = [size * k // parts for k in range(parts + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def together(pool: Executor, calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """The results of several calls: the first is made by this thread, each other one by one of the pool."""
    first, *others = calls
    running = list(map(pool.submit, others))
    return [first(), *(each.result() for each in running)]


def losses(
    p: Parameters, corpus: Corpus, positions: Array, tell: Callable[[str], None] = lambda done: None
) -> Array:  # fmt: skip
    """The loss at each position of the text, in nats, without dropout: (n,) -> (n,). `tell` hears how far it is."""
    V, K, D, H = p.sizes
    size = max(1, min(1024, (1 << 22) // (H + V + K * D)))  # their activations stay small

    def some(first: int) -> Array:
        batch = Batch(*windows(corpus, positions[first : first + size], K))
        return ops.cross_entropy(model.forward(p, batch).logits, batch.targets)

    found: list[Array] = []
    with workers() as pool:
        for each in pool.map(some, range(0, len(positions), size)):
            found.append(each)
            tell(f"{len(found) / -(-len(positions) // size):.0%}")
    return np.concatenate(found)
