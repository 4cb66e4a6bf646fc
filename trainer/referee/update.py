"""The update: the real move of the parameters, held against the rule's own formula in float64, entry by entry.

SGD with momentum: v = momentum * v + g, p = p - rate * v. AdamW: m = beta1 * m + (1 - beta1) * g and v = beta2 * v +
(1 - beta2) * g², both divided by 1 - beta^t, p = p - rate * (m / (sqrt(v) + eps) + decay * p); the papers are named in
optim.py. Weight decay spares the biases. Training stores m / (1 - beta1) and v / (1 - beta2).

The rate is judged first, then what the rule remembers, then the move from these as training has them: so a slip is
found where it was made, and what underflows in storage (AdamW's v, where |g| is below 1e-22) is no slip.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from trainer.config import Train
from trainer.core.model import NAMES, Parameters
from trainer.core.numerical import Point
from trainer.core.ops import Array
from trainer.core.tolerances import ROUNDING, loosened, unit
from trainer.core.verdict import Verdict, compare
from trainer.core.witness import Witness
from trainer.mistakes.diagnosis import Candidate, instead, multiple, rounding, times
from trainer.referee.forward import in_float64, losses

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
WRONG = "the update is wrong: look at"


def scheduled_rate(train: Train, step: int) -> float:
    """A rising warm-up; then constant, tenfold less at half and at three quarters, or half a cosine wave."""
    if step < train.warmup_steps:
        return train.learning_rate * (step + 1) / train.warmup_steps
    if train.schedule == "step":
        drops = int(step >= train.steps / 2) + int(step >= train.steps * 3 / 4)
        return train.learning_rate * 0.1**drops
    if train.schedule == "cosine":
        share = (step - train.warmup_steps) / (train.steps - train.warmup_steps)
        return train.learning_rate * (1 + math.cos(math.pi * share)) / 2
    return float(train.learning_rate)


@dataclass(frozen=True)
class Move:
    """One move in float64: flat vectors, in the order of Parameters.flat."""

    train: Train
    step: int
    rate: float
    p: Array  # before
    g: Array
    decayed: Array  # what weight decay applies to: p, and 0 for the biases
    before: dict[str, Array]  # what the rule remembers: velocity, or m and v as they are stored
    after: dict[str, Array]

    @property
    def rule(self) -> str:
        """The function that moves the parameters."""
        return "adam" if self.train.optimizer == "adamw" else "momentum" if self.train.momentum else "sgd"

    def remembered(self) -> dict[str, tuple[float, Array]]:
        """What the rule remembers: the factor by which it fades, and what is added."""
        of_adam = {"m": (BETA1, self.g), "v": (BETA2, self.g**2)}
        return {"adam": of_adam, "momentum": {"velocity": (self.train.momentum, self.g)}}.get(self.rule, {})

    def along(self, mean: bool = True, square: bool = True) -> Array:
        """What the parameters move against, without decay; for AdamW with or without its bias corrections."""
        if self.rule == "adam":
            t = self.step + 1
            root = np.sqrt((1 - BETA2) * self.after["v"] / (1 - BETA2**t if square else 1))
            # The factor comes last, because a tiny m times 1 - beta loses digits.
            return np.asarray(self.after["m"] / (root + EPS) * ((1 - BETA1) / (1 - BETA1**t if mean else 1)))
        return self.after["velocity"] if self.rule == "momentum" else self.g

    def by(self, along: Array, decayed: Array) -> Array:
        """The move."""
        return -self.rate * (along + self.train.weight_decay * decayed)


def move_of(witness: Witness, train: Train) -> Move:
    """The move of a step."""
    p, g = witness.before.flat.astype(np.float64), witness.g.flat.astype(np.float64)
    decayed = np.where(np.arange(len(p)) < len(witness.before.matrices), p, 0)
    before, after = (
        {name: vector.astype(np.float64) for name, vector in state.items()}
        for state in (witness.state_before, witness.state_after)
    )
    return Move(train, witness.number, witness.rate, p, g, decayed, before, after)


def check_update(witness: Witness, at: Point, train: Train) -> Verdict:
    """The verdict `update` of a step: of learning_rate, velocity, m or v where that is wrong, else of a parameter."""
    move, p, dtype = move_of(witness, train), witness.before, witness.g.flat.dtype
    u, after = unit(dtype), witness.after.flat.astype(np.float64)
    own = scheduled_rate(train, move.step)
    lost = 8 * ROUNDING * train.learning_rate  # by cos, near the end of its half wave
    verdict = compare("update", np.array([move.rate]), np.array([own]), np.array([lost]), "learning_rate")
    if not verdict.passed:
        said = f"{WRONG} learning_rate in optim.py: {move.rate:.6g} at step {move.step}, should be {own:.6g}"
        return replace(verdict, words=said)
    for name, (factor, added) in move.remembered().items():
        held = factor * move.before[name]
        bound = 4 * u * (np.abs(held) + np.abs(added))  # two products, a sum, a constant: half a unit each
        verdict = compare("update", move.after[name], held + added, loosened(bound, held + added, dtype), name)
        if not verdict.passed:
            known = [("it was not touched", move.before[name]), ("what it held before was cleared", added)]
            done = instead(move.after[name], held + added, known, rounding(dtype)) or "it is another"
            return told(verdict, p, f"{WRONG} {move.rule} in optim.py: {name} is wrong: {done}")

    along = move.along()
    right = move.p + move.by(along, move.decayed)
    # The decay's factor, its product and the last difference round by the size of p, here as in training, and a decay
    # above 1 turns p round and may lengthen it; the rest, at most eight times, by the size of the move.
    bound = 4 * u * (1 + move.rate * train.weight_decay) * np.abs(move.p) + 8 * u * move.rate * np.abs(along)
    bound = loosened(bound, right, dtype)
    verdict = compare("update", after, right, bound)
    if not verdict.passed:
        return told(verdict, p, f"{WRONG} {what_moved(move, after, right, bound, p)}")
    old = float(losses(at.a.logits, witness.batch.targets).mean())
    new = float(in_float64(witness.after, witness.batch)["loss"].mean())
    against = move.g @ (after - move.p) < 0
    cause = "the learning rate is too high" if against else f"{train.optimizer} moved with the gradient"
    uphill = f"the update went uphill, {old:.4f} -> {new:.4f}: {cause}"
    return told(verdict, p, uphill if new > old else None, worst=False)


def told(verdict: Verdict, p: Parameters, words: str | None, worst: bool = True) -> Verdict:
    """The verdict on a flat vector, in words, with its worst entry as one of a parameter."""
    (place,) = verdict.worst or [0]
    for name, shape in p.sizes.shapes().items():
        if place < math.prod(shape):
            entry = [int(i) for i in np.unravel_index(place, shape)]
            numbers = f"; worst at {name}{entry}: {verdict.found:.6e}, should be {verdict.expected:.6e}" * worst
            return replace(verdict, of=verdict.of or name, worst=entry, words=words and words + numbers)
        place -= math.prod(shape)
    raise IndexError(place)


def what_moved(move: Move, after: Array, right: Array, bound: Array, p: Parameters) -> str:
    """The function to look at, and what was done instead of the right move."""
    off = Parameters(p.sizes, ~(np.abs(after - right) <= bound))
    names = [name for name in NAMES if getattr(off, name).any()]
    for name in names:
        getattr(off, name)[...] = True
    where, wrong = f"{' and '.join(names)} alone: " if len(names) < 3 else "", off.flat
    found, wanted = after[wrong] - move.p[wrong], right[wrong] - move.p[wrong]
    if not found.any():
        return f"{move.rule} in optim.py: {where}nothing moved, it was never applied"
    rtol, atol = rounding(p.flat.dtype), float(np.linalg.norm(bound[wrong]))
    done = instead(found, wanted, ((words, made[wrong]) for words, made in slips(move)), rtol, atol)
    decay = multiple(found - wanted, move.by(0 * move.p, move.decayed)[wrong], rtol, atol)
    if done is None and decay is not None:
        done = f"weight decay: {times(1 + decay, rtol)}"
    function = "update" if done and "weight decay" in done else move.rule
    return f"{function} in optim.py: {where}{done or 'the move is another'}"


def slips(move: Move) -> Iterator[Candidate]:
    """What people do instead of the move, and what it gives."""
    yield "the move went with the gradient, uphill", move.by(-move.along(), move.decayed)
    yield "the gradient stands where what the rule remembers belongs", move.by(move.g, move.decayed)
    yield "weight decay is missing", move.by(move.along(), 0 * move.p)
    yield "weight decay reaches the biases too", move.by(move.along(), move.p)
    if move.rule == "adam":
        yield "there is no bias correction", move.by(move.along(False, False), move.decayed)
        yield "the mean has no bias correction", move.by(move.along(False), move.decayed)
        yield "the mean square has no bias correction", move.by(move.along(True, False), move.decayed)
