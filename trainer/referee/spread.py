"""Whether what a run draws, places of the text and masks of dropout, is spread as chance allows.

Of n draws that each count with chance q, or q in the mean, a share f or one farther from q counts with a chance of at
most exp(-n KL), where KL = f ln(f / q) + (1 - f) ln((1 - f) / (1 - q)) (Hoeffding 1963, Theorem 1,
doi:10.1080/01621459.1963.10500830). n KL is the surprise of a count; once in 10^9 looks is no chance.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from trainer.core.ops import Array
from trainer.core.verdict import Verdict
from trainer.text.corpus import Corpus

NEVER = 1e9
REMEMBERED = 200_000  # batches of earlier steps
PARTS = 10  # of the training split
BATCHES, MASKS = "look at batches in batches.py", "look at draw_mask in batches.py"


def surprise(found: Array, trials: int, chance: Array) -> Array:
    """How surprising counts are, in nats: counts (k,) of so many trials, with chances (k,) -> (k,)."""
    share = found / trials
    with np.errstate(divide="ignore", invalid="ignore"):
        yes = np.where(share > 0, share * np.log(share / chance), 0)
        no = np.where(share < 1, (1 - share) * np.log((1 - share) / (1 - chance)), 0)
    return np.asarray(trials * (yes + no))


def by_chance(name: str, of: str, found: Any, trials: int, chance: Any, looks: int = 1) -> Verdict:
    """The verdict on the most surprising of one or k counts of so many trials, among so many that are looked at."""
    found, chance = np.atleast_1d(found), np.atleast_1d(chance)
    nats, tolerance = surprise(found, trials, chance), math.log(2 * NEVER * looks)
    k = int(nats.argmax())
    return Verdict(
        name=name, of=of, passed=bool(nats[k] <= tolerance), error=float(nats[k]), tolerance=tolerance,
        found=float(found[k]), expected=float(trials * chance[k]), worst=[k], count=trials,
    )  # fmt: skip


class Spread:
    """What the checked steps of a run have drawn."""

    def __init__(self, corpus: Corpus) -> None:
        self.ids, (self.start, end) = corpus.ids, corpus.splits["train"]
        self.size, self.steps = end - self.start, 0
        self.draws: dict[int, int] = {}  # the step of each batch
        self.waiting: dict[str, Array] = {}  # for the next step, to be a pair with what that draws
        # Of positions and masks, by the words for them: what was found (k,), the trials, and the chances (k,).
        self.counts: dict[str, dict[str, tuple[Any, int, Any]]] = {"positions": {}, "masks": {}}
        self.parts = np.diff(np.ceil(np.arange(PARTS + 1) * self.size / PARTS)) / self.size  # (PARTS,)
        self.shares = np.bincount(self.ids[self.start : end], minlength=int(self.ids.max()) + 1) / self.size  # (V,)
        if corpus.lines:
            words = "look at load in corpus.py: lines of other splits stand in training"
            self.count("positions", words, *in_two_splits(corpus), 0)

    def first_draw(self, positions: Array, number: int) -> int | None:
        """The first step that drew the very same places; None where chance may draw them twice."""
        # Minus the logarithm of the chance that two batches agree, which has to be rare for all pairs of batches.
        agree = len(positions) * math.log(self.size)
        if agree < math.log(NEVER) + 2 * math.log(REMEMBERED) or len(self.draws) >= REMEMBERED:
            return None
        return self.draws.setdefault(hash(positions.tobytes()), number)

    def count(self, of: str, words: str, found: Any, trials: int, chance: Any) -> None:
        """Add to the counts of a kind. The words may hold {}, for the place of the count."""
        if trials:
            before, earlier, _ = self.counts[of].get(words, (0, 0, 0))
            self.counts[of][words] = before + found, earlier + trials, chance

    def see_positions(self, positions: Array) -> None:
        """The places of a step: their parts of the split, their characters, equal ones, and their order."""
        B, n = len(positions), self.size
        stream = np.append(self.waiting.get("positions", positions[:0]), positions)
        self.waiting["positions"] = stream[len(stream) // 2 * 2 :]
        rise = stream[1::2] - stream[:-1:2]  # of pairs of which none shares a place with another
        equal = int((rise == 0).sum())
        parts = np.bincount((positions - self.start) * PARTS // n, minlength=PARTS)
        targets = np.bincount(self.ids[positions], minlength=len(self.shares))
        self.count("positions", f"{BATCHES}: places in tenth {{}} of the training split", parts, B, self.parts)
        self.count("positions", f"{BATCHES}: places whose target is character {{}}", targets, B, self.shares)
        self.count("positions", f"{BATCHES}: pairs of places that are one", equal, len(rise), 1 / n)
        self.count("positions", f"{BATCHES}: pairs of places in their order", (rise > 0).sum(), len(rise) - equal, 0.5)

    def see_mask(self, place: str, kept: Array, chance: Array) -> None:
        """What a mask keeps (B, n), with the chances of its columns (n,): by column, in all, as neighbours do."""
        self.count("masks", f"{MASKS}: kept in column {{}} of {place}", kept.sum(axis=0), len(kept), chance)
        self.count("masks", f"{MASKS}: kept in {place}", kept.sum(), kept.size, chance.mean())
        before = self.waiting.pop(place, kept[:0])
        if not len(before):  # at every second step, so that no two pairs share a mask
            self.waiting[place] = kept
        for words, one, other, p, q in (
            ("next example", kept[:-1:2], kept[1::2], chance, chance),
            ("next column", kept[:, :-1:2], kept[:, 1::2], chance[:-1:2], chance[1::2]),
            ("mask of an earlier step", before, kept[: len(before)], chance, chance),
        ):
            if one.size:
                alike = (p * q + (1 - p) * (1 - q)).mean()
                self.count("masks", f"{MASKS}: {place} as in the {words}", (one == other).sum(), one.size, alike)

    def verdicts(self) -> list[Verdict]:
        """The verdicts `spread`, on the most surprising of all counts, after 1, 2, 4, 8 ... steps; else none."""
        self.steps += 1
        due, found = self.steps & (self.steps - 1) == 0, []
        for of, counts in self.counts.items():
            if due and counts:
                looks = sum(np.size(chance) for _, _, chance in counts.values())
                verdicts = {words: by_chance("spread", of, *count, looks) for words, count in counts.items()}
                words, worst = max(verdicts.items(), key=lambda item: item[1].error)
                said = f"{words.format(*worst.worst or ())}: {worst.found:.0f} of {worst.count}"
                said = f"{of} are not drawn as chance does: {said}, expected {worst.expected:.1f}"
                found.append(worst if worst.passed else replace(worst, words=said))
        return found


def in_two_splits(corpus: Corpus) -> tuple[int, int]:
    """How many lines of validation and test stand in training too, and how many there are."""
    text = (corpus.ids.astype("<u4") + 1).tobytes().decode("utf-32-le", "surrogatepass")
    lines = {split: set(text[start:end].split("\1")) - {""} for split, (start, end) in corpus.splits.items()}
    others = lines.get("val", set()) | lines.get("test", set())
    return len(lines["train"] & others), len(others)
