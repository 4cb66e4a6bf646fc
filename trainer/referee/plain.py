"""The forward pass in float64, from the definitions, one plain function for each operation."""

import numpy as np

from trainer.core.model import Batch, Parameters
from trainer.core.ops import Array


def embed(C: Array, contexts: Array) -> Array:
    """The rows of C of a context, side by side: (V, D), (B, K) -> (B, K*D)."""
    return np.concatenate([C[contexts[:, k]] for k in range(contexts.shape[1])], axis=1)


def dropped(x: Array, mask: Array | None) -> Array:
    """x times its dropout mask, where there is one: (B, n), (B, n) -> (B, n)."""
    return x if mask is None else x * mask.astype(np.float64)


def losses(logits: Array, targets: Array) -> Array:
    """-log softmax(logits)[target] of each example, in nats: (..., B, V), (B,) -> (..., B).

    The largest logit is taken off.
    """
    shifted = logits - logits.real.max(axis=-1, keepdims=True)  # (..., B, V)
    at_target = shifted[..., np.arange(len(targets)), targets]  # (..., B)
    return np.asarray(np.log(np.exp(shifted).sum(axis=-1)) - at_target)


def all_losses(p: Parameters, batch: Batch) -> Array:
    """The loss of each example in float64, from the parameters on, in nats: (B,)."""
    C, W1, b1, W2, b2 = (array.astype(np.float64) for array in (p.C, p.W1, p.b1, p.W2, p.b2))
    emb = dropped(embed(C, batch.contexts), batch.emb_mask)  # (B, K*D)
    h = dropped(np.tanh(emb @ W1 + b1), batch.h_mask)  # (B, H)
    return losses(h @ W2 + b2, batch.targets)
