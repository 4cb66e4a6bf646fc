"""How far apart two right numbers may be: what rounding and the difference quotient do to them.

    u           the distance from 1 to the next float of the training type, twice one rounding
    A           the sum of the magnitudes that go into the log-sum-exp, through both layers
    s           how far the logits move when an entry of a tensor moves by 1, at most
    t           the same, or how far z moves if that is more; at least 1
    chain       roundings in a row: of eight operations, or of the longest sum, which add up as their root
    touched     examples that an entry touches, whose errors are independent and add up as their root

By hand, a rounding makes an error of u A in the logits, hence in the logarithm of p, and of at most u A / B in an
example's dlogits: of u A s / B in the gradient of a tensor. To dW2 comes the rounding of h itself, u times the
magnitudes that go into z: its s is larger by their share of A. Numerically, a central difference rounds by u64 A / eps
and truncates by (eps t)² t, whose sum is least near eps = u64^(1/3) / t. A complex step truncates alike, rounds by u64.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.config import Check
from trainer.core.links import ORDER
from trainer.core.model import NAMES
from trainer.core.numerical import TINY, Point
from trainer.core.ops import Array


def machine_epsilon(dtype: npt.DTypeLike) -> float:
    """The distance from 1 to the next number of a type: twice the relative error of one rounding."""
    return float(np.finfo(dtype).eps)


U64 = machine_epsilon(np.float64)


def sum_of(n: int) -> float:
    """How many roundings a sum of n terms may be off by, in units of the sum of their magnitudes.

    n at most; and where n is large, eight times sqrt(n), for roundings that go either way add up as their root
    (Higham and Mary 2019, doi:10.1137/18M1226312, where eight stands for odds below 1 in 10^13).
    """
    return min(n, 8 * math.sqrt(n)) + 1


def loosened(bound: Array, right: Array, dtype: npt.DTypeLike) -> Array:
    """A bound with room for what the type cannot hold: small numbers lose their digits, large ones are infinite.

    A right value that is not finite bounds nothing either.
    """
    info = np.finfo(dtype)
    largest = 0.99 * float(info.max)
    held = (np.abs(right) < largest) & (bound < largest * float(info.eps))  # on the way there, too; False for nan
    return np.where(held, bound + 16 * float(info.smallest_subnormal), np.inf)


def magnitudes(at: Point) -> tuple[float, dict[str, float], dict[str, float], float]:
    """A, s, t and chain of a step: bounds by Cauchy-Schwarz, with tanh' <= 1."""
    (V, K, _, H), p, B = at.p.sizes, at.p, len(at.batch.targets)
    largest_emb, largest_h = float(abs(at.a.emb).max()), float(abs(at.a.h).max())
    kept_emb, kept_h = kept(at.batch.emb_mask), kept(at.batch.h_mask)
    out_of_unit, into_logit, out_of_emb = longest(p.W2), longest(p.W2.T), longest(p.W1)
    into_z = float((abs(at.a.emb) @ abs(p.W1) + abs(p.b1)).max())
    into_logits = float((abs(at.a.h) @ abs(p.W2) + abs(p.b2)).max())
    A = 1 + math.log(V) + into_logits + into_z * max(1.0, kept_h * into_logit)

    s = {"logits": 1.0, "h": out_of_unit, "z": out_of_unit * kept_h, "W2": largest_h, "b2": 1.0}
    s |= {"emb": out_of_emb * kept_h * into_logit, "W1": largest_emb * s["z"], "b1": s["z"]}
    s["C"] = s["emb"] * kept_emb * K
    of_z = {"emb": out_of_emb, "W1": largest_emb, "C": out_of_emb * kept_emb * K}
    t = {name: max(1.0, s[name], of_z.get(name, 0.0)) for name in ORDER}
    s["W2"] += kept_h * into_z / A  # h itself is rounded
    return A, s, t, max(8.0, math.sqrt(max(V, len(p.W1), H, B)))


def longest(rows: Array) -> float:
    """The norm of the longest row; tiny numbers are scaled first, because their squares would vanish."""
    scale = float(abs(rows).max()) or 1.0
    return scale * float(np.linalg.norm(rows / scale, axis=1).max())


def kept(mask: Array | None) -> float:
    """What dropout multiplies a kept entry by, at most; 1 without dropout."""
    return 1.0 if mask is None else max(1.0, float(mask.max()))


class Tolerances(NamedTuple):
    """For each tensor eps, how far it is nudged, and what may separate the two gradients."""

    eps: dict[str, float]
    rtol: dict[str, float]
    atol: dict[str, float]
    loss: float  # what rounding does to the loss in float64


def tolerances(at: Point, check: Check, dtype: str, slopes: bool = False) -> Tolerances:
    """Bounds on rounding and truncation of every entry, from the sizes of the numbers at hand.

    Or of `slopes` along a direction of length 1, where rtol is for the root mean square of the gradient. It moves the
    numbers no farther than an entry does, but in all examples; and the errors of n entries add up as their root, to
    that of one: to a quarter of what the worst may have. A wrong suspicion costs a full check of the step.
    """
    A, s, t, chain = magnitudes(at)
    B, u, smallest = len(at.batch.targets), machine_epsilon(dtype), float(np.finfo(dtype).smallest_normal)
    complex_step = check.method == "complex-step"
    nudge = {name: TINY if complex_step else max(U64 ** (1 / 3) / t[name], 1e-300) for name in ORDER}
    eps, rtol, atol = written_or(check.eps, nudge), {}, {}
    for name in ORDER:
        bend = eps[name] * t[name] * eps[name] * t[name]  # a power would raise OverflowError where this is infinite
        lost = U64 * A * s[name] if complex_step else U64 * A / eps[name]
        quotient = chain * (lost + bend * t[name])
        by_hand = max(1.0, chain / math.sqrt(at.tensors[name].size)) / 4 if slopes else chain
        touched = B if slopes or name in NAMES else 1
        rounding = by_hand * u * A * s[name] + quotient
        rtol[name] = by_hand * u * A + chain * bend
        # Below the smallest normal number digits are lost, whatever the size of the result.
        atol[name] = rounding * math.sqrt(touched) / B + smallest * t[name]
    return Tolerances(eps, written_or(check.rtol, rtol), written_or(check.atol, atol), chain * U64 * A)


def written_or(value: float | str, auto: dict[str, float]) -> dict[str, float]:
    """What the configuration gives for all tensors, or for `auto` what is worked out for each."""
    return auto if value == "auto" else dict.fromkeys(ORDER, float(value))


def of_initial_loss(h: Array, targets: Array, V: int) -> float:
    """How far the first loss may be from log V by chance, in nats: h (B, H) after dropout, targets (B,).

    W2 is drawn with standard deviation w = 0.1 / sqrt(H), so that the logits are small. To first order the loss is
    log V minus the sum of W2 * G, where G = (y - 1/V)ᵀh / B, and so spreads by w times the norm of G: less the more
    examples there are, and the less they have in common. Five times that is exceeded once in a million starts. On top
    come half the variance of the logits, w² |h|² / 2, here with room for its own spread, and rounding in float32.
    """
    B, w = len(h), 0.1 / math.sqrt(h.shape[1])
    h = h.astype(np.float64)
    y = targets[:, None] == np.arange(V)  # (B, V)
    G = (y - 1 / V).T @ h / B  # (V, H)
    return float(5 * w * np.linalg.norm(G) + 3 * w**2 * (h * h).sum(axis=1).mean() + 1e-5)
