"""One process of a sweep: take a trial, train it as an ordinary run, tell its loss, take the next."""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from trainer.errors import Diverged, RunFailed, UserError
from trainer.tools.sweep.proposals import hopeless, learns_from
from trainer.tools.sweep.ranges import Plan, with_values
from trainer.tools.sweep.store import Address, Store, TakenOver

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

PAUSE = 0.5  # seconds before asking again where nothing waits


@dataclass(frozen=True)
class Task:
    """What all processes of a sweep work on."""

    plan: Plan
    address: Address
    name: str  # of the folder under runs/
    trials: int
    pruning: bool


def work(task: Task, core: int | None, pipe: Connection) -> None:
    """Train one trial after another until the parent asks to stop; send it the error that ends this."""
    stop = threading.Event()
    detach(stop, core)
    try:
        store = Store(task.address)
        while not stop.is_set():
            trial = store.take(task.trials)
            if trial is None:
                time.sleep(PAUSE)
                continue
            with signs_of_life(store, trial, task.address.heartbeat):
                train(task, store, trial, stop)
    except (UserError, RunFailed) as error:
        pipe.send(error)
    except KeyboardInterrupt:
        pass


def detach(stop: threading.Event, core: int | None) -> None:
    """Keep to one core; hear only the parent's signal, not the terminal's; end when the parent has gone."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    parent = parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def signs_of_life(store: Store, trial: "FrozenTrial", seconds: int) -> Iterator[None]:
    """Tell the store, all the while, that the trial is being trained."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(seconds):
            with suppress(UserError, TakenOver):  # the next may get through, and the next report says what is wrong
                store.beat(trial)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def train(task: Task, store: Store, trial: "FrozenTrial", stop: threading.Event) -> None:
    """One trial from beginning to end. However it ends, the store hears of it, unless another has taken it over."""
    try:
        run(task, store, trial, stop)
    except TakenOver:
        pass
    except Diverged:
        with suppress(TakenOver):
            store.end(trial, "COMPLETE", math.inf)
    except BaseException:
        with suppress(TakenOver, UserError):
            store.note(trial, "why", "interrupted")
            store.end(trial, "FAIL")
        raise


def run(task: Task, store: Store, trial: "FrozenTrial", stop: threading.Event) -> None:
    """Train with the trial's values; its loss is the one at the end of the run, on the whole validation split."""
    from trainer.runs import session
    from trainer.runs.metrics import read

    config = with_values(task.plan.config, trial.params)
    steps = config.train.steps
    known = known_to(store, trial) if task.pruning else []
    losses: dict[int, float] = {}
    pruned = False

    def on_eval(step: int, train_loss: float, val_loss: float) -> bool:
        """Tell the store; whether to go on."""
        nonlocal pruned
        store.report(trial, step, val_loss)
        losses[step] = val_loss
        pruned = step < steps and hopeless(losses, steps, known)
        return not pruned and not stop.is_set()

    folder = session.train(config, task.name, quiet=True, on_eval=on_eval)
    if stop.is_set() and not pruned and max(losses) < steps:
        raise KeyboardInterrupt
    store.note(trial, "run", str(folder))
    loss = losses[max(losses)] if pruned else read(folder).rows[-1]["val_loss"]
    store.end(trial, "PRUNED" if pruned else "COMPLETE", loss)


def known_to(store: Store, trial: "FrozenTrial") -> "Sequence[FrozenTrial]":
    """The trials that this one learns from: all have ended."""
    places: dict[int, Any] = store.places()
    return [places[place] for place in range(learns_from(trial.user_attrs["place"]))]
