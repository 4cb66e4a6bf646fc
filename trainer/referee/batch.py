"""What a step was fed: a few examples of its batch, looked up in the text itself, character by character.

All places of the batch must lie in the training split; and no batch may be one that an earlier checked step had, for
chance does not draw the same places twice.
"""

import math
from dataclasses import dataclass

import numpy as np

from trainer.core.ops import Array
from trainer.core.verdicts import Verdict
from trainer.core.witness import Witness
from trainer.referee.instead import recall
from trainer.text.corpus import Corpus

FEW = 4  # examples of each step that are looked up


@dataclass(frozen=True, kw_only=True, repr=False)
class Examples(Verdict):
    """The examples of a batch that were looked up. `found` says what is wrong and where to look."""

    name: str = "batch"
    examples: int  # looked up
    wrong: int
    found: str

    @property
    def severity(self) -> float:
        return float(self.wrong)


def context_of(corpus: Corpus, position: int, K: int) -> list[int]:
    """The K ids before a place of the text, the nearest last; before the line, in `lines` mode, is boundary."""
    context: list[int] = []
    for back in range(1, K + 1):
        place = position - back
        outside = corpus.lines and (place < 0 or 0 in context[:1])
        context.insert(0, 0 if outside else int(corpus.ids[place]))
    return context


def examine(witness: Witness, corpus: Corpus, rng: np.random.Generator, seen: dict[int, int]) -> Examples:
    """The row `batch` of a checked step. `seen` holds the batches of earlier checked steps and takes this one."""
    batch = witness.batch
    assert batch.positions is not None
    B, K = batch.contexts.shape
    start, end = corpus.splits["train"]
    outside = np.flatnonzero((batch.positions < start) | (batch.positions >= end))
    few = [int(b) for b in rng.permutation(B)[:FEW] if b not in outside]
    right = [context_of(corpus, int(batch.positions[b]), K) for b in few]
    wrong_context = [b for b, context in zip(few, right, strict=True) if batch.contexts[b].tolist() != context]
    wrong_target = [b for b in few if batch.targets[b] != corpus.ids[batch.positions[b]]]

    if len(outside):
        found = f"{len(outside)} of {B} examples are not of the training split: {split_of(corpus, batch.positions)}"
    elif wrong_target:
        found = f"example {wrong_target[0]} has a wrong target: {target_words(witness, corpus, wrong_target[0])}"
    elif wrong_context:
        found = f"example {wrong_context[0]} has a wrong context: {context_words(witness, corpus, wrong_context[0])}"
    else:
        found = repeated(witness, corpus, seen)
    return Examples(
        passed=not found,
        examples=len(few),
        wrong=len({int(b) for b in [*wrong_context, *wrong_target, *outside]}) or int(bool(found)),
        found=f"the step was fed something else than the text: look at batches.py: {found}" if found else "",
    )


def split_of(corpus: Corpus, positions: Array) -> str:
    """Where places outside the training split lie, in words."""
    start, end = corpus.splits["train"]
    strangers = positions[(positions < start) | (positions >= end)]
    counts = {
        split: int(((strangers >= first) & (strangers < last)).sum()) for split, (first, last) in corpus.splits.items()
    }
    named = [f"{count} of the {split} split" for split, count in counts.items() if count]
    return ", ".join(named) or "they are of no split"


def target_words(witness: Witness, corpus: Corpus, b: int) -> str:
    """What a wrong target is instead, where it can be told."""
    batch = witness.batch
    assert batch.positions is not None
    targets, right = batch.targets, corpus.ids[batch.positions]
    for shift, words in ((1, "the targets are shifted to the next character"), (-1, "the targets are one place early")):
        if np.array_equal(targets, corpus.ids.take(batch.positions + shift, mode="clip")):
            return words
    if np.array_equal(np.sort(targets), np.sort(right)):
        return "the targets are those of other examples of the batch"
    return f"it is {int(targets[b])}, the text has {int(right[b])} at place {int(batch.positions[b])}"


def context_words(witness: Witness, corpus: Corpus, b: int) -> str:
    """What a wrong context is instead, where it can be told."""
    batch = witness.batch
    assert batch.positions is not None
    K = batch.contexts.shape[1]
    given = [context.tolist() for context in batch.contexts]
    places = [int(position) for position in batch.positions]
    right = [context_of(corpus, place, K) for place in places]
    if given == [context[::-1] for context in right]:
        return "the context is reversed"
    if given == [corpus.ids.take(np.arange(place - K, place), mode="clip").tolist() for place in places]:
        return "characters of the line before leak into it"
    for shift, words in ((1, "the context holds the target"), (-1, "the context leaves out the nearest character")):
        if given == [context_of(corpus, place + shift, K) for place in places]:
            return words
    if sorted(given) == sorted(right):
        return "the contexts are those of other examples of the batch"
    return f"it is {given[b]}, the text has {right[b]} before place {places[b]}"


def repeated(witness: Witness, corpus: Corpus, seen: dict[int, int]) -> str:
    """Words for a batch that an earlier step had, where chance does not give one batch twice."""
    positions = witness.batch.positions
    assert positions is not None
    start, end = corpus.splits["train"]
    surprise = len(positions) * math.log(end - start)  # minus the logarithm of the chance that two draws agree
    first = recall(seen, positions, witness.step, surprise)
    return f"its batch is that of step {first}, place by place" if first is not None else ""
