"""Numerical gradients: what every derivative by hand is held against.

Forward operations only, in float64 or complex128, and no derivative. What an entry can change
is evaluated again and nothing else: rows of a batch do not touch each other, an entry of W1
changes one hidden unit, an entry of W2 one logit.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np

from trainer import model, ops
from trainer.model import Batch, Parameters, Sizes
from trainer.ops import Array

ORDER = ("logits", "h", "z", "emb", "W2", "b2", "W1", "b1", "C")  # of the backward pass


class Point(NamedTuple):
    """Where a step stands, in float64 whatever the training type: parameters, batch, activations."""

    p: Parameters
    batch: Batch
    sizes: Sizes
    emb: Array  # (B, K*D)
    z: Array  # (B, H)
    h: Array  # (B, H)
    logits: Array  # (B, V)

    def activate(self, z: Array, part: tuple[Any, ...]) -> Array:
        """h from z, with this part of the dropout mask (B, H)."""
        mask = self.batch.h_mask
        return model.activate(z, None if mask is None else mask[part])[1]


def point(p: Parameters, batch: Batch, sizes: Sizes) -> Point:
    """The forward pass of a step in float64, with the same batch and the same dropout masks."""
    p64 = model.zeros(sizes, np.float64)
    p64.flat[...] = p.flat
    masks = (None if mask is None else mask.astype(np.float64) for mask in batch[2:])
    batch = Batch(batch.contexts, batch.targets, *masks)
    return forward(p64, batch, sizes)


def forward(p: Parameters, batch: Batch, sizes: Sizes) -> Point:
    """The forward pass at any parameters, float64 or complex."""
    emb = model.embed(p.C, batch.contexts, batch.emb_mask)
    z = ops.affine(emb, p.W1, p.b1)
    h = model.activate(z, batch.h_mask)[1]
    return Point(p, batch, sizes, emb, z, h, ops.affine(h, p.W2, p.b2))


# The loss of perturbed copies. `step` (n,) is added to one entry in each of n copies, whose places
# stand in `index` (2, n); losses come back one for each copy (n,), or for each example and
# copy (B, n) where an entry touches many examples.


def row_losses(logits: Array, targets: Array) -> Array:
    """The losses of single examples: (n, V), (n,) -> (n,)."""
    shifted, _, total = ops.softmax(logits)
    return ops.cross_entropy(shifted, total, targets)


def output(h: Array, W2: Array, b2: Array) -> Array:
    """The output layer, as (V, n) in memory, for softmax reduces faster so: (n, H), b2 (V,) or (n, V) -> (n, V)."""
    return np.asarray(ops.affine(W2.T, h.T, np.atleast_2d(b2).T).T)


def from_h(at: Point, h: Array, b: Array) -> Array:
    """The rest of the way from the hidden units (n, H) of the examples b (n,) -> (n,)."""
    return row_losses(output(h, at.p.W2, at.p.b2), at.batch.targets[b])


def from_emb(at: Point, emb: Array, b: Array) -> Array:
    """The rest of the way from the embeddings (n, K*D) of the examples b (n,) -> (n,)."""
    return from_h(at, at.activate(ops.affine(emb, at.p.W1, at.p.b1), (b,)), b)


def copies(of: Array, index: Array, step: Array) -> Array:
    """Rows of an activation (B, I), each with a step at one entry: (n, I)."""
    rows: Array = of[index[0]].astype(step.dtype)  # (n, I)
    rows[np.arange(len(step)), index[1]] += step
    return rows


def perturb_logits(at: Point, index: Array, step: Array) -> Array:
    return row_losses(copies(at.logits, index, step), at.batch.targets[index[0]])


def perturb_h(at: Point, index: Array, step: Array) -> Array:
    return from_h(at, copies(at.h, index, step), index[0])


def perturb_z(at: Point, index: Array, step: Array) -> Array:
    b, j = index
    h = at.h[b].astype(step.dtype)  # (n, H)
    h[np.arange(len(b)), j] = at.activate(at.z[b, j] + step, (b, j))
    return from_h(at, h, b)


def perturb_emb(at: Point, index: Array, step: Array) -> Array:
    return from_emb(at, copies(at.emb, index, step), index[0])


def perturb_C(at: Point, index: Array, step: Array) -> Array:
    v, d = index
    present, contexts = np.unique(at.batch.contexts, return_inverse=True)
    C = np.repeat(at.p.C[None, present].astype(step.dtype), len(v), axis=0)  # (n, present, D)
    C[np.arange(len(v)), np.searchsorted(present, v), d] += step
    emb = model.embed(C, contexts.reshape(at.batch.contexts.shape), at.batch.emb_mask)  # (n, B, K*D)
    k, b = np.nonzero((at.batch.contexts == v[:, None, None]).any(axis=-1))  # the examples that read the character
    losses = np.zeros((len(at.emb), len(v)), step.dtype)  # (B, n); the others do not move
    losses[b, k] = from_emb(at, emb[k, b], b)
    return losses


def perturb_hidden_layer(at: Point, index: Array, step: Array) -> Array:
    """Entries (i, j) of W1 or, where i = K*D, of b1, all of one unit j."""
    i, j, n = index[0], index[1, 0], index.shape[1]
    column = np.append(at.p.W1[:, j], at.p.b1[j]).astype(step.dtype)  # (K*D + 1,)
    columns = np.repeat(column[:, None], n, axis=1)  # (K*D + 1, n)
    columns[i, np.arange(n)] += step
    h = at.activate(ops.affine(at.emb, columns[:-1], columns[-1]), (slice(None), j, None))  # (B, n)
    others = at.h.copy()
    others[:, j] = 0
    still = output(others, at.p.W2, at.p.b2)  # (B, V): the logits without unit j
    logits = output(h.reshape(-1, 1), at.p.W2[j, None], np.repeat(still.T, n, axis=1).T)  # (B*n, V)
    return row_losses(logits, np.repeat(at.batch.targets, n)).reshape(-1, n)


def perturb_output_layer(at: Point, index: Array, step: Array) -> Array:
    """Entries (j, v) of W2 or, where j = H, of b2, all of one logit v.

    To logit v all other characters are one class, whose logit is their log-sum-exp. It stands
    still, and so does each one's share of that class, which is a constant of the loss.
    """
    j, v, n, targets = index[0], index[1, 0], index.shape[1], at.batch.targets
    column = np.append(at.p.W2[:, v], at.p.b2[v]).astype(step.dtype)  # (H + 1,)
    columns = np.repeat(column[:, None], n, axis=1)  # (H + 1, n)
    columns[j, np.arange(n)] += step
    others = np.delete(at.logits, v, axis=1)  # (B, V - 1)
    two = np.empty((2, len(targets), n), step.dtype)
    two[0] = (row_losses(others, np.zeros_like(targets)) + others[:, 0])[:, None]  # log-sum-exp
    two[1] = ops.affine(at.h, columns[:-1], columns[-1])
    return row_losses(two.reshape(2, -1).T, np.repeat((targets == v).astype(np.intp), n)).reshape(-1, n)


# Which tensors are perturbed together: by which function, and whether a call takes one unit at a time.
Perturb = Callable[[Point, Array, Array], Array]
GROUPS: list[tuple[tuple[str, ...], Perturb, bool]] = [
    (("logits",), perturb_logits, False),
    (("h",), perturb_h, False),
    (("z",), perturb_z, False),
    (("emb",), perturb_emb, False),
    (("W2", "b2"), perturb_output_layer, True),
    (("W1", "b1"), perturb_hidden_layer, True),
    (("C",), perturb_C, False),
]


def coordinates(at: Point, name: str, wanted: int | str, rng: np.random.Generator) -> Array:
    """Places (2, n) to check in a tensor: all, of C in the rows that the batch reads, or so many random ones.

    A bias is one more row of its matrix.
    """
    V, K, D, H = at.sizes
    B, present = len(at.emb), np.unique(at.batch.contexts)
    rows, columns, first = {
        "logits": (B, V, 0), "h": (B, H, 0), "z": (B, H, 0), "emb": (B, K * D, 0), "W2": (H, V, 0), "b2": (1, V, H),
        "W1": (K * D, H, 0), "b1": (1, H, K * D), "C": (len(present), D, 0),
    }[name]  # fmt: skip
    size = rows * columns
    places = np.arange(size) if wanted == "all" or int(wanted) >= size else rng.choice(size, int(wanted), replace=False)
    index = np.stack(np.divmod(places, columns))  # (2, n)
    index[0] = present[index[0]] if name == "C" else index[0] + first
    return index


def blocks(index: Array, one_unit: bool, width: int) -> Iterator[Array]:
    """Which columns of index (2, n) go together: runs (at most `width`,), each of one unit where that is asked for."""
    units = index[1] if one_unit else np.zeros_like(index[1])
    order = np.argsort(units, kind="stable")
    for unit in np.split(order, np.flatnonzero(np.diff(units[order])) + 1):
        for first in range(0, len(unit), width):
            yield unit[first : first + width]


def numerical(
    at: Point, wanted: int | str, method: str, steps: dict[str, float], rng: np.random.Generator, pool: Executor
) -> dict[str, tuple[Array, Array]]:
    """The numerical gradient of each tensor: its places (2, n) and the values there (n,).

    central: (L(x + eps) - L(x - eps)) / 2 eps. complex-step: Im L(x + i eps) / eps, which
    subtracts nothing and so loses nothing (Squire and Trapp 1998, doi:10.1137/S003614459631241X).
    """
    V, K, D, H = at.sizes
    B = len(at.emb)
    result = {}
    for names, perturb, one_unit in GROUPS:
        places = [coordinates(at, name, wanted, rng) for name in names]
        index = np.concatenate(places, axis=1)
        eps = np.concatenate([np.full(place.shape[1], steps[name]) for name, place in zip(names, places, strict=True)])
        room = {"C": B * K * D}.get(names[0], B * V if one_unit else V + H) + (H + K * D if one_unit else 0)

        def quotient(block: Array, perturb: Perturb = perturb, index: Array = index, eps: Array = eps) -> Array:
            e = eps[block]
            if method == "complex-step":
                slopes = perturb(at, index[:, block], 1j * e).imag / e
            else:
                slopes = (perturb(at, index[:, block], e) - perturb(at, index[:, block], -e)) / (2 * e)
            return np.asarray(slopes.reshape(-1, len(block)).sum(axis=0) / B)

        values = np.empty(index.shape[1])
        cut = list(blocks(index, one_unit, max(1, (1 << 17) // room)))
        for block, value in zip(cut, pool.map(quotient, cut), strict=True):
            values[block] = value
        for name, place in zip(names, places, strict=True):
            result[name], values = (place, values[: place.shape[1]]), values[place.shape[1] :]
    return result


def loss_at(at: Point, vector: Array) -> Any:
    """The mean loss of the batch for a flat vector of parameters, float64 or complex."""
    p = model.zeros(at.sizes, vector.dtype)
    p.flat[...] = vector
    return row_losses(forward(p, at.batch, at.sizes).logits, at.batch.targets).mean()
