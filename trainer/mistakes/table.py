"""What people write instead of the right derivative, as data: the link, the formula, the sentence.

To add a mistake, add a row under its link in `MISTAKES`. A formula is a function of the arrays that it names; it gives
one array, or a list of them where the same mistake has several faces. A sentence is the formula as one would write it,
a colon, and what is wrong with it. Names: C W1 b1 W2 b2, X (B, K) and Y (B,) ids, emb z h logits p, y (B, V) one-hot at
the target; B K D H V; d before a name is the gradient by it.

The rows were reported by learners: the cs231n subreddit (8zj6ne), datascience.stackexchange.com 20139,
community.deeplearning.ai 536725, 63071, 402919, 85937, 110003, discuss.pytorch.org 187917, forums.fast.ai 26480,
github.com/karpathy/nn-zero-to-hero issues 45 and 59.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from trainer.core.ops import Array

ENDS = (slice(-1, None), slice(0, 1))  # the last example alone, the first alone


class Mistake(NamedTuple):
    """A row: the formula stands where the right gradient of the link should."""

    formula: Callable[..., Any]
    sentence: str
    source: str = ""  # told apart from a row with the same numbers by this text in the statement
    added: bool = False  # not in place of the right gradient but added to it, times any number


def swapped(x: Array, K: int, D: int) -> list[Array]:
    """x (B, K*D) with the numbers of a context out of order, as a reshape to (B, D, K) leaves them."""
    mixed = x.reshape(-1, D, K).swapaxes(1, 2), x.reshape(-1, K, D).swapaxes(1, 2)
    return [each.reshape(x.shape) for each in mixed]


def turned(x: Array, K: int, D: int) -> Array:
    """x (B, K*D) with the last character of the context first."""
    return x.reshape(-1, K, D)[:, ::-1].reshape(x.shape)


def rows(ids: Array, demb: Array, V: int, D: int) -> Array:
    """Each row of demb added to the row of dC that its id names: (N,), (N, D) -> (V, D)."""
    dC = np.zeros((V, D))
    np.add.at(dC, ids.reshape(-1), demb.reshape(-1, D))
    return dC


def overwritten(X: Array, demb: Array, V: int, D: int) -> Array:
    """Each row of demb put into the row of dC that X names, where the last one stays."""
    dC = np.zeros((V, D))
    dC[X.reshape(-1)] = demb.reshape(-1, D)
    return dC


def overwritten_by_place(X: Array, demb: Array, V: int, K: int, D: int) -> Array:
    """As `overwritten` for each place of the context, and these added up."""
    demb = demb.reshape(-1, K, D)
    return sum((overwritten(X[:, k], demb[:, k], V, D) for k in range(K)), np.zeros((V, D)))


def overwritten_by_example(X: Array, demb: Array, V: int, K: int, D: int) -> Array:
    """As `overwritten` for each example, and these added up."""
    examples = zip(X, demb.reshape(-1, K, D), strict=True)
    return sum((overwritten(ids, each, V, D) for ids, each in examples), np.zeros((V, D)))


MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "logits": (
        Mistake(lambda p, B: p / B, "p / B: no y; each row should sum to 0, here to 1/B"),
        Mistake(lambda y, B: -y / B, "-y / B: no p; the denominator pushes every logit down by its p"),
        Mistake(lambda p, y, B: (p * y - y) / B,
                "(p * y - y) / B: only the target's column; the denominator reaches every logit"),
        Mistake(lambda p, y, B: -y / p / B,
                "-y / p / B: this is the gradient of p; one link more, through the softmax"),
        Mistake(lambda p, y, B: (p - y) * p * (1 - p) / B,
                "(p - y) * p * (1 - p) / B: p - y is all of it; p (1 - p) belongs to squared error with a sigmoid"),
        Mistake(lambda logits, y, B: (np.exp(logits) - y) / B,
                "(exp(logits) - y) / B: exp is not yet p; divide by the row's sum"),
        Mistake(lambda logits, y, B: [(np.exp(logits - logits.max(axis, keepdims=True)) - y) / B for axis in (1, None)],
                "(exp(logits - max) - y) / B: exp is not yet p; divide by the row's sum"),
        Mistake(lambda logits, y, B: (logits - y) / B, "(logits - y) / B: the logits are not yet p; softmax first"),
        Mistake(lambda p, y, B: (np.log(p) - y) / B, "(log p - y) / B: log p stands where p should"),
        Mistake(lambda logits, y, B: (np.exp(logits) / np.exp(logits).sum(0) - y) / B,
                "(softmax over axis 0 - y) / B: the characters lie along axis 1"),
        Mistake(lambda p, Y, B, V: (p - np.isin(np.arange(V), Y)) / B,
                "p[:, Y] -= 1: one place in each row, and not all of them in every row; p[np.arange(B), Y]"),
        Mistake(lambda p, Y, B: (p - np.isin(np.arange(B), Y)[:, None]) / B,
                "p[Y] -= 1: whole examples, those with the numbers in Y; one place in each row, p[np.arange(B), Y]"),
        Mistake(lambda p, y, B: np.where(y == 1, -1, p) / B,
                "p[np.arange(B), Y] = -1: the target's p is lost; -= 1"),
        Mistake(lambda p, y, B: p - y / B, "p - y / B: a bracket is missing; (p - y) / B"),
        Mistake(lambda p, y, B: [(p - np.roll(y, shift, 0)) / B for shift in (1, -1)],
                "(p - y of the neighbouring row) / B: targets out of step; the one mistake here whose rows sum to 0"),
    ),
    "W2": (
        Mistake(lambda h, p, y: h.T @ (p - y), "h.T @ (p - y): dlogits already holds 1/B"),
        Mistake(lambda h, p, B: h.T @ p / B, "h.T @ p / B: y was forgotten"),
        Mistake(lambda z, dlogits: z.T @ dlogits, "z.T @ dlogits: the layer's input is h, after tanh"),
        Mistake(lambda h, dlogits: h.sum(0)[:, None] * dlogits.sum(0),
                "h.sum(0)[:, None] * dlogits.sum(0): multiply example by example, then sum"),
        Mistake(lambda h, dlogits: h.mean(0)[:, None] * dlogits.sum(0),
                "h.mean(0)[:, None] * dlogits.sum(0): multiply example by example, then sum"),
        Mistake(lambda h, dlogits: [h[end].T @ dlogits[end] for end in ENDS],
                "h[-1:].T @ dlogits[-1:], or with the first example: one example alone; add up in the loop (+=)"),
        Mistake(lambda W2, dlogits: W2 * dlogits.sum(0),
                "W2 * dlogits.sum(0): a product hands each factor the OTHER one's value"),
        Mistake(lambda W2: W2, "dW2 + a share of W2: weight decay is no part of this loss", added=True),
    ),
    "b2": (
        Mistake(lambda dlogits: dlogits.mean(0),
                "dlogits.mean(0): a mean where a sum belongs; 1/B is in dlogits already"),
        Mistake(lambda dlogits: [dlogits[end].sum(0) for end in ENDS],
                "dlogits[-1], or dlogits[0]: one example alone; b2 was added to every row"),
        Mistake(lambda b2, dlogits: b2 * dlogits.sum(0), "b2 * dlogits.sum(0): the slope of + is 1, not b2"),
        Mistake(lambda dW2: dW2.sum(0), "dW2.sum(0): the bias was added to each example; dlogits.sum(0)"),
        Mistake(lambda p: p.mean(0), "p.mean(0): y was forgotten"),
        Mistake(lambda dlogits: abs(dlogits).sum(0), "abs(dlogits).sum(0): signs must cancel"),
    ),
    "h": (
        Mistake(lambda dlogits, dW2: dlogits @ dW2.T, "dlogits @ dW2.T: dW2 where W2 belongs"),
        Mistake(lambda p, W2, B: p @ W2.T / B, "p @ W2.T / B: y was forgotten"),
        Mistake(lambda p, y, W2: (p - y) @ W2.T, "(p - y) @ W2.T: 1/B is in dlogits already"),
        Mistake(lambda dlogits, W2, h: dlogits @ W2.T * (1 - h**2), "dlogits @ W2.T * (1 - h**2): this is dz already"),
        Mistake(lambda dlogits, W2, b2: dlogits @ W2.T + b2 @ W2.T,
                "dlogits @ W2.T + b2 @ W2.T: an added constant has no part in dh"),
        Mistake(lambda dlogits, dW2: dlogits @ dW2.T,
                "dlogits @ (W2 - lr * dW2).T: W2 had moved already; all gradients first, then the update", added=True),
    ),
    "z": (
        Mistake(lambda dh: dh, "dh: the slope of tanh is missing"),
        Mistake(lambda dh, h: dh * (1 - h), "dh * (1 - h): the square is missing"),
        Mistake(lambda dh, h: dh * h * (1 - h), "dh * h * (1 - h): the slope of the logistic function, not of tanh"),
        Mistake(lambda dh, z: dh * (1 - z**2), "dh * (1 - z**2): by the output h, not by z"),
        Mistake(lambda dh, h: dh * (1 - np.tanh(h)**2), "dh * (1 - tanh(h)**2): tanh was taken twice; h = tanh(z)"),
        Mistake(lambda dh, h: dh * (1 - h)**2, "dh * (1 - h)**2: the square is of h alone; 1 - h**2"),
        Mistake(lambda dh: dh * (1 - dh**2), "dh * (1 - dh**2): the slope was taken of the gradient; it is by h"),
        Mistake(lambda dh, h: dh - h**2, "dh - h**2: a bracket is missing"),
        Mistake(lambda dh, h: dh * h**2, "dh * h**2: the 1 - is missing"),
        Mistake(lambda dh, h: dh * (1 + h**2), "dh * (1 + h**2): plus for minus"),
        Mistake(lambda dh, h: dh * (h**2 - 1), "dh * (h**2 - 1): the sign; 1 - h**2"),
        Mistake(lambda h: 1 - h**2, "1 - h**2: the local slope alone; times dh"),
        Mistake(lambda dh, h: dh * -2 * h, "dh * -2 * h: the derivative of 1 - h**2, not of tanh"),
        Mistake(lambda dh, h: dh * (1 - 2 * h),
                "dh * (1 - 2 * h): 2 h is the derivative of h**2; the slope of tanh is 1 - h**2 itself"),
        Mistake(lambda dh, h: dh * (1 - h**2)**2, "dh * (1 - h**2)**2: the slope was taken twice"),
        Mistake(lambda dh, z: dh / np.cosh(z), "dh / cosh(z): the slope is 1 / cosh(z)**2, the square is missing"),
        Mistake(lambda dh, h: dh / (1 - h**2), "dh / (1 - h**2): divided, where the slope multiplies"),
        Mistake(lambda dh, z: dh * (z > 0), "dh * (z > 0): the slope of ReLU, not of tanh"),
    ),
    "W1": (
        Mistake(lambda emb, dh: emb.T @ dh, "emb.T @ dh: the slope of tanh was skipped; dz, not dh"),
        Mistake(lambda emb, dz, h: emb.T @ (dz * (1 - h**2)),
                "emb.T @ (dz * (1 - h**2)): the slope of tanh is in dz already"),
        Mistake(lambda emb, dz: emb.sum(0)[:, None] * dz.sum(0),
                "emb.sum(0)[:, None] * dz.sum(0): multiply example by example, then sum"),
        Mistake(lambda emb, dz: emb.mean(0)[:, None] * dz.sum(0),
                "emb.mean(0)[:, None] * dz.sum(0): multiply example by example, then sum"),
        Mistake(lambda emb, dz: [emb[end].T @ dz[end] for end in ENDS],
                "emb[-1:].T @ dz[-1:], or with the first example: one example alone; add up in the loop (+=)"),
        Mistake(lambda W1, dz: W1 * dz.sum(0), "W1 * dz.sum(0): a product hands each factor the OTHER one's value"),
        Mistake(lambda emb, dz, K, D: [each.T @ dz for each in swapped(emb, K, D)],
                "emb as (B, D, K), .T @ dz: keep each character's D numbers together"),
        Mistake(lambda emb, dz, K, D: turned(emb, K, D).T @ dz,
                "emb with the context reversed, .T @ dz: keep the characters in their order"),
        Mistake(lambda W1: W1, "dW1 + a share of W1: weight decay is no part of this loss", added=True),
    ),
    "b1": (
        Mistake(lambda dh: dh.sum(0), "dh.sum(0): the slope of tanh was skipped; dz, not dh"),
        Mistake(lambda dz: dz.mean(0), "dz.mean(0): a mean where a sum belongs; 1/B is in dz already"),
        Mistake(lambda dz: [dz[end].sum(0) for end in ENDS],
                "dz[-1], or dz[0]: one example alone; b1 was added to every row"),
        Mistake(lambda b1, dz: b1 * dz.sum(0), "b1 * dz.sum(0): the slope of + is 1, not b1"),
        Mistake(lambda dW1: dW1.sum(0), "dW1.sum(0): the bias was added to each example; dz.sum(0)"),
        Mistake(lambda dz, H: np.full(H, dz.sum()),
                "sum(dz) * ones(H): summed over everything; over the batch alone, axis 0"),
        Mistake(lambda dz: abs(dz).sum(0), "abs(dz).sum(0): signs must cancel"),
    ),
    "emb": (
        Mistake(lambda dh, W1: dh @ W1.T, "dh @ W1.T: the slope of tanh was skipped; dz, not dh"),
        Mistake(lambda dz, dW1: dz @ dW1.T, "dz @ dW1.T: dW1 where W1 belongs"),
        Mistake(lambda dz, W1, emb: dz @ W1.T * (1 - emb**2), "dz @ W1.T * (1 - emb**2): there is no tanh here"),
        Mistake(lambda dz, W1, K, D: turned(dz @ W1.T, K, D),
                "dz @ W1.T with the context reversed: keep the characters in their order"),
        Mistake(lambda dz, dW1: dz @ dW1.T,
                "dz @ (W1 - lr * dW1).T: W1 had moved already; all gradients first, then the update", added=True),
    ),
    "C": (
        Mistake(overwritten,
                "dC[X] += demb: NumPy adds each character once, however often it stands in X; np.add.at(dC, X, ...)",
                source="+="),
        Mistake(overwritten_by_place,
                "dC[X[:, k]] += demb[:, k]: NumPy adds a character that stands there twice only once; np.add.at"),
        Mistake(overwritten_by_example,
                "dC[X[i]] += demb[i]: NumPy adds a character that stands there twice only once; np.add.at"),
        Mistake(overwritten,
                "dC[X] = demb: a repeated character was overwritten instead of added; the last one stays"),
        Mistake(lambda X, demb, V, D: overwritten(X[::-1, ::-1], demb.reshape(*X.shape, D)[::-1, ::-1], V, D),
                "dC[X] = demb where it is still zero: a repeated character is added; here the first one stays"),
        Mistake(lambda X, demb, V, D: rows(X, demb, V, D) / np.maximum(rows(X, np.ones_like(demb), V, D), 1),
                "dC / counts: averaged over the places of a character; they add up"),
        Mistake(lambda X, demb, V, D: rows(X, demb, V, D) * rows(X, np.ones_like(demb), V, D),
                "dC * counts: times the count of the character; adding up has done that already"),
        Mistake(lambda X, demb, V, K, D: [rows(X[:, k], demb.reshape(-1, K, D)[:, k], V, D) for k in range(K)],
                "one place of the context only: every place reads C, all K add to dC"),
        Mistake(lambda Y, demb, V, K, D: rows(Y, demb.reshape(-1, K, D).sum(1), V, D),
                "rows of Y: the rows that were read are those of X"),
        Mistake(lambda X, demb, V, D: rows(X[:, ::-1], demb, V, D),
                "demb with the context reversed: keep the characters in their order"),
        Mistake(lambda X, demb, V, K, D: [rows(X, each, V, D) for each in swapped(demb, K, D)],
                "demb as (B, D, K): keep each character's D numbers together; (B, K, D)"),
        Mistake(lambda emb, X, V, D: rows(X, emb, V, D),
                "emb for demb: add up the gradient, not the embedding"),
    ),
}  # fmt: skip


def ratios(B: int, V: int, K: int) -> tuple[tuple[float, str, str], ...]:
    """What a wrong gradient may be times the right one, whatever the link; the size to be seen in that; the cause."""
    return (
        (2, "", "doubled"),
        (1 / 2, "", "halved"),
        (B, "B", "the 1/B of the mean is missing"),
        (1 / B, "B", "the 1/B was taken once more"),
        (B / V, "", "divided by V, not by B; the mean is over the examples"),
        (1 / V, "V", "the mean is over the examples, not over the characters"),
        (1 / (B * V), "B V", ".mean() over everything; the mean is over the examples alone"),
        (K, "K", "once for each place of the context"),
        (1 / K, "K", "divided by the places of the context; they add up"),
        (1 / np.log(2), "", "the loss is in natural logarithms, not to base 2"),
        (1 / np.log(10), "", "the loss is in natural logarithms, not to base 10"),
        (B / max(B - 1, 1), "", "divided by B - 1; the mean divides by B"),
    )
