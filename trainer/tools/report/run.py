"""A run as the report sees it: its files read, whether it goes on, and how it ended."""

import math
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeGuard

from trainer import config, regular
from trainer.config import Config
from trainer.core.ops import Array
from trainer.errors import UserError
from trainer.runs.checkpoint import load
from trainer.runs.folder import find_checkpoint
from trainer.runs.metrics import Log, Row, read
from trainer.tools.report.rows import numbers

try:
    import fcntl
except ImportError:  # Windows: a run that goes on is told from one that was cut off by nobody
    fcntl = None  # type: ignore[assignment]


DATE = len("2026-01-01 12:00:00 ")  # at the beginning of a line of train.log
ENDED = ("stopped by an error", "stopped at once", "interrupted")  # so begins the last line of a run without an end
FAILED = "a check failed"  # said of a step, then a colon and the reason


class TextOf(NamedTuple):
    """The text of a run, so far as losses can be compared on it alone."""

    mode: str
    characters: int  # in the vocabulary
    fingerprint: str


@dataclass
class Run:
    """A run folder."""

    folder: Path
    config: Config | None  # None if its file cannot be read
    log: Log
    story: list[str]  # the lines of train.log, without their times
    running: bool
    problems: list[str] = field(default_factory=list)  # what could not be read or drawn, a sentence each

    @property
    def name(self) -> str:
        """The last two parts of its path, as in names/20260101-120000."""
        return "/".join(self.folder.absolute().parts[-2:])

    def rows(self, event: str) -> list[Row]:
        return [row for row in self.log.rows if row["event"] == event]

    def checks(self, name: str) -> list[Row]:
        return [row for row in self.rows("check") if row["name"] == name]

    def numbers(self, event: str, key: str) -> Array:
        """A column of an event (rows,), nan where there is no number."""
        return numbers(self.rows(event), key)

    @property
    def end(self) -> Row | None:
        """The row that a run writes when it has made its last step."""
        ends = self.rows("end")
        return ends[-1] if ends else None

    @property
    def diverged(self) -> str:
        """What was no longer finite, and where; empty if nothing."""
        last = self.story[-1] if self.story else ""
        return last if last.startswith("training diverged") else ""

    @property
    def ended_by(self) -> str:
        """What its log says last of a run that was stopped before its end; empty if nothing, as after a kill."""
        last = self.story[-1] if self.story else ""
        return last if last.startswith(ENDED) else ""

    @property
    def blame(self) -> str:
        """What the first check that failed said; empty if none did."""
        said = [line.partition(FAILED)[2] for line in self.story if FAILED in line]
        return said[0].partition(": ")[2] if said else ""

    @property
    def steps_done(self) -> int:
        """As far as the log tells."""
        seen = [row["step"] for row in self.rows("eval") + self.rows("end")]
        seen += [row["step"] + 1 for row in self.rows("step")]
        return int(max(seen, default=0))

    @cached_property
    def text(self) -> TextOf | None:
        """As the checkpoint has it, which knows its bytes; None if that cannot be read."""
        try:
            checkpoint = load(find_checkpoint(str(self.folder)))
        except UserError:
            return None
        return TextOf(checkpoint.config.data.mode, len(checkpoint.vocabulary), checkpoint.fingerprint)

    @property
    def best(self) -> Row:
        """The `end` row, or else the evaluation with the lowest validation loss; empty if there is none."""
        if self.end:
            return self.end
        known = [row for row in self.rows("eval") if is_finite(row.get("val_loss"))]
        return min(known, key=lambda row: row["val_loss"], default={})


def is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def open_run(folder: Path) -> Run:
    """Read a run. Raises UserError if it has no log; what else is missing is a problem that the page states."""
    log = read(folder)
    run = Run(folder, None, log, story(folder), is_running(folder))
    try:
        run.config = config.read(folder / "config.yaml")
    except UserError as error:
        run.problems.append(str(error))
    if log.left_out:
        count = len(log.left_out)
        lines = "1 line" if count == 1 else f"{count} lines"
        run.problems.append(f"{lines} of metrics.jsonl left out, no rows of this program: {log.left_out[0]}")
    return run


def story(folder: Path) -> list[str]:
    """The lines of train.log without their dates and times."""
    return [line[DATE:] for line in regular.text(folder / "train.log").splitlines()]


def is_running(folder: Path) -> bool:
    """Whether another process holds the run: `runs.files.held` locks its folder."""
    if fcntl is None:
        return False
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(number)
    return False
