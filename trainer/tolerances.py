"""How far apart two right gradients may be: what rounding and the difference quotient do to them."""

import math
from typing import NamedTuple

import numpy as np

from trainer.config import Check
from trainer.model import NAMES
from trainer.numerical import ORDER, Point

ROUNDING = float(np.finfo(np.float64).eps)


class Tolerances(NamedTuple):
    """For each tensor the step of the difference quotient, and what may separate the two gradients."""

    eps: dict[str, float]
    rtol: dict[str, float]
    atol: dict[str, float]
    loss: float  # what rounding does to the loss in float64


def tolerances(at: Point, check: Check, dtype: str) -> Tolerances:
    """Bounds on rounding and truncation, from the sizes of the numbers at hand.

    s: how far the logits move when an entry moves by 1 (by Cauchy-Schwarz, with tanh' <= 1).
    t: the same, or how far z moves, if that is more; the quotient is taken over eps = eps0 / t.
    A: the sum of the magnitudes that go into a logit, through both layers; a rounding unit u makes an
    error of u A in the logits, hence in the logarithm of p, and of at most u A / B in an example's dlogits.

    By hand, the error is u_dtype A s / B for each example. The central difference rounds by
    u_float64 A / eps and truncates by (eps t)^2 t; their sum is least near eps0 = u^(1/3). A complex step does
    neither. Errors of the examples that an entry touches are independent: they add up as their root.
    The factor 8 is for the length of the chain.
    """
    B, K = at.batch.contexts.shape
    p, u = at.p, float(np.finfo(dtype).eps)
    masks = at.batch.emb_mask, at.batch.h_mask
    kept_emb, kept_h = (1.0 if mask is None else max(1.0, float(mask.max())) for mask in masks)
    h, emb = float(abs(at.h).max()), float(abs(at.emb).max())
    out_of_unit, into_logit = np.linalg.norm(p.W2, axis=1).max(), np.linalg.norm(p.W2, axis=0).max()
    out_of_emb = np.linalg.norm(p.W1, axis=1).max()
    z_sum = float((abs(at.emb) @ abs(p.W1) + abs(p.b1)).max())
    A = 1 + float((abs(at.h) @ abs(p.W2) + abs(p.b2)).max()) + z_sum * max(1.0, kept_h * into_logit)

    s = {"logits": 1.0, "h": out_of_unit, "z": out_of_unit * kept_h, "W2": h, "b2": 1.0}
    s |= {"emb": out_of_emb * kept_h * into_logit, "W1": emb * s["z"], "b1": s["z"]}
    s["C"] = s["emb"] * kept_emb * K
    t = {name: max(1.0, s[name]) for name in ORDER}
    t |= {"emb": max(t["emb"], out_of_emb), "W1": max(t["W1"], emb), "C": max(t["C"], out_of_emb * kept_emb * K)}
    touched = {name: B if name in NAMES else 1 for name in ORDER}

    complex_step = check.method == "complex-step"
    eps, rtol, atol = {}, {}, {}
    for name in ORDER:
        auto = 1e-20 if complex_step else ROUNDING ** (1 / 3) / t[name]
        eps[name] = e = auto if check.eps == "auto" else float(check.eps)
        quotient = ROUNDING * A * s[name] if complex_step else ROUNDING * A / e + (e * t[name]) ** 2 * t[name]
        rtol[name] = 8 * (u * A + (0 if complex_step else (e * t[name]) ** 2))
        atol[name] = 8 * (u * A * s[name] + quotient) * math.sqrt(touched[name]) / B
    if check.rtol != "auto":
        rtol = dict.fromkeys(ORDER, float(check.rtol))
    if check.atol != "auto":
        atol = dict.fromkeys(ORDER, float(check.atol))
    return Tolerances(eps, rtol, atol, 8 * ROUNDING * A)
