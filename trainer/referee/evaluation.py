"""Evaluation: a few examples of a split through the float64 pass without dropout, beside what evaluation shows."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trainer.core.model import Batch, Parameters
from trainer.core.ops import Array
from trainer.core.verdicts import Verdict
from trainer.referee.batch import context_of
from trainer.referee.instead import sum_of, times, unit
from trainer.referee.plain import embed, losses
from trainer.text.corpus import Corpus

FEW = 32  # examples of a split


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation(Verdict):
    """A split's mean loss over the same few examples. `found` says what is wrong and where to look."""

    name: str = "evaluation"
    split: str
    shown: float  # by evaluation, nats
    expected: float  # by the float64 pass, nats
    atol: float
    found: str

    @property
    def severity(self) -> float:
        return abs(self.shown - self.expected)


def examine(
    p: Parameters, corpus: Corpus, split: str, K: int, mean_loss: Callable[[Array], float], rng: np.random.Generator
) -> Evaluation:
    """The row `evaluation` of one split. `mean_loss` is the evaluation's own: places in the text (n,) -> nats."""
    start, end = corpus.splits[split]
    positions = rng.integers(start, end, FEW)  # (n,)
    contexts = np.array([context_of(corpus, int(place), K) for place in positions])  # (n, K)
    batch = Batch(contexts, corpus.ids[positions].astype(np.intp))
    each, bound = with_bound(p, batch)
    shown, expected, atol = mean_loss(positions), float(each.mean()), float(bound.mean())
    passed = abs(shown - expected) <= atol or not np.isfinite(expected)
    found = "" if passed else explain(split, shown, expected, each, atol)
    return Evaluation(
        passed=passed, split=split, shown=shown, expected=expected, atol=atol, found=found
    )  # fmt: skip


def with_bound(p: Parameters, batch: Batch) -> tuple[Array, Array]:
    """The loss of each example, and how far rounding may take it in the type of training: (B,), (B,).

    Rounding of z and of tanh moves h by at most off_h; that moves a logit by off_h @ |W2|, its own rounding more.
    A logit that is off by so much moves the loss by at most twice that.
    """
    u = unit(p.flat.dtype)
    C, W1, b1, W2, b2 = (array.astype(np.float64) for array in (p.C, p.W1, p.b1, p.W2, p.b2))
    emb = embed(C, batch.contexts)  # (B, K*D)
    h = np.tanh(emb @ W1 + b1)  # (B, H)
    logits = h @ W2 + b2  # (B, V)
    each = losses(logits, batch.targets)
    off_z = u * sum_of(len(W1)) * (np.abs(emb) @ np.abs(W1) + np.abs(b1))  # (B, H)
    off_h = np.minimum(off_z, 2) + 8 * u * np.abs(h)
    off_logits = off_h @ np.abs(W2) + u * sum_of(len(W2)) * (np.abs(h) @ np.abs(W2) + np.abs(b2))  # (B, V)
    own = u * (8 + sum_of(len(b2)) + 3 * np.log(len(b2)) + 2 * np.abs(each))
    return each, 2 * off_logits.max(axis=1) + own


def explain(split: str, shown: float, expected: float, each: Array, atol: float) -> str:
    """What evaluation did instead, where it can be told."""
    start = f"evaluation of the {split} split is wrong: look at evaluation in runs/listening.py"
    if not math.isfinite(shown):
        return f"{start}: it is not finite; {expected:.6f} nats expected"
    n = len(each)
    guesses = {
        "it is the sum, not the mean": each.sum(),
        "it is in bits, not in nats": expected / np.log(2),
        "it is divided by one example too few": each.sum() / (n - 1),
        "it has the wrong sign": -expected,
        "it is the median": float(np.median(each)),
        "it leaves out the last example": each[:-1].mean(),
        "it is the largest loss": each.max(),
        "it is the perplexity, exp(loss)": np.exp(expected),
    }
    for words, value in guesses.items():
        if abs(shown - value) <= atol * max(1.0, abs(value / expected) if expected else 1.0):
            return f"{start}: {words}; {shown:.6f} nats shown, {expected:.6f} expected"
    factor = shown / expected if expected else 0.0
    simple = factor and any(abs(factor * k - round(factor * k)) < 1e-4 * k for k in range(1, 5))
    words = f"it is {times(factor)}" if simple else "is dropout left on, or are other parameters or examples taken?"
    return f"{start}: {words}; {shown:.6f} nats shown, {expected:.6f} expected"
