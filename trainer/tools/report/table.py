"""The table of runs, in the terminal and on the page."""

import json
from collections.abc import Sequence
from html import escape
from math import log
from typing import Any

import numpy as np

from trainer.errors import printable
from trainer.tools.report.rows import numbers
from trainer.tools.report.run import Run, is_finite

HEADS = ("run", "steps", "train", "validation", "test", "test, bits", "steps/s", "checks", "failed", "gradient error")


def summary(run: Run) -> tuple[str, ...]:
    """A run in ten words, those of HEADS; a run without an end shows its best evaluation."""
    done, test = run.steps_done, run.best.get("test_loss")
    steps = str(done) if run.end or run.config is None else f"{done}/{run.config.train.steps}"
    speed = run.numbers("step", "steps_per_second")
    median = float(np.nanmedian(speed)) if np.isfinite(speed).any() else None
    judged, failed = tally(run)
    return (
        printable(str(run.folder)),
        steps if done else "-",
        *(number(run.best.get(name), ".4f") for name in ("train_loss", "val_loss", "test_loss")),
        number(test / log(2) if is_finite(test) else None, ".4f"),
        number(median, ".0f" if median and median >= 10 else ".1f"),
        str(judged) if judged else "-",
        str(failed) if judged else "-",
        worst_error(run),
    )


def written(value: Any) -> str:
    """A value as a configuration file has it: true, 0.1, [0.8, 0.1, 0.1]."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def number(value: float | None, form: str) -> str:
    return format(value, form) if is_finite(value) else "-"


def short(value: float) -> str:
    """6e-7"""
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def tally(run: Run) -> tuple[int, int]:
    """Checks made and failed."""
    counts = tallies(run)
    return sum(made for _, made, _ in counts), sum(failed for _, _, failed in counts)


def tallies(run: Run) -> list[tuple[str, int, int]]:
    """Of each kind of check how often it was made and failed: as the end row counts, else as far as written."""
    counted = (run.end or {}).get("checks")
    if counted:
        return [(name, count["run"], count["failed"]) for name, count in counted.items()]
    kinds = dict.fromkeys(row["name"] for row in run.rows("check"))
    written = {kind: [row["passed"] for row in run.checks(kind)] for kind in kinds}
    return [(kind, len(passed), passed.count(False)) for kind, passed in written.items()]


def worst_error(run: Run) -> str:
    """The largest relative error of a gradient."""
    rows = run.checks("gradient")
    if not rows:
        return "-"
    return f"{np.max(numbers(rows, 'max_rel_error')):.1e}"  # nan, if one is


def show(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be; the first is a name, the others are numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return "\n".join(lines)


def html(heads: Sequence[str], rows: Sequence[Sequence[object]], kind: str = "") -> str:
    """A table that scrolls where it is wider than the page; a narrow screen shows cards, each value beside its head."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = []
    for row in rows:
        cells = zip(heads, row, strict=True)
        body.append("".join(f'<td data-head="{escape(name)}">{escape(str(cell))}</td>' for name, cell in cells))
    lines = "".join(f"<tr>{row}</tr>\n" for row in body)
    inside = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
    return f'<div class="{f"scroll {kind}".strip()}">{inside}</div>'


def facts(pairs: Sequence[tuple[str, object]]) -> str:
    """Names and numbers, as many beside each other as the screen is wide."""
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(str(value))}</dd></div>" for name, value in pairs)
    return f"<dl>{items}</dl>"
