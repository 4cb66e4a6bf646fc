"""What a step was fed: a few examples of its batch, looked up in the text itself, and its dropout masks."""

import math

import numpy as np

from trainer.config import Train
from trainer.core.ops import Array
from trainer.core.tolerances import unit
from trainer.core.verdict import Verdict
from trainer.core.witness import Witness
from trainer.mistakes.diagnosis import only
from trainer.referee.spread import MASKS, Spread, most, surprise
from trainer.text.corpus import Corpus, windows

CHANCES = 1 << 16  # a rate is met to within one of so many equal chances, for masks are drawn with 16 bits


def examples_at(corpus: Corpus, positions: Array, K: int) -> Array:
    """The K ids before each place, and the id there, (n,) -> (n, K + 1); before a line of a list is boundary."""
    ids = corpus.ids.take(positions[:, None] + np.arange(-K, 1), mode="clip").astype(np.intp)
    if corpus.lines:
        ends_behind = np.cumsum(ids[:, -2::-1] == 0, axis=1)[:, ::-1]  # (n, K): ends of lines from here to the target
        ids[:, :K][ends_behind > 0] = 0
    return ids


def check_batch(witness: Witness, corpus: Corpus, seen: Spread) -> Verdict:
    """The verdict `batch`: places in the training split, examples as the text has them, and not an earlier batch."""
    batch, (start, end) = witness.batch, corpus.splits["train"]
    positions, (B, K) = batch.positions, batch.contexts.shape
    assert positions is not None
    outside = int(((positions < start) | (positions >= end)).sum())
    found, right = np.column_stack([batch.contexts, batch.targets]), examples_at(corpus, positions, K)  # (B, K + 1)
    different = np.flatnonzero((found != right).any(axis=1))
    function, said = "batches in batches.py", ""
    if outside:
        said = f"{outside} of {B} examples are not of the training split: {splits_of(corpus, positions)}"
    elif len(different):
        b = int(different[0])
        again = np.column_stack(windows(corpus, positions, K))  # by the function that should have made them
        function = function if np.array_equal(again, right) else "windows in corpus.py"
        made = f"context {found[b, :K].tolist()} and target {found[b, K]}"
        said = f"example {b} has {made}, the text {right[b, :K].tolist()} and {right[b, K]} at place {positions[b]}"
        slip = only(words for words, other in slips(corpus, positions, right) if np.array_equal(found, other))
        said += f": {slip}" if slip else ""
    else:
        seen.see_positions(positions)
        first = seen.earlier(positions, witness.number, B * math.log(end - start))
        said = f"its batch is that of step {first}, place by place" if first is not None else ""
    wrong = outside or len(different) or int(bool(said))
    words = f"the step was fed something else than the text: look at {function}: {said}" if said else None
    return Verdict(
        name="batch", passed=not said, error=wrong, tolerance=0, found=wrong, expected=0, count=B, words=words
    )


def slips(corpus: Corpus, positions: Array, right: Array) -> list[tuple[str, Array]]:
    """What people feed instead, with the target last."""
    K = right.shape[1] - 1
    around = corpus.ids.take(positions[:, None] + np.arange(-K, 2), mode="clip")  # (B, K + 2)
    return [
        ("the context is reversed", np.column_stack([right[:, -2::-1], right[:, -1]])),
        ("characters of the line before leak into it", around[:, :-1]),
        ("the targets are shifted to the next character", np.column_stack([right[:, :-1], around[:, -1]])),
    ]


def splits_of(corpus: Corpus, positions: Array) -> str:
    """How many places lie in each split, in words."""
    inside = {name: (positions >= start) & (positions < end) for name, (start, end) in corpus.splits.items()}
    return ", ".join(f"{places.sum()} are of {name}" for name, places in inside.items())


# Dropout.


def rates(train: Train, K: int) -> list[float]:
    """The share that is dropped at each place of a context of K, the farthest first.

    `context_dropout` rises evenly from 0 at the nearest character to its full value at the farthest; where
    `embedding_dropout` is given too, the shares that the two keep are multiplied.
    """
    distances = [k / (K - 1) if K > 1 else 0 for k in range(K)][::-1]
    return [1 - (1 - train.embedding_dropout) * (1 - train.context_dropout * distance) for distance in distances]


def kept_share(rate: Array) -> Array:
    """The chance to be kept that a rate comes to with 16 bits; never zero."""
    return (CHANCES - np.minimum(np.round(rate * CHANCES), CHANCES - 1)) / CHANCES


def check_masks(witness: Witness, train: Train, seen: Spread) -> list[Verdict]:
    """The verdicts `dropout`, one for each of emb and h that is dropped or should be."""
    (_, K, D, H), batch = witness.sizes, witness.batch
    masks = ("emb", batch.emb_mask, np.repeat(rates(train, K), D)), ("h", batch.h_mask, np.repeat(train.dropout, H))
    return [
        check_mask(place, mask, kept_share(rate), witness, seen)
        for place, mask, rate in masks
        if mask is not None or rate.any()
    ]


def check_mask(place: str, mask: Array | None, chance: Array, witness: Witness, seen: Spread) -> Verdict:
    """A mask (B, n), of which a share is kept that is given for each column (n,): its values and its count."""
    B, n = len(witness.batch.targets), len(chance)
    found, expected, error, tolerance, said = 0.0, B * float(chance.sum()), math.inf, 0.0, ""
    if mask is None:
        said = f"{place} is not dropped, though a rate is given"
    elif mask.shape != (B, n):
        said = f"its shape is {mask.shape}, should be {(B, n)}: one number for each entry"
    else:
        kept = mask != 0  # (B, n)
        scaled = np.where(kept, 1 / chance, 0)
        off = np.abs(mask - scaled) > 2 * unit(mask.dtype) * scaled
        first = seen.earlier(kept, witness.number, -B * float(np.log(chance**2 + (1 - chance) ** 2).sum()))
        groups, of = np.unique(chance, return_inverse=True)  # of columns that have one rate
        found, tolerance = float(kept.sum()), most(len(groups))
        surprises = surprise(np.bincount(of, kept.sum(axis=0)), B * np.bincount(of), groups)
        if off.any():
            b, j = np.argwhere(off)[0]
            said = f"it holds {mask[b, j]:.6g}, should be 0 or 1 / (1 - rate) = {1 / chance[j]:.6g}"
            said += ": what is kept is not scaled" if np.array_equal(mask, kept) else ""
        elif surprises.max() > tolerance:
            error, said = (
                float(surprises.max()),
                f"{found:.0f} of {mask.size} entries are kept, {expected:.0f} expected",
            )
        elif first is not None:
            said = f"it is the mask of step {first}"
        else:
            error = float(surprises.max())
            seen.see_mask(place, kept, chance)
    return Verdict(
        name="dropout", of=place, passed=not said, error=error, tolerance=tolerance, found=found, expected=expected,
        count=B * n, words=f"the dropout mask of {place} is wrong: {MASKS}: {said}" if said else None,
    )  # fmt: skip
