"""The calculus: each operation of the model, and beside it its local derivative.

A `_backward` takes the upstream gradient, that of the loss by the operation's output, and gives the gradient by one of
its inputs: the chain rule, one link at a time. `dx` is short for the derivative of the loss by x.

`out` is a contiguous array that the result may be written into, none of the inputs but for z in `tanh`, x in `dropout`
and probs in `softmax_cross_entropy_backward`; what counts is the array that is returned. No operation changes anything
else. Forward operations take any float or complex type, and leading axes `...` of independent copies, because the
checker calls these very functions on nudged inputs.
"""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Array = npt.NDArray[Any]


@cache
def identity(V: int, dtype: np.dtype[Any]) -> Array:
    """np.eye(V), read-only, in room for 2 V numbers: its rows are windows of one vector, for V = 3 of 0 0 1 0 0."""
    vector = np.zeros(2 * V - 1, dtype)
    vector[V - 1] = 1
    return sliding_window_view(vector, V)[::-1]


def embedding(C: Array, ids: Array, out: Array | None = None) -> Array:
    """The rows of C named by ids, which the model lays side by side as emb: (V, D), ids (B, K) -> (B, K, D)."""
    return C.take(ids, axis=0, out=out, mode="clip")  # clip: ids are in range, and NumPy need not buffer `out`


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


def affine(x: Array, W: Array, b: Array, out: Array | None = None) -> Array:
    """x @ W + b: (..., I), (I, O), (O,) -> (..., O)."""
    product = np.dot(x, W, out)  # (..., O)
    return np.add(product, b, out=product)


def affine_backward_input(upstream: Array, W: Array, out: Array | None = None) -> Array:
    """dx = upstream @ W.T, because a product gives each factor the other's value: (B, O), (I, O) -> (B, I)."""
    return np.dot(upstream, W.T, out)


def affine_backward_weight(x: Array, upstream: Array, out: Array | None = None) -> Array:
    """dW = x.T @ upstream, the same for the other factor: (B, I), (B, O) -> (I, O)."""
    return np.dot(x.T, upstream, out)


def affine_backward_bias(upstream: Array, out: Array | None = None) -> Array:
    """db = the sum of upstream over the batch, because a sum passes the gradient through: (B, O) -> (O,)."""
    return np.add.reduce(upstream, axis=0, out=out)


def tanh(z: Array, out: Array | None = None) -> Array:
    """h = tanh(z), entry by entry: before dropout, where there is any."""
    return np.tanh(z, out=out)


def tanh_backward(dh: Array, h: Array, out: Array | None = None) -> Array:
    """dz = dh * (1 - h * h), with the output h = tanh(z): (sinh / cosh)' = (cosh² - sinh²) / cosh² = 1 - tanh²."""
    slope = np.multiply(h, h, out=out)
    slope = np.subtract(1, slope, out=slope)
    return np.multiply(dh, slope, out=slope)


def dropout(x: Array, mask: Array, out: Array | None = None) -> Array:
    """x * mask, where mask is 0 for a dropped entry and 1 / (1 - rate) for a kept one."""
    return np.multiply(x, mask, out=out)


def dropout_backward(upstream: Array, mask: Array, out: Array | None = None) -> Array:
    """dx = upstream * mask, because a product gives each factor the other's value."""
    return np.multiply(upstream, mask, out=out)


def softmax(logits: Array, out: Array | None = None) -> Array:
    """probs = exp(logits) / sum of exp(logits), over the last axis: (..., V) -> (..., V).

    Taking the largest logit off all of them leaves probs as they are and keeps exp from overflowing.
    """
    largest = np.maximum.reduce(logits, axis=-1, keepdims=True)  # (..., 1)
    exps = np.exp(np.subtract(logits, largest, out=out), out=out)  # (..., V)
    total = np.add.reduce(exps, axis=-1, keepdims=True)  # (..., 1)
    return np.divide(exps, total, out=out)


def cross_entropy(logits: Array, targets: Array) -> Array:
    """Each example's loss in nats, -log probs[target]: (..., V), ids (...) or what broadcasts to it -> (...).

    It is log(sum of exp(logits)) - logits[target]. The largest logit is taken off as in `softmax`; it is the largest by
    its real part, because complex numbers have no order.
    """
    largest = np.maximum.reduce(logits.real, axis=-1, keepdims=True)  # (..., 1)
    shifted = logits - largest  # (..., V)
    total = np.add.reduce(np.exp(shifted), axis=-1)  # (...)
    at_target = np.take_along_axis(shifted, targets[..., None], axis=-1)[..., 0]  # (...)
    return np.asarray(np.log(total) - at_target)


def softmax_cross_entropy_backward(probs: Array, targets: Array, share: float, out: Array | None = None) -> Array:
    """dlogits = share * (probs - y), where y is 1 at the target: (B, V), ids (B,) -> (B, V). A row sums to zero.

    `share` is the weight of one example in the mean loss, 1 / B, where these may be a part of the B examples.
    """
    y = identity(probs.shape[1], probs.dtype)[targets]  # (B, V)
    dlogits = np.subtract(probs, y, out=out)
    return np.multiply(dlogits, share, out=dlogits)
