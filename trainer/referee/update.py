"""The update: the real move of the parameters, held against the rule's own formula in float64, entry by entry.

What the rule remembers is judged first; then the move is computed from that memory as training stored it, so that a
slip is found where it was made and what underflows in storage (AdamW's v, where |g| is below 1e-22) is no slip.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trainer.config import Train
from trainer.core.model import Sizes
from trainer.core.numerical import Point
from trainer.core.ops import Array
from trainer.core.verdicts import Verdict
from trainer.core.witness import Witness
from trainer.referee import update_mistakes
from trainer.referee.instead import Worst, loosened, unit, worst
from trainer.referee.plain import all_losses, losses
from trainer.referee.rule import BETA1, BETA2, Move, direction, learning_rate, memory, move_of, moved


@dataclass(frozen=True, kw_only=True, repr=False)
class Update(Verdict):
    """The move of a step. `found` says what is wrong and where to look; empty if it passed."""

    name: str = "update"
    predicted: float  # the change of the loss to first order
    loss_before: float  # of the batch, in float64, nats
    loss_after: float
    tensor: str  # of the worst entry: a parameter, or what the rule remembers (velocity, m, v)
    max_abs_error: float  # of that tensor
    atol: float  # the bound of the worst entry
    found: str

    @property
    def severity(self) -> float:
        return self.max_abs_error


# How far rounding may take training from it. u is the distance from 1 to the next number of the training type.


def memory_bound(move: Move, name: str, u: float) -> Array:
    """Two products and a sum, and a constant that is rounded: half a unit each."""
    if name == "v":
        size = BETA2 * move.before["v"] + move.g**2
    else:
        factor = BETA1 if name == "m" else move.train.momentum
        size = np.abs(factor * move.before[name]) + np.abs(move.g)
    return np.asarray(4 * u * size)


def parameter_bound(move: Move, along: Array, rate: float, u: float) -> Array:
    """The decay's factor, its product and the last difference round by the size of p; the rest by that of the move.

    AdamW rounds its move at most eight times. The rate itself is off by what cos loses near the end of its half wave.
    """
    lost = 8 * unit(np.float64) * move.train.learning_rate
    decay = 1 + rate * move.train.weight_decay  # a decay above 1 turns p round and may lengthen it
    return 2 * u * decay * np.abs(move.p) + (8 * u * rate + lost) * np.abs(along)


# The verdict.


def examine(witness: Witness, at: Point, train: Train) -> Update:
    """The row `update` of a checked step."""
    move = move_of(witness, train)
    after = witness.after.flat.astype(np.float64)
    of_memory = [judge_memory(move, tensor, right, witness) for tensor, right in memory(move).items()]
    wrong = [judged for judged in of_memory if not judged.off.passed]
    judged = wrong[0] if wrong else judge_parameters(move, after, witness)
    off, found = judged.off, ""
    if judged.words:
        found = f"the update is not what {move.rule} says: {judged.words}; {place_of(move.sizes, off)}"
    return Update(
        passed=off.passed,
        predicted=float(move.g @ (after - move.p)),
        loss_before=float(losses(at.logits, witness.batch.targets).mean()),
        loss_after=float(all_losses(witness.after, witness.batch).mean()),
        tensor=judged.tensor,
        max_abs_error=off.error,
        atol=off.bound,
        found=found,
    )


class Judged(NamedTuple):
    """One vector of the update: its worst entry, and words for what is wrong with it, if anything is."""

    tensor: str
    off: Worst
    words: str


def judge_memory(move: Move, tensor: str, right: Array, witness: Witness) -> Judged:
    """The velocity, m or v after the step."""
    dtype = witness.before.flat.dtype
    u = unit(dtype)
    bound = loosened(memory_bound(move, tensor, u), right, dtype)
    off = worst(move.after[tensor], right, bound)
    words = "" if off.passed else update_mistakes.of_memory(move, tensor, right, bound, u)
    return Judged(tensor, off, words)


def judge_parameters(move: Move, after: Array, witness: Witness) -> Judged:
    """The parameters after the step."""
    dtype = witness.before.flat.dtype
    u = unit(dtype)
    rate, along = learning_rate(move.train, move.step), direction(move)
    right = moved(move, along, rate, move.train.weight_decay)
    bound = loosened(parameter_bound(move, along, rate, u), right, dtype)
    off = worst(after, right, bound)
    words = "" if off.passed else update_mistakes.of_parameters(move, after, bound, u)
    return Judged(locate(move.sizes, off.place[0])[0], off, words)


def locate(sizes: Sizes, place: int) -> tuple[str, list[int]]:
    """The parameter, and the entry in it, at a place of the flat vector."""
    for name, shape in sizes.shapes().items():
        if place < math.prod(shape):
            return name, [int(i) for i in np.unravel_index(place, shape)]
        place -= math.prod(shape)
    raise IndexError(place)


def place_of(sizes: Sizes, off: Worst) -> str:
    """The worst entry as people write it."""
    name, place = locate(sizes, off.place[0])
    return f"worst at {name}{place}: {off.found:.6e}, should be {off.right:.6e}"
