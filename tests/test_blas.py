"""While a run trains, the BLAS has one thread, however many runs overlap; afterwards it has what it had before."""

import ctypes
import hashlib
import multiprocessing
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from trainer.runs import blas

ROOT = Path(__file__).parents[1]
BEFORE = 3  # threads, whatever the machine has
PRODUCT = """
import sys, hashlib, numpy
rng = numpy.random.default_rng(0)
x, y = (rng.standard_normal((600, 600), numpy.float32) for _ in range(2))
print(hashlib.sha256((x @ y).tobytes()).hexdigest())
"""


def threads() -> int:
    """How many threads the OpenBLAS of this process may use, asked of a program that is not ours."""
    (count,) = {library["num_threads"] for library in threadpool_info() if library["internal_api"] == "openblas"}
    return int(count)


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    library = blas.openblas()
    assert library, "these tests need a NumPy with OpenBLAS"
    before = library.get_threads()
    library.set_threads(BEFORE)
    yield
    library.set_threads(before)


@pytest.fixture(params=["threadpoolctl", "alone"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The limit is set by threadpoolctl, or as where it is not installed."""
    if request.param == "alone":
        monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    return str(request.param)


@pytest.mark.usefixtures("way")
def test_one_thread_inside_and_what_it_was_afterwards() -> None:
    assert threads() == BEFORE
    for _ in range(2):
        with blas.one_thread() as found:
            assert threads() == found.threads == 1
            assert found.warning == ""
        assert threads() == BEFORE
    with pytest.raises(KeyboardInterrupt), blas.one_thread():
        raise KeyboardInterrupt
    assert threads() == BEFORE


@pytest.mark.usefixtures("way")
def test_what_is_in_force_is_told() -> None:
    with blas.one_thread() as found:
        pass
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    cores = {library["architecture"] for library in threadpool_info() if library["internal_api"] == "openblas"}
    assert str(found) == f"{built['name']} {built['version']} {cores.pop()}, threads: 1"


@pytest.mark.usefixtures("way")
def test_the_first_of_two_runs_to_end_does_not_lift_the_limit() -> None:
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with blas.one_thread():
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(60)
    with blas.one_thread():
        leave.set()
        thread.join()
        assert threads() == 1
    assert threads() == BEFORE


@pytest.mark.usefixtures("way")
def test_runs_that_begin_and_end_in_any_order_never_meet_another_number() -> None:
    met: list[int] = []

    def many(seed: int) -> None:
        rng, library = random.Random(seed), blas.openblas()
        assert library
        for _ in range(100):
            with blas.one_thread():
                met.append(library.get_threads())
                threading.Event().wait(rng.random() / 10_000)
                met.append(library.get_threads())

    workers = [threading.Thread(target=many, args=[seed]) for seed in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert met == [1] * 1200
    assert threads() == BEFORE


@pytest.mark.usefixtures("way")
def test_a_product_has_the_bits_of_a_process_that_began_with_one_thread() -> None:
    began = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", PRODUCT], check=True, env=began, capture_output=True, text=True)
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((600, 600), np.float32) for _ in range(2))
    with blas.one_thread():
        assert hashlib.sha256((x @ y).tobytes()).hexdigest() == done.stdout.strip()


def product_of_a_child(size: int) -> int:
    with blas.one_thread():
        return int((np.ones((size, size)) @ np.ones((size, size)))[0, 0])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_of_a_process_with_a_limit_works(method: str) -> None:
    with blas.one_thread(), multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply(product_of_a_child, [300]) == 300


def test_a_blas_that_cannot_be_limited_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.setattr(blas, "openblas", lambda: None)
    with blas.one_thread() as found:
        assert threads() == BEFORE
    assert found.threads is None
    assert "threads: an unknown number" in str(found)
    assert found.name in found.warning
    assert "threadpoolctl" in found.warning
    assert "\n" not in found.warning


@pytest.mark.parametrize("wrapped", ["scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}"])
def test_openblas_is_found_under_each_of_its_names(wrapped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Function:
        def __call__(self, *_: object) -> bytes:
            return wrapped.encode()

    class Library(dict[str, Function]):
        def __missing__(self, name: str) -> Function:
            raise AttributeError(name)

    names = ("get_num_threads", "set_num_threads", "get_corename")
    monkeypatch.setattr(ctypes, "CDLL", lambda path: Library({wrapped.format(name): Function() for name in names}))
    found = blas.openblas()
    assert found
    assert found.get_core() == wrapped.encode()
    monkeypatch.setattr(ctypes, "CDLL", lambda path: Library())
    assert blas.openblas() is None
