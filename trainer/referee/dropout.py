"""The dropout masks of a step: their values are 0 or 1 / (1 - rate), and they keep what chance allows.

Of n entries that are each kept with chance q, n q are kept on average, and farther off than sqrt(n ln(2 N) / 2) with a
chance below 1 / N (Hoeffding 1963, doi:10.1080/01621459.1963.10500830). N is 10^9 for each group of entries with one
rate: all of h, and of emb one for each place of the context, which have rates of their own with context_dropout.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from trainer.config import Config, Train
from trainer.core.ops import Array
from trainer.core.verdicts import Verdict
from trainer.core.witness import Witness
from trainer.referee.instead import NEVER, recall, unit

CHANCES = 1 << 16  # rates are met to within one of so many equal chances, for masks are drawn with 16 bits
LOOSE = 1e-4  # how well the scale of a known mistake has to fit, for it may know nothing of the 16 bits


@dataclass(frozen=True, kw_only=True, repr=False)
class Dropout(Verdict):
    """One mask. `found` says what is wrong and where to look; empty if it passed."""

    name: str = "dropout"
    place: str  # emb or h
    kept: int  # entries of the group that is farthest from its expectation
    expected: float
    bound: float
    found: str

    @property
    def severity(self) -> float:
        return abs(self.kept - self.expected) / (self.bound or 1)


def rates(train: Train, K: int) -> list[float]:
    """The share that is dropped at each place of a context of K, the farthest first.

    `context_dropout` rises evenly from 0 at the nearest character to its full value at the farthest; where
    `embedding_dropout` is given too, the shares that the two keep are multiplied.
    """
    shares = []
    for k in range(K):
        distance = (K - 1 - k) / (K - 1) if K > 1 else 0
        kept = (1 - train.embedding_dropout) * (1 - train.context_dropout * distance)
        shares.append(1 - kept)
    return shares


def kept_share(rate: float) -> float:
    """The chance to be kept that a rate comes to with 16 bits; never zero."""
    dropped = min(round(rate * CHANCES), CHANCES - 1)
    return (CHANCES - dropped) / CHANCES


def examine(witness: Witness, config: Config, seen: dict[int, int]) -> list[Dropout]:
    """The rows `dropout` of a checked step, one for each place that drops or should; `seen` holds earlier masks."""
    train, masks = config.train, {"emb": witness.batch.emb_mask, "h": witness.batch.h_mask}
    wanted = {
        "emb": rates(train, config.model.context) if train.embedding_dropout or train.context_dropout else [],
        "h": [train.dropout] if train.dropout else [],
    }
    groups = sum(map(len, wanted.values()))
    rows = []
    for place, mask in masks.items():
        misfit = words_for_misfit(place, mask, wanted[place], witness.forward[place].shape)
        if misfit:
            rows.append(row(place, 0, 0.0, 0.0, misfit))
        elif mask is not None:
            again = repeated(mask, wanted[place], witness.step, seen)
            rows.append(judge(place, mask, wanted[place], groups, again))
    return rows


def words_for_misfit(place: str, mask: Array | None, wanted: list[float], shape: tuple[int, ...]) -> str:
    """Words for a mask that is missing, that should be, or that has another shape than what it masks."""
    if mask is None:
        return f"{place} is not dropped, though a rate is given" if wanted else ""
    if not wanted:
        return f"{place} is dropped, and no rate given"
    return "" if mask.shape == shape else f"its shape is {mask.shape}, should be {shape}: one number for each entry"


def misshapen(witness: Witness) -> bool:
    """Whether a mask has another shape than what it masks: nothing else can be computed then."""
    pairs = (witness.batch.emb_mask, witness.forward["emb"]), (witness.batch.h_mask, witness.forward["h"])
    return any(mask is not None and mask.shape != masked.shape for mask, masked in pairs)


def repeated(mask: Array, wanted: list[float], step: int, seen: dict[int, int]) -> str:
    """Words for a mask that an earlier checked step had, entry by entry, where chance does not give one twice."""
    shares = [kept_share(rate) for rate in wanted]
    chance = sum(math.log(q**2 + (1 - q) ** 2) for q in shares) / len(
        shares
    )  # that two draws of an entry agree, its log
    first = recall(seen, mask != 0, step, -mask.size * chance)
    return f"it is the mask of step {first}" if first is not None else ""


def judge(place: str, mask: Array, wanted: list[float], groups: int, again: str) -> Dropout:
    """The row of one mask (B, n), whose columns have as many rates as `wanted`, side by side."""
    u = unit(mask.dtype)
    parts = np.split(mask.astype(np.float64), len(wanted), axis=1)  # one (B, n / rates) for each rate
    n = parts[0].size
    bound = math.sqrt(n * math.log(2 * NEVER * groups) / 2)
    kept = [int((part != 0).sum()) for part in parts]
    expected = [n * kept_share(rate) for rate in wanted]
    off = [abs(k - e) for k, e in zip(kept, expected, strict=True)]
    farthest = off.index(max(off))
    strange = next(filter(None, (wrong_values(part, rate, u) for part, rate in zip(parts, wanted, strict=True))), "")
    found = again
    if strange or max(off) > bound:
        where = f" at place {farthest} of the context" if len(parts) > 1 else ""
        counts = f"{kept[farthest]} of {n} entries are kept{where}, {expected[farthest]:.0f} are expected"
        found = known(parts, wanted, bound, u) or strange or counts
    return row(place, kept[farthest], expected[farthest], bound, found)


def row(place: str, kept: int, expected: float, bound: float, found: str) -> Dropout:
    words = f"the dropout mask of {place} is wrong: look at draw_masks in batches.py: {found}" if found else ""
    return Dropout(passed=not found, place=place, kept=kept, expected=expected, bound=bound, found=words)


def wrong_values(part: Array, rate: float, u: float) -> str:
    """Words for a mask that holds something else than 0 and 1 / (1 - rate)."""
    kept = 1 / kept_share(rate)
    wrong = part[(part != 0) & ~(np.abs(part - kept) <= 2 * u * kept)]
    return f"it holds {wrong[0]:.6g}, should be 0 or 1 / (1 - rate) = {kept:.6g}" if len(wrong) else ""


def known(parts: list[Array], wanted: list[float], bound: float, u: float) -> str:
    """The first known mistake that explains values and counts, in words."""
    if not any(part.any() for part in parts):
        return "all is dropped"
    for words, others, scales in mistakes(wanted):
        values = all(
            np.isin(part, (0, 1)).all() if scale is None else not wrong_values(part, 1 - scale, LOOSE)
            for part, scale in zip(parts, scales, strict=True)
        )
        counts = all(
            abs(int((part != 0).sum()) - part.size * kept_share(rate)) <= bound
            for part, rate in zip(parts, others, strict=True)
        )
        if values and counts:
            return words
    K, mask = len(parts), np.concatenate(parts, axis=1)
    if len(set(wanted)) > 1 and all(not wrong_values(mask[:, k::K], rate, u) for k, rate in enumerate(wanted)):
        return "the rates of the places are laid out column by column, not D columns for each"
    return ""


def mistakes(wanted: list[float]) -> Iterator[tuple[str, list[float], list[float | None]]]:
    """Mistakes in words, the rates they drop at, and the share by which they divide what is kept; None: by nothing."""
    kept: list[float | None] = [1 - rate for rate in wanted]
    other = [1 - rate for rate in wanted]
    mean = [sum(wanted) / len(wanted)] * len(wanted)
    yield "what is kept is not scaled by 1 / (1 - rate)", wanted, [None] * len(wanted)
    yield "what is kept is scaled by 1 / rate", wanted, [*wanted]
    yield "it keeps what it should drop", other, kept
    yield "it keeps what it should drop, and scales by 1 / rate", other, [*wanted]
    yield "it keeps what it should drop, and does not scale", other, [None] * len(wanted)
    yield "nothing is dropped, and all is scaled", [0.0] * len(wanted), kept
    if len(set(wanted)) > 1:
        turned: list[float | None] = [1 - rate for rate in wanted[::-1]]
        yield "the rates are reversed: the nearest character is dropped most", wanted[::-1], turned
        yield "the rates are reversed, their scales are not", wanted[::-1], kept
        yield "one rate is taken for all places", mean, [1 - rate for rate in mean]
        yield "the farthest place's rate is taken for all", [wanted[0]] * len(wanted), [1 - wanted[0]] * len(wanted)
