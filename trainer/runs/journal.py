"""metrics.jsonl, train.log and the progress bar of a run."""

import errno
import json
import os
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from trainer import config as configuration
from trainer.errors import RunFailed, UserError, printable
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.files import naming, refuse_what_is_in_the_way, write_whole

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # in a notebook without ipywidgets: a bar of characters will do
    from tqdm.auto import tqdm

ENDED_BY = {MemoryError: "not enough memory", KeyboardInterrupt: "interrupted"}  # where the exception has no words
SILENCE = 10  # seconds between two lines of progress where no bar can be drawn


def in_notebook() -> bool:
    """Whether what is printed goes to a notebook, which can draw a bar though it is no terminal."""
    return type(sys.stderr).__module__.startswith("ipykernel")


class Journal:
    """The files and the bar that tell of a run, held by one process."""

    def __init__(self, folder: Path, checkpoint: Checkpoint, quiet: bool) -> None:
        self.folder, self.checkpoint, self.quiet = folder, checkpoint, quiet
        self.began = time.monotonic() - checkpoint.seconds
        for file in ("metrics.jsonl", "train.log"):
            refuse_what_is_in_the_way(folder / file)
        with naming(folder):
            self.metrics = open(folder / "metrics.jsonl", "a+b", buffering=0)  # noqa: SIM115
            self.metrics.seek(0)
            # Rows after the checkpoint are written again, and so is a row that a crash cut short.
            size = os.fstat(self.metrics.fileno()).st_size
            kept = self.metrics.read(min(checkpoint.metrics_length, size))
            self.length = kept.rfind(b"\n") + 1
            self.metrics.truncate(self.length)
            self.log = open(folder / "train.log", "a", buffering=1, encoding="utf-8")  # noqa: SIM115
        text = yaml.safe_dump(configuration.to_dict(checkpoint.config), sort_keys=False, allow_unicode=True)
        write_whole(folder / "config.yaml", text.encode())
        steps = checkpoint.config.train.steps
        hidden = quiet or not (sys.stderr.isatty() or in_notebook())
        self.bar = tqdm(
            total=steps, initial=checkpoint.step, unit="step", disable=hidden, dynamic_ncols=True, leave=False
        )
        self.told = time.monotonic()  # when a line was last written where there is no bar

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.bar.close()
        with suppress(UserError, OSError):  # a full disk is told by the error that is on its way
            if error is not None:
                words = str(error) or ENDED_BY.get(type(error), type(error).__name__)
                known = isinstance(error, (RunFailed, KeyboardInterrupt))  # these say themselves what ended
                self.write_log(words if known else f"stopped by an error at step {self.checkpoint.step}: {words}")
        for file in (self.metrics, self.log):
            with suppress(OSError):
                file.close()

    def seconds(self) -> float:
        """Seconds of training so far, those before a resumption included."""
        return time.monotonic() - self.began

    def sync(self) -> None:
        """The rows so far are on the disk, before a checkpoint counts on them."""
        with naming(self.folder / "metrics.jsonl"):
            os.fsync(self.metrics.fileno())

    def row(self, event: str, **values: Any) -> None:
        """One row, one write."""
        everything = {"event": event, "time": self.seconds(), **values}
        row = json.loads(json.dumps(everything), parse_constant=lambda _: None)  # JSON has no nan
        line = json.dumps(row).encode() + b"\n"
        with naming(self.folder / "metrics.jsonl"):
            if self.metrics.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.length += len(line)

    def write_log(self, line: str) -> None:
        with naming(self.folder / "train.log"):
            self.log.write(time.strftime("%Y-%m-%d %H:%M:%S ") + printable(line) + "\n")

    def say(self, line: str) -> None:
        """A line of the story, for people."""
        self.write_log(line)
        if not self.quiet:
            tqdm.write(printable(line), file=sys.stderr)

    def progress(self, step: int, note: str) -> None:
        """Move the bar; where there is none, write a line now and then."""
        if not self.bar.disable:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(step - self.bar.n)
        elif not self.quiet and time.monotonic() - self.told > SILENCE:
            self.told = time.monotonic()
            tqdm.write(f"step {step} of {self.bar.total}: {note}", file=sys.stderr)

    def conclude(self, lines: list[str]) -> None:
        """The results, on standard output."""
        self.bar.close()
        for line in lines:
            self.write_log(line)
            if not self.quiet:
                print(printable(line))
