"""Numerical gradients: what a derivative is, and what every derivative by hand is held against.

Nudge a number, run the rest of the same forward pass, divide. Forward operations only, in float64 or complex128.
One pass serves many numbers. Examples do not touch each other, so a column of an activation is nudged in every one at
once. A weight reaches one unit alone, so that unit is computed for a nudge of each of its weights, while the others
stand still. And a slope along one direction through a whole tensor takes a single nudge.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from trainer.core import model, ops
from trainer.core.links import ORDER
from trainer.core.model import INNER, Activations, Batch, Parameters
from trainer.core.ops import Array

TINY = 1e-20  # a complex step, which subtracts nothing: its square is lost beside any number
LARGEST_PASS = 1 << 18  # numbers in its largest array

Nudge = float | complex  # how far a number is moved
Losses = Callable[[Nudge], Array]  # the losses as if each of n numbers were nudged alone
Nudged = tuple[tuple[Any, ...], Losses]  # the index of the numbers in their tensor, and their losses
Mapper = Callable[..., Iterable[Any]]  # map, or what else calls a function with each of many arguments


class Point(NamedTuple):
    """Where a step stands, in float64 whatever the training type."""

    p: Parameters
    batch: Batch
    a: Activations
    tensors: dict[str, Array]  # the nine that have a gradient, by name


def point(p: Parameters, batch: Batch) -> Point:
    """The forward pass of a step in float64, with the same batch and the same dropout masks."""
    p64 = Parameters(p.sizes, p.flat.astype(np.float64))
    a = model.forward(p64, batch)
    return Point(p64, batch, a, {name: getattr(a if name in INNER else p64, name) for name in ORDER})


def loss_at(at: Point, flat: Array) -> Any:
    """The mean loss of the batch for a flat vector of parameters, float64 or complex, in nats."""
    logits = model.forward(Parameters(at.p.sizes, flat), at.batch).logits  # (B, V)
    return ops.cross_entropy(logits, at.batch.targets).mean()


def rest(at: Point, name: str, value: Array) -> Array:
    """The rest of the forward pass, from another value of one of the nine tensors to each example's loss: (B,)."""
    x = at.tensors | {name: value}
    if name == "C":
        name, x["emb"] = "emb", model.embed(x["C"], at.batch)
    if name in ("emb", "W1", "b1"):
        name, x["z"] = "z", ops.affine(x["emb"], x["W1"], x["b1"])
    if name == "z":
        name, x["h"] = "h", ops.dropout(ops.tanh(x["z"]), at.batch.h_mask)
    if name in ("h", "W2", "b2"):
        x["logits"] = ops.affine(x["h"], x["W2"], x["b2"])
    return ops.cross_entropy(x["logits"], at.batch.targets)


def quotient(method: str, eps: float, losses: Losses) -> Any:
    """The derivative of losses by a nudge.

    central: (L(x + eps) - L(x - eps)) / 2 eps. complex-step: Im L(x + i eps) / eps, which subtracts nothing and so
    loses nothing (Squire and Trapp 1998, doi:10.1137/S003614459631241X).
    """
    if method == "complex-step":
        return losses(1j * eps).imag / eps
    return (losses(eps) - losses(-eps)) / (2 * eps)


def slope(at: Point, name: str, direction: Array, method: str, eps: float) -> float:
    """The derivative of the mean loss along a direction through one of the nine tensors, which has its shape."""
    loss = lambda nudge: rest(at, name, at.tensors[name] + nudge * direction).mean()
    return float(quotient(method, eps, loss))


# Every entry. What a `Losses` gives here: a loss for each entry of a column (B,); for each example and number (B, n).


def nudged_column(at: Point, name: str, j: int, nudge: Nudge) -> Array:
    """A column of an activation, whose entries reach an example each: (B,)."""
    column = at.tensors[name][:, j] + nudge  # (B,)
    if name == "z":  # the other units need no second tanh
        mask = None if at.batch.h_mask is None else at.batch.h_mask[:, j]
        name, column = "h", ops.dropout(ops.tanh(column), mask)
    changed = at.tensors[name].astype(column.dtype)
    changed[:, j] = column
    return rest(at, name, changed)


def nudged_unit(x: Array, W: Array, b: Array, unit: int, rows: Array, nudge: Nudge) -> Array:
    """What a unit puts out for a nudge of each of n of its weights, or of row I, its bias: x (B, I) -> (B, n)."""
    weights = np.append(W[:, unit], b[unit])[:, None]  # (I + 1, 1)
    nudged = weights + nudge * (np.arange(len(weights))[:, None] == rows)  # (I + 1, n): a column for each nudge
    return ops.affine(x, nudged[:-1], nudged[-1])


def nudged_hidden_unit(at: Point, unit: int, rows: Array, nudge: Nudge) -> Array:
    """Some of the weights and the bias of a hidden unit: (B, n)."""
    mask = None if at.batch.h_mask is None else at.batch.h_mask[:, unit, None]  # (B, 1)
    z = nudged_unit(at.a.emb, at.p.W1, at.p.b1, unit, rows, nudge)  # (B, n)
    more = ops.dropout(ops.tanh(z), mask) - at.a.h[:, unit, None]  # (B, n): than the unit puts out without a nudge
    # The vocabulary comes first, because sums over it are fastest where it is the outer axis.
    logits = at.a.logits.T[:, :, None] + at.p.W2[unit][:, None, None] * more  # (V, B, n)
    return losses_of(logits, at.batch.targets)


def nudged_logit(at: Point, unit: int, rows: Array, nudge: Nudge) -> Array:
    """Some of the weights and the bias of a logit, without a softmax for each: (B, n), but for a constant.

    To one logit all other characters are a single class, whose logit is their log-sum-exp. It stands still, and so does
    the share of each character in that class, which is the constant.
    """
    logit = nudged_unit(at.a.h, at.p.W2, at.p.b2, unit, rows, nudge)  # (B, n)
    others = np.delete(at.a.logits, unit, axis=1)  # (B, V - 1)
    log_sum_exp = ops.cross_entropy(others, np.zeros_like(at.batch.targets)) + others[:, 0]  # (B,): loss + its logit
    classes = np.stack([np.broadcast_to(log_sum_exp[:, None], logit.shape), logit])  # (2, B, n)
    target = (at.batch.targets == unit).astype(np.intp)  # (B,): which of the two
    return losses_of(classes, target)


def losses_of(logits: Array, targets: Array) -> Array:
    """The loss of each example for each of n nudges: logits (V, B, n), ids (B,) -> (B, n)."""
    V, B, n = logits.shape
    return ops.cross_entropy(logits.reshape(V, B * n).T, targets.repeat(n)).reshape(B, n)


def nudged_embedding(at: Point, v: int, d: int, nudge: Nudge) -> Array:
    """An entry of C, which reaches the examples that read character v: (those, 1)."""
    C = at.p.C.astype(np.result_type(nudge, np.float64))  # (V, D)
    C[v, d] += nudge
    readers = at.batch.rows((at.batch.contexts == v).any(axis=1))
    return rest(at._replace(batch=readers), "C", C)[:, None]


def gradients(at: Point, method: str, eps: dict[str, float], mapper: Mapper = map) -> dict[str, Array]:
    """The numerical gradients of the nine tensors, each in its own shape, in float64.

    `eps` is how far a tensor's entries are nudged. `mapper` makes the passes: `map`, or that of a pool.
    """

    def derivative(name: str, nudged: Nudged) -> tuple[Any, Array]:
        index, losses = nudged
        each = quotient(method, eps[name], losses)
        return index, each if name in INNER else each.sum(axis=0)

    result = {}
    for name in ORDER:
        result[name] = np.zeros(at.tensors[name].shape)  # rows of C that the batch does not read stay zero
        rows = np.atleast_2d(result[name])  # the same numbers: a bias is one row
        for index, each in mapper(partial(derivative, name), nudges(at, name)):
            rows[index] = each / len(at.batch.targets)  # of the mean over the batch
    return result


def nudges(at: Point, name: str) -> Iterator[Nudged]:
    """What it takes to nudge every entry of a tensor."""
    B, V = at.a.logits.shape
    if name in INNER:
        for j in range(at.tensors[name].shape[1]):
            yield (slice(None), j), partial(nudged_column, at, name, j)
    elif name == "C":
        for v in np.unique(at.batch.contexts).tolist():
            for d in range(at.p.sizes.D):
                yield (v, [d]), partial(nudged_embedding, at, v, d)
    else:
        W, of_unit = (at.p.W1, nudged_hidden_unit) if name in ("W1", "b1") else (at.p.W2, nudged_logit)
        inputs, units = W.shape  # row number `inputs` is the bias
        rows = np.array([inputs]) if name in ("b1", "b2") else np.arange(inputs)
        most = max(1, LARGEST_PASS // (B * V))
        for unit in range(units):
            for first in range(0, len(rows), most):
                some = rows[first : first + most]
                yield (some - rows[0], unit), partial(of_unit, at, unit, some)
