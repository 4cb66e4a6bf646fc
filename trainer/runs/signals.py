"""Ctrl-C and its like: the first asks the run to save and stop, a later one stops it at once."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 0.5  # seconds within which a second signal is taken for the same one, sent on by a wrapper


class Signals:
    """Whether the run has been asked to stop."""

    def __init__(self, answer: Callable[[str], None]) -> None:
        self.answer, self.first = answer, 0.0

    def __bool__(self) -> bool:
        return self.first > 0

    def handle(self, number: int, frame: Any) -> None:
        if not self.first:
            self.first = time.monotonic()
            self.answer("finishing the step; again to stop now")
        elif time.monotonic() - self.first > PATIENCE:
            raise KeyboardInterrupt("stopped at once: what was learned since the last checkpoint is lost")


@contextmanager
def interruptible(answer: Callable[[str], None]) -> Iterator[Signals]:
    """SIGINT, SIGTERM and SIGHUP are answered and noted; the handlers that were there come back afterwards."""
    signals = Signals(answer)
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it
        numbers.append(signal.SIGHUP)
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # only the main thread may have handlers
    previous = {number: signal.signal(number, signals.handle) for number in numbers}
    try:
        yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
