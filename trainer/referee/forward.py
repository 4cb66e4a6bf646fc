"""The forward pass: emb, z, h, logits and the loss of training, held against the same pass in float64.

Each is computed from the one before it as training left it, so that a slip is found in the operation that made it.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from trainer.core import model, ops
from trainer.core.links import FORWARD
from trainer.core.model import Batch, Parameters
from trainer.core.ops import Array
from trainer.core.tolerances import loosened, sum_of, unit
from trainer.core.verdict import Verdict, compare
from trainer.core.witness import Witness
from trainer.mistakes.diagnosis import Candidate, instead, rounding


def in_float64(p: Parameters, batch: Batch, given: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """emb, z, h, logits and each example's loss (B,) from the definitions, each from the one before it.

    `given` stand in for what is computed here, as what the next one is made from.
    """
    given, x = given or {}, {}
    C, W1, b1, W2, b2 = (array.astype(np.float64) for array in (p.C, p.W1, p.b1, p.W2, p.b2))
    emb = np.concatenate([C[ids] for ids in batch.contexts.T], axis=1)  # (B, K*D)
    x["emb"] = dropped(emb, batch.emb_mask)
    x["z"] = given.get("emb", x["emb"]) @ W1 + b1  # (B, H)
    x["h"] = dropped(np.tanh(given.get("z", x["z"])), batch.h_mask)  # (B, H)
    x["logits"] = given.get("h", x["h"]) @ W2 + b2  # (B, V)
    x["loss"] = losses(given.get("logits", x["logits"]), batch.targets)
    return x


def losses(logits: Array, targets: Array) -> Array:
    """-log softmax(logits)[target] of each example, in nats, with the largest logit taken off: (B, V), (B,) -> (B,)."""
    shifted = logits - logits.max(axis=1, keepdims=True)  # (B, V)
    return np.asarray(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(targets)), targets])


def dropped(x: Array, mask: Array | None) -> Array:
    """x times its dropout mask, where there is one: (B, n), (B, n) -> (B, n)."""
    return x if mask is None else x * mask.astype(np.float64)


def bounds(p: Parameters, x: Mapping[str, Array], u: float) -> dict[str, Array]:
    """How far one operation's rounding by u may take training from each of what `in_float64` gives.

    An affine sum rounds by its magnitudes, tanh by four units in the last place. Of the loss, log(sum of exp(s)) less s
    at the target: rounding s moves exp(s) by u |s| of itself, exp and the sum over V by some roundings of themselves.
    On average over the softmax |s| is at most log V, so the logarithm moves by that much; and so do s at the target,
    which is at most the loss in size, and the result.
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


def check_forward(witness: Witness) -> list[Verdict]:
    """The verdicts `forward` of a step: emb, z, h, logits, loss."""
    p, batch, dtype = witness.before, witness.batch, witness.before.flat.dtype
    found = {name: witness.forward[name].astype(np.float64) for name in ("emb", "z", "h", "logits")}
    right = in_float64(p, batch, found)
    bound = bounds(p, right, unit(dtype))
    found["loss"] = ops.cross_entropy(witness.forward["logits"], batch.targets).astype(np.float64)
    verdicts = []
    for of, value in found.items():
        verdict = compare("forward", value, right[of], loosened(bound[of], right[of], dtype), of)
        if not verdict.passed:
            verdict = replace(verdict, words=in_words(verdict, witness, value, right[of]))
        verdicts.append(verdict)
    if verdicts[-1].passed:
        mean, own = right["loss"].mean(keepdims=True), bound["loss"].mean(keepdims=True)
        verdict = compare("forward", np.array([witness.loss]), mean, loosened(own, mean, dtype), "loss")
        said = f"look at loss in witness.py: {verdict.found}, should be {verdict.expected}"
        verdicts[-1] = verdict if verdict.passed else replace(verdict, words=f"the forward pass: loss is wrong: {said}")
    return verdicts


def in_words(verdict: Verdict, witness: Witness, found: Array, right: Array) -> str:
    """What is wrong, where to look, and what was done instead where it can be told."""
    tensor = str(verdict.of)
    rtol, (V, K, _, _) = rounding(witness.g.flat.dtype), witness.sizes
    done = instead(found, right, slips(tensor, witness), rtol, sizes=(len(right), V, K))
    worst = f"worst at {verdict.worst}: {verdict.found:.6e}, should be {verdict.expected:.6e}"
    place = f"{suspect(verdict, witness)}, {FORWARD[tensor].formula}"
    return f"the forward pass: {tensor} is wrong: look at {place}; {worst}" + (f"; {done}" if done else "")


def suspect(verdict: Verdict, witness: Witness) -> str:
    """The function to look at: the first whose result is wrong when it is run once more on what it was given."""
    p, batch, x, tensor = witness.before, witness.batch, witness.forward, str(verdict.of)
    again: dict[str, Callable[[], Array]] = {
        "emb": lambda: model.embed(p.C, batch),
        "z": lambda: ops.affine(x["emb"], p.W1, p.b1),
        "h": lambda: model.activate(ops.tanh(x["z"]), batch.h_mask),
        "logits": lambda: ops.affine(x["h"], p.W2, p.b2),
        "loss": lambda: ops.cross_entropy(x["logits"], batch.targets),
    }
    mask, place = {"emb": batch.emb_mask, "h": batch.h_mask}.get(tensor), tuple(verdict.worst or ())
    operation = FORWARD[tensor].operation + ("" if mask is None else " or dropout")
    if not abs(float(again[tensor]()[place]) - verdict.expected) <= verdict.tolerance:
        return operation
    if not abs(float(model.forward(p, batch)._asdict()[tensor][place]) - verdict.expected) <= verdict.tolerance:
        return f"forward in model.py ({operation} by itself gives what it should)"
    return "gradients in threads.py (forward by itself gives what it should)"


def slips(tensor: str, witness: Witness) -> Iterator[Candidate]:
    """What people do instead, and what it gives."""
    p, batch = witness.before, witness.batch
    mask = {"emb": batch.emb_mask, "h": batch.h_mask}.get(tensor)
    x = {name: array.astype(np.float64) for name, array in witness.forward.items()}
    plain = in_float64(p, batch._replace(emb_mask=None, h_mask=None), x)
    if mask is not None:
        yield "the mask was not applied", plain[tensor]
        yield "what is kept was not scaled by 1 / (1 - rate)", plain[tensor] * (mask > 0)
    match tensor:
        case "emb":
            yield "the context was reversed", in_float64(p, batch._replace(contexts=batch.contexts[:, ::-1]))["emb"]
        case "h":
            yield "there is no tanh", dropped(x["z"], mask)
        case "z" | "logits":
            yield "the bias is missing", plain[tensor] - (p.b1 if tensor == "z" else p.b2)


def start_warnings(witness: Witness) -> list[str]:
    """Sentences about a model that learns nothing, or next to nothing, from its first step on; none for a sound one."""
    silent = {"W2": "the hidden layer gets no gradient", "W1": "C gets no gradient", "C": "W1 gets no gradient"}
    zero = [name for name in silent if not getattr(witness.before, name).any()]
    said = [f"{name} is all zero at the start: {silent[name]} at the first step" for name in zero]
    share = float((np.abs(np.tanh(witness.forward["z"])) > 0.99).mean())
    if share > 0.5:
        flat = "(|tanh| > 0.99), where its slope is nearly 0: W1 or C is too large"
        said.append(f"{share:.0%} of the hidden units are saturated at the start {flat}")
    return said
