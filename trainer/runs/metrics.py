"""The log of a run: metrics.jsonl, train.log and the progress bar are written; the rows are read again, as columns."""

import json
import math
import os
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import yaml
from tqdm import tqdm

from trainer import files
from trainer.config import Config, flatten
from trainer.core.model import NAMES
from trainer.core.step import Step
from trainer.errors import Interrupted, RunFailed, UserError, printable
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.folder import find
from trainer.text.corpus import Corpus

Row = dict[str, Any]


class Journal:
    """A run as it goes on: its state, its text, and the files and the bar that tell of it."""

    def __init__(self, folder: Path, checkpoint: Checkpoint, corpus: Corpus, quiet: bool) -> None:
        self.folder, self.checkpoint, self.corpus, self.quiet = folder, checkpoint, corpus, quiet
        self.config, self.metrics = checkpoint.config, folder / "metrics.jsonl"
        self.began = time.monotonic() - checkpoint.seconds
        self.told = set[str]()  # the checks of which a warning was said
        with files.naming(self.metrics), open(self.metrics, "ab") as file:
            file.truncate(min(checkpoint.metrics_length, file.tell()))  # rows after the checkpoint are written again
        files.write_whole(folder / "config.yaml", to_yaml(self.config).encode())
        self.bar = tqdm(
            total=self.config.train.steps, initial=checkpoint.step, unit="step", leave=False,
            miniters=0, disable=quiet or not (sys.stderr.isatty() or "ipykernel" in sys.modules),  # or in a notebook
        )  # fmt: skip

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.bar.close()
        if isinstance(error, RunFailed | Interrupted):
            error.run = self.folder
        if error is not None:
            self.quiet = True  # who catches the error shows it
            with suppress(UserError):  # a full disk is told by the error that is on its way
                self.say(f"ended: {str(error) or type(error).__name__}")

    def seconds(self) -> float:
        """Seconds of training so far, those before a resumption included."""
        return time.monotonic() - self.began

    def row(self, event: str, **values: Any) -> None:
        """One row, one write."""
        row = {"event": event, "time": self.seconds(), **values}
        row = json.loads(json.dumps(row, default=float), parse_constant=lambda _: None)  # JSON has no nan
        append(self.metrics, json.dumps(row))

    def sync(self) -> int:
        """The length of metrics.jsonl; its rows are on the disk before a checkpoint counts on them."""
        with files.naming(self.metrics), open(self.metrics, "ab") as file:
            os.fsync(file.fileno())
            return file.tell()

    def say(self, line: str, file: TextIO | None = None) -> None:
        """A line of the story, for people, on standard error or on another file."""
        line = printable(line)
        append(self.folder / "train.log", time.strftime("%Y-%m-%d %H:%M:%S ") + line)
        if not self.quiet:
            tqdm.write(line, file=file or sys.stderr)

    def progress(self, note: str) -> None:
        """Move the bar, if one is drawn."""
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(self.checkpoint.step - self.bar.n)


def to_yaml(config: Config) -> str:
    """What config.yaml holds; `trainer.read_config` makes the same Config of it."""
    return str(yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True))


def append(path: Path, line: str) -> None:
    """Write a line at the end of a file, at once. Raises UserError."""
    with files.naming(path), open(path, "ab") as file:
        file.write(line.encode() + b"\n")


def step_row(step: Step, corpus: Corpus) -> Row:
    """The numbers of a `step` row. Losses are in nats; ratios are those of norms."""
    norm, update_ratio, grad_ratio = np.linalg.norm, {}, {}
    for name in NAMES:
        before, after, g = (getattr(each, name) for each in (step.before, step.after, step.g))
        size = norm(before) or math.nan  # a bias is zero at first
        update_ratio[name], grad_ratio[name] = norm(after - before) / size, norm(g) / size
    start, end = corpus.splits["train"]
    return {
        "step": step.number,
        "loss": step.loss,
        "epoch": step.number * len(step.batch.targets) / (end - start),
        "learning_rate": step.rate,
        "grad_norm": norm(step.g.flat),
        "update_ratio": update_ratio,
        "grad_ratio": grad_ratio,
        "saturated": np.mean(abs(step.forward["tanh"]) > 0.99),
    }


def histograms(step: Step) -> dict[str, Row]:
    """Of h, dh and dz, for an `eval` row: 32 counts and their range, which holds zero and is never empty."""
    arrays, found = {"h": step.forward["h"], "dh": step.gradients["h"], "dz": step.gradients["z"]}, {}
    for name, array in arrays.items():
        values = array.astype(np.float64)  # (B, H)
        counts, edges = np.histogram(values, 32, (values.min(initial=0), values.max(initial=1e-300)))
        found[name] = {"counts": counts.tolist(), "range": [edges[0], edges[-1]]}
    return found


def read(folder: Path) -> list[Row]:
    """The rows of a run. What is no object with an event is left out, and a last line without its end.

    Raises UserError if the file cannot be read.
    """
    data = files.read(folder / "metrics.jsonl", "the metrics", "give a run folder")
    rows = []
    for line in data.split(b"\n")[:-1]:
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("event"), str):
                rows.append(row)
    return rows


def metrics(run: str | Path) -> dict[str, dict[str, list[Any]]]:
    """The log of a run, or of the newest in a folder of runs, as columns of one length, ready for pandas.

    They stand by event, `start`, `step`, `eval`, `end`, and for the checks by name, `gradient` and so on. Nested keys
    are joined by dots. Times are in seconds of training, losses in nats per character. Raises UserError without a log.

    >>> trainer.metrics(run)["eval"]["step"][-1]
    20
    >>> [key for key in trainer.metrics(run)["step"] if key.startswith("update_ratio")][:2]
    ['update_ratio.C', 'update_ratio.W1']
    """
    by_event: dict[str, list[Row]] = {}
    for row in read(find(run).parent):
        event = row.pop("event")
        by_event.setdefault(str(row.get("name")) if event == "check" else event, []).append(flatten(row))
    tables = {}
    for event, rows in by_event.items():
        keys = dict.fromkeys(key for row in rows for key in row)
        tables[event] = {key: [row.get(key) for row in rows] for key in keys}
    return tables
