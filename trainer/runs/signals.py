"""Ctrl-C and its like: the first asks the run to save and stop, a later one stops it at once."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from trainer.errors import UserError

SAME = 0.5  # seconds within which further signals are the first one, delivered again by a wrapper that forwards it


class Signals:
    """Whether the run has been asked to stop."""

    def __init__(self, answer: Callable[[str], None]) -> None:
        self.answer = answer
        self.first: float | None = None  # when the first came

    def __bool__(self) -> bool:
        return self.first is not None

    def handle(self, number: int, frame: Any) -> None:
        """Called between any two instructions of the run, so it may not fail on a file that is being written."""
        now = time.monotonic()
        if self.first is None:
            self.first = now
            with suppress(UserError, OSError, RuntimeError):
                self.answer("finishing the step; again to stop now")
        elif now - self.first > SAME:
            raise KeyboardInterrupt


@contextmanager
def interruptible(answer: Callable[[str], None]) -> Iterator[Signals]:
    """SIGINT, SIGTERM and SIGHUP are answered and noted; the handlers that were there come back afterwards."""
    signals = Signals(answer)
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
        numbers.append(signal.SIGHUP)
    with handled(numbers, signals.handle):
        yield signals


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end a command as Ctrl-C does, with what it has begun put in order, unless they are ignored."""
    came = False

    def end(number: int, frame: Any) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    default = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if hasattr(signal, "SIGHUP"):
        default[signal.SIGHUP] = signal.SIG_DFL
    with handled([number for number, handler in default.items() if signal.getsignal(number) == handler], end):
        try:
            yield
        except (ImportError, SystemError):
            if came:  # while a library in C was imported, which makes this of it
                raise KeyboardInterrupt from None
            raise


@contextmanager
def handled(numbers: list[signal.Signals], handle: Callable[[int, Any], None]) -> Iterator[None]:
    """Signals have a handler, where there may be one; those that were there come back afterwards."""
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # only the main thread may have handlers
    previous = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def lost(done: int, saved: int, folder: Path) -> str:
    """What ending at once costs a run that has done so many steps and saved so many."""
    what = "the steps after it are lost" if done > saved else "nothing is lost"
    return f"stopped at once; {folder / 'checkpoint.npz'} is of step {saved}, {what}"
