"""Advice under a figure, given only where a run needs it.

Its bounds are measured: the shipped configurations, and learning rates of 0.01 to 1 for configs/names.yaml, stay
within them; 0.001 and 3 are outside, and their losses are poor.
"""

import numpy as np

from trainer.core.ops import Array
from trainer.tools.report.run import Run
from trainer.tools.report.table import short

FAST = 0.1  # of its size, and a tensor is another one after ten steps
SLOW = 1e-5  # of its size, and a tensor moves by a tenth of it in ten thousand steps at best
SETTLED = 1000  # steps, after which the output weights, which begin small, have found their size
SATURATED = 0.5  # more units that pass no gradient than units that learn
LAST = 10  # rows


def on_updates(run: Run) -> str:
    """What to change where steps are far too long or too short. Biases begin at zero, and are left out."""
    rates = run.numbers("step", "learning_rate")
    settled = run.numbers("step", "step") >= SETTLED
    if not np.isfinite(rates[settled]).any():
        return ""
    chosen = settled & (rates >= np.nanmax(rates[settled]) / 2)  # a schedule may end with a rate near zero
    moves = {name: median(run.numbers("step", f"update_ratio.{name}")[chosen]) for name in ("C", "W1", "W2")}
    fast = {name: move for name, move in moves.items() if move > FAST}
    if fast:
        return f" Here a step moves {listed(fast)}, relative to its size; try a smaller train.learning_rate."
    slow = {name: move for name, move in moves.items() if move < SLOW}
    if slow and not on_saturated(run):
        return f" Here a step moves {listed(slow)}, relative to its size; try a larger train.learning_rate."
    return ""


def on_saturated(run: Run) -> str:
    """What to change where most hidden units are saturated."""
    share = median(run.numbers("step", "saturated")[-LAST:])
    if not share > SATURATED:
        return ""
    return f" Here it is {share:.0%}: most units hardly learn; try a smaller train.learning_rate."


def median(values: Array) -> float:
    """Of the numbers that are finite; nan, which is neither more nor less than anything, if there is none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else np.nan


def listed(moves: dict[str, float]) -> str:
    return ", ".join(f"{name} by {short(move)}" for name, move in moves.items())
