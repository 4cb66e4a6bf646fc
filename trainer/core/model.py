"""The model: the chain of operations forward, and by hand backward.

    emb = embedding(C, contexts)    (B, K*D)    the K characters before the target, side by side
    z = emb @ W1 + b1               (B, H)
    h = tanh(z)                     (B, H)
    logits = h @ W2 + b2            (B, V)
    loss = mean of -log softmax(logits)[target]

`emb` and `h` are meant after dropout, where there is any; its way back stands between dh and dz, and after demb.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.core import ops
from trainer.core.ops import Array, frozen

NAMES = ("C", "W1", "b1", "W2", "b2")


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


class Parameters:
    """One flat vector and named views into it, C, W1, W2.T, b1, b2, one after the other; gradients likewise."""

    C: Array  # (V, D)
    W1: Array  # (K*D, H)
    b1: Array  # (H,)
    W2: Array  # (H, V)
    b2: Array  # (V,)

    def __init__(self, sizes: Sizes, flat: Array) -> None:
        self.sizes, self.flat = sizes, flat
        self.matrices = flat[: len(flat) - sizes.H - sizes.V]  # the biases are last
        start = 0
        for name, shape in sizes.shapes().items():
            end = start + math.prod(shape)
            setattr(self, name, flat[start:end].reshape(shape))
            start = end
        self.W2 = self.W2.reshape(sizes.V, sizes.H).T  # stored transposed, for its products are faster so

    def __repr__(self) -> str:
        return ", ".join(f"{name} {getattr(self, name).shape}" for name in NAMES) + f", {self.flat.dtype}"


def zeros(sizes: Sizes, dtype: npt.DTypeLike) -> Parameters:
    """Parameters (or gradients) that are all zero."""
    return Parameters(sizes, np.zeros(sum(map(math.prod, sizes.shapes().values())), dtype))


def initial(sizes: Sizes, dtype: npt.DTypeLike, rng: np.random.Generator) -> Parameters:
    """Random weights: C (V, D), W1 (K*D, H), W2 (H, V), and biases of zero, b1 (H,), b2 (V,).

    >>> p = trainer.initial_parameters(trainer.Sizes(V=27, K=3, D=10, H=200), "float32", np.random.default_rng(42))
    >>> p.W1.shape, p.flat.size
    ((30, 200), 11897)

    W1 ~ N(0, 1) * (5/3) / sqrt(K*D): z has the standard deviation 5/3 whatever K and D are, and few units start
    saturated (He et al. 2015, arXiv:1502.01852; the gain is that of PyTorch's `calculate_gain` for tanh).
    W2 ~ N(0, 1) * 0.1 / sqrt(H): logits start near 0, and the first loss is close to log V.
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


class Activations(NamedTuple):
    """What a forward pass computes. `h` is `tanh` where there is no dropout."""

    emb: Array  # (B, K*D), after dropout
    z: Array  # (B, H)
    tanh: Array  # (B, H), tanh(z)
    h: Array  # (B, H), after dropout
    logits: Array  # (B, V)


class InnerGradients(NamedTuple):
    """What a backward pass computes on its way to the parameters."""

    dlogits: Array  # (B, V)
    dh: Array  # (B, H)
    dz: Array  # (B, H)
    demb: Array  # (B, K*D)


INNER = tuple(name[1:] for name in InnerGradients._fields)  # logits, h, z, emb


def embed(C: Array, batch: Batch) -> Array:
    """The embeddings of a context side by side, then dropout: (V, D) -> (B, K*D)."""
    emb = ops.embedding(C, batch.contexts).reshape(len(batch.contexts), -1)  # (B, K*D)
    return ops.dropout(emb, batch.emb_mask)


def forward(p: Parameters, batch: Batch) -> Activations:
    """From characters to logits, in the type of the parameters, float or complex."""
    emb = frozen(embed(p.C, batch))  # (B, K*D)
    z = frozen(ops.affine(emb, p.W1, p.b1))  # (B, H)
    tanh = frozen(ops.tanh(z))  # (B, H)
    h = frozen(ops.dropout(tanh, batch.h_mask))  # (B, H)
    logits = frozen(ops.affine(h, p.W2, p.b2))  # (B, V)
    return Activations(emb, z, tanh, h, logits)


def backward(p: Parameters, batch: Batch, a: Activations, g: Parameters, share: float) -> InnerGradients:
    """After `forward`, from the loss to the gradient of every parameter, into `g`.

    `share` is the weight of one example in the mean loss, 1 / B: these may be a part of the B examples.
    """
    probs = ops.softmax(a.logits)  # (B, V)
    dlogits = frozen(ops.softmax_cross_entropy_backward(probs, batch.targets, share))  # (B, V)

    ops.affine_backward_weight(a.h, dlogits, out=g.W2)
    ops.affine_backward_bias(dlogits, out=g.b2)
    dh = frozen(ops.affine_backward_input(dlogits, p.W2))  # (B, H)

    dtanh = ops.dropout_backward(dh, batch.h_mask)  # (B, H)
    dz = frozen(ops.tanh_backward(dtanh, a.tanh))  # (B, H)

    ops.affine_backward_weight(a.emb, dz, out=g.W1)
    ops.affine_backward_bias(dz, out=g.b1)
    demb = frozen(ops.affine_backward_input(dz, p.W1))  # (B, K*D)

    drows = ops.dropout_backward(demb, batch.emb_mask)  # (B, K*D)
    (V, D), (B, K) = p.C.shape, batch.contexts.shape
    ops.embedding_backward(drows.reshape(B, K, D), batch.contexts, V, out=g.C)
    return InnerGradients(dlogits, dh, dz, demb)
