"""How we know it is right: gradients against numerical ones, the sum of p - y, a small step, the first loss.

A check gives a verdict: its name, whether it passed, its numbers. How close two gradients have to be is worked out in
tolerances.py; what a failure means is said in blame.py.
"""

import math

import numpy as np

from trainer.config import Check
from trainer.core import model, numerical
from trainer.core.model import NAMES, Sizes
from trainer.core.numerical import ORDER, Mapper, Point, absent, loss_at
from trainer.core.ops import Array
from trainer.core.tolerances import Tolerances, tolerances
from trainer.core.verdicts import Descent, Direction, Gradient, InitialLoss, SumToZero, Verdict


def check_gradients(
    at: Point, by_hand: dict[str, Array], check: Check, dtype: str, rng: np.random.Generator, mapper: Mapper = map
) -> list[Verdict]:
    """A `Gradient` for each of the nine tensors, a `Direction` where entries are drawn, and `Descent`."""
    tol = tolerances(at, check, dtype)

    def rows(wanted: int | str) -> list[Verdict]:
        expected = numerical.gradients(at, check.method, tol.eps, wanted, rng, mapper)
        return [compare(name, by_hand[name], expected[name], tol, check, at) for name in ORDER]

    verdicts = rows(check.coordinates)
    if check.coordinates != "all" and not all(verdict.passed for verdict in verdicts):
        # Others passed on the few entries that were drawn: the first wrong link is named after a look at all of them.
        verdicts = rows("all")
    g = as_vector(at.sizes, by_hand)
    if check.coordinates != "all":
        verdicts.append(direction(at, g, tol, check, rng))
    return [*verdicts, descent(at, g, tol)]


def compare(name: str, by_hand: Array, expected: Array, tol: Tolerances, check: Check, at: Point) -> Gradient:
    """One tensor, entry by entry, where `expected`, the numerical gradient, is not nan."""
    drawn = ~np.isnan(expected)
    hand = by_hand.astype(np.float64)
    error = np.where(drawn, abs(hand - expected), 0)
    excess = error / (tol.atol[name] + tol.rtol[name] * np.maximum(abs(hand), abs(expected)))  # above 1 is wrong
    excess[~np.isfinite(hand) | np.isinf(expected)] = np.inf
    if not math.isfinite(tol.atol[name]):  # the numbers are too large to say how they round: training diverges
        excess[...] = 0
    if name == "C":  # the rows of characters that are not in the batch are zero, exactly
        rows = absent(at.batch, at.sizes.V)
        excess[rows] = np.where(hand[rows] == 0, 0, np.inf)
    excess[~drawn] = -1
    worst = np.unravel_index(int(excess.argmax()), excess.shape)
    largest = float(np.nanmax(abs(expected)))
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
        numerical=float(expected[worst]),
    )


def as_vector(sizes: Sizes, arrays: dict[str, Array]) -> Array:
    """An array for each parameter as one vector, in float64."""
    vector = model.zeros(sizes, np.float64)
    for name in NAMES:
        getattr(vector, name)[...] = arrays[name]
    return vector.flat


def direction(at: Point, g: Array, tol: Tolerances, check: Check, rng: np.random.Generator) -> Direction:
    """The slope along one random unit vector through all parameters: none stays out of reach."""
    along = rng.standard_normal(len(g))
    along /= np.linalg.norm(along)
    hand = float(g @ along)
    eps = min(tol.eps.values())
    slope = float(numerical.slopes(check.method, eps, lambda nudge: loss_at(at, at.p.flat + nudge * along)))
    atol, rtol = max(tol.atol.values()), max(tol.rtol.values())
    within = abs(hand - slope) <= atol + rtol * max(abs(hand), abs(slope))
    passed = bool(within or not math.isfinite(atol))  # as in `compare`
    return Direction(passed=passed, by_hand=hand, numerical=slope, rtol=rtol, atol=atol)


def descent(at: Point, g: Array, tol: Tolerances) -> Descent:
    """A step against the gradient, small enough that first order holds, lowers the loss as predicted.

    Of a step that is predicted to lower the loss by d, curvature b makes d - b, and of the same step back -d - b. A
    step counts if curvature and rounding together are below 2 % of d. Then the fall may differ from d by 5 %, and by
    what errors within the tolerances do to the slope. Shorter and shorter steps are tried until one is as predicted.
    Where none counts, as close to a minimum, there is nothing to predict.
    """
    square, loss = float(g @ g), float(loss_at(at, at.p.flat))
    allowed = {name: np.full(shape, tol.atol[name]) for name, shape in at.sizes.shapes().items()}
    doubt = float(abs(g) @ as_vector(at.sizes, allowed)) / (square or 1) + max(tol.rtol.values())
    result = Descent(passed=True, predicted=0.0, actual=0.0, ratio=1.0)
    if square == 0 or not doubt <= 1:  # or it is nan
        return result
    for predicted in (10.0 ** np.arange(-2, -10, -1) * max(loss, 100 * tol.loss)).tolist():
        move = predicted / square * g
        lower, higher = float(loss_at(at, at.p.flat - move)), float(loss_at(at, at.p.flat + move))
        actual, bent = loss - lower, abs(higher + lower - 2 * loss) / 2
        if bent + tol.loss > 0.02 * predicted:
            continue
        passed = bool(abs(actual - predicted) <= (0.05 + doubt) * predicted)
        result = Descent(passed=passed, predicted=predicted, actual=actual, ratio=actual / predicted)
        if passed:
            break
    return result


def sum_to_zero(dlogits: Array) -> SumToZero:
    """Each row of p - y sums to zero: probabilities sum to one, and so does y: (B, V)."""
    (B, V), u = dlogits.shape, float(np.finfo(dlogits.dtype).eps)
    value = float(abs(dlogits.sum(axis=1)).max())
    atol = 2 * u * (V + 4) / B  # a row's numbers add up to 2 / B in size; V additions, and four roundings of each p
    return SumToZero(passed=value <= atol, value=value, atol=atol)


def initial_loss(value: float, V: int, atol: float) -> InitialLoss:
    """Before training nothing is known: the loss is that of V equally likely characters, log V."""
    expected = math.log(V)
    return InitialLoss(passed=abs(value - expected) <= atol, value=value, expected=expected, atol=atol)
