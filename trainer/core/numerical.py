"""Numerical gradients: what a derivative is, and what every derivative by hand is held against.

Nudge a number, run the rest of the same forward pass, divide. Forward operations only, in float64 or complex128.
One pass serves many numbers. The examples of a batch do not touch each other, so a column of an activation is nudged
in every example at once. A weight reaches one unit alone, so that unit is computed for a nudge of each of its weights,
while the others stand still.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from trainer.core import model, ops
from trainer.core.model import INNER, Batch, Parameters, Sizes
from trainer.core.ops import Array

# The order of blame, from the loss back: activations, then parameters. The first wrong one is the broken link.
ORDER = ("logits", "h", "z", "emb", "W2", "b2", "W1", "b1", "C")
LARGEST_PASS = 1 << 18  # numbers in its largest array

Nudge = float | complex  # how far a number is moved
Index = tuple[Any, ...]  # some entries of a tensor
Losses = Callable[[Nudge], Array]  # the losses as if each of n numbers were nudged alone
Pass = tuple[Index, Losses]  # the numbers, and their losses
Mapper = Callable[..., Iterable[Array]]  # map, or what else calls a function with each of many arguments


class Point(NamedTuple):
    """Where a step stands, in float64 whatever the training type: parameters, batch, activations."""

    p: Parameters
    batch: Batch
    sizes: Sizes
    emb: Array  # (B, K*D)
    z: Array  # (B, H)
    h: Array  # (B, H)
    logits: Array  # (B, V)


def point(p: Parameters, batch: Batch, sizes: Sizes) -> Point:
    """The forward pass of a step in float64, with the same batch and the same dropout masks."""
    p64 = model.zeros(sizes, np.float64)
    p64.flat[...] = p.flat
    emb_mask, h_mask = (None if mask is None else mask.astype(np.float64) for mask in (batch.emb_mask, batch.h_mask))
    return forward(p64, batch._replace(emb_mask=emb_mask, h_mask=h_mask), sizes)


def forward(p: Parameters, batch: Batch, sizes: Sizes) -> Point:
    """The forward pass at any parameters, float64 or complex."""
    emb = model.embed(p.C, batch)
    z = ops.affine(emb, p.W1, p.b1)
    h = activate(z, batch.h_mask)
    return Point(p, batch, sizes, emb, z, h, ops.affine(h, p.W2, p.b2))


def activate(z: Array, mask: Array | None) -> Array:
    """tanh, then dropout."""
    return ops.tanh(z) if mask is None else ops.dropout(ops.tanh(z), mask)


def loss_at(at: Point, vector: Array) -> Any:
    """The mean loss of the batch for a flat vector of parameters, float64 or complex, in nats."""
    p = model.zeros(at.sizes, vector.dtype)
    p.flat[...] = vector
    return ops.cross_entropy(forward(p, at.batch, at.sizes).logits, at.batch.targets).mean()


def rest(at: Point, name: str, value: Array) -> Array:
    """The rest of the forward pass, from another value of emb, z, h or logits to each example's loss: (B,)."""
    if name == "emb":
        name, value = "z", ops.affine(value, at.p.W1, at.p.b1)
    if name == "z":
        name, value = "h", activate(value, at.batch.h_mask)
    if name == "h":
        name, value = "logits", ops.affine(value, at.p.W2, at.p.b2)
    return ops.cross_entropy(value, at.batch.targets)


# What a `Losses` gives: a loss for each number (n,), or where a number reaches many examples, for each example and
# number (B, n).


def nudged_column(at: Point, name: str, j: int, nudge: Nudge) -> Array:
    """A column of an activation, whose n = B entries reach an example each: (n,)."""
    column = getattr(at, name)[:, j] + nudge  # (B,)
    if name == "z":  # the other units need no second tanh
        mask = None if at.batch.h_mask is None else at.batch.h_mask[:, j]
        return rest(at, "h", with_column(at.h, j, activate(column, mask)))
    return rest(at, name, with_column(getattr(at, name), j, column))


def with_column(x: Array, j: int, column: Array) -> Array:
    """x with another column j: (B, I), (B,) -> (B, I)."""
    changed = x.astype(column.dtype)
    changed[:, j] = column
    return changed


def nudged_unit(x: Array, W: Array, b: Array, unit: int, rows: Array, nudge: Nudge) -> Array:
    """What a unit puts out for a nudge of each of n of its weights, or of row I, its bias: x (B, I) -> (B, n)."""
    weights = np.append(W[:, unit], b[unit])  # (I + 1,)
    nudged = np.repeat(weights[:, None], len(rows), axis=1)  # (I + 1, n): a column for each nudge
    nudged = nudged.astype(np.result_type(nudge, np.float64))
    nudged[rows, np.arange(len(rows))] += nudge
    return ops.affine(x, nudged[:-1], nudged[-1])


def nudged_hidden_unit(at: Point, unit: int, rows: Array, nudge: Nudge) -> Array:
    """Some of the weights and the bias of a hidden unit: (B, n)."""
    mask = None if at.batch.h_mask is None else at.batch.h_mask[:, unit, None]  # (B, 1)
    h = activate(nudged_unit(at.emb, at.p.W1, at.p.b1, unit, rows, nudge), mask)  # (B, n)
    more = h - at.h[:, unit, None]  # (B, n): than the unit puts out without a nudge
    # The vocabulary comes first, because sums over it are fastest where it is the outer axis.
    logits = at.logits.T[:, :, None] + at.p.W2[unit][:, None, None] * more  # (V, B, n)
    return ops.cross_entropy(np.moveaxis(logits, 0, -1), at.batch.targets[:, None])


def nudged_logit(at: Point, unit: int, rows: Array, nudge: Nudge) -> Array:
    """Some of the weights and the bias of a logit: (B, n), but for a constant.

    To one logit all other characters are a single class, whose logit is their log-sum-exp. It stands still, and so does
    the share of each character in that class, which is the constant.
    """
    logit = nudged_unit(at.h, at.p.W2, at.p.b2, unit, rows, nudge)  # (B, n)
    others = np.delete(at.logits, unit, axis=1)  # (B, V - 1)
    log_sum_exp = ops.cross_entropy(others, np.zeros_like(at.batch.targets)) + others[:, 0]  # (B,): loss + its logit
    classes = np.stack([np.broadcast_to(log_sum_exp[:, None], logit.shape), logit])  # (2, B, n)
    target = (at.batch.targets == unit).astype(np.intp)  # (B,): which of the two
    return ops.cross_entropy(np.moveaxis(classes, 0, -1), target[:, None])


def nudged_embedding(at: Point, v: int, d: int, nudge: Nudge) -> Array:
    """An entry of C, which reaches the examples that read character v: (those, 1)."""
    C = at.p.C.astype(np.result_type(nudge, np.float64))  # (V, D)
    C[v, d] += nudge
    readers = at.batch.rows((at.batch.contexts == v).any(axis=1))
    return rest(at._replace(batch=readers), "emb", model.embed(C, readers))[:, None]


def gradients(
    at: Point, method: str, eps: dict[str, float], wanted: int | str, rng: np.random.Generator, mapper: Mapper = map,
    names: Sequence[str] = ORDER,
) -> dict[str, Array]:  # fmt: skip
    """The numerical gradients of some of the nine tensors, each in its own shape, in float64.

    `wanted` is "all", or how many entries of each tensor are drawn; the others are nan. Rows of C that the batch does
    not read are zero. `mapper` makes the passes: `map`, or that of a pool.
    """
    result = {}
    for name in names:
        drawn = draw(at, name, wanted, rng)
        todo = list(passes(at, name, drawn))
        found = mapper(partial(slopes, method, eps[name]), [losses for _, losses in todo])
        result[name] = np.full(drawn.shape, np.nan)
        for (index, _), slope in zip(todo, found, strict=True):
            slope[np.isnan(slope)] = np.inf  # nan says that nothing was drawn
            result[name][index] = slope / len(at.emb)  # of the mean over the batch
        result[name][~drawn] = np.nan  # a column is nudged whole, also where few of it were drawn
        if name == "C":
            result[name][absent(at.batch, at.sizes.V)] = 0
    return result


def absent(batch: Batch, V: int) -> Array:
    """The characters that no context of a batch holds."""
    missing = np.ones(V, bool)
    missing[batch.contexts] = False
    return np.flatnonzero(missing)


def slopes(method: str, eps: float, losses: Losses) -> Any:
    """The derivative by each of n nudged numbers, of the loss summed over the examples: (n,).

    central: (L(x + eps) - L(x - eps)) / 2 eps. complex-step: Im L(x + i eps) / eps, which subtracts nothing and so
    loses nothing (Squire and Trapp 1998, doi:10.1137/S003614459631241X).
    """
    each = losses(1j * eps).imag / eps if method == "complex-step" else (losses(eps) - losses(-eps)) / (2 * eps)
    return each.sum(axis=0) if each.ndim == 2 else each


def draw(at: Point, name: str, wanted: int | str, rng: np.random.Generator) -> Array:
    """Which entries of a tensor are computed, as a mask of its shape; of C only in rows that the batch reads."""
    mask = np.ones(getattr(at if name in INNER else at.p, name).shape, bool)
    if name == "C":
        mask[...] = False
        mask[at.batch.contexts] = True
    places = np.flatnonzero(mask)
    if wanted != "all" and int(wanted) < len(places):
        mask[...] = False
        mask.reshape(-1)[rng.choice(places, int(wanted), replace=False)] = True
    return mask


def passes(at: Point, name: str, drawn: Array) -> Iterator[Pass]:
    """What it takes to nudge every drawn entry of a tensor."""
    B, V = at.logits.shape
    if name in INNER:
        for j in np.flatnonzero(drawn.any(axis=0)).tolist():
            yield (slice(None), j), partial(nudged_column, at, name, j)
    elif name == "C":
        for v, d in np.argwhere(drawn).tolist():
            yield (v, [d]), partial(nudged_embedding, at, v, d)
    elif name in ("b1", "b2"):
        of_unit, bias = (nudged_hidden_unit, len(at.p.W1)) if name == "b1" else (nudged_logit, len(at.p.W2))
        for unit in np.flatnonzero(drawn).tolist():
            yield ([unit],), partial(of_unit, at, unit, np.array([bias]))
    else:
        of_unit = nudged_hidden_unit if name == "W1" else nudged_logit
        most = max(1, LARGEST_PASS // (B * V))
        for unit in np.flatnonzero(drawn.any(axis=0)).tolist():
            rows = np.flatnonzero(drawn[:, unit])
            for first in range(0, len(rows), most):
                some = rows[first : first + most]
                yield (some, unit), partial(of_unit, at, unit, some)
