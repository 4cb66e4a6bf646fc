"""Threads: those of the BLAS, of which there is one while a run trains, and our own, which give the same numbers."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from trainer.config import Train
from trainer.core import model, optim
from trainer.core.model import Parameters, Sizes
from trainer.runs import threads

BEFORE = 3  # threads, whatever the machine has


def count() -> int:
    """How many threads the OpenBLAS of this process may use, asked of a program that is not ours."""
    (found,) = {library["num_threads"] for library in threadpool_info() if library["internal_api"] == "openblas"}
    return int(found)


@pytest.fixture
def three_threads() -> Iterator[None]:
    library = threads.openblas()
    assert library, "these tests need a NumPy with OpenBLAS"
    get_threads, set_threads, _ = library
    before = get_threads()
    set_threads(BEFORE)
    yield
    set_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_one_thread_until_the_last_block_ends_and_then_what_it_was() -> None:
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with threads.one_thread():
            entered.set()
            leave.wait(60)

    for _ in range(2):
        thread = threading.Thread(target=first)
        thread.start()
        assert entered.wait(60)
        with suppress(KeyboardInterrupt), threads.one_thread() as told:
            leave.set()  # it ends before this block does
            thread.join()
            assert count() == 1
            raise KeyboardInterrupt
        assert count() == BEFORE
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    core = {each["architecture"] for each in threadpool_info() if each["internal_api"] == "openblas"}.pop()
    assert told == f"{built['name']} {built['version']} {core}, threads: 1"


def test_a_blas_that_cannot_be_limited_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "openblas", lambda: None)
    with threads.one_thread() as told:
        assert told.endswith(", threads: unknown")


def test_an_update_in_parts_is_that_of_the_whole_vector() -> None:
    sizes, rng, moved = Sizes(7, 3, 4, 9), np.random.default_rng(0), set()
    p, g = model.initial(sizes, "float64", rng), model.initial(sizes, "float64", rng)
    train = Train(optimizer="adamw", weight_decay=0.1)
    with threads.workers(3) as pool:
        for parts in (1, 2, 3):
            q = Parameters(sizes, p.flat.copy())
            update = partial(optim.update, train, q, g, optim.initial_state(train, q), 0.01, 0)
            threads.in_parts(parts, pool, len(q.flat))(update)
            moved.add(q.flat.tobytes())
    assert len(moved - {p.flat.tobytes()}) == len(moved) == 1
