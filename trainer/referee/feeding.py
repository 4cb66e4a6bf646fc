"""What a step was fed: its batch, looked up in the text itself, its dropout masks, and over a run what chance drew.

Of n draws that each count with chance q, or q in the mean, a share f or one farther from q counts with a chance of at
most exp(-n KL), where KL = f ln(f / q) + (1 - f) ln((1 - f) / (1 - q)) (Hoeffding 1963, Theorem 1,
doi:10.1080/01621459.1963.10500830). n KL is the surprise of a count; once in 10^9 looks is no chance.
"""

import math
from typing import Any

import numpy as np

from trainer.config import Train
from trainer.core.model import Batch, Parameters, Sizes
from trainer.core.ops import Array
from trainer.core.step import masks
from trainer.core.tolerances import machine_epsilon
from trainer.core.verdict import Verdict, compare
from trainer.text.corpus import Corpus, windows

NEVER = 1e9
BATCHES, MASKS = "look at batches in batches.py", "look at draw_mask in batches.py"
CHANCES = 1 << 16  # a rate is met to within one of so many equal chances, for masks are drawn with 16 bits


def examples_at(corpus: Corpus, positions: Array, K: int) -> Array:
    """The K ids before each place, and the id there, (n,) -> (n, K + 1); in a list places before its line have id 0."""
    ids = corpus.ids.take(positions[:, None] + np.arange(-K, 1), mode="clip").astype(np.intp)
    if corpus.lines:
        nearest_first = np.minimum.accumulate(ids[:, -2::-1], axis=1)  # (n, K): 0 from the end of a line on
        ids[:, :K][nearest_first[:, ::-1] == 0] = 0
    return ids


def check_batch(batch: Batch, corpus: Corpus, train: Train, seen: "Spread", number: int) -> Verdict:
    """The verdict `batch`: its size, places in the training split, examples as the text has them, no earlier batch."""
    positions, (B, K), (start, end) = batch.positions, batch.contexts.shape, corpus.splits["train"]
    assert positions is not None
    inside, text = np.clip(positions, start, end - 1), examples_at(corpus, positions, K)  # (B,), (B, K + 1)
    found, right = np.column_stack([batch.contexts, batch.targets, positions]), np.column_stack([text, inside])
    verdict = compare("batch", found, right, 0)
    if train.batch_size != B:
        said = f"{BATCHES}: it has {B} examples, and train.batch_size is {train.batch_size}"
    elif outside := (positions != inside).sum():
        said = f"{BATCHES}: {outside} of {B} examples are not of the training split: {splits_of(corpus, positions)}"
    elif not verdict.passed:
        b = int((found != right).any(axis=1).argmax())
        again = np.column_stack(windows(corpus, positions, K))  # by the function that should have made them
        function = BATCHES if np.array_equal(again, text) else "look at windows in corpus.py"
        made = f"context {found[b, :K].tolist()} and target {found[b, K]}"
        should = f"the text {text[b, :K].tolist()} and {text[b, K]} at place {positions[b]}"
        said = f"{function}: example {b} has {made}, {should}"
    else:
        first = seen.see_positions(positions, number)
        if first == number:
            return verdict
        said = f"{BATCHES}: its batch is that of step {first}, place by place"
    verdict.passed, verdict.words = False, f"the step was fed something else than the text: {said}"
    return verdict


def splits_of(corpus: Corpus, positions: Array) -> str:
    """How many places lie in each split, in words."""
    splits = corpus.splits.items()
    return ", ".join(f"{np.sum((start <= positions) & (positions < end))} are of {of}" for of, (start, end) in splits)


def kept_shares(train: Train, sizes: Sizes) -> dict[str, Array]:
    """For each column of emb (K*D,) and of h (H,) the chance to be kept, as 16 bits can say it; never zero."""
    _, K, D, H = sizes
    far = np.repeat(np.linspace(0, 1, K)[::-1], D)  # (K*D,), 0 at the nearest character
    kept_emb = (1 - train.embedding_dropout) * (1 - train.context_dropout * far)  # (K*D,)
    rates = {"emb": 1 - kept_emb, "h": np.full(H, train.dropout)}
    return {place: 1 - np.minimum(np.round(rate * CHANCES), CHANCES - 1) / CHANCES for place, rate in rates.items()}


def check_masks(batch: Batch, p: Parameters, train: Train, seen: "Spread") -> list[Verdict]:
    """The verdicts `dropout`, one for each of emb and h that is dropped or should be: its values and its count."""
    drawn, verdicts, dtype = masks(batch), list[Verdict](), p.flat.dtype
    for place, chance in kept_shares(train, p.sizes).items():
        if place not in drawn and chance.min() == 1:
            continue
        shape, mask = (len(batch.targets), len(chance)), drawn.get(place)
        wrong = f"the dropout mask of {place} is wrong: {MASKS}"
        if mask is None or (mask.shape, mask.dtype) != (shape, dtype):
            verdict = compare("dropout", math.inf, 0, 0, place)
            said = f"{place} is not dropped"
            if mask is not None:
                said = f"its shape is {mask.shape}, {mask.dtype}, should be {shape}, {dtype}"
        else:
            kept = mask != 0  # (B, n)
            right = np.where(kept, 1 / chance, 0)
            verdict = compare("dropout", mask, right, 2 * machine_epsilon(dtype) * right, place)
            said = f"it holds {verdict.found:.6g}, should be 0 or 1 / (1 - rate) = {verdict.expected:.6g}"
            said += ": what is kept is not scaled" * np.array_equal(mask, kept)
        if verdict.passed:
            verdict = by_chance("dropout", place, f"{wrong}: kept entries", kept.sum(), kept.size, chance.mean())
            seen.see_mask(place, kept, chance)
        else:
            verdict.words = f"{wrong}: {said}"
        verdicts.append(verdict)
    return verdicts


def by_chance(name: str, of: str, words: str, found: Any, trials: int, chance: Any, looks: int = 1) -> Verdict:
    """The verdict on the most surprising of one or k counts of so many trials, among so many that are looked at.

    Its error is the surprise, in nats. The words, for a failure, may hold {} for the place of the count.
    """
    found, chance = np.atleast_1d(found, chance)  # (k,), (k,)
    share = found / trials
    with np.errstate(divide="ignore", invalid="ignore"):
        yes = np.where(share > 0, share * np.log(share / chance), 0)
        no = np.where(share < 1, (1 - share) * np.log((1 - share) / (1 - chance)), 0)
    error = trials * (yes + no)
    verdict = compare(name, error, 0 * chance, math.log(2 * NEVER * looks), of)
    k = error.argmax()
    verdict.found, verdict.expected, verdict.count = found[k].item(), trials * chance[k].item(), trials
    if not verdict.passed:
        verdict.words = f"{words.format(k)}: {verdict.found} of {trials}, expected {verdict.expected:.1f}"
    return verdict


class Spread:
    """What the checked steps of a run have drawn."""

    def __init__(self, corpus: Corpus) -> None:
        self.ids, (self.start, end) = corpus.ids, corpus.splits["train"]
        self.size, self.steps = end - self.start, 0
        self.draws: dict[int, int] = {}  # the step of each batch
        self.waiting: dict[str, Array] = {}  # for the next step, to be a pair with what that draws
        # Of positions and masks, by the words for them: what was found (k,), the trials, and the chances (k,).
        self.counts: dict[str, dict[str, tuple[Any, int, Any]]] = {"positions": {}, "masks": {}}
        whole = self.kinds(np.arange(self.start, end))
        self.shares = {words: np.bincount(kinds) / self.size for words, kinds in whole.items()}
        if corpus.lines:
            lines = {split: set(corpus.characters[a:b].split("\n")) - {""} for split, (a, b) in corpus.splits.items()}
            others = lines.get("val", set()) | lines.get("test", set())
            words = "look at load in corpus.py: lines of other splits stand in training"
            self.count("positions", words, len(lines["train"] & others), len(others), 0)

    def kinds(self, positions: Array) -> dict[str, Array]:
        """In words with {} for the number of a kind: the kinds of some places, (n,)."""
        return {
            f"{BATCHES}: places in tenth {{}} of the training split": (positions - self.start) * 10 // self.size,
            f"{BATCHES}: places whose target is character {{}}": self.ids[positions],
        }

    def count(self, of: str, words: str, found: Any, trials: int, chance: Any) -> None:
        """Add to a count, which its words tell apart."""
        if trials:
            before, earlier, _ = self.counts[of].get(words, (0, 0, 0))
            self.counts[of][words] = before + found, earlier + trials, chance

    def see_positions(self, positions: Array, number: int) -> int:
        """The places of a step: their kinds, and the order of two. Gives the first step that drew the very same."""
        for words, kinds in self.kinds(positions).items():
            chance = self.shares[words]
            self.count("positions", words, np.bincount(kinds, minlength=len(chance)), len(kinds), chance)
        stream = np.append(self.waiting.get("positions", positions[:0]), positions)
        self.waiting["positions"] = stream[len(stream) // 2 * 2 :]
        order = np.sign(stream[1::2] - stream[:-1:2]) + 1  # of pairs of which none shares a place with another
        words = f"{BATCHES}: pairs of places in order {{}} (0 falls, 1 is the same, 2 rises)"
        one, other = 1 / self.size, (1 - 1 / self.size) / 2
        self.count("positions", words, np.bincount(order, minlength=3), len(order), [other, one, other])
        agree = len(positions) * math.log(self.size)  # by chance two batches do with exp(-agree)
        if agree < math.log(NEVER * (len(self.draws) + 1) ** 2):
            return number
        return self.draws.setdefault(hash(positions.tobytes()), number)

    def see_mask(self, place: str, kept: Array, chance: Array) -> None:
        """What a mask keeps (B, n), with the chances of its columns (n,): by column, in all, as neighbours do."""
        self.count("masks", f"{MASKS}: kept in column {{}} of {place}", kept.sum(axis=0), len(kept), chance)
        before = self.waiting.pop(place, kept[:0])
        if not len(before):  # at every second step, so that no two pairs share a mask
            self.waiting[place] = kept
        even, odd, same = chance[:-1:2], chance[1::2], chance**2 + (1 - chance) ** 2
        looks = {
            f"kept in {place}": (kept, chance),
            f"{place} as in the next example": (kept[:-1:2] == kept[1::2], same),
            f"{place} as in the next column": (kept[:, :-1:2] == kept[:, 1::2], even * odd + (1 - even) * (1 - odd)),
            f"{place} as in the mask of an earlier step": (before == kept[: len(before)], same),
        }
        for words, (holds, expected) in looks.items():
            if holds.size:
                self.count("masks", f"{MASKS}: {words}", holds.sum(), holds.size, expected.mean())

    def verdicts(self) -> list[Verdict]:
        """The verdicts `spread`, on the most surprising of all counts, after 1, 2, 4, 8 ... steps; else none."""
        self.steps += 1
        found = list[Verdict]()
        for of, counts in self.counts.items():
            if counts and self.steps & (self.steps - 1) == 0:
                looks = sum(np.size(chance) for _, _, chance in counts.values())
                wrong = f"{of} are not drawn as chance does"
                verdicts = [by_chance("spread", of, f"{wrong}: {words}", *counts[words], looks) for words in counts]
                found.append(max(verdicts, key=lambda verdict: verdict.error))
        return found
