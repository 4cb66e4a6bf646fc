"""How far apart two right gradients may be: what rounding and the difference quotient do to them."""

import math
from typing import NamedTuple

import numpy as np

from trainer.config import Check
from trainer.core.model import NAMES
from trainer.core.numerical import ORDER, Point
from trainer.core.ops import Array

ROUNDING = float(np.finfo(np.float64).eps)


class Tolerances(NamedTuple):
    """For each tensor eps, how far an entry is nudged, and what may separate the two gradients."""

    eps: dict[str, float]
    rtol: dict[str, float]
    atol: dict[str, float]
    loss: float  # what rounding does to the loss in float64


def tolerances(at: Point, check: Check, dtype: str) -> Tolerances:
    """Bounds on rounding and truncation, from the sizes of the numbers at hand.

    By hand. A rounding unit u of the training type makes an error of u A in the logits, hence in the logarithm of p,
    and of at most u A / B in an example's dlogits; A is the sum of the magnitudes that go into the log-sum-exp. That is
    an error of u A s / B by a tensor whose entries move the logits by s. To dW2 comes the rounding of h itself, u times
    the magnitudes that go into z. Errors of the examples that an entry touches are independent: they add up as their
    root. Below the smallest normal number, digits are lost whatever the size of the result.

    Numerically. The central difference rounds by u_float64 A / eps and truncates by (eps t)^2 t; their sum is least
    near eps = u_float64^(1/3) / t. A complex step does not truncate, and rounds as the gradient by hand, by u_float64.
    """
    large = magnitudes(at)
    eps = nudges(check, large.moves)
    B, info = len(at.emb), np.finfo(dtype)
    u, smallest = float(info.eps), float(info.smallest_normal)
    rtol, atol = {}, {}
    for name in ORDER:
        t = large.moves[name]
        if check.method == "complex-step":
            bend, quotient = 0.0, large.rounding(name, ROUNDING)
        else:
            bend = eps[name] * t * eps[name] * t  # a power would raise OverflowError where this is infinite
            quotient = ROUNDING * large.into_loss / eps[name] + bend * t
        touched = B if name in NAMES else 1
        rounding = large.rounding(name, u) + quotient
        rtol[name] = float(large.chain * (u * large.into_loss + bend))
        atol[name] = float(large.chain * rounding * math.sqrt(touched) / B + smallest * t)
    if check.rtol != "auto":
        rtol = dict.fromkeys(ORDER, float(check.rtol))
    if check.atol != "auto":
        atol = dict.fromkeys(ORDER, float(check.atol))
    return Tolerances(eps, rtol, atol, large.chain * ROUNDING * large.into_loss)


def nudges(check: Check, moves: dict[str, float]) -> dict[str, float]:
    """For each tensor eps, how far an entry is nudged, where a nudge by 1 moves z or the logits so far."""
    if check.eps != "auto":
        return dict.fromkeys(ORDER, float(check.eps))
    if check.method == "complex-step":
        return dict.fromkeys(ORDER, 1e-20)  # its square is lost beside any number
    return {name: max(ROUNDING ** (1 / 3) / moves[name], 1e-300) for name in ORDER}


class Magnitudes(NamedTuple):
    """How large the numbers of a step are, and how far one moves another."""

    into_h: float  # the sum of the magnitudes that go into z, times what dropout scales h by
    into_loss: float  # and into the log-sum-exp, through both layers
    moves_logits: dict[str, float]  # how far the logits move when an entry moves by 1, at most
    moves: dict[str, float]  # the same, or how far z moves if that is more; at least 1
    chain: float  # roundings in a row: of eight operations, or of the longest sum, which add up as their root

    def rounding(self, name: str, u: float) -> float:
        """What rounding by u does to an entry of a tensor's gradient, times B, for one example."""
        of_h = self.into_h if name == "W2" else 0.0
        return u * (self.into_loss * self.moves_logits[name] + of_h)


def magnitudes(at: Point) -> Magnitudes:
    """Bounds by Cauchy-Schwarz, with tanh' <= 1."""
    (B, K), (V, H) = at.batch.contexts.shape, at.p.W2.shape[::-1]
    p, largest_emb, largest_h = at.p, float(abs(at.emb).max()), float(abs(at.h).max())
    kept_emb, kept_h = kept(at.batch.emb_mask), kept(at.batch.h_mask)
    out_of_unit, into_logit, out_of_emb = longest(p.W2), longest(p.W2.T), longest(p.W1)
    into_z = float((abs(at.emb) @ abs(p.W1) + abs(p.b1)).max())
    into_logits = float((abs(at.h) @ abs(p.W2) + abs(p.b2)).max())

    s = {"logits": 1.0, "h": out_of_unit, "z": out_of_unit * kept_h, "W2": largest_h, "b2": 1.0}
    s |= {"emb": out_of_emb * kept_h * into_logit, "W1": largest_emb * s["z"], "b1": s["z"]}
    s["C"] = s["emb"] * kept_emb * K
    t = {name: max(1.0, s[name]) for name in ORDER}
    t |= {
        "emb": max(t["emb"], out_of_emb),
        "W1": max(t["W1"], largest_emb),
        "C": max(t["C"], out_of_emb * kept_emb * K),
    }
    return Magnitudes(
        into_h=kept_h * into_z,
        into_loss=1 + math.log(V) + into_logits + into_z * max(1.0, kept_h * into_logit),
        moves_logits=s,
        moves=t,
        chain=max(8.0, math.sqrt(max(V, len(p.W1), H, B))),
    )


def longest(rows: Array) -> float:
    """The norm of the longest row; tiny numbers are scaled first, because their squares would vanish."""
    scale = float(abs(rows).max()) or 1.0
    scaled = rows / scale
    return scale * math.sqrt(float(np.vecdot(scaled, scaled).max()))


def kept(mask: Array | None) -> float:
    """What dropout multiplies a kept entry by, at most; 1 without dropout."""
    return 1.0 if mask is None else max(1.0, float(mask.max()))


def initial_loss(h: Array, targets: Array, V: int) -> float:
    """How far the first loss may be from log V by chance, in nats: h (B, H) after dropout, targets (B,).

    W2 is drawn with standard deviation w = 0.1 / sqrt(H), so that the logits are small. To first order the loss is
    log V minus the sum of W2 * G, where G = (y - 1/V)ᵀh / B, and so spreads by w times the norm of G: less the more
    examples there are, and the less they have in common. Five times that is exceeded once in a million starts. To
    second order half the variance of the logits comes on top, w² |h|² / 2, here with room for its own spread; and
    rounding in float32.
    """
    (B, H), w = h.shape, 0.1 / math.sqrt(h.shape[1])
    of_targets = np.zeros((V, H))
    np.add.at(of_targets, targets, h)
    G = (of_targets - h.sum(axis=0, dtype=np.float64) / V) / B  # (V, H)
    squares = (h.astype(np.float64) ** 2).sum(axis=1)  # (B,)
    return float(5 * w * np.linalg.norm(G) + 3 * w**2 * squares.mean() + 1e-5)
