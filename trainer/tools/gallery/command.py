"""`python -m trainer gallery [FILE.html]`: train with every mistake, and draw the page."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from tqdm import tqdm

from trainer.errors import UserError, printable
from trainer.runs.files import refuse_what_is_in_the_way, write_whole
from trainer.runs.threads import cores
from trainer.tools.children import serve_parent
from trainer.tools.gallery.page import page
from trainer.tools.gallery.trials import Outcome, train, trials

DATA = "data/names.txt"


def gallery(path: str = "gallery.html") -> None:
    """Write the page. Minutes: a training of some seconds for each mistake. Raises UserError."""
    import_matplotlib()
    refuse_what_is_in_the_way(Path(path))  # sooner than after minutes
    if not Path(DATA).exists():
        raise UserError(f"no {DATA}, in {Path.cwd()}; start the gallery where it lies")
    many = trials()
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(cores(), multiprocessing.get_context("spawn"), serve_parent)
    try:
        outcomes = list(tqdm(pool.map(partial(outcome, DATA), range(len(many))), "trainings", len(many)))
    except BaseException:  # an interrupt does not wait for the trainings that go on
        for process in set(multiprocessing.active_children()) - set(others):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    write_whole(Path(path), page(list(zip(many, outcomes, strict=True))).encode())
    print(printable(f"written to {path}"))


def outcome(path: str, number: int) -> Outcome:
    """One training, in a process of its own."""
    return train(trials()[number], path)


def import_matplotlib() -> None:
    """Raises UserError where Matplotlib is missing: sooner than after minutes."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError("Matplotlib is missing, for the gallery; pip install matplotlib") from None
