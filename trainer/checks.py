"""How we know it is right: gradients against numerical ones, and what someone who knows backprop by heart would check.

A check gives a verdict: its name, whether it passed, its numbers. How close two gradients have to be is worked out in
tolerances.py; what a failure means is said in blame.py.
"""

import math
from collections.abc import Sequence

import numpy as np

from trainer import model
from trainer.config import Check
from trainer.model import NAMES, Sizes
from trainer.numerical import ORDER, Point, Run, gradients, loss_at
from trainer.ops import Array
from trainer.tolerances import Tolerances, tolerances
from trainer.verdicts import Descent, Direction, Gradient, InitialLoss, SumToZero, Verdict


def check_gradients(
    at: Point, by_hand: dict[str, Array], check: Check, dtype: str, rng: np.random.Generator, run: Run = map
) -> list[Verdict]:
    """A `Gradient` for each of the nine tensors, a `Direction` where entries are drawn, and `Descent`."""
    tol = tolerances(at, check, dtype)
    wanted = check.coordinates
    absent = np.setdiff1d(np.arange(at.sizes.V), at.batch.contexts)
    numerical = gradients(at, check.method, tol.eps, wanted, rng, run)
    verdicts: list[Verdict] = [compare(name, by_hand[name], numerical[name], tol, check, absent) for name in ORDER]
    if wanted != "all" and not all(verdict.passed for verdict in verdicts):
        # Others passed on the few entries that were drawn: the first wrong link is named after a look at all of them.
        numerical = gradients(at, check.method, tol.eps, "all", rng, run)
        verdicts = [compare(name, by_hand[name], numerical[name], tol, check, absent) for name in ORDER]
    g = flat(at.sizes, by_hand)
    if wanted != "all":
        verdicts.append(direction(at, g, tol, check, rng))
    return [*verdicts, descent(at, g, tol)]


def compare(
    name: str, by_hand: Array, numerical: Array, tol: Tolerances, check: Check, absent: Sequence[int] | Array = ()
) -> Gradient:
    """One tensor, entry by entry, where the numerical gradient is not nan. `absent` are characters not in the batch."""
    drawn = ~np.isnan(numerical)
    hand = by_hand.astype(np.float64)
    error = np.where(drawn, abs(hand - numerical), 0)
    size = np.maximum(np.where(np.isfinite(hand), abs(hand), 0), abs(numerical))
    bound = tol.atol[name] + tol.rtol[name] * size
    excess = np.where(np.isfinite(hand), error / bound, np.inf)  # above 1 is wrong
    if not math.isfinite(tol.atol[name]):  # the numbers are too large to say how they round: training diverges
        excess[...] = 0
    excess = np.where(drawn, excess, -1)
    if name == "C" and len(absent):  # their rows are zero, exactly
        excess[absent] = np.where(hand[absent] != 0, np.inf, excess[absent])
    worst = np.unravel_index(int(excess.argmax()), excess.shape)
    largest = float(np.nanmax(abs(numerical)))
    return Gradient(
        passed=bool(excess[worst] <= 1),
        tensor=name,
        method=check.method,
        coordinates=int(drawn.sum()),
        max_abs_error=float(error.max()),
        max_rel_error=float(error.max()) / (largest or 1),
        rtol=tol.rtol[name],
        atol=tol.atol[name],
        worst=[int(i) for i in worst],
        by_hand=float(hand[worst]),
        numerical=float(numerical[worst]),
    )


def flat(sizes: Sizes, by_hand: dict[str, Array]) -> Array:
    """The parameters' gradients as one vector, in float64."""
    g = model.zeros(sizes, np.float64)
    for name in NAMES:
        getattr(g, name)[...] = by_hand[name]
    return g.flat


def direction(at: Point, g: Array, tol: Tolerances, check: Check, rng: np.random.Generator) -> Direction:
    """The slope along one random unit vector through all parameters: none stays out of reach."""
    along = rng.standard_normal(len(g))
    along /= np.linalg.norm(along)
    eps = min(tol.eps.values())
    if check.method == "complex-step":
        numerical = float(loss_at(at, at.p.flat + 1j * eps * along).imag / eps)
    else:
        numerical = float((loss_at(at, at.p.flat + eps * along) - loss_at(at, at.p.flat - eps * along)) / (2 * eps))
    hand = float(g @ along)
    atol, rtol = max(tol.atol.values()), max(tol.rtol.values())
    within = abs(hand - numerical) <= atol + rtol * max(abs(hand), abs(numerical))
    passed = bool(within or not math.isfinite(atol))  # as in `compare`
    return Direction(passed=passed, by_hand=hand, numerical=numerical, rtol=rtol, atol=atol)


def descent(at: Point, g: Array, tol: Tolerances) -> Descent:
    """A step against the gradient, small enough that first order holds, lowers the loss as predicted.

    To 5 %, and to what rounding does to the loss and an error within the tolerances does to the slope. First order
    holds where curvature does little: what a step back raises the loss by is then what a step forth lowers it by. Where
    no step is that small and still shows above rounding, as close to a minimum, there is nothing to predict.
    """
    slope, loss = float(g @ g), float(loss_at(at, at.p.flat))
    within = {name: np.full(shape, tol.atol[name]) for name, shape in at.sizes.shapes().items()}
    doubt = float(abs(g) @ flat(at.sizes, within)) / (slope or 1) + max(tol.rtol.values())
    tried = []
    for predicted in (10.0 ** np.arange(-2, -10, -1) * max(loss, 100 * tol.loss)).tolist():
        if slope == 0 or not doubt <= 1:
            break
        move = predicted / slope * g
        lower, higher = (float(loss_at(at, at.p.flat + sign * move)) for sign in (-1, 1))
        actual, bent = loss - lower, abs(higher + lower - 2 * loss) / 2
        if bent + tol.loss > 0.02 * predicted:
            continue
        passed = bool(abs(actual - predicted) <= (0.05 + doubt) * predicted)
        tried.append(Descent(passed=passed, predicted=predicted, actual=actual, ratio=actual / predicted))
        if passed:
            break
    nothing = Descent(passed=True, predicted=0.0, actual=0.0, ratio=1.0)
    return tried[-1] if tried else nothing


def sum_to_zero(dlogits: Array) -> SumToZero:
    """Each row of p - y sums to zero: probabilities sum to one, and so does y. (B, V)"""
    (B, V), u = dlogits.shape, float(np.finfo(dlogits.dtype).eps)
    value = float(abs(dlogits.sum(axis=1)).max())
    atol = 2 * u * (V + 4) / B  # each p is rounded, and so is each of V additions, twice
    return SumToZero(passed=value <= atol, value=value, atol=atol)


def initial_loss(value: float, V: int, atol: float) -> InitialLoss:
    """Before training nothing is known: the loss is that of V equally likely characters, log V."""
    expected = math.log(V)
    return InitialLoss(passed=abs(value - expected) <= atol, value=value, expected=expected, atol=atol)
