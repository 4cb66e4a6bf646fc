"""What was done instead of the right derivative, in words: a wrong gradient held against the table of mistakes."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from trainer.core.ops import Array
from trainer.mistakes.table import MISTAKES, RATIOS, Mistake

FEW = 4  # with fewer entries, any gradient is some number times any other


def what_was_done(
    link: str,
    by_hand: Array,
    right: Array,
    arrays: Mapping[str, Any],
    source: str = "",
    written: str = "it is",
    rtol: float | None = None,
) -> str | None:
    """How a wrong gradient came about, if that can be told; None if it cannot, or if it is right.

    link: logits, h, z, emb, W2, b2, W1, b1 or C. by_hand and right have one shape; entries of `right` that are not
    finite are not looked at. arrays: the point in float64 under the names of `mistakes.table`, with the gradients
    coming in (dlogits, dh, dz, demb) as they were given to this link. source: the statement that made it, if known.
    written: how to begin where a formula is named. rtol: what rounding may do, relative to the norm.
    """
    if rtol is None:  # far above the rounding of sums of thousands, far below any mistake
        rtol = 1e-5 if by_hand.dtype == np.float32 else 1e-9
    seen = np.isfinite(right)
    hand = np.where(seen, np.asarray(by_hand, np.float64), 0)
    right = np.where(seen, right, 0)
    if not np.isfinite(hand).all() or near(hand, right, rtol):
        return None
    if not hand.any():
        return "it is all zero: was it filled?"

    candidates = list(evaluated(link, right, seen, arrays, source))
    for mistake, wrong in candidates:
        if not mistake.added and near(hand, wrong, rtol):
            return f"{written} {shown(mistake)}"
        if mistake.added and multiple(hand - right, wrong, rtol) is not None:
            return f"{written} {shown(mistake)}"
    ratio = multiple(hand, right, rtol)
    if ratio is not None:
        return times(ratio, arrays, rtol)
    if right.ndim == 2 and right.shape[0] == right.shape[1] and near(hand, right.T, rtol):
        return "it is transposed and otherwise right"
    for mistake, wrong in candidates:
        ratio = None if mistake.added else multiple(hand, wrong, rtol)
        if ratio is not None:
            return f"two mistakes: {written} {shown(mistake)}; and {times(ratio, arrays, rtol)}"
    return in_part(hand, right, rtol)


def near(found: Array, other: Array, rtol: float) -> bool:
    return bool(np.linalg.norm(found - other) <= rtol * np.linalg.norm(other))


def evaluated(
    link: str, right: Array, seen: Array, arrays: Mapping[str, Any], source: str
) -> Iterator[tuple[Mistake, Array]]:
    """The rows of the table for this link, each with its numbers at this point, where there are any."""
    for mistake in MISTAKES[link]:
        names = inspect.signature(mistake.formula).parameters
        if mistake.source not in source or not arrays.keys() >= names.keys():
            continue
        with np.errstate(all="ignore"):
            found = mistake.formula(**{name: arrays[name] for name in names})
        faces = found if isinstance(found, list) else [found]
        for wrong in [np.where(seen, face, 0) for face in faces if face.shape == right.shape]:
            if wrong.any() and np.isfinite(wrong).all():
                yield mistake, wrong


def shown(mistake: Mistake) -> str:
    return mistake.sentence.replace(" * ", " · ")


def multiple(found: Array, other: Array, rtol: float) -> float | None:
    """The ratio where found = ratio * other, else None."""
    if np.count_nonzero(other) < FEW or not np.isfinite(other).all():
        return None
    ratio = float(np.vdot(other, found) / np.vdot(other, other))
    return ratio if ratio != 0 and near(found, ratio * other, rtol) else None


def times(ratio: float, arrays: Mapping[str, Any], rtol: float) -> str:
    """A constant factor in words, and what it comes from."""
    turned = "the sign is turned round"
    if abs(ratio + 1) <= 10 * rtol:
        return turned
    size = abs(ratio)
    factor = max(size, 1 / size)
    words = f"it is {factor:.6g} times too {'large' if size > 1 else 'small'}"
    for value, name, cause in RATIOS:
        expected = value(arrays["B"], arrays["V"], arrays["K"])
        if abs(size - expected) <= 10 * rtol * expected:
            words += f", and {name} is {factor:.6g}: {cause}" if name else f": {cause}"
            break
    return f"{turned}, and {words}" if ratio < 0 else words


def in_part(hand: Array, right: Array, rtol: float) -> str | None:
    """Which rows or columns are wrong, where others are right."""
    bound = rtol * np.linalg.norm(right)
    for axis in range(right.ndim):
        kind = ("row", "column")[axis] if right.ndim == 2 else "entry"
        others = tuple(range(axis)) + tuple(range(axis + 1, right.ndim))
        wrong = np.sqrt(((hand - right) ** 2).sum(axis=others)) > bound
        good = np.flatnonzero(~wrong & (right != 0).any(axis=others))
        if len(good) == 0:
            continue
        if len(good) == 1 and wrong.sum() > 1:
            return f"only {kind} {good[0]} is right"
        what = "wrong" if (hand != 0).any(axis=others)[wrong].any() else "zero"
        return f"{listed(kind, np.flatnonzero(wrong))} {what}, the others right"
    return None


def listed(kind: str, places: Array) -> str:
    """Which places, and the verb: "row 3 is", "rows 0 to 30 are", "rows 1, 4 and 9 are"."""
    first, last = int(places[0]), int(places[-1])
    if len(places) == 1:
        return f"{kind} {first} is"
    several = "entries" if kind == "entry" else f"{kind}s"
    if len(places) > 2 and len(places) == last - first + 1:
        return f"{several} {first} to {last} are"
    if len(places) > 6:
        return f"{len(places)} {several}, {first}, {places[1]}, {places[2]} ... {last}, are"
    return f"{several} {', '.join(map(str, places[:-1]))} and {last} are"
