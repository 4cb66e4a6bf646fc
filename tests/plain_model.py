"""The plainest model there is, in one piece and in float64: what everything else is held against."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainer.core import model
from trainer.core.model import INNER, NAMES, Batch, Parameters, Sizes
from trainer.core.ops import Array
from trainer.runs.checkpoint import load
from trainer.text import corpus as text


def parameters(rng: np.random.Generator, sizes: Sizes) -> Parameters:
    """Those of a started training: far from uniform, with biases."""
    p = model.initial(sizes, np.float64, rng)
    p.W2[...] *= 10
    p.b1[...], p.b2[...] = rng.standard_normal(sizes.H), rng.standard_normal(sizes.V)
    return p


def inputs(p: Parameters, batch: Batch) -> dict[str, Array]:
    """The five parameters, and for each inner tensor zeros that are added to it: their gradient is the tensor's."""
    widths = {"emb": len(p.W1), "z": len(p.b1), "h": len(p.b1), "logits": len(p.b2)}
    given = {name: np.array(getattr(p, name), np.float64) for name in NAMES}
    return given | {name: np.zeros((len(batch.targets), widths[name])) for name in INNER}


def logits(a: Mapping[str, Array], batch: Batch, xp: Any = np) -> Any:
    """Forward to the logits (B, V), in NumPy or in autograd's."""
    emb = xp.reshape(a["C"][batch.contexts], (len(batch.targets), -1))
    emb = emb * (1 if batch.emb_mask is None else batch.emb_mask) + a.get("emb", 0)
    z = xp.dot(emb, a["W1"]) + a["b1"] + a.get("z", 0)
    h = xp.tanh(z) * (1 if batch.h_mask is None else batch.h_mask) + a.get("h", 0)
    return xp.dot(h, a["W2"]) + a["b2"] + a.get("logits", 0)


def loss(a: Mapping[str, Array], batch: Batch, xp: Any = np) -> Any:
    """The mean loss in nats, -log softmax(logits) at the target."""
    values = logits(a, batch, xp)
    values = values - xp.max(xp.real(values), axis=1, keepdims=True)
    return xp.mean(xp.log(xp.sum(xp.exp(values), axis=1)) - values[np.arange(len(batch.targets)), batch.targets])


def gradients(p: Parameters, batch: Batch) -> dict[str, Array]:
    """The gradients of all nine tensors, by autograd."""
    import autograd
    import autograd.numpy

    found: dict[str, Array] = autograd.grad(lambda a: loss(a, batch, autograd.numpy))(inputs(p, batch))
    return found


def loss_of_split(path: Path, split: str, most: int = 10**6) -> float:
    """The mean loss over a split, from the arrays of a checkpoint alone."""
    config = load(path).config
    corpus = text.load(config.data, config.model.context)
    batch = Batch(
        *text.windows(corpus, text.sample_positions(corpus, split, most, config.data.split_seed), config.model.context)
    )
    with np.load(path) as archive:
        return float(loss({name: archive[name].astype(np.float64) for name in NAMES}, batch))
