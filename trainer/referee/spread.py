"""Whether what a run draws, places of the text and masks of dropout, is spread as chance allows.

Of n draws that each count with chance q, a share f or one farther from q counts with a chance of at most exp(-n KL),
where KL = f ln(f / q) + (1 - f) ln((1 - f) / (1 - q)); q may differ from draw to draw, and then means their mean
(Hoeffding 1963, Theorem 1, doi:10.1080/01621459.1963.10500830). n KL is the surprise of a count. What chance does less
often than once in 10^9 looks is no chance.
"""

import math

import numpy as np

from trainer.core.ops import Array
from trainer.core.verdict import Verdict
from trainer.text.corpus import Corpus

NEVER = 1e9
REMEMBERED = 200_000  # draws of earlier steps
PARTS = 10  # of the training split
BATCHES, MASKS = "look at batches in batches.py", "look at draw_mask in batches.py"


def surprise(found: Array, trials: Array | int, chance: Array) -> Array:
    """How surprising counts are, in nats: counts (k,) of so many trials, with chances (k,) -> (k,)."""
    share = found / trials
    with np.errstate(divide="ignore", invalid="ignore"):
        yes = np.where(share > 0, share * np.log(share / chance), 0)
        no = np.where(share < 1, (1 - share) * np.log((1 - share) / (1 - chance)), 0)
    return np.asarray(trials * (yes + no))


def most(counts: int) -> float:
    """The surprise, in nats, above which one of so many counts is no chance."""
    return math.log(2 * NEVER * counts)


class Spread:
    """What the checked steps of a run have drawn."""

    def __init__(self, corpus: Corpus) -> None:
        self.ids, (self.start, end) = corpus.ids, corpus.splits["train"]
        self.size, self.steps = end - self.start, 0
        self.draws: dict[int, int] = {}  # the step of each batch and mask
        self.last: dict[str, Array] = {}  # of the step before
        # Of positions and masks, for each kind of count what was found (k,), the trials, and the chances (k,).
        self.counts: dict[str, dict[str, tuple[Array, Array, Array]]] = {"positions": {}, "masks": {}}
        self.parts = np.diff(np.ceil(np.arange(PARTS + 1) * self.size / PARTS)) / self.size  # (PARTS,)
        self.shares = np.bincount(self.ids[self.start : end], minlength=int(self.ids.max()) + 1) / self.size  # (V,)
        if corpus.lines:
            words = "look at load in corpus.py: lines of other splits stand in training"
            self.count("positions", words, *in_two_splits(corpus), 0)

    def earlier(self, drawn: Array, step: int, surprise: float) -> int | None:
        """The earlier step that drew the very same, or None; this step's draw is remembered.

        `surprise` is minus the logarithm of the chance that two draws agree. With n draws there are n * n / 2 pairs
        that could, so that only what is rare enough for all of them is looked at.
        """
        if surprise < math.log(NEVER) + 2 * math.log(REMEMBERED) or len(self.draws) >= REMEMBERED:
            return None
        first = self.draws.setdefault(hash(drawn.tobytes()), step)
        return None if first == step else first

    def count(self, of: str, words: str, found: Array | int, trials: int, chance: Array | float) -> None:
        """Add to the counts of a kind. The words may hold {}, for the place of the count."""
        chance = np.atleast_1d(chance)
        sums = self.counts[of].setdefault(words, (np.zeros(len(chance)), np.zeros((), int), chance))
        np.add(sums[0], found, out=sums[0])
        np.add(sums[1], trials, out=sums[1])

    def see_positions(self, positions: Array) -> None:
        """The places of a step: their parts of the split, their characters, equal ones, and their order."""
        B, n, before = len(positions), self.size, self.last.get("positions")
        stream = np.append(self.last.get("odd", positions[:0]), positions)
        even = len(stream) // 2 * 2
        rise = stream[1:even:2] - stream[:even:2]  # of pairs of which none shares a place with another
        self.last |= {"positions": positions, "odd": stream[even:]}
        parts = np.bincount((positions - self.start) * PARTS // n, minlength=PARTS)
        targets = np.bincount(self.ids[positions], minlength=len(self.shares))
        up, equal = int((rise > 0).sum()), int((rise == 0).sum())
        self.count("positions", f"{BATCHES}: places in tenth {{}} of the training split", parts, B, self.parts)
        self.count("positions", f"{BATCHES}: places whose target is character {{}}", targets, B, self.shares)
        self.count("positions", f"{BATCHES}: pairs of places that are one", equal, len(rise), 1 / n)
        self.count("positions", f"{BATCHES}: pairs of places in their order", up, len(rise) - equal, 0.5)
        if before is not None:
            again = int((positions == before).sum())
            self.count("positions", f"{BATCHES}: places of the step before, row by row", again, B, 1 / n)

    def see_mask(self, place: str, kept: Array, chance: Array) -> None:
        """What a mask keeps (B, n), with the chances of its columns (n,): by column, in all, as neighbours do."""
        (B, n), before = kept.shape, self.last.pop(place, None)
        self.count("masks", f"{MASKS}: kept in column {{}} of {place}", kept.sum(axis=0), B, chance)
        self.count("masks", f"{MASKS}: kept in {place}", int(kept.sum()), kept.size, float(chance.mean()))
        pairs = {
            "next example": (kept[: B // 2 * 2 : 2], kept[1::2], chance, chance),
            "next column": (kept[:, : n // 2 * 2 : 2], kept[:, 1::2], chance[: n // 2 * 2 : 2], chance[1::2]),
        }
        if before is None:
            self.last[place] = kept
        else:  # at every second step, so that no two pairs share a mask
            pairs["mask of an earlier step"] = before, kept, chance, chance
        for words, (one, other, p, q) in pairs.items():
            if one.size:
                alike = float((p * q + (1 - p) * (1 - q)).mean())
                self.count("masks", f"{MASKS}: {place} as in the {words}", int((one == other).sum()), one.size, alike)

    def verdicts(self) -> list[Verdict]:
        """The verdicts `spread`, on the most surprising counts, after 1, 2, 4, 8 ... steps; else none."""
        self.steps += 1
        due = self.steps & (self.steps - 1) == 0
        return [judged(of, kinds) for of, kinds in self.counts.items() if due and kinds]


def judged(of: str, kinds: dict[str, tuple[Array, Array, Array]]) -> Verdict:
    """The verdict on the most surprising of many counts."""
    tolerance = most(sum(len(chance) for _, _, chance in kinds.values()))
    surprises = {words: surprise(*kind) for words, kind in kinds.items() if kind[1]}
    words = max(surprises, key=lambda each: float(surprises[each].max()))
    (found, trials, chance), k, error = kinds[words], int(surprises[words].argmax()), float(surprises[words].max())
    said = f"{words.format(k)}: {found[k]:.0f} of {trials}, expected {trials * chance[k]:.1f}"
    return Verdict(
        name="spread", of=of, passed=error <= tolerance, error=error, tolerance=tolerance, found=float(found[k]),
        expected=float(trials * chance[k]), worst=[k], count=int(trials),
        words=f"{of} are not drawn as chance does: {said}" if error > tolerance else None,
    )  # fmt: skip


def in_two_splits(corpus: Corpus) -> tuple[int, int]:
    """How many lines of validation and test stand in training too, and how many there are."""
    text = (corpus.ids.astype("<u4") + 1).tobytes().decode("utf-32-le", "surrogatepass")
    lines = {split: set(text[start:end].split("\1")) - {""} for split, (start, end) in corpus.splits.items()}
    others = lines.get("val", set()) | lines.get("test", set())
    return len(lines["train"] & others), len(others)
