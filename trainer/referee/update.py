"""The update: the real move of the parameters, held against the rule's own formula in float64, entry by entry.

SGD with momentum: v = momentum * v + g, p = p - rate * v. AdamW: m = beta1 * m + (1 - beta1) * g and v = beta2 * v +
(1 - beta2) * g², both divided by 1 - beta^t, p = p - rate * (m / (sqrt(v) + eps) + decay * p); weight decay spares the
biases. Training stores m / (1 - beta1) and v / (1 - beta2). The rate is judged first, then what the rule remembers,
then the move from these as training has them: so a slip is found where it was made, and underflow is no slip.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from trainer.config import Train
from trainer.core.model import NAMES, Parameters
from trainer.core.numerical import Point, loss_at, rest
from trainer.core.ops import Array
from trainer.core.step import Step
from trainer.core.tolerances import U64, loosened, machine_epsilon
from trainer.core.verdict import Verdict, compare
from trainer.mistakes.diagnosis import instead, multiple, rounding, times

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


def scheduled_rate(train: Train, number: int) -> float:
    """A rising warm-up; then constant, tenfold less at half and at three quarters, or half a cosine wave."""
    warmup, steps = train.warmup_steps, train.steps
    if number < warmup:
        return train.learning_rate * (number + 1) / warmup
    factors = {
        "constant": 1.0,
        "step": 0.1 ** ((number >= steps / 2) + (number >= steps * 0.75)),
        "cosine": (1 + math.cos(math.pi * (number - warmup) / (steps - warmup))) / 2,
    }
    return train.learning_rate * factors[train.schedule]


def remembered(train: Train, g: Array) -> dict[str, tuple[float, Array]]:
    """What the rule remembers: the factor by which it fades, and what is added."""
    if train.optimizer == "adamw":
        return {"m": (BETA1, g), "v": (BETA2, g**2)}
    return {"velocity": (train.momentum, g)} if train.momentum else {}


def against(g: Array, state: Mapping[str, Array], number: float) -> Array:
    """What p moves against, by the state after the step, without decay; infinity leaves out the bias corrections."""
    if "m" not in state:
        return state.get("velocity", g)
    root = np.sqrt((1 - BETA2) / (1 - BETA2 ** (number + 1)) * state["v"])
    # The factor comes last, because a tiny m times 1 - beta loses digits.
    return np.asarray(state["m"] / (root + EPS) * ((1 - BETA1) / (1 - BETA1 ** (number + 1))))


class Move(NamedTuple):
    """How a step moves a vector, (n,)."""

    name: str  # of what the rule remembers; "" for the parameters
    found: Array
    right: Array
    bound: Array  # what rounding may do to the vector
    decay: Array  # the part of it that is weight decay
    slips: dict[str, Array]  # what people do instead, and the move that it makes


def moves(step: Step, train: Train) -> Iterator[Move]:
    """What the rule remembers, and the parameters, by the rate of the step and by what the rule remembers after it."""
    p, rate, u = step.before, step.rate, machine_epsilon(step.g.flat.dtype)
    g, before, after = (vector.astype(np.float64) for vector in (step.g.flat, p.flat, step.after.flat))
    state = {name: vector.astype(np.float64) for name, vector in step.state_after.items()}
    for name, (factor, added) in remembered(train, g).items():
        held = step.state_before[name].astype(np.float64)
        bound = 4 * u * (factor * np.abs(held) + np.abs(added))  # two products, a sum, a constant: half a unit each
        slips = {"what it held before was cleared": added - held}
        yield Move(name, state[name] - held, added + (factor - 1) * held, bound, 0 * g, slips)
    along, whole = against(g, state, step.number), train.weight_decay * before
    spared = Parameters(p.sizes, whole.copy())
    spared.b1[...], spared.b2[...] = 0, 0
    decay = spared.flat
    wrong_sums = {
        "the move went with the gradient, uphill": decay - along,
        "the gradient stands where what the rule remembers belongs": decay + g,
        "weight decay is missing": along,
        "weight decay reaches the biases too": whole + along,
        "there is no bias correction": decay + against(g, state, math.inf),
    }
    slips = {words: -rate * made for words, made in wrong_sums.items()}
    # The decay's factor, its product and the last difference round by the size of p, and a decay above 1 may lengthen
    # it; the rest, at most eight times, by the size of the move.
    bound = 4 * u * (1 + rate * train.weight_decay) * np.abs(before) + 8 * u * rate * np.abs(along)
    yield Move("", after - before, -rate * (along + decay), bound, -rate * decay, slips)


def check_update(step: Step, at: Point, train: Train) -> Verdict:
    """The verdict `update` of a step: of learning_rate, velocity, m or v where that is wrong, else of a parameter."""
    right, sizes, dtype = scheduled_rate(train, step.number), step.g.sizes, step.g.flat.dtype
    lost = 8 * U64 * train.learning_rate  # by cos, near the end of its half wave
    verdict = compare("update", step.rate, right, lost, "learning_rate")
    if not verdict.passed:
        verdict.words = (
            f"the update is wrong: look at learning_rate in optim.py: {step.rate:.6g}, should be {right:.6g}"
        )
        return verdict
    for move in moves(step, train):
        bound = loosened(move.bound, move.right, dtype)
        verdict = compare("update", move.found, move.right, bound)
        here = Parameters(sizes, np.arange(len(bound)) == verdict.worst)  # True at that entry alone
        name = next(name for name in NAMES if getattr(here, name).any())
        verdict.of, verdict.worst = move.name or name, np.argwhere(getattr(here, name))[0].tolist()
        if not verdict.passed:
            done = what_moved(move, Parameters(sizes, ~(np.abs(move.found - move.right) <= bound)), rounding(dtype))
            rule = "adam" if train.optimizer == "adamw" else "momentum" if train.momentum else "sgd"
            place = f"{'update' if 'weight decay' in done else rule} in optim.py"
            what = f"{move.name} is wrong: {done}" if move.name else done
            worst = f"worst at {name}{verdict.worst}: moved by {verdict.found:.6e}, should be {verdict.expected:.6e}"
            verdict.words = f"the update is wrong: look at {place}: {what}; {worst}"
            return verdict
    old, new = rest(at, "logits", at.a.logits).mean(), loss_at(at, step.after.flat.astype(np.float64))
    if new > old:
        verdict.words = f"the update went uphill, {old:.4f} -> {new:.4f}: is the learning rate too high?"
    return verdict


def what_moved(move: Move, off: Parameters, rtol: float) -> str:
    """What was done instead of the right move, in the parameters with entries that are off."""
    names = [name for name in NAMES if getattr(off, name).any()]
    for name in names:
        getattr(off, name)[...] = True
    where, wrong = f"{' and '.join(names)} alone: " if len(names) < 3 else "", off.flat
    found, right = move.found[wrong], move.right[wrong]
    if not found.any():
        return f"{where}nothing moved, it was never applied"
    atol = float(np.linalg.norm(move.bound[wrong]))
    done = instead(found, right, [(words, made[wrong]) for words, made in move.slips.items()], rtol, atol)
    share = multiple(found - right, move.decay[wrong], rtol, atol)
    if done is None and share is not None:
        done = f"weight decay: {times(1 + share, rtol)}"
    return f"{where}{done or 'the move is another'}"
