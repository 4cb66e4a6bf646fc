"""metrics.jsonl, train.log and the progress bar of a run."""

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import yaml
from tqdm import tqdm

from trainer import config as configuration
from trainer.config import Config
from trainer.errors import UserError, printable
from trainer.files import naming, write_whole
from trainer.runs.checkpoint import Checkpoint


def as_yaml(config: Config) -> str:
    """What config.yaml holds."""
    return str(yaml.safe_dump(configuration.to_dict(config), sort_keys=False, allow_unicode=True))


class Journal:
    """The files and the bar that tell of a run, held by one process."""

    def __init__(self, folder: Path, checkpoint: Checkpoint, quiet: bool) -> None:
        self.folder, self.quiet = folder, quiet
        self.began = time.monotonic() - checkpoint.seconds
        with naming(folder):
            self.metrics = open(folder / "metrics.jsonl", "ab")  # noqa: SIM115
            # Rows after the checkpoint are written again.
            self.metrics.truncate(min(checkpoint.metrics_length, self.metrics.tell()))
            self.metrics.seek(0, os.SEEK_END)
            self.log = open(folder / "train.log", "a", buffering=1, encoding="utf-8")  # noqa: SIM115
        write_whole(folder / "config.yaml", as_yaml(checkpoint.config).encode())
        notebook = type(sys.stderr).__module__.startswith("ipykernel")  # which can draw a bar though it is no terminal
        hidden = quiet or not (sys.stderr.isatty() or notebook)
        self.bar = tqdm(
            total=checkpoint.config.train.steps, initial=checkpoint.step, unit="step", dynamic_ncols=True, leave=False,
            miniters=0, disable=hidden,
        )  # fmt: skip

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.bar.close()
        with suppress(UserError, OSError):  # a full disk is told by the error that is on its way
            if error is not None:
                self.quiet = True  # who catches the error shows it
                self.say(f"ended: {str(error) or type(error).__name__}")
        for file in (self.metrics, self.log):
            with suppress(OSError):
                file.close()

    def seconds(self) -> float:
        """Seconds of training so far, those before a resumption included."""
        return time.monotonic() - self.began

    def row(self, event: str, **values: Any) -> None:
        """One row, one write."""
        row = {"event": event, "time": self.seconds(), **values}
        row = json.loads(json.dumps(row), parse_constant=lambda _: None)  # JSON has no nan
        with naming(self.folder / "metrics.jsonl"):
            self.metrics.write(json.dumps(row).encode() + b"\n")
            self.metrics.flush()

    def sync(self) -> int:
        """The length of metrics.jsonl; its rows are on the disk before a checkpoint counts on them."""
        with naming(self.folder / "metrics.jsonl"):
            os.fsync(self.metrics.fileno())
            return self.metrics.tell()

    def say(self, line: str, file: TextIO | None = None) -> None:
        """A line of the story, for people, on standard error or on another file."""
        line = printable(line)
        with naming(self.folder / "train.log"):
            self.log.write(time.strftime("%Y-%m-%d %H:%M:%S ") + line + "\n")
        if not self.quiet:
            tqdm.write(line, file=file or sys.stderr)

    def progress(self, step: int, note: str) -> None:
        """Move the bar, if one is drawn."""
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(step - self.bar.n)
