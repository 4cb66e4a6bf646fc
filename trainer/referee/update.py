"""The update: the real move of the parameters, held against the rule's own formula in float64, entry by entry.

SGD with momentum: v = momentum * v + g, p = p - rate * v. AdamW: m = beta1 * m + (1 - beta1) * g and v = beta2 * v +
(1 - beta2) * g², both divided by 1 - beta^t, p = p - rate * (m / (sqrt(v) + eps) + decay * p); weight decay spares the
biases. Training stores m / (1 - beta1) and v / (1 - beta2). The rate is judged first, then what the rule remembers,
then the move from these as training has them: so a slip is found where it was made, and underflow is no slip.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from trainer.config import Train
from trainer.core.model import NAMES, Parameters, zeros
from trainer.core.numerical import Point
from trainer.core.ops import Array
from trainer.core.step import Step
from trainer.core.tolerances import ROUNDING, loosened, machine_epsilon
from trainer.core.verdict import Verdict, compare
from trainer.mistakes.diagnosis import Candidate, instead, multiple, rounding, times
from trainer.referee.forward import in_float64, losses

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
WRONG = "the update is wrong: look at"


def scheduled_rate(train: Train, number: int) -> float:
    """A rising warm-up; then constant, tenfold less at half and at three quarters, or half a cosine wave."""
    share = number / train.steps
    if number < train.warmup_steps:
        factor = (number + 1) / train.warmup_steps
    elif train.schedule == "step":
        factor = 0.1 ** ((share >= 0.5) + (share >= 0.75))
    elif train.schedule == "cosine":
        factor = (1 + math.cos(math.pi * (number - train.warmup_steps) / (train.steps - train.warmup_steps))) / 2
    else:
        factor = 1
    return train.learning_rate * factor


def remembered(train: Train, g: Array) -> dict[str, tuple[float, Array]]:
    """What the rule remembers: the factor by which it fades, and what is added."""
    if train.optimizer == "adamw":
        return {"m": (BETA1, g), "v": (BETA2, g**2)}
    return {"velocity": (train.momentum, g)} if train.momentum else {}


def against(g: Array, state: Mapping[str, Array], number: float) -> Array:
    """What p moves against, by the state after the step, without decay; AdamW's bias corrections end at infinity."""
    if "m" not in state:
        return state.get("velocity", g)
    root = np.sqrt((1 - BETA2) / (1 - BETA2 ** (number + 1)) * state["v"])
    # The factor comes last, because a tiny m times 1 - beta loses digits.
    return np.asarray(state["m"] / (root + EPS) * ((1 - BETA1) / (1 - BETA1 ** (number + 1))))


def check_update(step: Step, at: Point, train: Train) -> Verdict:
    """The verdict `update` of a step: of learning_rate, velocity, m or v where that is wrong, else of a parameter."""
    rate, dtype, own = step.rate, step.g.flat.dtype, scheduled_rate(train, step.number)
    u, lost = machine_epsilon(dtype), 8 * ROUNDING * train.learning_rate  # by cos, near the end of its half wave
    verdict = compare("update", rate, own, lost, "learning_rate")
    if not verdict.passed:
        return replace(verdict, words=f"{WRONG} learning_rate in optim.py: {rate:.6g}, should be {own:.6g}")
    g = step.g.flat.astype(np.float64)
    state = {name: vector.astype(np.float64) for name, vector in step.state_after.items()}
    for name, (factor, added) in remembered(train, g).items():
        before = step.state_before[name].astype(np.float64)
        held = factor * before
        bound = 4 * u * (np.abs(held) + np.abs(added))  # two products, a sum, a constant: half a unit each
        verdict = compare("update", state[name], held + added, loosened(bound, held + added, dtype), name)
        if not verdict.passed:
            known = [("it was not touched", before), ("what it held before was cleared", added)]
            done = instead(state[name], held + added, known, rounding(dtype)) or "it is another"
            return placed(verdict, step, f"{rule(train)} in optim.py: {name} is wrong: {done}")
    verdict = check_move(step, train, g, state)
    if not verdict.passed:
        return verdict
    old = float(losses(at.a.logits, step.batch.targets).mean())
    new = float(in_float64(step.after, step.batch)["loss"].mean())
    uphill = f"the update went uphill, {old:.4f} -> {new:.4f}: is the learning rate too high?"
    return replace(verdict, words=uphill) if new > old else verdict


def rule(train: Train) -> str:
    """The function that moves the parameters."""
    return "adam" if train.optimizer == "adamw" else "momentum" if train.momentum else "sgd"


def check_move(step: Step, train: Train, g: Array, state: Mapping[str, Array]) -> Verdict:
    """The verdict on the parameters after the step, by its rate and by what the rule remembers then."""
    rate, p, dtype, along = step.rate, step.before, step.g.flat.dtype, against(g, state, step.number)
    before, after, u = p.flat.astype(np.float64), step.after.flat.astype(np.float64), machine_epsilon(dtype)
    decayed = zeros(p.sizes, np.float64)
    decayed.C[...], decayed.W1[...], decayed.W2[...] = 1, 1, 1
    decay = train.weight_decay * decayed.flat * before
    right = before - rate * (along + decay)
    # The decay's factor, its product and the last difference round by the size of p, and a decay above 1 may lengthen
    # it; the rest, at most eight times, by the size of the move.
    bound = 4 * u * (1 + rate * train.weight_decay) * np.abs(before) + 8 * u * rate * np.abs(along)
    bound = loosened(bound, right, dtype)
    verdict = compare("update", after, right, bound)
    if verdict.passed:
        return placed(verdict, step)
    slips = {
        "the move went with the gradient, uphill": decay - along,
        "the gradient stands where what the rule remembers belongs": decay + g,
        "weight decay is missing": along,
        "weight decay reaches the biases too": along + train.weight_decay * before,
        "there is no bias correction": decay + against(g, state, math.inf),
    }
    candidates = [(words, -rate * other) for words, other in slips.items()]
    off = Parameters(p.sizes, ~(np.abs(after - right) <= bound))
    done = what_moved(off, after - before, right - before, -rate * decay, candidates, bound, rounding(dtype))
    function = "update" if "weight decay" in done else rule(train)
    return placed(verdict, step, f"{function} in optim.py: {done}")


def what_moved(
    off: Parameters, found: Array, wanted: Array, decay: Array, candidates: list[Candidate], bound: Array, rtol: float
) -> str:
    """What was done instead of the right move, in the parameters with entries that are off. All are moves, (n,)."""
    names = [name for name in NAMES if getattr(off, name).any()]
    for name in names:
        getattr(off, name)[...] = True
    where, wrong = f"{' and '.join(names)} alone: " if len(names) < 3 else "", off.flat
    if not found[wrong].any():
        return f"{where}nothing moved, it was never applied"
    atol = float(np.linalg.norm(bound[wrong]))
    done = instead(found[wrong], wanted[wrong], [(words, made[wrong]) for words, made in candidates], rtol, atol)
    share = multiple((found - wanted)[wrong], decay[wrong], rtol, atol)
    if done is None and share is not None:
        done = f"weight decay: {times(1 + share, rtol)}"
    return f"{where}{done or 'the move is another'}"


def placed(verdict: Verdict, step: Step, wrong: str = "") -> Verdict:
    """The verdict on a flat vector, with its worst entry as one of a parameter; and what is wrong, in words."""
    here = Parameters(step.g.sizes, np.arange(len(step.g.flat)) == verdict.worst)
    name = next(name for name in NAMES if getattr(here, name).any())
    entry = np.argwhere(getattr(here, name))[0].tolist()
    words = f"{WRONG} {wrong}; worst at {name}{entry}: {verdict.found:.6e}, should be {verdict.expected:.6e}"
    return replace(verdict, of=verdict.of or name, worst=entry, words=words if wrong else None)
