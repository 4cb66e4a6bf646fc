"""What a watched step gives to the log."""

import math
from typing import Any

import numpy as np

from trainer.core.model import NAMES
from trainer.core.ops import Array
from trainer.core.witness import Witness
from trainer.text.corpus import Corpus

BINS = 32


def of_step(witness: Witness, corpus: Corpus) -> dict[str, Any]:
    """The numbers of a `step` row. Losses are in nats; ratios are those of norms."""
    update_ratio, grad_ratio = {}, {}
    for name in NAMES:
        data = getattr(witness.before, name)
        move = getattr(witness.after, name) - data
        size = float(np.linalg.norm(data)) or math.nan  # a bias is zero at first
        update_ratio[name] = float(np.linalg.norm(move)) / size
        grad_ratio[name] = float(np.linalg.norm(getattr(witness.g, name))) / size
    start, end = corpus.splits["train"]
    return {
        "step": witness.step,
        "loss": witness.loss,
        "epoch": witness.step * len(witness.batch.targets) / (end - start),
        "learning_rate": witness.rate,
        "grad_norm": float(np.linalg.norm(witness.g.flat)),
        "update_ratio": update_ratio,
        "grad_ratio": grad_ratio,
        "saturated": float(np.mean(abs(witness.tanh) > 0.99)),
    }


def histograms(witness: Witness) -> dict[str, dict[str, list[float]]]:
    """Histograms of h, dh and dz for an `eval` row."""
    return {name: histogram(witness.collect(name)) for name in ("h", "dh", "dz")}


def histogram(values: Array) -> dict[str, list[float]]:
    """Counts and their range."""
    finite = values[np.isfinite(values)].astype(np.float64).clip(-1e300, 1e300)  # so that no range overflows
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    largest = max(abs(low), abs(high))
    if high - low <= 1e-9 * max(largest, 1e-300):  # too narrow to be cut into bins
        margin = 0.5 * max(1, largest)
        low, high = low - margin, high + margin
    counts, edges = np.histogram(finite, BINS, (low, high))
    return {"counts": counts.tolist(), "range": [float(edges[0]), float(edges[-1])]}
