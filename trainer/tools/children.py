"""What every process that a command starts has to do: to end when the command has gone, however that ended."""

import os
import signal
import threading
import time

PAUSE = 0.5  # seconds between two looks


def end_with_parent() -> None:
    """End this process soon after its parent has ended, even by a kill that lets nobody say so."""
    parent = os.getppid()

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(PAUSE)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def serve_parent() -> None:
    """The same, for a process that leaves Ctrl-C, which a terminal sends to all, to its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
