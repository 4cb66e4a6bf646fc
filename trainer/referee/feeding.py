"""What a step was fed: its batch, looked up in the text itself, and its dropout masks."""

import math
from dataclasses import replace

import numpy as np

from trainer.config import Train
from trainer.core.model import Batch, Sizes
from trainer.core.ops import Array
from trainer.core.step import masks
from trainer.core.tolerances import machine_epsilon
from trainer.core.verdict import Verdict, compare
from trainer.referee.spread import BATCHES, MASKS, Spread, by_chance
from trainer.text.corpus import Corpus, windows

CHANCES = 1 << 16  # a rate is met to within one of so many equal chances, for masks are drawn with 16 bits


def examples_at(corpus: Corpus, positions: Array, K: int) -> Array:
    """The K ids before each place, and the id there, (n,) -> (n, K + 1); before a line of a list is boundary."""
    ids = corpus.ids.take(positions[:, None] + np.arange(-K, 1), mode="clip").astype(np.intp)
    if corpus.lines:
        ends_behind = np.cumsum(ids[:, -2::-1] == 0, axis=1)[:, ::-1]  # (n, K): ends of lines from here to the target
        ids[:, :K][ends_behind > 0] = 0
    return ids


def check_batch(batch: Batch, corpus: Corpus, seen: Spread, number: int) -> Verdict:
    """The verdict `batch`: places in the training split, examples as the text has them, and not an earlier batch."""
    positions, (B, K), (start, end) = batch.positions, batch.contexts.shape, corpus.splits["train"]
    assert positions is not None
    wrong = "the step was fed something else than the text"
    inside = compare("batch", positions, np.clip(positions, start, end - 1), 0)
    if not inside.passed:
        outside = int(((positions < start) | (positions >= end)).sum())
        said = f"{outside} of {B} examples are not of the training split: {splits_of(corpus, positions)}"
        return replace(inside, words=f"{wrong}: {BATCHES}: {said}")
    found, right = np.column_stack([batch.contexts, batch.targets]), examples_at(corpus, positions, K)  # (B, K + 1)
    verdict = compare("batch", found, right, 0)
    if not verdict.passed:
        b = int(np.flatnonzero((found != right).any(axis=1))[0])
        again = np.column_stack(windows(corpus, positions, K))  # by the function that should have made them
        function = BATCHES if np.array_equal(again, right) else "look at windows in corpus.py"
        made = f"context {found[b, :K].tolist()} and target {found[b, K]}"
        said = f"example {b} has {made}, the text {right[b, :K].tolist()} and {right[b, K]} at place {positions[b]}"
        return replace(verdict, words=f"{wrong}: {function}: {said}")
    seen.see_positions(positions)
    first = seen.first_draw(positions, number)
    words = f"{wrong}: {BATCHES}: its batch is that of step {first}, place by place"
    return verdict if first in (None, number) else replace(verdict, passed=False, words=words)


def splits_of(corpus: Corpus, positions: Array) -> str:
    """How many places lie in each split, in words."""
    inside = {name: (positions >= start) & (positions < end) for name, (start, end) in corpus.splits.items()}
    return ", ".join(f"{places.sum()} are of {name}" for name, places in inside.items())


def kept_shares(train: Train, sizes: Sizes) -> dict[str, Array]:
    """For each column of emb (K*D,) and of h (H,) the chance to be kept, as 16 bits can say it; never zero."""
    _, K, D, H = sizes
    far = np.repeat([k / (K - 1) if K > 1 else 0 for k in reversed(range(K))], D)  # (K*D,), 0 at the nearest character
    kept_emb = (1 - train.embedding_dropout) * (1 - train.context_dropout * far)  # (K*D,)
    rates = {"emb": 1 - kept_emb, "h": np.full(H, train.dropout)}
    return {place: 1 - np.minimum(np.round(rate * CHANCES), CHANCES - 1) / CHANCES for place, rate in rates.items()}


def check_masks(batch: Batch, sizes: Sizes, train: Train, seen: Spread) -> list[Verdict]:
    """The verdicts `dropout`, one for each of emb and h that is dropped or should be."""
    drawn, B = masks(batch), len(batch.targets)
    return [
        check_mask(place, drawn.get(place), chance, B, seen)
        for place, chance in kept_shares(train, sizes).items()
        if place in drawn or chance.min() < 1
    ]


def check_mask(place: str, mask: Array | None, chance: Array, B: int, seen: Spread) -> Verdict:
    """A mask (B, n), of which a share is kept that is given for each column (n,): its values and its count."""
    shape, wrong = (B, len(chance)), f"the dropout mask of {place} is wrong: {MASKS}"
    if mask is None or mask.shape != shape:
        said = f"its shape is {mask.shape}, should be {shape}" if mask is not None else f"{place} is not dropped"
        return replace(compare("dropout", math.inf, 0, 0, place), words=f"{wrong}: {said}")
    kept = mask != 0  # (B, n)
    right = np.where(kept, 1 / chance, 0)
    verdict = compare("dropout", mask, right, 2 * machine_epsilon(mask.dtype) * right, place)
    said = f"it holds {verdict.found:.6g}, should be 0 or 1 / (1 - rate) = {verdict.expected:.6g}"
    said += ": what is kept is not scaled" * np.array_equal(mask, kept)
    if verdict.passed:
        verdict = by_chance("dropout", place, kept.sum(), kept.size, chance.mean())
        said = f"{verdict.found:.0f} of {mask.size} entries are kept, {verdict.expected:.0f} expected"
    if not verdict.passed:
        return replace(verdict, words=f"{wrong}: {said}")
    seen.see_mask(place, kept, chance)
    return verdict
