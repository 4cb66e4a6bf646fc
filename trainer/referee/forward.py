"""The forward pass, of a step and of an evaluation, held against the same pass in float64.

Each tensor of a step is computed from the one before it as training left it, so that a slip is found in the operation
that made it. Of an evaluation the places are looked at, a few of their losses, and the mean.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from trainer.core import model, ops
from trainer.core.links import FORWARD
from trainer.core.model import Batch, Parameters
from trainer.core.numerical import point
from trainer.core.ops import Array
from trainer.core.step import Step, masks
from trainer.core.tolerances import loosened, machine_epsilon, magnitudes, sum_of
from trainer.core.verdict import Verdict, compare
from trainer.mistakes.blame import at_fault, holds
from trainer.mistakes.diagnosis import instead, rounding
from trainer.referee.feeding import examples_at, splits_of
from trainer.text.corpus import Corpus

FEW = 32  # losses of an evaluation that are computed again


def in_float64(p: Parameters, batch: Batch, given: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """emb, z, h, logits and loss, each from the one before it, as computed here or as `given`.

    loss (B + 1,) is that of each example, -log softmax(logits)[target] in nats, and at last their mean.
    """
    x: dict[str, Array] = {}
    given, mask, p = x if given is None else given, masks(batch), Parameters(p.sizes, p.flat.astype(np.float64))
    x["emb"] = np.concatenate([p.C[ids] for ids in batch.contexts.T], axis=1) * mask.get("emb", 1)  # (B, K*D)
    x["z"] = given["emb"] @ p.W1 + p.b1  # (B, H)
    x["h"] = np.tanh(given["z"]) * mask.get("h", 1)  # (B, H)
    x["logits"] = given["h"] @ p.W2 + p.b2  # (B, V)
    shifted = given["logits"] - given["logits"].max(axis=1, keepdims=True)  # (B, V): nothing overflows
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(shifted)), batch.targets]  # (B,)
    x["loss"] = np.append(losses, losses.mean())
    return x


def bounds(p: Parameters, x: Mapping[str, Array], u: float) -> dict[str, Array]:
    """How far one operation's rounding by u may take training from each of what `in_float64` gives.

    An affine sum rounds by its magnitudes, tanh by four units in the last place. The loss is log(sum of exp(s)) less s
    at the target: rounding s moves exp(s) by u |s| of itself, and |s| is on average over the softmax at most log V;
    exp and the sum over V add some roundings of themselves; s at the target is at most the loss in size.
    """
    size, V = {name: np.abs(value) for name, value in x.items()}, p.sizes.V
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
    found = {name: value.astype(np.float64) for name, value in step.forward.items()}
    right = in_float64(p, batch, found)
    bound = bounds(p, right, machine_epsilon(dtype))
    found["loss"] = np.append(ops.cross_entropy(step.forward["logits"], batch.targets), step.loss)  # (B + 1,)
    verdicts = [compare("forward", found[of], right[of], loosened(bound[of], right[of], dtype), of) for of in right]
    for verdict in verdicts:
        if not verdict.passed:
            verdict.words = told(verdict, step, found, right)
    return verdicts


def told(verdict: Verdict, step: Step, found: Mapping[str, Array], right: Mapping[str, Array]) -> str:
    """What is wrong, where to look, and what was done instead where it can be told."""
    p, batch, x, tensor = step.before, step.batch, step.forward, str(verdict.of)
    alone = {
        "emb": model.embed(p.C, batch),
        "z": ops.affine(x["emb"], p.W1, p.b1),
        "h": ops.dropout(ops.tanh(x["z"]), batch.h_mask),
        "logits": ops.affine(x["h"], p.W2, p.b2),
    }
    place = FORWARD[tensor].operation + " or dropout" * (tensor in masks(batch))
    if tensor in alone:
        whole = lambda: model.forward(p, batch)._asdict()[tensor]
        place = at_fault(place, "forward", alone[tensor], whole, partial(holds, verdict))
    elif verdict.worst == [len(batch.targets)]:
        place = "loss in step.py"
    known = [(words, made[tensor]) for words, made in slips(step, found, right).items() if tensor in made]
    sizes = {"B": len(batch.targets), **p.sizes._asdict()}
    done = instead(found[tensor], right[tensor], known, rounding(p.flat.dtype), sizes=sizes)
    worst = f"worst at {verdict.worst}: {verdict.found:.6e}, should be {verdict.expected:.6e}"
    said = f"the forward pass: {tensor} is wrong: look at {place}, {FORWARD[tensor].formula}; {worst}"
    return f"{said}; {done}" if done else said


def slips(step: Step, given: Mapping[str, Array], right: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """What people do instead, and the tensors that it makes; where it changes nothing, they are as they should be."""
    p, batch, mask = step.before, step.batch, masks(step.batch)
    plain = in_float64(p, batch._replace(emb_mask=None, h_mask=None), given)
    return {
        "the context was reversed": in_float64(p, batch._replace(contexts=batch.contexts[:, ::-1]), given),
        "the bias is missing": {"z": right["z"] - p.b1, "logits": right["logits"] - p.b2},
        "there is no tanh": {"h": given["z"] * mask.get("h", 1)},
        "the mask was not applied": plain,
        "what is kept was not scaled by 1 / (1 - rate)": {name: plain[name] * (mask[name] > 0) for name in mask},
    }


def check_evaluation(
    p: Parameters, corpus: Corpus, split: str, positions: Array, losses: Array, shown: float, rng: np.random.Generator
) -> Verdict:
    """The verdict `evaluation` of a split: its positions (n,), a few of the losses (n,), and `shown` are right."""
    (start, end), n, dtype = corpus.splits[split], len(positions), p.flat.dtype
    distinct = len(np.unique(positions[(positions >= start) & (positions < end)]))
    few = rng.permutation(n)[:FEW]
    examples = examples_at(corpus, positions[few], p.sizes.K)  # (few, K + 1)
    batch = Batch(examples[:, :-1], examples[:, -1])
    found, right = np.resize(losses, n)[few].astype(np.float64), in_float64(p, batch)["loss"][:-1]  # (few,)
    A, _, _, chain = magnitudes(point(p, batch))  # float64
    bound = loosened(np.asarray(chain * machine_epsilon(dtype) * A), right, dtype)
    done = instead(found, right, [], rounding(dtype), sizes={"B": 1, **p.sizes._asdict()})
    mean = losses.mean(dtype=np.float64)
    looks: dict[str, tuple[Any, Any, Any]] = {  # each trusts those before it
        f"evaluate in session.py, distinct places of the split ({splits_of(corpus, positions)})": (distinct, n, 0),
        "losses in threads.py, losses of its places": (losses.size, n, 0),
        f"losses in threads.py, {done or 'is dropout on, or are other parameters taken?'}": (found, right, bound),
        f"evaluate in session.py, the mean of {n} losses": (shown, mean, 1e-9 * (1 + abs(mean))),
    }
    for where, numbers in looks.items():
        verdict = compare("evaluation", *numbers, split)
        if not verdict.passed:
            said = f"look at {where}: {verdict.found:.8g}, should be {verdict.expected:.8g}"
            verdict.words = f"evaluation of the {split} split is wrong: {said}"
            break
    verdict.count = n
    return verdict
