"""All nine gradients at the price of a few forward passes: the slope along one random direction through each tensor.

A direction v holds a random number of mean 0 and variance 1 for every entry, so that an error e of a gradient moves the
slope by the sum of e * v, which is about as large as the norm of e and is small by chance only: below a tenth of it
once in a dozen steps or more, in step after step never. Forward operations only: (L(x + eps v) - L(x - eps v)) / 2 eps,
or Im L(x + i eps v) / eps. The nudged passes of all nine are stacked, so that the output layer is one product.
"""

import math
from typing import NamedTuple

import numpy as np

from trainer.config import Check
from trainer.model import INNER, NAMES
from trainer.numerical import ORDER, Point, absent
from trainer.ops import Array
from trainer.referee.plain import dropped, embed, losses
from trainer.tolerances import ROUNDING, Magnitudes, kept, magnitudes, nudges
from trainer.verdicts import Gradient

SMALL = 1e-4  # where 2/15 x⁴ is below the rounding unit of float64


def tensor(at: Point, name: str) -> Array:
    """One of the nine tensors of a step."""
    value: Array = getattr(at if name in INNER else at.p, name)
    return value


def directions(at: Point, rng: np.random.Generator) -> dict[str, Array]:
    """A number for every entry of each of the nine tensors, uniform between -sqrt(3) and sqrt(3): of variance 1."""
    return {name: rng.uniform(-math.sqrt(3), math.sqrt(3), tensor(at, name).shape) for name in ORDER}


class Lines(NamedTuple):
    """Along which lines z and the logits move, for a step of 1 in each direction.

    Sums and products pass a nudge on in proportion, so that what a tensor does to z, or to the logits where z has no
    part in it, is a straight line; tanh and softmax bend it, and are computed for every nudge.
    """

    z: dict[str, Array]  # by z, emb, W1, b1 and C: (B, H)
    logits: dict[str, Array]  # by logits, h, W2 and b2: (B, V)


def lines(at: Point, v: dict[str, Array]) -> Lines:
    """The nudges of all nine tensors on their way through the sums and products."""
    (B, H), V = at.h.shape, at.sizes.V
    z = {
        "z": v["z"],
        "emb": v["emb"] @ at.p.W1,
        "W1": at.emb @ v["W1"],
        "b1": np.broadcast_to(v["b1"], (B, H)),
        "C": dropped(embed(v["C"], at.batch.contexts), at.batch.emb_mask) @ at.p.W1,
    }
    logits = {
        "logits": v["logits"],
        "h": v["h"] @ at.p.W2,
        "W2": at.h @ v["W2"],
        "b2": np.broadcast_to(v["b2"], (B, V)),
    }
    return Lines(z, logits)


def reach(at: Point, moves: Lines) -> dict[str, float]:
    """How far z or a logit moves at most for a step of 1 along each direction, or 1: tanh and dropout let pass less.

    What moves the hidden units of an example by d moves a logit by |d| times the norm of its column of W2 at most.
    """
    far = {name: float(np.abs(line).max()) for name, line in moves.logits.items()}
    column = kept(at.batch.h_mask) * float(np.linalg.norm(at.p.W2, axis=0).max())
    for name, line in moves.z.items():
        longest = math.sqrt(float(np.einsum("bh,bh->b", line, line).max()))
        far[name] = max(float(np.abs(line).max()), longest * column)
    return {name: max(1.0, far[name]) for name in ORDER}


def nudged_losses(at: Point, moves: Lines, eps: dict[str, float], signs: tuple[complex, ...]) -> Array:
    """The mean losses with each tensor moved by sign * eps along its direction: (9, signs), z first."""
    B, n = len(at.logits), len(signs)
    before_dropout = at.h if at.batch.h_mask is None else np.tanh(at.z)  # (B, H)
    h = [
        dropped(nudged_tanh(before_dropout, sign * eps[name] * line), at.batch.h_mask)
        for name, line in moves.z.items()
        for sign in signs
    ]
    from_z = np.concatenate(h) @ at.p.W2 + at.p.b2  # (5n * B, V)
    others = [at.logits + sign * eps[name] * line for name, line in moves.logits.items() for sign in signs]
    logits = np.concatenate([from_z, *others])  # (9n * B, V)
    each = losses(logits, np.tile(at.batch.targets, 9 * n))
    return np.asarray(each.reshape(9, n, B).mean(axis=2))


def nudged_tanh(h: Array, move: Array) -> Array:
    """tanh(z + move) from h = tanh(z), by the addition theorem: (h + t) / (1 + h * t), where t = tanh(move).

    For a small move t is move - move³ / 3, to within the rounding of t: the next term of the series is 2/15 move⁵.
    """
    small = np.abs(move).max() < SMALL
    t = move - move * move * move / 3 if small else np.tanh(move)
    return np.asarray((h + t) / (1 + h * t))


def slopes(at: Point, moves: Lines, eps: dict[str, float], method: str) -> dict[str, float]:
    """The numerical slope of the mean loss along each direction."""
    names = [*moves.z, *moves.logits]
    if method == "complex-step":
        found = nudged_losses(at, moves, eps, (1j,))[:, 0].imag
        return {name: float(slope) / eps[name] for name, slope in zip(names, found, strict=True)}
    up, down = nudged_losses(at, moves, eps, (1, -1)).T
    return {name: float(slope) / (2 * eps[name]) for name, slope in zip(names, up - down, strict=True)}


def examine(at: Point, by_hand: dict[str, Array], check: Check, dtype: str, rng: np.random.Generator) -> list[Gradient]:
    """The rows `gradient` of a step, one for each of the nine tensors, of slopes."""
    v = directions(at, rng)
    along, large = lines(at, v), magnitudes(at)
    moves = reach(at, along)
    eps = nudges(check, moves)
    numerical = slopes(at, along, eps, check.method)
    unread = absent(at.batch, at.sizes.V)
    rows = []
    for name in ORDER:
        g = by_hand[name].astype(np.float64)
        rtol, atol = tolerance(at, large, name, check, dtype, eps[name], moves[name])
        hand, expected, size = float(np.vdot(g, v[name])), numerical[name], float(np.linalg.norm(g))
        error = abs(hand - expected)
        strange = name == "C" and bool(g[unread].any())  # rows of characters that are not in the batch: exactly zero
        rows.append(
            Gradient(
                passed=error <= atol + rtol * size and not strange,
                tensor=name,
                method=check.method,
                coordinates="directions",
                max_abs_error=error,
                max_rel_error=error / (size or 1),  # the norm is the typical slope
                rtol=rtol,
                atol=atol,
                worst=None,
                by_hand=hand,
                numerical=expected,
            )
        )
    return rows


def tolerance(
    at: Point, large: Magnitudes, name: str, check: Check, dtype: str, eps: float, move: float
) -> tuple[float, float]:
    """rtol, for the norm of the gradient, and atol, of a slope.

    Each of n entries is off by a rounding as in tolerances.py, and the sum of n of them times numbers of variance 1 by
    sqrt(n) times that: of a quarter of what is allowed there for the worst entry, and without its chain where n is
    large, because the sum goes by the root mean square. A wrong suspicion costs a full check of the step. A central
    difference rounds by that of the loss over eps, and truncates by (eps t)^2 t; `move` is t, how far z or a logit
    moves along the direction.
    """
    B, info = len(at.emb), np.finfo(dtype)
    u = float(info.eps)
    touched = B if name in NAMES else 1
    n = tensor(at, name).size
    chain = max(1.0, large.chain / math.sqrt(n)) / 4
    entry = chain * large.rounding(name, u) * math.sqrt(touched) / B + float(info.smallest_normal) * move
    rtol, quotient = chain * u * large.into_loss, large.chain * ROUNDING * large.into_loss * move
    if check.method == "central":
        bend = eps * move * eps * move
        quotient = large.chain * ROUNDING * large.into_loss / eps + bend * move
        rtol += bend
    atol = entry * math.sqrt(n) + quotient
    return (
        rtol if check.rtol == "auto" else float(check.rtol),
        atol if check.atol == "auto" else float(check.atol),
    )
