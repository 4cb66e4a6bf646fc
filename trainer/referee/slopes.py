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
from trainer.core.model import INNER, NAMES
from trainer.core.numerical import ORDER, Point, absent
from trainer.core.ops import Array
from trainer.core.tolerances import ROUNDING, Magnitudes, kept, magnitudes, nudges
from trainer.core.verdicts import Gradient
from trainer.referee.plain import dropped, embed, losses

SMALL = 1e-4  # below this a nudge of z is its own tanh, to within a third of its cube


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
    reach: dict[str, float]  # how far they go


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
    return Lines(z, logits, reach(at, z, logits))


def reach(at: Point, z: dict[str, Array], logits: dict[str, Array]) -> dict[str, float]:
    """How far z or a logit moves at most for a step of 1 along each direction, or 1: tanh and dropout let pass less.

    What moves the hidden units of an example by d moves a logit by |d| times the norm of its column of W2 at most.
    """
    far = {name: float(np.abs(line).max()) for name, line in logits.items()}
    column = kept(at.batch.h_mask) * float(np.linalg.norm(at.p.W2, axis=0).max())
    for name, line in z.items():
        longest = math.sqrt(float(np.vecdot(line, line).max()))
        far[name] = max(float(np.abs(line).max()), longest * column)
    return {name: max(1.0, far[name]) for name in ORDER}


def nudged_losses(at: Point, moves: Lines, eps: dict[str, float], signs: tuple[complex, ...]) -> Array:
    """The mean losses with each tensor moved by sign * eps along its direction: (9, signs), z first."""
    (B, V), n = at.logits.shape, len(signs)
    h = nudged_hidden(at, moves, eps, signs)  # (5, signs, B, H)
    logits = np.empty((9, n, B, V), h.dtype)
    np.matmul(h.reshape(5 * n * B, -1), at.p.W2, out=logits[:5].reshape(5 * n * B, V))
    logits[:5] += at.p.b2
    for k, (name, line) in enumerate(moves.logits.items(), start=5):
        for s, sign in enumerate(signs):
            logits[k, s] = at.logits + sign * eps[name] * line
    return np.asarray(losses(logits, at.batch.targets).mean(axis=2))


def nudged_hidden(at: Point, moves: Lines, eps: dict[str, float], signs: tuple[complex, ...]) -> Array:
    """The hidden units after dropout, for the five tensors that move z: (5, signs, B, H).

    From tanh(z) by the addition theorem, tanh(z + move) = (tanh(z) + t) / (1 + tanh(z) * t), where t = tanh(move).
    """
    hidden = at.h if at.batch.h_mask is None else np.tanh(at.z)  # (B, H), before dropout
    nudged = np.empty((5, len(signs), *hidden.shape), np.result_type(*signs, np.float64))
    for k, (name, line) in enumerate(moves.z.items()):
        small = eps[name] * moves.reach[name] < SMALL
        for s, sign in enumerate(signs):
            move = sign * eps[name] * line
            # What a small nudge is off by, up and down alike, is less than what a central difference truncates by.
            t = move if small else np.tanh(move)
            np.divide(hidden + t, 1 + hidden * t, out=nudged[k, s])
    return dropped(nudged, at.batch.h_mask)


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
    moves, large = lines(at, v), magnitudes(at)
    eps = nudges(check, moves.reach)
    numerical = slopes(at, moves, eps, check.method)
    unread = absent(at.batch, at.sizes.V)
    rows = []
    for name in ORDER:
        g = by_hand[name].astype(np.float64)
        rtol, atol = tolerance(at, large, name, check, dtype, eps[name], moves.reach[name])
        hand, expected, size = float(np.vdot(g, v[name])), numerical[name], math.sqrt(float(np.vdot(g, g)))
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
