"""The model: the chain of operations forward, and by hand backward.

    emb = embedding(C, contexts)    (B, K*D)    the K characters before the target, side by side
    z = emb @ W1 + b1               (B, H)
    h = tanh(z)                     (B, H)
    logits = h @ W2 + b2            (B, V)
    loss = mean of -log softmax(logits)[target]

`emb` and `h` are meant after dropout, where there is any.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trainer import ops
from trainer.ops import Array

NAMES = ("C", "W1", "b1", "W2", "b2")
INNER = ("logits", "h", "z", "emb")
ONE_HOT_LIMIT = 256  # a larger vocabulary sums its embedding gradient by segments


class Sizes(NamedTuple):
    """Vocabulary, context, embedding and hidden units."""

    V: int
    K: int
    D: int
    H: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Each parameter's shape, matrices first."""
        V, K, D, H = self
        return {"C": (V, D), "W1": (K * D, H), "W2": (H, V), "b1": (H,), "b2": (V,)}

    def parameters(self) -> int:
        """The number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes().values())


@dataclass(frozen=True)
class Parameters:
    """One flat vector and named views into it; gradients have the same form.

    `flat` is C, W1, W2, b1, b2, and `matrices` its part with C, W1 and W2.
    """

    flat: Array
    matrices: Array
    C: Array  # (V, D)
    W1: Array  # (K*D, H)
    b1: Array  # (H,)
    W2: Array  # (H, V)
    b2: Array  # (V,)


def zeros(sizes: Sizes, dtype: npt.DTypeLike) -> Parameters:
    """Parameters (or gradients) that are all zero."""
    flat, views, end, matrices = np.zeros(sizes.parameters(), dtype), {}, 0, 0
    for name, shape in sizes.shapes().items():
        start, end = end, end + math.prod(shape)
        views[name] = flat[start:end].reshape(shape)
        matrices = end if len(shape) == 2 else matrices
    return Parameters(flat, flat[:matrices], **views)


def initial(sizes: Sizes, dtype: npt.DTypeLike, rng: np.random.Generator) -> Parameters:
    """Random weights.

    W1 ~ N(0, 1) * (5/3) / sqrt(K*D): tanh shrinks what passes, the gain 5/3 makes up for it
    and the root of the fan-in keeps z of order 1, so that units neither saturate nor die
    (He et al. 2015, arXiv:1502.01852; the gain is the one PyTorch's `calculate_gain` lists for
    tanh). W2 ~ N(0, 1) * 0.1 / sqrt(H): logits start near 0 whatever H is, all characters
    are about equally likely, and the first loss is close to log V.
    """
    p = zeros(sizes, dtype)
    p.C[...] = rng.standard_normal(p.C.shape)
    p.W1[...] = rng.standard_normal(p.W1.shape) * (5 / 3) / np.sqrt(sizes.K * sizes.D)
    p.W2[...] = rng.standard_normal(p.W2.shape) * 0.1 / np.sqrt(sizes.H)
    return p


class Batch(NamedTuple):
    """Examples, and where there is dropout, its masks."""

    contexts: Array  # (B, K) ids
    targets: Array  # (B,) ids
    emb_mask: Array | None = None  # (B, K*D)
    h_mask: Array | None = None  # (B, H)

    def rows(self, part: slice) -> "Batch":
        """Some of the examples."""
        return Batch(*(None if a is None else a[part] for a in self))  # type: ignore[arg-type]


class Activations:
    """What a pass leaves behind for B examples, allocated once and written over by the next pass."""

    def __init__(self, sizes: Sizes, B: int, dtype: npt.DTypeLike, backward: bool = True) -> None:
        V, K, D, H = sizes
        self.emb = np.empty((B, K * D), dtype)
        self.tanh, self.h = (np.empty((B, H), dtype) for _ in range(2))
        self.shifted, self.exps = (np.empty((B, V), dtype) for _ in range(2))
        self.total = np.empty(B, dtype)
        if backward:
            self.dlogits = np.empty((B, V), dtype)
            self.dh, self.dtanh, self.dz = (np.empty((B, H), dtype) for _ in range(3))
            self.demb, self.drows = (np.empty((B, K * D), dtype) for _ in range(2))
            self.ones = np.ones(B, dtype)
            small = V <= ONE_HOT_LIMIT
            self.eye: Any = np.eye(V, dtype=dtype) if small else None
            self.y: Any = np.empty((B, V), dtype) if small else None
            self.one_hot: Any = np.empty((B * K, V), dtype) if small else None
            cheaper = V * (B + 2 * D) < 1.6 * B * D  # a fifth of these products' multiplications spared, or more
            self.sums: Any = np.empty((K, V, H), dtype) if small and cheaper else None


def embed(C: Array, contexts: Array, mask: Array | None, out: Array | None = None) -> Array:
    """The embeddings of a context side by side, then dropout: (..., V, D), (B, K) -> (..., B, K*D)."""
    K, D = contexts.shape[-1], C.shape[-1]
    rows = None if out is None else out.reshape(-1, K, D)  # a view of `out`
    emb = ops.embedding(C, contexts, rows)  # (..., B, K, D)
    emb = emb.reshape(*emb.shape[:-2], K * D)
    return emb if mask is None else ops.dropout(emb, mask, out)


def activate(z: Array, mask: Array | None, tanh: Array | None = None, h: Array | None = None) -> tuple[Array, Array]:
    """tanh, then dropout: z and mask of any one shape -> tanh(z), h. Without dropout they are one array."""
    tanh = ops.tanh(z, tanh)
    return tanh, tanh if mask is None else ops.dropout(tanh, mask, h)


def forward(p: Parameters, batch: Batch, a: Activations) -> None:
    """From characters to the parts of the softmax, into `a`."""
    embed(p.C, batch.contexts, batch.emb_mask, a.emb)
    z = ops.affine(a.emb, p.W1, p.b1, a.tanh)
    h = activate(z, batch.h_mask, a.tanh, a.h)[1]  # z and the logits are written over: they stay in the cache
    logits = ops.affine(h, p.W2, p.b2, a.shifted)
    ops.softmax(logits, a.shifted, a.exps, a.total)


def losses(a: Activations, batch: Batch) -> Array:
    """Each example's loss after `forward`, in nats: (B,)."""
    return ops.cross_entropy(a.shifted, a.total, batch.targets)


def spares_demb(batch: Batch, a: Activations) -> bool:
    """Whether dC and dW1 are summed by place and character, which needs no embedding dropout."""
    return a.sums is not None and batch.emb_mask is None


def backward(p: Parameters, batch: Batch, a: Activations, g: Parameters, weight: float) -> None:
    """From the loss to the gradient of every parameter, into `g`; `weight` is an example's share of the loss."""
    ops.softmax_cross_entropy_backward(a.exps, a.total, batch.targets, weight, a.dlogits, a.eye, a.y)

    h = a.tanh if batch.h_mask is None else a.h
    ops.affine_backward_weight(h, a.dlogits, g.W2)
    ops.affine_backward_bias(a.dlogits, a.ones, g.b2)
    ops.affine_backward_input(a.dlogits, p.W2, a.dh)

    dtanh = a.dh if batch.h_mask is None else ops.dropout_backward(a.dh, batch.h_mask, a.dtanh)
    ops.tanh_backward(dtanh, a.tanh, a.dz)

    ops.affine_backward_bias(a.dz, a.ones, g.b1)
    if spares_demb(batch, a):
        ops.embedded_affine_backward(a.dz, batch.contexts, p.C, p.W1, g.C, g.W1, a.eye, a.one_hot, a.sums)
        return
    ops.affine_backward_weight(a.emb, a.dz, g.W1)
    ops.affine_backward_input(a.dz, p.W1, a.demb)

    drows = a.demb if batch.emb_mask is None else ops.dropout_backward(a.demb, batch.emb_mask, a.drows)
    ops.embedding_backward(drows.reshape(-1, p.C.shape[1]), batch.contexts.reshape(-1), g.C, a.eye, a.one_hot)
