"""The strip of errors: a row for each check, a column for each checked step, the error over its tolerance as colour."""

from collections.abc import Sequence
from math import inf, isnan, log10, nan
from typing import NamedTuple

import numpy as np

from trainer.core.numerical import ORDER
from trainer.core.ops import Array
from trainer.runs.metrics import PLACES, Row
from trainer.tools.report import heat
from trainer.tools.report.run import is_finite

COLUMNS = 60  # more checked steps than that share columns
WITHIN = 0.05  # of a descent's ratio from 1, the tolerance of that check


class Strip(NamedTuple):
    """What the rows of checks say, gathered for a picture: arrays are (names, columns)."""

    names: list[str]
    firsts: list[int]  # the first step of each column
    last: int  # the last checked step
    made: Array  # whether the check was made
    failed: Array  # whether it failed
    worst: Array  # the largest error over its tolerance, nan if none is known


def errors(rows: Sequence[Row]) -> str:
    """The picture, nothing without rows."""
    if not rows:
        return ""
    strip = gather(rows)

    def tip(i: int, j: int) -> str:
        if not strip.made[i, j]:
            return f"{strip.names[i]}: not checked here"
        verdict = "WRONG" if strip.failed[i, j] else "right"
        return f"{strip.names[i]}, step {strip.firsts[j]}: {verdict}, error / tolerance = {strip.worst[i, j]:.2g}"

    kinds = np.where(strip.failed, "bad", "good")
    strength = np.vectorize(strength_of)(strip.worst)
    strength = np.where(strip.failed, 1.0, np.where(strip.made, strength, 0.0))
    marks = [mark(*row) for row in zip(strip.worst, strip.failed, strict=True)]
    return heat.grid(heat.Look(kinds, strength), tip, strip.names, step_names(strip), marks=marks)


def gather(rows: Sequence[Row]) -> Strip:
    """Gradients first, in the order of the backward pass; of steps that share a column the worst."""
    steps = sorted({row["step"] for row in rows})
    found = {row_name(row) for row in rows}
    gradients = [name for name in (f"d{tensor}" for tensor in ORDER) if name in found]
    names = gradients + sorted(found - set(gradients))
    columns = min(COLUMNS, len(steps))
    column_of = {step: k * columns // len(steps) for k, step in enumerate(steps)}
    firsts = [next(step for step in steps if column_of[step] == j) for j in range(columns)]
    shape = len(names), columns
    made, failed, worst = np.zeros(shape, bool), np.zeros(shape, bool), np.full(shape, nan)
    for row in rows:
        place = names.index(row_name(row)), column_of[row["step"]]
        made[place] = True
        failed[place] |= not row["passed"]
        worst[place] = np.fmax(worst[place], excess(row))
    return Strip(names, firsts, steps[-1], made, failed, worst)


def strength_of(ratio: float) -> float:
    """How strong a green is: from 0.25 at a ten-thousandth of the tolerance, or less, to 0.85 at all of it."""
    if isnan(ratio) or ratio <= 1e-4:
        return 0.25
    return 0.85 + 0.15 * min(0.0, log10(ratio))


def step_names(strip: Strip) -> list[str]:
    """The first and the last step, beneath their columns."""
    if len(strip.firsts) == 1:
        return [f"step {strip.firsts[0]:,}"]
    return [f"{strip.firsts[0]:,}", *[""] * (len(strip.firsts) - 2), f"{strip.last:,}"]


def mark(worst: Array, failed: Array) -> str:
    """The worst of a row, beside it."""
    known = worst[~np.isnan(worst)]
    size = "no number" if not len(known) else f"{known.max():.1g}" if is_finite(known.max()) else "far"
    return f"✗ {size}" if failed.any() else f"✓ {size}"


def row_name(row: Row) -> str:
    """'dz', 'forward h', 'sum to zero'."""
    name = row["name"]
    if name == "gradient":
        return f"d{row['tensor']}"
    return f"{name} {row[PLACES[name]]}" if name in PLACES else str(name).replace("_", " ")


def excess(row: Row) -> float:
    """The error over its tolerance, nan if the row does not tell; a failed check counts as more than 1."""
    ratio = measured(row)
    if row["passed"]:
        return min(ratio, 1.0)
    return ratio if ratio > 1 else inf


def measured(row: Row) -> float:
    """The same, as the numbers of the row say."""

    def get(key: str) -> float:
        value = row.get(key)
        return nan if value is None else float(value)

    def between(one: str, other: str) -> float:
        return abs(get(one) - get(other))

    match row["name"]:
        case "gradient":
            size = get("max_abs_error") / (get("max_rel_error") or inf)  # of the largest numerical value
            return divide(get("max_abs_error"), get("atol") + get("rtol") * size)
        case "direction":
            size = max(abs(get("by_hand")), abs(get("numerical")))
            return divide(between("by_hand", "numerical"), get("atol") + get("rtol") * size)
        case "forward" | "update":
            return divide(get("max_abs_error"), get("atol"))
        case "sum_to_zero":
            return divide(get("value"), get("atol"))
        case "initial_loss":
            return divide(between("value", "expected"), get("atol"))
        case "evaluation":
            return divide(between("shown", "expected"), get("atol"))
        case "dropout":
            return divide(between("kept", "expected"), get("bound"))
        case "descent":
            return divide(abs(get("ratio") - 1), WITHIN)
        case "batch":
            return divide(get("wrong"), 0.0)
    return nan


def divide(error: float, tolerance: float) -> float:
    """0 / 0 is 0: nothing was allowed, and nothing was wrong."""
    if tolerance > 0:
        return error / tolerance
    return 0.0 if error == 0 else nan
