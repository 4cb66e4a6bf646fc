"""Keep the BLAS to one thread while a run trains.

A batch is split over threads by threads.py. A BLAS that splits each product once more fights those threads for the
cores, and adds in another order, so that the last bits of a result depend on how many threads it has.
"""

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np


class Blas(NamedTuple):
    """What multiplies matrices, and with how many threads of its own."""

    name: str  # as NumPy was built: scipy-openblas 0.3.31
    core: str = ""  # the kind of processor whose code it runs, such as Haswell; bits of results depend on it
    threads: int | None = None  # None if it does not tell

    def __str__(self) -> str:
        core = f" {self.core}" if self.core else ""
        count = "an unknown number of" if self.threads is None else self.threads
        return f"{self.name}{core}, threads: {count}"

    @property
    def warning(self) -> str:
        """One line for a BLAS that may run more than one thread, else the empty string."""
        if self.threads == 1:
            return ""
        return (
            f"the BLAS of NumPy, {self.name}, could not be limited to one thread, which can be slow;"
            " install threadpoolctl, or set OPENBLAS_NUM_THREADS=1 (OMP_, MKL_ likewise) before Python starts"
        )


class Limit:
    """How many blocks want one thread. The number of threads is a setting of the whole process, and so is this."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.blocks = 0
        self.undo = ExitStack()
        self.blas = Blas("")


LIMIT = Limit()


@contextmanager
def one_thread() -> Iterator[Blas]:
    """Keep the BLAS to one thread until the last of the blocks that asked for it ends; give what is in force.

    Blocks may overlap in several threads. The first sets the limit; the last puts back what was there before.
    """
    with LIMIT.lock:
        if LIMIT.blocks == 0:
            LIMIT.blas = set_limit(LIMIT.undo)
        LIMIT.blocks += 1
    try:
        yield LIMIT.blas
    finally:
        with LIMIT.lock:
            LIMIT.blocks -= 1
            if LIMIT.blocks == 0:
                LIMIT.undo.close()


def set_limit(undo: ExitStack) -> Blas:
    """Set one thread, by the package threadpoolctl where there is one, else by OpenBLAS's own functions."""
    built: Any = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    name = f"{built.get('name', 'unknown')} {built.get('version', '')}".strip()
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return limit_openblas(name, undo)
    libraries = ThreadpoolController().select(user_api="blas")  # of other packages too, if they are imported
    undo.enter_context(libraries.limit(limits=1))
    found = libraries.info()
    if not found:
        return Blas(name)
    cores = sorted({library["architecture"] for library in found if library.get("architecture")})
    return Blas(name, " ".join(cores), max(library["num_threads"] for library in found))


def limit_openblas(name: str, undo: ExitStack) -> Blas:
    """Set one thread in the OpenBLAS that NumPy is linked with."""
    library = openblas()
    if library is None:
        return Blas(name)
    undo.callback(library.set_threads, library.get_threads())
    library.set_threads(1)
    return Blas(name, library.get_core().decode(), library.get_threads())


class OpenBLAS(NamedTuple):
    """Functions of the OpenBLAS library."""

    get_threads: Callable[[], int]
    set_threads: Callable[[int], None]
    get_core: Callable[[], bytes]


def openblas() -> OpenBLAS | None:
    """The OpenBLAS that NumPy is linked with, None if it is another BLAS.

    A symbol that is looked up in NumPy's extension module is found in the libraries that it has loaded, on Linux and
    macOS. Builds differ in what they put before and after each name.
    """
    library = ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__)
    for before, after in (("scipy_", "64_"), ("scipy_", ""), ("", "64_"), ("", "")):
        try:
            get_threads, set_threads, get_core = (
                library[f"{before}openblas_{name}{after}"]
                for name in ("get_num_threads", "set_num_threads", "get_corename")
            )
        except AttributeError:
            continue
        set_threads.argtypes, set_threads.restype = [ctypes.c_int], None
        get_core.restype = ctypes.c_char_p
        return OpenBLAS(get_threads, set_threads, get_core)
    return None
