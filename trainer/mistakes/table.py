"""What people write instead of the right derivative, as data: the formula, and what is wrong with it.

To add a mistake, add a row under its link in `MISTAKES`: the formula as one would write it, a colon, the words. Where
what is written is no expression, a formula that makes the same numbers follows; it may give a list of arrays, where the
same mistake has several faces. Formulas read as after `from numpy import *`, with the functions of this file and these
names: C W1 b1 W2 b2, X (B, K) and Y (B,) ids, emb z h logits p, y (B, V) one-hot at the target; B K D H V; d before a
name is the gradient by it; and those of the well-known lecture, which goes through the loss in seven steps.

The rows were reported by learners: the cs231n subreddit (8zj6ne), datascience.stackexchange.com 20139,
community.deeplearning.ai 536725, 63071, 402919, 85937, 110003, discuss.pytorch.org 187917, forums.fast.ai 26480,
github.com/karpathy/nn-zero-to-hero issues 45 and 59.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from trainer.core.ops import Array


class Mistake(NamedTuple):
    """A row: the formula stands where the right gradient of the link should."""

    sentence: str
    formula: str = ""  # if it is not what stands before the colon
    source: str = ""  # told apart from a row with the same numbers by this text in the statement
    added: bool = False  # not in place of the right gradient but added to it, times any number

    def faces(self, arrays: Mapping[str, Any]) -> list[Array]:
        """What the formula makes of arrays under the names of the table. Raises NameError where one is missing."""
        found = eval(self.formula or self.sentence.partition(": ")[0], {**arrays, **vars(np), **globals()})
        return found if isinstance(found, list) else [found]


def swapped(x: Array, K: int, D: int) -> Array:
    """x (B, K*D) with the numbers of a context out of order, as a reshape to (B, D, K) leaves them."""
    mixed: Array = x.reshape(-1, D, K).swapaxes(1, 2)
    return mixed.reshape(x.shape)


def turned(x: Array, K: int) -> Array:
    """x (B, K*D) with the last character of the context first."""
    return x.reshape(len(x), K, -1)[:, ::-1].reshape(x.shape)


def added_up(ids: Array, demb: Array, V: int) -> Array:
    """Each row of demb added to the row of dC that its id names: ids of any shape -> (V, D)."""
    rows = demb.reshape(ids.size, -1)
    dC = np.zeros((V, rows.shape[1]))
    np.add.at(dC, ids.reshape(-1), rows)
    return dC


def overwritten(ids: Array, demb: Array, V: int) -> Array:
    """Each row of demb put into the row of dC that its id names, where the last one stays."""
    rows = demb.reshape(ids.size, -1)
    dC = np.zeros((V, rows.shape[1]))
    dC[ids.reshape(-1)] = rows
    return dC


MISTAKES: dict[str, tuple[Mistake, ...]] = {
    "logits": (
        Mistake("p / B: no y; each row should sum to 0, here to 1/B"),
        Mistake("-y / B: no p; the denominator pushes every logit down by its p"),
        Mistake("(p * y - y) / B: only the target's column; the denominator reaches every logit"),
        Mistake("-y / p / B: this is the gradient of p; one link more, through the softmax"),
        Mistake("(p - y) * p * (1 - p) / B: p - y is all of it; p (1 - p) belongs to squared error with a sigmoid"),
        Mistake("(exp(logits) - y) / B: exp is not yet p; divide by the row's sum"),
        Mistake("(exp(logits - max) - y) / B: exp is not yet p; divide by the row's sum",
                "[(exp(logits - logits.max(axis, keepdims=True)) - y) / B for axis in (1, None)]"),
        Mistake("(logits - y) / B: the logits are not yet p; softmax first"),
        Mistake("(log p - y) / B: log p stands where p should", "(log(p) - y) / B"),
        Mistake("(softmax over axis 0 - y) / B: the characters lie along axis 1",
                "(exp(logits) / exp(logits).sum(0) - y) / B"),
        Mistake("p[:, Y] -= 1: one place in each row, and not all of them in every row; p[np.arange(B), Y]",
                "(p - isin(arange(V), Y)) / B"),
        Mistake("p[Y] -= 1: whole examples, those with the numbers in Y; one place in each row, p[np.arange(B), Y]",
                "(p - isin(arange(B), Y)[:, None]) / B"),
        Mistake("p[np.arange(B), Y] = -1: the target's p is lost; -= 1", "where(y == 1, -1, p) / B"),
        Mistake("p - y / B: a bracket is missing; (p - y) / B"),
        Mistake("(p - y of the neighbouring row) / B: targets out of step; the one mistake here whose rows sum to 0",
                "[(p - roll(y, shift, 0)) / B for shift in (1, -1)]"),
    ),
    "W2": (
        Mistake("h.T @ (p - y): dlogits already holds 1/B"),
        Mistake("h.T @ p / B: y was forgotten"),
        Mistake("z.T @ dlogits: the layer's input is h, after tanh"),
        Mistake("h.sum(0)[:, None] * dlogits.sum(0): multiply example by example, then sum"),
        Mistake("h.mean(0)[:, None] * dlogits.sum(0): multiply example by example, then sum"),
        Mistake("h[-1:].T @ dlogits[-1:], or with the first example: one example alone; add up in the loop (+=)",
                "[h[-1:].T @ dlogits[-1:], h[:1].T @ dlogits[:1]]"),
        Mistake("W2 * dlogits.sum(0): a product hands each factor the OTHER one's value"),
        Mistake("dW2 + a share of W2: weight decay is no part of this loss", "W2", added=True),
    ),
    "b2": (
        Mistake("dlogits.mean(0): a mean where a sum belongs; 1/B is in dlogits already"),
        Mistake("dlogits[-1], or dlogits[0]: one example alone; b2 was added to every row",
                "[dlogits[-1], dlogits[0]]"),
        Mistake("b2 * dlogits.sum(0): the slope of + is 1, not b2"),
        Mistake("dW2.sum(0): the bias was added to each example; dlogits.sum(0)"),
        Mistake("p.mean(0): y was forgotten"),
        Mistake("abs(dlogits).sum(0): signs must cancel"),
    ),
    "h": (
        Mistake("dlogits @ dW2.T: dW2 where W2 belongs"),
        Mistake("p @ W2.T / B: y was forgotten"),
        Mistake("(p - y) @ W2.T: 1/B is in dlogits already"),
        Mistake("dlogits @ W2.T * (1 - h**2): this is dz already"),
        Mistake("dlogits @ W2.T + b2 @ W2.T: an added constant has no part in dh"),
        Mistake("dlogits @ (W2 - lr * dW2).T: W2 had moved already; all gradients first, then the update",
                "dlogits @ dW2.T", added=True),
    ),
    "z": (
        Mistake("dh: the slope of tanh is missing"),
        Mistake("dh * (1 - h): the square is missing"),
        Mistake("dh * h * (1 - h): the slope of the logistic function, not of tanh"),
        Mistake("dh * (1 - z**2): z where h belongs; the slope is 1 - h**2"),
        Mistake("dh * (1 - tanh(h)**2): tanh was taken twice; h = tanh(z)"),
        Mistake("dh * (1 - h)**2: the square is of h alone; 1 - h**2"),
        Mistake("dh * (1 - dh**2): the slope was taken of the gradient; it is by h"),
        Mistake("dh - h**2: a bracket is missing"),
        Mistake("dh * h**2: the 1 - is missing"),
        Mistake("dh * (1 + h**2): plus for minus"),
        Mistake("dh * (h**2 - 1): the sign; 1 - h**2"),
        Mistake("1 - h**2: the local slope alone; times dh"),
        Mistake("dh * -2 * h: the derivative of 1 - h**2, not of tanh"),
        Mistake("dh * (1 - 2 * h): 2 h is the derivative of h**2; the slope of tanh is 1 - h**2 itself"),
        Mistake("dh * (1 - h**2)**2: the slope was taken twice"),
        Mistake("dh / cosh(z): the slope is 1 / cosh(z)**2, the square is missing"),
        Mistake("dh / (1 - h**2): divided, where the slope multiplies"),
        Mistake("dh * (z > 0): the slope of ReLU, not of tanh"),
    ),
    "W1": (
        Mistake("emb.T @ dh: the slope of tanh was skipped; dz, not dh"),
        Mistake("emb.T @ (dz * (1 - h**2)): the slope of tanh is in dz already"),
        Mistake("emb.sum(0)[:, None] * dz.sum(0): multiply example by example, then sum"),
        Mistake("emb.mean(0)[:, None] * dz.sum(0): multiply example by example, then sum"),
        Mistake("emb[-1:].T @ dz[-1:], or with the first example: one example alone; add up in the loop (+=)",
                "[emb[-1:].T @ dz[-1:], emb[:1].T @ dz[:1]]"),
        Mistake("W1 * dz.sum(0): a product hands each factor the OTHER one's value"),
        Mistake("emb as (B, D, K), .T @ dz: keep each character's D numbers together",
                "[swapped(emb, K, D).T @ dz, swapped(emb, D, K).T @ dz]"),
        Mistake("emb with the context reversed, .T @ dz: keep the characters in their order", "turned(emb, K).T @ dz"),
        Mistake("dW1 + a share of W1: weight decay is no part of this loss", "W1", added=True),
    ),
    "b1": (
        Mistake("dh.sum(0): the slope of tanh was skipped; dz, not dh"),
        Mistake("dz.mean(0): a mean where a sum belongs; 1/B is in dz already"),
        Mistake("dz[-1], or dz[0]: one example alone; b1 was added to every row", "[dz[-1], dz[0]]"),
        Mistake("b1 * dz.sum(0): the slope of + is 1, not b1"),
        Mistake("dW1.sum(0): the bias was added to each example; dz.sum(0)"),
        Mistake("sum(dz) * ones(H): summed over everything; over the batch alone, axis 0"),
        Mistake("abs(dz).sum(0): signs must cancel"),
    ),
    "emb": (
        Mistake("dh @ W1.T: the slope of tanh was skipped; dz, not dh"),
        Mistake("dz @ dW1.T: dW1 where W1 belongs"),
        Mistake("dz @ W1.T * (1 - emb**2): there is no tanh here"),
        Mistake("dz @ W1.T with the context reversed: keep the characters in their order", "turned(dz @ W1.T, K)"),
        Mistake("dz @ (W1 - lr * dW1).T: W1 had moved already; all gradients first, then the update",
                "dz @ dW1.T", added=True),
    ),
    "C": (
        Mistake("dC[X] += demb: NumPy adds each character once, however often it stands in X; np.add.at(dC, X, ...)",
                "overwritten(X, demb, V)", source="+="),
        Mistake("dC[X[:, k]] += demb[:, k]: NumPy adds a character that stands there twice only once; np.add.at",
                "sum([overwritten(X[:, k], demb.reshape(B, K, D)[:, k], V) for k in range(K)], 0)"),
        Mistake("dC[X[i]] += demb[i]: NumPy adds a character that stands there twice only once; np.add.at",
                "sum([overwritten(X[i], demb[i], V) for i in range(B)], 0)"),
        Mistake("dC[X] = demb: a repeated character was overwritten instead of added; the last one stays",
                "overwritten(X, demb, V)"),
        Mistake("dC[X] = demb where it is still zero: a repeated character is added; here the first one stays",
                "overwritten(X[::-1, ::-1], demb.reshape(B, K, D)[::-1, ::-1], V)"),
        Mistake("dC / counts: averaged over the places of a character; they add up",
                "added_up(X, demb, V) / maximum(1, bincount(X.reshape(-1), minlength=V))[:, None]"),
        Mistake("dC * counts: times the count of the character; adding up has done that already",
                "added_up(X, demb, V) * bincount(X.reshape(-1), minlength=V)[:, None]"),
        Mistake("one place of the context only: every place reads C, all K add to dC",
                "[added_up(X[:, k], demb.reshape(B, K, D)[:, k], V) for k in range(K)]"),
        Mistake("rows of Y: the rows that were read are those of X", "added_up(Y, demb.reshape(B, K, D).sum(1), V)"),
        Mistake("demb with the context reversed: keep the characters in their order", "added_up(X[:, ::-1], demb, V)"),
        Mistake("demb as (B, D, K): keep each character's D numbers together; (B, K, D)",
                "[added_up(X, swapped(demb, K, D), V), added_up(X, swapped(demb, D, K), V)]"),
        Mistake("emb for demb: add up the gradient, not the embedding", "added_up(X, emb, V)"),
    ),
}  # fmt: skip

OF_THE_LECTURE: dict[str, tuple[Mistake, ...]] = {
    "logprobs": (
        Mistake("-1 / n at all places: the loss reads the target's alone", "full_like(y, -1 / B)"),
        Mistake("-1 at the target: the 1/n of the mean is missing", "-y"),
    ),
    "probs": (
        Mistake("dlogprobs * probs: the slope of log x is 1/x; divided"),
        Mistake("dlogprobs: the slope of the logarithm is missing; / probs"),
        Mistake("1 / probs: the local slope alone; times dlogprobs"),
        Mistake("dlogprobs / logprobs: the slope of log x is 1/x"),
    ),
    "counts_sum_inv": (
        Mistake("dprobs.sum(1, keepdims=True): times counts, then sum"),
        Mistake("(dprobs * probs).sum(1, keepdims=True): a product hands each factor the other one's value, counts"),
    ),
    "counts_sum": (
        Mistake("counts_sum**-2 * dcounts_sum_inv: the minus is missing"),
        Mistake("-1 / counts_sum * dcounts_sum_inv: the square is missing"),
        Mistake("log(counts_sum) * dcounts_sum_inv: the slope of 1/x is -1/x**2, log x is not part of it"),
        Mistake("-counts_sum**-2: the local slope alone; times dcounts_sum_inv"),
        Mistake("-dcounts_sum_inv: the slope of 1/x is -1/x**2"),
    ),
    "counts": (
        Mistake("dprobs * counts_sum_inv: the branch through counts_sum is missing; + dcounts_sum"),
        Mistake("dcounts_sum for each character: the branch through probs is missing; + dprobs * counts_sum_inv",
                "dcounts_sum + zeros_like(counts)"),
        Mistake("dprobs * counts_sum_inv - dcounts_sum: the branches are added; the minus is in dcounts_sum"),
        Mistake("dprobs + dcounts_sum: a product hands each factor the other one's value, dprobs * counts_sum_inv"),
    ),
    "norm_logits": (
        Mistake("dcounts: the slope of exp is missing; times counts"),
        Mistake("dcounts * norm_logits: exp is its own slope; times counts"),
        Mistake("dcounts / counts: divided, where the slope multiplies"),
        Mistake("dcounts * exp(counts): exp was taken twice; counts = exp(norm_logits)"),
    ),
    "logits": (
        Mistake("dnorm_logits: the branch through logit_maxes is missing; + dlogit_maxes at the maximum"),
        Mistake("dlogit_maxes at the maximum: the branch through norm_logits is missing; + dnorm_logits",
                "(logits == logits.max(1, keepdims=True)) * dlogit_maxes"),
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
