"""Draw a page again and again while its run goes on."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from trainer.errors import printable
from trainer.tools.report import draw, shown
from trainer.tools.report.run import open_run

PAUSE = 3.0  # seconds between two pages, at least


def watch_runs(folders: Sequence[Path]) -> Path | None:
    """Draw the table and the page until no run goes on any more; return the page's path. Ctrl-C ends it."""
    last: list[int] = []
    height, path = 0, None
    while True:
        opened = [open_run(folder) for folder in folders]
        lengths = [len(run.log.rows) for run in opened]
        going_on = any(run.running for run in opened)
        began = time.monotonic()
        if lengths != last or not going_on:
            height = print_over(shown(opened), height)
            path = draw(opened, reload=going_on)
            if path and not last and going_on:
                shown_at = printable(str(path))
                print(f"open {shown_at}, which shows the run as it goes on; Ctrl-C ends this", file=sys.stderr)
                height = 0  # nothing is written over that line
            last = lengths
        if not going_on:
            return path
        time.sleep(max(PAUSE, time.monotonic() - began))  # drawing takes half of the time at most


def print_over(text: str, height: int) -> int:
    """Print in the place of what stood there, on a terminal; return the number of lines."""
    if height and sys.stdout.isatty():
        print(f"\033[{height}A\033[J", end="")
    print(text, flush=True)
    return text.count("\n") + 1
