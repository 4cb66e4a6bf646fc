"""All nine gradients at the price of a few forward passes: the slope along one random direction through each tensor.

A direction v holds a Gaussian number for every entry, so that an error e of a gradient moves the slope by the sum of
e * v, which is about as large as the norm of e and is small by chance only: below a tenth of it once in thirteen steps,
in step after step never. Forward operations only: (L(x + eps v) - L(x - eps v)) / 2 eps, or Im L(x + i eps v) / eps.
The nudged passes of all nine are stacked, so that each layer is one product.
"""

import math
from typing import Any

import numpy as np

from trainer.config import Check
from trainer.model import INNER, NAMES
from trainer.numerical import ORDER, Point
from trainer.ops import Array
from trainer.referee.passes import dropped, embed, losses
from trainer.tolerances import ROUNDING, Magnitudes, kept, magnitudes
from trainer.verdicts import Gradient


def tensor(at: Point, name: str) -> Array:
    """One of the nine tensors of a step."""
    value: Array = getattr(at if name in INNER else at.p, name)
    return value


def directions(at: Point, rng: np.random.Generator) -> dict[str, Array]:
    """A Gaussian number for every entry of each of the nine tensors."""
    shapes = {name: tensor(at, name).shape for name in ORDER}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def reach(at: Point, v: dict[str, Array]) -> dict[str, float]:
    """How far z or a logit moves at most for a step of 1 along each direction, or 1: tanh and dropout let pass less.

    What moves the hidden units of an example by d moves a logit by |d| times the norm of its column of W2 at most.
    """
    column = float(np.linalg.norm(at.p.W2, axis=0).max())
    z_moves = {
        "z": v["z"],
        "emb": v["emb"] @ at.p.W1,
        "W1": at.emb @ v["W1"],
        "b1": v["b1"][None],
        "C": dropped(embed(v["C"], at.batch.contexts), at.batch.emb_mask) @ at.p.W1,
    }  # each (B, H), or one row for all
    logit_moves = {"logits": v["logits"], "h": v["h"] @ at.p.W2, "W2": at.h @ v["W2"], "b2": v["b2"]}
    far = {name: float(np.abs(move).max()) for name, move in logit_moves.items()}
    for name, move in z_moves.items():
        longest = float(np.linalg.norm(move, axis=1).max())
        far[name] = max(float(np.abs(move).max()), longest * kept(at.batch.h_mask) * column)
    return {name: max(1.0, far[name]) for name in ORDER}


def nudged_losses(at: Point, step: dict[str, Array], signs: tuple[complex, ...]) -> Array:
    """The mean losses with each tensor moved by sign * step: (9, signs), in the order of ORDER."""
    B, n, batch = len(at.emb), len(signs), at.batch

    def moved(name: str) -> list[Array]:
        return [tensor(at, name) + sign * step[name] for sign in signs]

    embs = [*moved("emb"), *(dropped(embed(C, batch.contexts), batch.emb_mask) for C in moved("C"))]
    z_of_embs = np.split(np.concatenate(embs) @ at.p.W1 + at.p.b1, 2 * n)  # each (B, H)
    z_of_weights = [at.emb @ W1 + at.p.b1 for W1 in moved("W1")]
    z_of_biases = [at.emb @ at.p.W1 + b1 for b1 in moved("b1")]
    z = np.stack([*moved("z"), *z_of_embs[:n], *z_of_weights, *z_of_biases, *z_of_embs[n:]])  # (5n, B, H)
    h = np.tanh(z)
    if batch.h_mask is not None:
        h *= batch.h_mask
    h = np.concatenate([np.stack(moved("h")), h])  # (6n, B, H)
    V = at.logits.shape[1]
    of_h = (h.reshape(6 * n * B, -1) @ at.p.W2 + at.p.b2).reshape(6 * n, B, V)
    of_weights = [at.h @ W2 + at.p.b2 for W2 in moved("W2")]
    of_biases = [at.h @ at.p.W2 + b2 for b2 in moved("b2")]
    logits = np.concatenate(
        [np.stack(moved("logits")), of_h[: 3 * n], np.stack([*of_weights, *of_biases]), of_h[3 * n :]]
    )  # (9n, B, V): logits, h, z, emb, W2, b2, W1, b1, C
    each: Any = losses(logits.reshape(9 * n * B, V), np.tile(batch.targets, 9 * n))
    return np.asarray(each.reshape(9, n, B).mean(axis=2))


def slopes(at: Point, v: dict[str, Array], eps: dict[str, float], method: str) -> Array:
    """The numerical slope of the mean loss along each direction: (9,), in the order of ORDER."""
    step = {name: eps[name] * v[name] for name in ORDER}
    widths = np.array([eps[name] for name in ORDER])  # (9,)
    if method == "complex-step":
        return np.asarray(nudged_losses(at, step, (1j,))[:, 0].imag / widths)
    up, down = nudged_losses(at, step, (1, -1)).T
    return np.asarray((up - down) / (2 * widths))


def examine(at: Point, by_hand: dict[str, Array], check: Check, dtype: str, rng: np.random.Generator) -> list[Gradient]:
    """The rows `gradient` of a step, one for each of the nine tensors, of slopes."""
    v = directions(at, rng)
    moves, sizes = reach(at, v), magnitudes(at)
    central = check.method == "central"
    auto = {name: ROUNDING ** (1 / 3) / moves[name] if central else 1e-20 for name in ORDER}
    eps = auto if check.eps == "auto" else dict.fromkeys(ORDER, float(check.eps))
    numerical = slopes(at, v, eps, check.method)
    read = np.zeros(at.sizes.V, bool)
    read[at.batch.contexts] = True
    rows = []
    for name, slope in zip(ORDER, numerical, strict=True):
        g = by_hand[name].astype(np.float64)
        rtol, atol = tolerance(at, sizes, name, check, dtype, eps[name], moves[name])
        hand, found, size = float((g * v[name]).sum()), float(slope), float(np.linalg.norm(g))
        error = abs(hand - found)
        strange = name == "C" and bool(g[~read].any())  # rows of characters that are not in the batch: exactly zero
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
                numerical=found,
            )
        )
    return rows


def tolerance(
    at: Point, sizes: Magnitudes, name: str, check: Check, dtype: str, eps: float, move: float
) -> tuple[float, float]:
    """rtol, for the norm of the gradient, and atol, of a slope.

    Each of n entries is off by a rounding as in tolerances.py, and the sum of n of them times Gaussian numbers by
    sqrt(n) times that: of a quarter of what is allowed there for the worst entry, and without its chain where n is
    large, because the sum goes by the root mean square. A wrong suspicion costs a full check of the step. A central difference rounds by that of the loss over eps, and truncates by (eps t)^2 t; `move`
    is t, how far z or a logit moves along the direction.
    """
    B, info = len(at.emb), np.finfo(dtype)
    u = float(info.eps)
    touched = B if name in NAMES else 1
    n = tensor(at, name).size
    chain = max(1.0, sizes.chain / math.sqrt(n)) / 4
    entry = chain * sizes.rounding(name, u) * math.sqrt(touched) / B + float(info.smallest_normal) * move
    rtol, quotient = chain * u * sizes.into_loss, sizes.chain * ROUNDING * sizes.into_loss * move
    if check.method == "central":
        quotient = sizes.chain * ROUNDING * sizes.into_loss / eps + (eps * move) ** 2 * move
        rtol += (eps * move) ** 2
    atol = entry * math.sqrt(n) + quotient
    return (
        rtol if check.rtol == "auto" else float(check.rtol),
        atol if check.atol == "auto" else float(check.atol),
    )
