"""What a model learned of its characters, and what counting them would reach."""

from typing import Any

import numpy as np

from trainer.core.model import Batch
from trainer.core.ops import Array
from trainer.text import corpus as text
from trainer.text.corpus import Corpus
from trainer.tools.explain import symbol
from trainer.tools.report.figures import heat
from trainer.tools.report.heat import colours

SHOWN = 32  # characters that can be read side by side; half of them, where they are wide ones of East Asia


def entropies(corpus: Corpus) -> dict[str, float]:
    """What counting reaches on the training text: H(next), and H(next | previous) = H(both) - H(previous), in nats."""

    def entropy(ids: Array) -> float:
        counts = np.unique(ids, return_counts=True)[1]
        return float(np.log(len(ids)) - counts @ np.log(counts) / len(ids))

    start, end = corpus.splits["train"]
    after, before = (corpus.ids[start - k : end - k].astype(np.int64) for k in (0, 1))
    both = before * len(corpus.vocabulary) + after
    return {"unigram": entropy(after), "bigram": entropy(both) - entropy(before)}


def neighbours(corpus: Corpus, K: int) -> Batch:
    """Two examples of the validation text, or where there is none of the training text."""
    start, end = corpus.splits["val" if "val" in corpus.splits else "train"]
    places = np.arange(start, min(start + 4, end))[-2:]  # not the first, whose contexts are all boundaries
    return Batch(*text.windows(corpus, places, K))


def frequent(vocabulary: str, ids: Array) -> Array:
    """Which characters to show of a large vocabulary: the most frequent of ids, ascending."""
    most = SHOWN if max(vocabulary) < "\u1100" else SHOWN // 2
    counts = np.bincount(ids, minlength=len(vocabulary))
    return np.sort(np.argsort(-counts, kind="stable")[:most])


def cosines(picture: Any, C: Array, vocabulary: str, ids: Array) -> str:
    """Each embedding beside each other one."""
    shown = frequent(vocabulary, ids)
    rows = C[shown].astype(float)
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    order = np.argsort(np.linalg.svd(unit)[0][:, 0])  # along the direction in which they differ most
    symbols = [symbol(vocabulary[k]) for k in shown[order]]
    heat(picture.subplots(), colours(unit[order] @ unit[order].T, 1.0), symbols, symbols)
    return ""
