"""Ctrl-C and its like: the first asks the run to save and stop, a later one stops it at once."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from trainer.errors import UserError

SAME = 0.5  # seconds within which further signals are the first one, delivered again by a wrapper that forwards it


@contextmanager
def interruptible(answer: Callable[[str], None]) -> Iterator[list[float]]:
    """Until the block ends SIGINT, SIGTERM and SIGHUP are answered, unless they are ignored, as nohup does.

    Gives the list of when they came, in seconds. Only the main thread may handle them.
    """
    came: list[float] = []

    def handle(number: int, frame: Any) -> None:
        """Called between any two instructions of the run, so it may not fail on a file that is being written."""
        came.append(time.monotonic())
        if len(came) == 1:
            with suppress(UserError, OSError, RuntimeError):
                answer("finishing what has begun; again to stop now")
        elif came[-1] - came[0] > SAME:
            raise KeyboardInterrupt("interrupted at once; --resume goes on from the last state that was saved")

    previous = {}
    for name in ("SIGINT", "SIGTERM", "SIGHUP") if threading.current_thread() is threading.main_thread() else ():
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number and signal.getsignal(number) != signal.SIG_IGN:
            previous[number] = signal.signal(number, handle)
    try:
        yield came
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
