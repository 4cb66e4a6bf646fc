"""How far what was found is from what should be, and which known mistake gives what was found.

A bound is an array of the shape of what it bounds. Every entry must keep it: |found - right| <= bound.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trainer.core.ops import Array

NEVER = 1e9  # what chance does less often than once in so many tries counts as impossible
REMEMBERED = 200_000  # draws of earlier steps

Mistake = tuple[str, Callable[[], Array]]  # in words, and what it gives


class Worst(NamedTuple):
    """The entry that exceeds its bound by the largest factor; or, where none does, that of the largest error."""

    passed: bool
    place: tuple[int, ...]
    found: float
    right: float
    error: float
    bound: float

    def __str__(self) -> str:
        place = ", ".join(map(str, self.place))
        return f"worst at [{place}]: {self.found:.6e}, should be {self.right:.6e}"


def unit(dtype: npt.DTypeLike) -> float:
    """The distance from 1 to the next number of a type: twice the relative error of one rounding."""
    return float(np.finfo(dtype).eps)


def sum_of(n: int) -> float:
    """How many roundings a sum of n terms may be off by, in units of the sum of their magnitudes.

    n at most; and where n is large, eight times sqrt(n), for roundings that go either way add up as their root
    (Higham and Mary 2019, doi:10.1137/18M1226312, where eight stands for odds below 1 in 10^13).
    """
    return min(n, 8 * math.sqrt(n)) + 1


def loosened(bound: Array, right: Array, dtype: npt.DTypeLike) -> Array:
    """A bound with room for what the type cannot hold: small numbers lose their digits, large ones are infinite.

    A right value that is not finite bounds nothing either.
    """
    info = np.finfo(dtype)
    largest = 0.99 * float(info.max)
    held = (np.abs(right) < largest) & (bound < largest * float(info.eps))  # on the way there, too; False for nan
    bound = bound + 16 * float(info.smallest_subnormal)
    return bound if held.all() else np.where(held, bound, np.inf)


def worst(found: Array, right: Array, bound: Array) -> Worst:
    """Hold every entry against its bound. What is not finite, where it should be, exceeds every bound."""
    error = np.abs(found - right)  # of any shape
    passed = bool((error <= bound).all())
    most = int(np.argmax(error))
    if not passed:
        times_bound = np.where(np.isfinite(found), error / bound, np.inf)
        times_bound = np.where(np.isinf(bound), 0.0, times_bound)  # there, nan and infinity are nothing wrong
        most = int(np.argmax(times_bound))
        passed = bool(times_bound.flat[most] <= 1)
    place = np.unravel_index(most, error.shape)
    return Worst(
        passed=passed,
        place=tuple(int(i) for i in place),
        found=float(found[place]),
        right=float(right[place]),
        error=float(error[place]),
        bound=float(bound[place]),
    )


def alike(found: Array, other: Array, u: float) -> bool:
    """Whether two arrays are the same but for rounding, as a whole: enough to tell mistakes apart."""
    return found.shape == other.shape and bool(np.linalg.norm(found - other) <= 200 * u * np.linalg.norm(other))


def mistake(found: Array, u: float, known: Iterable[Mistake]) -> str:
    """The first known mistake that gives what was found, in words; empty if none does."""
    for words, made in known:
        if alike(found, made(), u):
            return words
    return ""


def ratio(found: Array, right: Array, bound: Array) -> float | None:
    """The constant that turns what is right into what was found, if there is one."""
    counts = np.isfinite(bound) & np.isfinite(found) & np.isfinite(right)
    square = float((right[counts] ** 2).sum())
    if square == 0 or not np.isfinite(square):
        return None
    factor = float((found[counts] * right[counts]).sum()) / square
    off = np.abs(found[counts] - factor * right[counts])
    return factor if (off <= 4 * max(1.0, abs(factor)) * bound[counts]).all() else None


def times(factor: float) -> str:
    """A constant factor in words."""
    nearest = round(factor) or factor
    if abs(factor) < 1e-6:
        return "all zero"
    if abs(factor + 1) < 1e-3:
        return "turned round in sign"
    if abs(factor - nearest) < 1e-3 * abs(factor):
        return f"{nearest:g} times what it should be"
    return f"{factor:.4g} times what it should be"


def recall(seen: dict[int, int], drawn: Array, step: int, surprise: float) -> int | None:
    """The earlier step that drew the very same, or None; this step's draw is remembered.

    `surprise` is minus the logarithm of the chance that two draws agree. With n draws there are n * n / 2 pairs that
    could, so that only what is rare enough for all of them is looked at.
    """
    if surprise < math.log(NEVER) + 2 * math.log(REMEMBERED) or len(seen) >= REMEMBERED:
        return None
    first = seen.setdefault(hash(drawn.tobytes()), step)
    return None if first == step else first
