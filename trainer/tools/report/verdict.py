"""The verdict: one sentence on the run, the nine links as a strip, and every check as a strip over the steps."""

from html import escape

import numpy as np

from trainer.links import LINKS
from trainer.numerical import ORDER
from trainer.tools.report import heat
from trainer.tools.report.rows import Row
from trainer.tools.report.run import Run, is_finite
from trainer.tools.report.table import short

COLUMNS = 60  # of the strip of errors
WITHIN = 0.05  # of a descent's ratio from 1, the tolerance of that check


def first_failure(run: Run) -> list[Row]:
    """The rows of the first step at which a check failed that can fail a run."""
    failed = [row for row in run.rows("check") if not row["passed"] and row["name"] != "initial_loss"]
    if not failed:
        return []
    step = min(row["step"] for row in failed)
    return [row for row in run.rows("check") if row["step"] == step and row["name"] != "initial_loss"]


def sentence(run: Run) -> tuple[str, str]:
    """good, bad or unknown, and what can be said of the run in one sentence."""
    failure = first_failure(run)
    if failure:
        words = blame(run, failure)
        return "bad", f"A check failed at step {failure[0]['step']:,}: {words}"
    if run.diverged:
        return "bad", run.diverged[0].upper() + run.diverged[1:]
    gradients = run.checks("gradient")
    if not gradients:
        return (
            "unknown",
            "The gradients of this run were not checked; with --check each is held against a numerical one.",
        )
    steps = checked_steps(run)
    of = f"{len({row['tensor'] for row in gradients})}"
    count = "All nine gradients" if of == "9" else f"The {of} gradients in the log"
    worst = max(row.get("max_rel_error") or 0 for row in gradients)
    return "good", f"{count} agree with numerical ones, worst {short(worst)}, at {steps} of {steps} checked steps."


def broken(run: Run) -> set[str]:
    """The tensors whose gradient was wrong at some step."""
    return {row["tensor"] for row in run.checks("gradient") if not row["passed"] and row.get("tensor")}


def checked_steps(run: Run) -> int:
    """Steps whose gradients were checked; the end row counts all of them, the rows may be fewer."""
    written = len({row["step"] for row in run.checks("gradient")})
    counted = (run.end or {}).get("checks") or {}
    made: int = counted.get("gradient", {}).get("run", 0)
    return max(written, made // len(ORDER))


def blame(run: Run, rows: list[Row]) -> str:
    """What was said of it when it failed, or where no log tells, which rows failed."""
    if run.blame:
        return run.blame
    names = dict.fromkeys(row_name(row) for row in rows if not row["passed"])
    return ", ".join(names) + " out of tolerance"


def training(run: Run) -> str:
    """How far the run is, and what the validation loss says about it."""
    steps = f" of {run.config.train.steps:,}" if run.config else ""
    if run.running:
        where = f"The run goes on, at step {run.steps_done:,}{steps}."
    elif run.end:
        where = f"The run made all its {run.steps_done:,} steps."
    else:
        where = f"The run has no end: it stopped after {run.steps_done:,}{steps} steps."
    losses = run.numbers("eval", "val_loss")
    known = losses[np.isfinite(losses)]
    if len(known) < 2:
        return where
    lowest, last = known.min(), known[-1]
    steps_of = run.numbers("eval", "step")[np.isfinite(losses)]
    best = f"validation is lowest at step {int(steps_of[known.argmin()]):,}, {lowest:.4f} nats"
    rises = f", and has risen to {last:.4f} since: it learns its text by heart" if last > lowest + 0.01 else ""
    return f"{where} From {known[0]:.4f} at the first evaluation, {best}{rises}."


def links(run: Run) -> str:
    """The nine links in the order of the backward pass, each right, wrong or not checked."""
    rows = run.checks("gradient")
    parts = []
    for name in ORDER:
        own = [row for row in rows if row.get("tensor") == name]
        wrong = [row for row in own if not row["passed"]]
        kind = "bad" if wrong else "good" if own else "unknown"
        mark = {"bad": "✗ wrong", "good": "✓ right", "unknown": "not checked"}[kind]
        at = f" at step {wrong[0]['step']:,}" if wrong else ""
        formula = LINKS[name].formula.partition(" = ")[2]
        parts.append(f'<li class="{kind}"><b>d{name}</b> <span>{mark}{at}</span><small>{escape(formula)}</small></li>')
    return f'<ol class="links">{"".join(parts)}</ol>'


# The strip of errors: what each check found over what it may find.


def row_name(row: Row) -> str:
    """dz, 'forward h', 'sum_to_zero'."""
    name = row["name"]
    if name == "gradient":
        return f"d{row.get('tensor')}"
    key = {"forward": "tensor", "dropout": "place", "evaluation": "split"}.get(name)
    return f"{name} {row.get(key)}" if key else name.replace("_", " ")


def excess(row: Row) -> float:
    """The error over its tolerance, nan if the row does not tell; a failed check counts as more than 1."""
    ratio = measured(row)
    if row["passed"]:
        return min(ratio, 1.0)
    return ratio if ratio > 1 else np.inf


def measured(row: Row) -> float:
    """The same, as the numbers of the row say."""
    get = {key: np.nan if value is None else value for key, value in row.items()}.get
    atol, rtol = get("atol", np.nan), get("rtol", 0.0)
    if row["name"] == "gradient":
        error, relative = get("max_abs_error", np.nan), get("max_rel_error", np.nan)
        size = error / relative if relative else 0.0  # of the largest numerical value
        return divide(error, atol + rtol * size)
    pairs = {
        "forward": (get("max_abs_error", np.nan), atol),
        "update": (get("max_abs_error", np.nan), atol),
        "sum_to_zero": (get("value", np.nan), atol),
        "initial_loss": (abs(get("value", np.nan) - get("expected", np.nan)), atol),
        "evaluation": (abs(get("shown", np.nan) - get("expected", np.nan)), atol),
        "dropout": (abs(get("kept", np.nan) - get("expected", np.nan)), get("bound", np.nan)),
        "batch": (get("wrong", np.nan), 0.0),
        "descent": (abs(get("ratio", np.nan) - 1), WITHIN),
    }
    if row["name"] == "direction":
        hand, slope = get("by_hand", np.nan), get("numerical", np.nan)
        return divide(abs(hand - slope), atol + rtol * max(abs(hand), abs(slope)))
    return divide(*pairs[row["name"]]) if row["name"] in pairs else np.nan


def divide(error: float, tolerance: float) -> float:
    if tolerance > 0:
        return float(error / tolerance)
    return 0.0 if error == 0 else np.nan


def errors(run: Run) -> str:
    """A row for each check, a column for each checked step or, of many, the worst of some neighbours."""
    rows = run.rows("check")
    steps = sorted({row["step"] for row in rows})
    if not steps:
        return ""
    order = [f"d{name}" for name in ORDER]
    names = [name for name in order if any(row_name(row) == name for row in rows)]
    names += sorted({row_name(row) for row in rows} - set(names))
    column_of = {step: k * min(COLUMNS, len(steps)) // len(steps) for k, step in enumerate(steps)}
    shape = len(names), max(column_of.values()) + 1
    worst, failed = np.full(shape, np.nan), np.zeros(shape, bool)
    made, first = np.zeros(shape, bool), np.full(shape[1], -1)
    for row in rows:
        i, j = names.index(row_name(row)), column_of[row["step"]]
        worst[i, j] = np.fmax(worst[i, j], excess(row))
        failed[i, j] |= not row["passed"]
        made[i, j] = True
    for step, j in reversed(column_of.items()):
        first[j] = step

    def tip(i: int, j: int) -> str:
        if not made[i, j]:
            return f"{names[i]}: not checked here"
        verdict = "WRONG" if failed[i, j] else "right"
        return f"{names[i]}, step {first[j]}: {verdict}, error / tolerance = {worst[i, j]:.2g}"

    with np.errstate(divide="ignore", invalid="ignore"):
        nearness = 0.25 + 0.15 * np.clip(np.nan_to_num(np.log10(worst), nan=-4, neginf=-4, posinf=1) + 4, 0, 5)
    strength = np.where(made, np.where(failed, 1.0, nearness), 0.0)
    kinds = np.where(failed, "bad", "good")
    largest = [np.nanmax(line) if np.isfinite(line).any() or np.isinf(line).any() else np.nan for line in worst]
    marks = [mark(value, wrong) for value, wrong in zip(largest, map(any, failed), strict=True)]
    look = heat.Look(kinds, strength)
    ends = [f"{first[0]:,}", *[""] * (shape[1] - 2), f"{steps[-1]:,}"] if shape[1] > 1 else [f"step {first[0]:,}"]
    return heat.grid(look, tip, names, ends, marks=marks)


def mark(value: float, wrong: bool) -> str:
    """The worst of a row, beside it."""
    size = f"{value:.1g}" if is_finite(value) else "no number" if np.isnan(value) else "far"
    return f"✗ {size}" if wrong else f"✓ {size}"


def checks_table(run: Run) -> list[tuple[str, str, str]]:
    """Each kind of check with how often it was made and failed."""
    counted = (run.end or {}).get("checks")
    if counted:
        return [(name, str(count["run"]), str(count["failed"])) for name, count in counted.items()]
    kinds = dict.fromkeys(row["name"] for row in run.rows("check"))
    return [(k, str(len(run.checks(k))), str(sum(not r["passed"] for r in run.checks(k)))) for k in kinds]
