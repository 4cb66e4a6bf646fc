"""The model: the chain of operations forward, and by hand backward.

    emb = embedding(C, contexts)    (B, K*D)    the K characters before the target, side by side
    z = emb @ W1 + b1               (B, H)
    h = tanh(z)                     (B, H)
    logits = h @ W2 + b2            (B, V)
    loss = mean of -log softmax(logits)[target]

`emb` and `h` are meant after dropout, where there is any; its way back stands between dh and dz, and after demb.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.core import ops
from trainer.core.ops import Array

NAMES = ("C", "W1", "b1", "W2", "b2")
INNER = ("logits", "h", "z", "emb")


class Sizes(NamedTuple):
    """Vocabulary, context, embedding and hidden units.

    >>> trainer.Sizes(V=27, K=3, D=10, H=200).shapes()["W1"]
    (30, 200)
    """

    V: int
    K: int
    D: int
    H: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Each parameter's shape. Matrices come first, so that weight decay, which spares the biases, is one slice."""
        V, K, D, H = self
        return {"C": (V, D), "W1": (K * D, H), "W2": (H, V), "b1": (H,), "b2": (V,)}

    def parameters(self) -> int:
        """The number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes().values())


@dataclass(frozen=True, repr=False)
class Parameters:
    """One flat vector and named views into it; gradients have the same form.

    `flat` is C, W1, W2, b1, b2, one after the other, and `matrices` its part with C, W1 and W2.
    """

    flat: Array
    matrices: Array
    C: Array  # (V, D)
    W1: Array  # (K*D, H)
    b1: Array  # (H,)
    W2: Array  # (H, V)
    b2: Array  # (V,)

    def __repr__(self) -> str:
        return ", ".join(f"{name} {getattr(self, name).shape}" for name in NAMES) + f", {self.flat.dtype}"


def zeros(sizes: Sizes, dtype: npt.DTypeLike) -> Parameters:
    """Parameters (or gradients) that are all zero."""
    flat = np.zeros(sizes.parameters(), dtype)
    views, start = {}, 0
    for name, shape in sizes.shapes().items():
        end = start + math.prod(shape)
        views[name] = flat[start:end].reshape(shape)
        start = end
    matrices = flat[: len(flat) - sizes.H - sizes.V]  # the biases are last
    return Parameters(flat, matrices, **views)


def initial(sizes: Sizes, dtype: npt.DTypeLike, rng: np.random.Generator) -> Parameters:
    """Random weights: C (V, D), W1 (K*D, H), W2 (H, V), and biases of zero, b1 (H,), b2 (V,).

    >>> p = trainer.initial_parameters(trainer.Sizes(V=27, K=3, D=10, H=200), "float32", np.random.default_rng(42))
    >>> p.W1.shape, p.flat.size
    ((30, 200), 11897)

    W1 ~ N(0, 1) * (5/3) / sqrt(K*D): z has the standard deviation 5/3 whatever K and D are, where without the root of
    the fan-in most units would start saturated (He et al. 2015, arXiv:1502.01852; the gain is that of PyTorch's
    `calculate_gain` for tanh). W2 ~ N(0, 1) * 0.1 / sqrt(H): logits start near 0 whatever H is, all characters are
    about equally likely, and the first loss is close to log V.
    """
    p = zeros(sizes, dtype)
    p.C[...] = rng.standard_normal(p.C.shape)
    p.W1[...] = rng.standard_normal(p.W1.shape) * (5 / 3) / np.sqrt(sizes.K * sizes.D)
    p.W2[...] = rng.standard_normal(p.W2.shape) * 0.1 / np.sqrt(sizes.H)
    return p


class Batch(NamedTuple):
    """Examples; where there is dropout, its masks; and where in the text the targets stand, if they come from one."""

    contexts: Array  # (B, K) ids
    targets: Array  # (B,) ids
    emb_mask: Array | None = None  # (B, K*D)
    h_mask: Array | None = None  # (B, H)
    positions: Array | None = None  # (B,)

    def rows(self, part: slice | Array) -> "Batch":
        """Some of the examples, by a slice or a mask."""
        return Batch(*(None if field is None else field[part] for field in self))  # type: ignore[arg-type]


class Activations:
    """Room for what a pass over B examples leaves behind, forward and backward; the next pass writes over it."""

    def __init__(self, sizes: Sizes, B: int, dtype: npt.DTypeLike) -> None:
        V, K, D, H = sizes
        self.emb, self.demb, self.drows = (np.empty((B, K * D), dtype) for _ in range(3))  # drows: before dropout
        self.hidden, self.dropped = (np.empty((B, H), dtype) for _ in range(2))  # z, then tanh(z); after dropout
        self.h = self.hidden  # or, where there is dropout, `dropped`
        self.dh, self.dtanh, self.dz = (np.empty((B, H), dtype) for _ in range(3))  # dtanh: before dropout
        self.logits, self.dlogits = (np.empty((B, V), dtype) for _ in range(2))


Watch = Callable[[str, Array], None]  # is told each tensor's name and value as soon as it is computed


def unwatched(name: str, value: Array) -> None:
    """Looks at nothing."""


def embed(C: Array, batch: Batch, out: Array | None = None) -> Array:
    """The embeddings of a context side by side, then dropout: (V, D) -> (B, K*D)."""
    (B, K), D = batch.contexts.shape, C.shape[1]
    rows = None if out is None else out.reshape(B, K, D)
    emb = ops.embedding(C, batch.contexts, rows).reshape(B, K * D)
    return emb if batch.emb_mask is None else ops.dropout(emb, batch.emb_mask, out)


def forward(p: Parameters, batch: Batch, room: Activations, watch: Watch = unwatched) -> Array:
    """From characters to logits (B, V), by way of `room`."""
    room.emb = embed(p.C, batch, room.emb)
    watch("emb", room.emb)
    z = ops.affine(room.emb, p.W1, p.b1, room.hidden)
    watch("z", z)
    room.hidden = ops.tanh(z, z)  # z is written over: no derivative needs it, and the cache has the less to hold
    room.h = room.hidden if batch.h_mask is None else ops.dropout(room.hidden, batch.h_mask, room.dropped)
    watch("h", room.h)
    room.logits = ops.affine(room.h, p.W2, p.b2, room.logits)
    watch("logits", room.logits)
    return room.logits


def backward(
    p: Parameters, batch: Batch, room: Activations, g: Parameters, share: float, watch: Watch = unwatched
) -> None:
    """After `forward`, from the loss to the gradient of every parameter, into `g`.

    `share` is the weight of one example in the mean loss, 1 / B: these may be a part of the B examples.
    """

    def give(name: str, gradient: Array) -> None:
        """Copy what an operation returned into g, if it has not written it there itself."""
        view = getattr(g, name)
        if gradient is not view:
            view[...] = gradient
        watch("d" + name, view)

    V, D = p.C.shape
    probs = ops.softmax(room.logits, room.dlogits)
    dlogits = ops.softmax_cross_entropy_backward(probs, batch.targets, share, probs)  # in the same array
    watch("dlogits", dlogits)

    give("W2", ops.affine_backward_weight(room.h, dlogits, g.W2))
    give("b2", ops.affine_backward_bias(dlogits, g.b2))
    dh = ops.affine_backward_input(dlogits, p.W2, room.dh)
    watch("dh", dh)

    dtanh = dh if batch.h_mask is None else ops.dropout_backward(dh, batch.h_mask, room.dtanh)
    dz = ops.tanh_backward(dtanh, room.hidden, room.dz)
    watch("dz", dz)

    give("b1", ops.affine_backward_bias(dz, g.b1))
    give("W1", ops.affine_backward_weight(room.emb, dz, g.W1))
    demb = ops.affine_backward_input(dz, p.W1, room.demb)
    watch("demb", demb)

    drows = demb if batch.emb_mask is None else ops.dropout_backward(demb, batch.emb_mask, room.drows)
    give("C", ops.embedding_backward(drows.reshape(*batch.contexts.shape, D), batch.contexts, V, g.C))
