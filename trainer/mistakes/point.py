"""Where a backward pass is judged: one small batch, under the names in which formulas are written, and what is right.

All sizes differ, so that a transposed or wrongly summed array has a shape of its own. Biases are random and W2 is ten
times its initial size: at the ordinary start the biases are zero, and there some mistakes leave no trace.

The names are the model's, and those of "becoming a backprop ninja". That well-known lecture goes through the loss in
seven steps, each a link of its own, in place of p and y. A learner's file that reads one of them is given them all.
"""

from collections.abc import Callable, Mapping
from functools import cache
from inspect import signature
from typing import Any

import numpy as np

from trainer.core import model, numerical, ops
from trainer.core.links import ORDER, Link
from trainer.core.model import INNER, NAMES, Activations, Batch, Parameters, Sizes
from trainer.core.numerical import TINY
from trainer.core.ops import Array

LINES = ("emma", "olivia", "ava", "isabella", "sophia", "charlotte", "mia", "amelia", "harper", "evelyn", "abigail")
VOCABULARY = ".abcdefghijklmnopqrstuvwxyz"  # the dot is the boundary
SIZES, B = Sizes(V=27, K=3, D=10, H=64), 32

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
STEPS = {tensor: Link((), "(B, 1) or (B, V)", "", "", "", "", right) for tensor, right in RIGHT.items()}

NINE = ("logits", "W2", "b2", "h", "z", "W1", "b1", "emb", "C")  # the file with blanks, in its order
SEVEN = tuple(reversed(FORWARD))  # the lecture's, in the order in which they come before dlogits
# Other names that the lecture has. hprebn is z where there is no batch norm.
ALIASES = {"n": "B", "Xb": "X", "Yb": "Y", "hpreact": "z", "hprebn": "z", "embcat": "emb"}
LINK_OF = {f"d{link}": link for link in SEVEN + NINE} | {"dhpreact": "z", "dhprebn": "z", "dembcat": "emb"}

Point = dict[str, Any]  # arrays and sizes under the names of the table of mistakes, and the right gradients


def draw(seed: int = 0) -> tuple[Parameters, Batch]:
    """Parameters and 32 different examples of `LINES`."""
    rng = np.random.default_rng(seed)
    p = model.initial(SIZES, np.float64, rng)
    p.W2[...] *= 10
    for bias in (p.b1, p.b2):
        bias[...] = 0.5 * rng.standard_normal(bias.shape)
    windows = sorted({f"...{line}."[start : start + 4] for line in LINES for start in range(len(line) + 1)})
    ids = np.array([[VOCABULARY.index(letter) for letter in window] for window in rng.permutation(windows)[:B]])
    return p, Batch(ids[:, :-1], ids[:, -1])


def given(p: Parameters, batch: Batch, a: Activations) -> dict[str, Any]:
    """A step without its gradients, under the names of the table."""
    names = {name: getattr(p, name) for name in NAMES} | {name: getattr(a, name) for name in INNER}
    y = (batch.targets[:, None] == np.arange(p.sizes.V)).astype(a.logits.dtype)  # (B, V)
    names |= {"X": batch.contexts, "Y": batch.targets, "p": ops.softmax(a.logits), "y": y}
    return {**names, "B": len(y), **p.sizes._asdict()}


def forward(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays, and those of the seven steps that are not among them, made of them."""
    names = dict(arrays)
    for step, formula in FORWARD.items():
        if step not in names:
            names[step] = formula(*(names[name] for name in signature(formula).parameters))
    return names


def gradients(arrays: Mapping[str, Any]) -> dict[str, Array]:
    """The numerical gradient by each step: a column is nudged in all examples at once, for they do not touch."""
    steps, targets, found = forward(arrays), (np.arange(arrays["B"]), arrays["Y"]), {}
    for step in FORWARD:
        found[step] = np.empty(steps[step].shape)
        for j, column in enumerate(np.identity(steps[step].shape[1])):
            nudged = forward({**arrays, step: steps[step] + 1j * TINY * column})
            found[step][:, j] = -nudged["logprobs"][targets].imag / TINY / arrays["B"]
    return found


@cache
def exercise(seed: int = 0) -> Point:
    """The batch of this seed, and its numerical gradients, in float64: nobody's derivative is taken on trust."""
    at = numerical.point(*draw(seed))
    arrays = given(at.p, at.batch, at.a)
    right = numerical.gradients(at, "complex-step", dict.fromkeys(ORDER, TINY)) | gradients(arrays)
    return forward(arrays) | {f"d{link}": gradient for link, gradient in right.items()}
