"""A step under the names in which formulas are written: the model's, and those of "becoming a backprop ninja".

That well-known lecture goes through the loss in seven steps, each a link of its own, in place of p and y. A learner's
file that reads one of their names is given them all.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import numpy as np

from trainer.core import ops
from trainer.core.links import Link
from trainer.core.model import INNER, NAMES, Activations, Batch, Parameters
from trainer.core.ops import Array

EPS = 1e-20  # of the complex step
FORWARD: dict[str, Callable[..., Array]] = {
    "logit_maxes": lambda logits: logits.max(1, keepdims=True),  # (B, 1)
    "norm_logits": lambda logits, logit_maxes: logits - logit_maxes,  # (B, V)
    "counts": lambda norm_logits: np.exp(norm_logits),  # noqa: PLW0108  # (B, V)
    "counts_sum": lambda counts: counts.sum(1, keepdims=True),  # (B, 1)
    "counts_sum_inv": lambda counts_sum: counts_sum**-1,  # (B, 1)
    "probs": lambda counts, counts_sum_inv: counts * counts_sum_inv,  # (B, V)
    "logprobs": lambda probs: np.log(probs),  # noqa: PLW0108  # (B, V); the loss is the mean of -logprobs[target]
}
RIGHT: dict[str, Callable[..., Array]] = {
    "logprobs": lambda y, B: -y / B,
    "probs": lambda dlogprobs, probs: dlogprobs / probs,
    "counts_sum_inv": lambda dprobs, counts: (dprobs * counts).sum(1, keepdims=True),
    "counts_sum": lambda counts_sum, dcounts_sum_inv: -(counts_sum**-2) * dcounts_sum_inv,
    "counts": lambda dprobs, counts_sum_inv, dcounts_sum: dprobs * counts_sum_inv + dcounts_sum,
    "norm_logits": lambda dcounts, counts: dcounts * counts,
    "logit_maxes": lambda dnorm_logits: -dnorm_logits.sum(1, keepdims=True),
    "logits": lambda dnorm_logits, dlogit_maxes, logits, logit_maxes:
        dnorm_logits + dlogit_maxes * (logits == logit_maxes),
}  # fmt: skip
LINKS = {tensor: Link(tensor, (), "(B, 1) or (B, V)", "", "", "", "", right) for tensor, right in RIGHT.items()}


def given(p: Parameters, batch: Batch, a: Activations) -> dict[str, Any]:
    """A step without its gradients, under the names of the table."""
    names = {name: getattr(p, name) for name in NAMES} | {name: getattr(a, name) for name in INNER}
    y = (batch.targets[:, None] == np.arange(p.sizes.V)).astype(a.logits.dtype)  # (B, V)
    names |= {"X": batch.contexts, "Y": batch.targets, "p": ops.softmax(a.logits), "y": y}
    return {**names, "B": len(y), **p.sizes._asdict()}


def forward(arrays: Mapping[str, Any], nudged: str = "", nudge: Any = 0.0) -> dict[str, Any]:
    """The arrays and the seven steps made of them, with a nudge added to one of the steps."""
    names = dict(arrays)
    for step, formula in FORWARD.items():
        names[step] = formula(*(names[name] for name in signature(formula).parameters))
        if step == nudged:
            names[step] = names[step] + nudge
    return names


def gradients(arrays: Mapping[str, Any]) -> dict[str, Array]:
    """The numerical gradient by each step: a column is nudged in all examples at once, for they do not touch."""
    targets, found = (np.arange(arrays["B"]), arrays["Y"]), {}
    for step in FORWARD:
        found[step] = np.empty(arrays[step].shape)
        for j, column in enumerate(np.identity(arrays[step].shape[1])):
            logprobs = forward(arrays, step, 1j * EPS * column)["logprobs"]  # (B, V)
            found[step][:, j] = -logprobs[targets].imag / EPS / arrays["B"]
    return found
