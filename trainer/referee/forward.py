"""The forward pass: emb, z, h, logits and the loss of training, held against the same pass in float64.

Each is computed from the one before it as training left it, so that a slip is found in the operation that made it.
"""

import math
from dataclasses import dataclass

import numpy as np

from trainer.core import ops
from trainer.core.ops import Array
from trainer.core.verdicts import Verdict
from trainer.core.witness import Witness
from trainer.referee import forward_mistakes
from trainer.referee.instead import loosened, mistake, ratio, sum_of, times, unit, worst
from trainer.referee.plain import dropped, embed, losses


@dataclass(frozen=True, kw_only=True, repr=False)
class Forward(Verdict):
    """One tensor of the forward pass. `found` says what is wrong and where to look; empty if it passed."""

    name: str = "forward"
    tensor: str  # emb, z, h, logits or loss
    max_abs_error: float
    atol: float  # the bound of the worst entry
    found: str

    @property
    def severity(self) -> float:
        return self.max_abs_error


# How far rounding may take training from it. u is the distance from 1 to the next number of the training type.


def affine_bound(x: Array, W: Array, b: Array, u: float) -> Array:
    """A sum of n products and a bias, each of them rounded: (B, I), (I, O), (O,) -> (B, O)."""
    return u * sum_of(len(W)) * (np.abs(x) @ np.abs(W) + np.abs(b))


def loss_bound(logits: Array, loss: Array, u: float) -> Array:
    """The bound on an example's loss, log(sum of exp(s)) - s[target] with s = logits - max: (B, V), (B,) -> (B,).

    Rounding s moves exp(s) by u |s| of itself, exp and the sum over V by some roundings of themselves. On average over
    the softmax |s| is at most log V, so the logarithm moves by that much; and so do s[target], which is at most the
    loss in size, and the result.
    """
    V = logits.shape[1]
    return u * (8 + sum_of(V) + 3 * math.log(V) + 2 * np.abs(loss))


def examine(witness: Witness) -> list[Forward]:
    """The rows `forward` of a checked step: emb, z, h, logits, loss."""
    p, batch, seen = witness.before, witness.batch, witness.forward
    dtype = p.flat.dtype
    u = unit(dtype)
    C, W1, b1, W2, b2 = (array.astype(np.float64) for array in (p.C, p.W1, p.b1, p.W2, p.b2))
    emb, z, h, logits = (seen[name].astype(np.float64) for name in ("emb", "z", "h", "logits"))

    right = {"emb": dropped(embed(C, batch.contexts), batch.emb_mask)}
    right["z"] = emb @ W1 + b1
    right["h"] = dropped(np.tanh(z), batch.h_mask)
    right["logits"] = h @ W2 + b2
    each = losses(logits, batch.targets)  # (B,)
    right["loss"] = each.mean(keepdims=True)

    bounds = {"emb": 2 * u * np.abs(right["emb"])}  # one rounding, of the product with the mask
    bounds["z"] = affine_bound(emb, W1, b1, u)
    bounds["h"] = 8 * u * np.abs(right["h"])  # tanh to four units in the last place, and the mask
    bounds["logits"] = affine_bound(h, W2, b2, u)
    bounds["loss"] = loss_bound(logits, each, u).mean(keepdims=True)

    found = {"emb": emb, "z": z, "h": h, "logits": logits, "loss": np.array([witness.loss])}
    rows = []
    for tensor, array in found.items():
        bound = loosened(bounds[tensor], right[tensor], dtype)
        off = worst(array, right[tensor], bound)
        said = "" if off.passed else f"{explain(witness, tensor, array, right[tensor], bound)}; {off}"
        rows.append(
            Forward(
                passed=off.passed, tensor=tensor, max_abs_error=off.error, atol=off.bound, found=said
            )
        )  # fmt: skip
    return rows


# What was done instead.

WHERE = {
    "emb": "look at embedding, emb = C[contexts], the rows side by side",
    "z": "look at affine in the hidden layer, z = emb @ W1 + b1",
    "h": "look at tanh, h = tanh(z)",
    "logits": "look at affine in the output layer, logits = h @ W2 + b2",
    "loss": "look at softmax and cross_entropy, loss = mean of -log softmax(logits)[target]",
}


def explain(witness: Witness, tensor: str, found: Array, right: Array, bound: Array) -> str:
    """What is wrong, where to look, and what was done instead where it can be told."""
    mask = {"emb": witness.batch.emb_mask, "h": witness.batch.h_mask}.get(tensor)
    where = WHERE[tensor] + (", or at dropout, times the mask" if mask is not None else "")
    factor = ratio(found, right, bound)
    words = mistake(found, unit(witness.before.flat.dtype), forward_mistakes.known(witness, tensor))
    if not words and factor is not None:
        words = f"it is {times(factor)}"
    if not words and not np.isfinite(found).all():
        words = "it holds numbers that are not finite"
    return f"the forward pass: {tensor} is wrong: {where}{words and '; '}{words}"


def probe(witness: Witness) -> str:
    """What is wrong with `affine` where biases are not zero, as they are at the start; empty if nothing is."""
    given = witness.forward["emb"], witness.before.W1
    bias = np.random.default_rng(0).standard_normal(witness.before.b1.shape).astype(given[1].dtype)
    found = ops.affine(*given, bias).astype(np.float64)
    x, W = (array.astype(np.float64) for array in given)
    u = unit(witness.before.flat.dtype)
    right, bound = x @ W + bias, affine_bound(x, W, bias, u)
    if worst(found, right, loosened(bound, right, witness.before.flat.dtype)).passed:
        return ""
    words = mistake(found, u, forward_mistakes.known_affine(x, W, bias.astype(np.float64)))
    return f"affine gives something else than x @ W + b{words and ': '}{words}"
