"""Threads: those of the BLAS, of which there is one while a run trains, and our own, which give the same numbers."""

from functools import partial

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from trainer.config import Train
from trainer.core import model, optim
from trainer.core.model import Parameters, Sizes
from trainer.runs import threads


@pytest.mark.usefixtures("three_threads")
def test_one_thread_until_the_last_block_ends_and_then_what_it_was() -> None:
    def count() -> set[int]:
        """How many threads the OpenBLAS of this process may use, asked of a program that is not ours."""
        return {library["num_threads"] for library in threadpool_info() if library["internal_api"] == "openblas"}

    first, second = threads.workers(), threads.workers()
    with np.errstate():  # which is of a thread, and the blocks of one thread end in their order
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert count() == {1}
        second.__exit__(None, None, None)
        assert count() == {3}


def test_an_update_in_parts_is_that_of_the_whole_vector() -> None:
    sizes, rng, moved = Sizes(7, 3, 4, 9), np.random.default_rng(0), set()
    p, g = model.initial(sizes, "float64", rng), model.initial(sizes, "float64", rng)
    train = Train(optimizer="adamw", weight_decay=0.1)
    with threads.workers() as pool:
        for parts in (1, 2, 3):
            q = Parameters(sizes, p.flat.copy())
            update = partial(optim.update, train, q, g, optim.initial_state(train, q), 0.01, 0)
            threads.in_parts(parts, pool, len(q.flat))(update)
            moved.add(q.flat.tobytes())
    assert len(moved - {p.flat.tobytes()}) == len(moved) == 1
