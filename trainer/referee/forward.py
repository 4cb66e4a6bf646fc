"""The forward pass: emb, z, h, logits and the loss of training, held against the same pass in float64.

Each is computed from the one before it as training left it, so that a slip is found in the operation that made it.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from trainer.core import model, ops
from trainer.core.links import FORWARD
from trainer.core.model import Batch, Parameters
from trainer.core.ops import Array
from trainer.core.step import Step, masks
from trainer.core.tolerances import loosened, machine_epsilon, sum_of
from trainer.core.verdict import Verdict, compare
from trainer.mistakes.blame import at_fault, holds
from trainer.mistakes.diagnosis import Candidate, instead, rounding


def in_float64(p: Parameters, batch: Batch, given: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """emb, z, h, logits and each example's loss (B,), each from the one before it, as computed here or as `given`."""
    x: dict[str, Array] = {}
    given = x if given is None else given
    C, W1, b1, W2, b2 = (array.astype(np.float64) for array in (p.C, p.W1, p.b1, p.W2, p.b2))
    of_emb, of_h = (1.0 if mask is None else mask.astype(np.float64) for mask in (batch.emb_mask, batch.h_mask))
    x["emb"] = np.concatenate([C[ids] for ids in batch.contexts.T], axis=1) * of_emb  # (B, K*D)
    x["z"] = given["emb"] @ W1 + b1  # (B, H)
    x["h"] = np.tanh(given["z"]) * of_h  # (B, H)
    x["logits"] = given["h"] @ W2 + b2  # (B, V)
    x["loss"] = losses(given["logits"], batch.targets)
    return x


def losses(logits: Array, targets: Array) -> Array:
    """-log softmax(logits)[target] of each example, in nats, with the largest logit taken off: (B, V), (B,) -> (B,)."""
    shifted = logits - logits.max(axis=1, keepdims=True)  # (B, V)
    return np.asarray(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(targets)), targets])


def bounds(p: Parameters, x: Mapping[str, Array], u: float) -> dict[str, Array]:
    """How far one operation's rounding by u may take training from each of what `in_float64` gives.

    An affine sum rounds by its magnitudes, tanh by four units in the last place. The loss is log(sum of exp(s)) less s
    at the target: rounding s moves exp(s) by u |s| of itself, and |s| is on average over the softmax at most log V;
    exp and the sum over V add some roundings of themselves; s at the target is at most the loss in size.
    """
    size = {name: np.abs(value) for name, value in x.items()}
    V = len(p.b2)
    return {
        "emb": 2 * u * size["emb"],  # one rounding, of the product with the mask
        "z": u * sum_of(len(p.W1)) * (size["emb"] @ np.abs(p.W1) + np.abs(p.b1)),
        "h": 8 * u * size["h"],
        "logits": u * sum_of(len(p.W2)) * (size["h"] @ np.abs(p.W2) + np.abs(p.b2)),
        "loss": u * (8 + sum_of(V) + 3 * math.log(V) + 2 * size["loss"]),
    }


def check_forward(step: Step) -> list[Verdict]:
    """The verdicts `forward` of a step: emb, z, h, logits, loss, the last with the mean that is shown."""
    p, batch, dtype = step.before, step.batch, step.before.flat.dtype
    found = {name: step.forward[name].astype(np.float64) for name in ("emb", "z", "h", "logits")}
    right = in_float64(p, batch, found)
    bound = bounds(p, right, machine_epsilon(dtype))
    found["loss"] = np.append(ops.cross_entropy(step.forward["logits"], batch.targets), step.loss)  # (B + 1,)
    right["loss"], bound["loss"] = (np.append(each["loss"], each["loss"].mean()) for each in (right, bound))
    verdicts = []
    for of, value in found.items():
        verdict = compare("forward", value, right[of], loosened(bound[of], right[of], dtype), of)
        if not verdict.passed:
            verdict = replace(verdict, words=told(verdict, step, value, right[of]))
        verdicts.append(verdict)
    return verdicts


def told(verdict: Verdict, step: Step, found: Array, right: Array) -> str:
    """What is wrong, where to look, and what was done instead where it can be told."""
    p, batch, x, tensor = step.before, step.batch, step.forward, str(verdict.of)
    alone = {
        "emb": lambda: model.embed(p.C, batch),
        "z": lambda: ops.affine(x["emb"], p.W1, p.b1),
        "h": lambda: ops.dropout(getattr(ops, FORWARD["h"].operation)(x["z"]), batch.h_mask),
        "logits": lambda: ops.affine(x["h"], p.W2, p.b2),
    }
    place = FORWARD[tensor].operation + " or dropout" * (tensor in masks(batch))
    if verdict.worst == [len(batch.targets)]:
        place = "loss in step.py"
    elif tensor in alone:
        whole = lambda: model.forward(p, batch)._asdict()[tensor]
        place = at_fault(place, "forward", alone[tensor](), whole, partial(holds, verdict))
    sizes = {"B": len(batch.targets), **step.g.sizes._asdict()}
    done = instead(found, right, slips(tensor, step), rounding(step.g.flat.dtype), sizes=sizes)
    worst = f"worst at {verdict.worst}: {verdict.found:.6e}, should be {verdict.expected:.6e}"
    said = f"{tensor} is wrong: look at {place}, {FORWARD[tensor].formula}; {worst}"
    return f"the forward pass: {said}" + (f"; {done}" if done else "")


def slips(tensor: str, step: Step) -> list[Candidate]:
    """What people do instead, and what it gives."""
    p, batch = step.before, step.batch
    x = {name: array.astype(np.float64) for name, array in step.forward.items()}
    plain = in_float64(p, batch._replace(emb_mask=None, h_mask=None), x)
    found = {
        "emb": ("the context was reversed", in_float64(p, batch._replace(contexts=batch.contexts[:, ::-1]))["emb"]),
        "z": ("the bias is missing", plain["z"] - p.b1),
        "h": ("there is no tanh", x["z"] * masks(batch).get("h", 1)),
        "logits": ("the bias is missing", plain["logits"] - p.b2),
    }
    candidates = [found[tensor]] if tensor in found else []
    if tensor in masks(batch):
        candidates.append(("the mask was not applied", plain[tensor]))
        candidates.append(("what is kept was not scaled by 1 / (1 - rate)", plain[tensor] * (masks(batch)[tensor] > 0)))
    return candidates
