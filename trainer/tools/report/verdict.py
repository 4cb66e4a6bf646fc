"""The verdict: what can be said of a run in two sentences, and the nine links of its chain."""

from html import escape

import numpy as np

from trainer.core.links import LINKS
from trainer.core.numerical import ORDER
from trainer.runs.metrics import Row
from trainer.tools.report.run import Run
from trainer.tools.report.strip import row_name
from trainer.tools.report.table import short


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
    tensors = {row["tensor"] for row in gradients}
    count = "All nine gradients" if tensors >= set(ORDER) else f"The gradients of {', '.join(sorted(tensors))}"
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
        if run.ended_by:
            where = f"{where[:-1]}; its log ends with: {run.ended_by.rstrip('.')}."
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
