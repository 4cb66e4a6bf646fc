"""The calculus: each operation of the model, and beside it its local derivative.

A `_backward` takes the upstream gradient, that of the loss by the operation's output, and gives the gradient by one of
its inputs: the chain rule, one link at a time. `dx` is the derivative of the loss by x. What is given is not written
to; three make the gradient of a parameter, and can write it to its place, `out`. Forward operations but softmax take
any float or complex type, because the checker calls them on nudged inputs.
"""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def frozen(x: Array) -> Array:
    """The array, read-only from here on: an operation that writes into what it is given fails at its own line."""
    x.setflags(write=False)
    return x


@cache
def ones(n: int, dtype: np.dtype[Any]) -> Array:
    """np.ones(n), read-only."""
    return frozen(np.ones(n, dtype))


def embedding(C: Array, ids: Array) -> Array:
    """The rows of C named by ids, which the model lays side by side as emb: (V, D), ids (B, K) -> (B, K, D)."""
    return C.take(ids, axis=0, mode="clip")  # clip: ids are in range, and NumPy need not look


def embedding_backward(demb: Array, ids: Array, V: int, out: Array | None = None) -> Array:
    """dC[v] = the sum of demb over the places where v stands: (B, K, D), ids (B, K) -> (V, D).

    A character that was read twice gathers both gradients; `dC[ids] += demb` would keep only one of them.
    """
    D = demb.shape[-1]
    dC = np.empty((V, D), demb.dtype) if out is None else out
    dC[...] = 0
    entries = embedding(np.arange(V * D).reshape(V, D), ids)  # (B, K, D): where in the flat dC each number belongs
    np.add.at(dC.reshape(-1), entries.reshape(-1), demb.reshape(-1))  # as np.add.at(dC, ids, demb), which is slow
    return dC


def affine(x: Array, W: Array, b: Array) -> Array:
    """x @ W + b: (B, I), (I, O), (O,) -> (B, O)."""
    return x @ W + b


def affine_backward_input(upstream: Array, W: Array) -> Array:
    """dx = upstream @ W.T, because a product gives each factor the other's value: (B, O), (I, O) -> (B, I)."""
    return upstream @ W.T


def affine_backward_weight(x: Array, upstream: Array, out: Array | None = None) -> Array:
    """dW = x.T @ upstream, the same for the other factor: (B, I), (B, O) -> (I, O)."""
    return np.matmul(x.T, upstream, out=out)


def affine_backward_bias(upstream: Array, out: Array | None = None) -> Array:
    """db = the sum of upstream over the batch, because a sum passes the gradient through: (B, O) -> (O,)."""
    return np.matmul(ones(len(upstream), upstream.dtype), upstream, out=out)  # a product is the fastest sum


def tanh(z: Array) -> Array:
    """h = tanh(z), entry by entry: before dropout, where there is any."""
    return np.tanh(z)


def tanh_backward(dh: Array, h: Array) -> Array:
    """dz = dh * (1 - h * h), with the output h = tanh(z): (sinh / cosh)' = (cosh² - sinh²) / cosh² = 1 - tanh²."""
    return dh * (1 - h * h)


def dropout(x: Array, mask: Array | None) -> Array:
    """x * mask, where mask is 0 for a dropped entry and 1 / (1 - rate) for a kept one; None drops nothing."""
    return x if mask is None else x * mask


def dropout_backward(upstream: Array, mask: Array | None) -> Array:
    """dx = upstream * mask, because a product gives each factor the other's value."""
    return upstream if mask is None else upstream * mask


def softmax(logits: Array) -> Array:
    """probs = exp(logits) / sum of exp(logits), over the last axis: (..., V) -> (..., V).

    Taking the largest logit off all of them leaves probs as they are and keeps exp from overflowing.
    """
    exps = np.exp(logits - np.maximum.reduce(logits, axis=-1, keepdims=True))  # (..., V)
    return exps / np.add.reduce(exps, axis=-1, keepdims=True)


def cross_entropy(logits: Array, targets: Array) -> Array:
    """Each example's loss in nats, -log probs[target]: (B, V), ids (B,) -> (B,).

    It is log(sum of exp(logits)) - logits[target]; the largest logit, by its real part, is taken off as in `softmax`.
    """
    largest = np.maximum.reduce(logits.real, axis=1, keepdims=True)  # (B, 1)
    shifted = logits - largest  # (B, V)
    total = np.add.reduce(np.exp(shifted), axis=1)  # (B,)
    at_target = shifted[np.arange(len(logits)), targets]  # (B,)
    return np.asarray(np.log(total) - at_target)


def softmax_cross_entropy_backward(probs: Array, targets: Array, share: float) -> Array:
    """dlogits = (probs - y) * share, where y is 1 at the target: (B, V), ids (B,) -> (B, V). A row sums to zero.

    `share` is the weight of one example in the mean loss, 1 / B, where these may be a part of the B examples.
    """
    y = np.zeros(probs.shape, probs.dtype)  # (B, V)
    y[np.arange(len(targets)), targets] = 1
    return (probs - y) * share
