"""How we know it is right: gradients against numerical ones, the sum of p - y, a small step, the first loss.

How close two gradients have to be is worked out in tolerances.py; what a failure means is said in mistakes/blame.py.
"""

import math

import numpy as np

from trainer.config import Check
from trainer.core import model, numerical
from trainer.core.links import ORDER
from trainer.core.model import NAMES, Parameters, Sizes
from trainer.core.numerical import Mapper, Point, loss_at, rest
from trainer.core.ops import Array
from trainer.core.tolerances import Tolerances, machine_epsilon, tolerances
from trainer.core.verdict import Verdict, compare


def check_gradients(
    at: Point, by_hand: dict[str, Array], check: Check, dtype: str, rng: np.random.Generator, mapper: Mapper = map
) -> list[Verdict]:
    """A verdict on each of the nine gradients, and one on descent.

    Where slopes along directions are asked for and one of them is wrong, every entry is looked at.
    """
    g = as_parameters(at.p.sizes, by_hand)
    # Rows of C that the batch does not read are zero exactly, where a slope would let small numbers pass.
    if check.coordinates == "directions" and not by_hand["C"][unread(at)].any():
        tol = tolerances(at, check, dtype, slopes=True)
        verdicts = [check_slope(at, name, by_hand[name], tol, check.method, rng) for name in ORDER]
        if all(verdict.passed for verdict in verdicts):
            return [*verdicts, check_descent(at, g, tol)]
    tol = tolerances(at, check, dtype)
    expected = numerical.gradients(at, check.method, tol.eps, mapper=mapper)
    verdicts = [check_entries(at, name, by_hand[name], expected[name], tol) for name in ORDER]
    return [*verdicts, check_descent(at, g, tol)]


def check_entries(at: Point, name: str, by_hand: Array, expected: Array, tol: Tolerances) -> Verdict:
    """One tensor, entry by entry. The rows of C whose character no context holds are zero, exactly."""
    size = np.where(np.isfinite(expected), abs(expected), 0)
    allowed = tol.atol[name] + tol.rtol[name] * size
    if name == "C":
        allowed[unread(at)] = 0
    if not math.isfinite(tol.atol[name]):  # the numbers are too large to say how they round: training diverges
        allowed[...] = np.inf
    return compare("gradient", by_hand, expected, allowed, name)


def check_slope(
    at: Point, name: str, by_hand: Array, tol: Tolerances, method: str, rng: np.random.Generator
) -> Verdict:  # fmt: skip
    """One tensor along one random direction of length 1.

    An error e of the gradient moves the slope by the sum of e times the direction. That is about as large as the root
    mean square of e, and below a tenth of it by chance once in a dozen steps or more, but not in step after step.
    """
    hand = by_hand.astype(np.float64)
    direction = rng.uniform(-1, 1, hand.shape)
    direction /= np.linalg.norm(direction)
    expected = numerical.slope(at, name, direction, method, tol.eps[name])
    allowed = tol.atol[name] + tol.rtol[name] * np.linalg.norm(hand) / math.sqrt(hand.size)
    return compare("gradient", np.vdot(hand, direction), expected, allowed, name)


def unread(at: Point) -> Array:
    """The characters that no context of the batch holds, as a mask: (V,)."""
    missing = np.ones(at.p.sizes.V, bool)
    missing[at.batch.contexts] = False
    return missing


def as_parameters(sizes: Sizes, arrays: dict[str, Array]) -> Parameters:
    """An array for each parameter, put together in float64."""
    p = model.zeros(sizes, np.float64)
    for name in NAMES:
        getattr(p, name)[...] = arrays[name]
    return p


def check_descent(at: Point, g: Parameters, tol: Tolerances) -> Verdict:
    """A step against the gradient, small enough that first order holds, lowers the loss as predicted.

    Where a fall by d is predicted and the curvature is b, the step lowers the loss by d - b, and the same step back
    raises it by d + b. A step counts if curvature and rounding together are below 2 % of d; then the fall may differ
    from d by 5 %, and by what errors within the tolerances do to the slope. Shorter and shorter steps are tried until
    one is as predicted. Where none counts, as close to a minimum, there is nothing to predict.
    """
    square, loss = float(g.flat @ g.flat), float(rest(at, "logits", at.a.logits).mean())
    off = sum(tol.atol[name] * float(abs(getattr(g, name)).sum()) for name in NAMES)
    doubt = off / (square or 1) + max(tol.rtol.values())
    found = predicted = bound = 0.0
    if square > 0 and doubt <= 1:  # not so where one of them is nan
        for fall in (10.0 ** np.arange(-2, -10, -1) * max(loss, 100 * tol.loss)).tolist():
            move = fall / square * g.flat
            lower, higher = float(loss_at(at, at.p.flat - move)), float(loss_at(at, at.p.flat + move))
            bent = abs(higher + lower - 2 * loss) / 2
            if bent + tol.loss <= 0.02 * fall:
                found, predicted, bound = loss - lower, fall, (0.05 + doubt) * fall
                if abs(found - predicted) <= bound:
                    break
    verdict = compare("descent", found, predicted, bound)
    verdict.count = int(predicted > 0)
    return verdict


def check_sum_to_zero(dlogits: Array) -> Verdict:
    """Each row of p - y sums to zero: probabilities sum to one, and so does y: (B, V)."""
    (B, V), u = dlogits.shape, machine_epsilon(dlogits.dtype)
    sums = dlogits.sum(axis=1)  # (B,)
    # A row's numbers add up to 2 / B in size; V additions, and four roundings of each p.
    return compare("sum_to_zero", sums, np.zeros(B), 2 * u * (V + 4) / B)


def check_initial_loss(value: float, V: int, atol: float) -> Verdict:
    """Before training nothing is known: the loss is that of V equally likely characters, log V."""
    return compare("initial_loss", value, math.log(V), atol)
