"""What stands in place of what is right, in words: a wrong array held against candidates.

It says what alone agrees to rounding, else only what is seen: a factor, a sign, the rows or columns that are wrong.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.core.ops import Array
from trainer.mistakes.table import FACTORS, LECTURE, MISTAKES, Names

WROTE, NUMBERS = "you wrote ", "these are the numbers of "
FEW = 4  # with fewer entries, any array is some number times any other

Candidate = tuple[str, Array]  # what was done, in words, and what it makes


def rounding(dtype: npt.DTypeLike) -> float:
    """What rounding may do to an array, relative to its norm: far above sums of thousands, far below any mistake."""
    return {"float16": 1e-2, "float32": 1e-5}.get(np.dtype(dtype).name, 1e-9)


def near(found: Array, other: Array, rtol: float, atol: float = 0.0) -> bool:
    """Whether two arrays of one shape are the same but for rounding, as a whole."""
    return bool(np.linalg.norm(found - other) <= atol + rtol * np.linalg.norm(other))


def multiple(found: Array, other: Array, rtol: float, atol: float = 0.0) -> float | None:
    """The ratio where found = ratio * other, else None."""
    square = float(np.vdot(other, other))
    if np.count_nonzero(other) < FEW or not square:
        return None
    ratio = float(np.vdot(other, found)) / square
    if ratio == 0 or not near(found, ratio * other, rtol, atol):
        return None
    return float(f"{ratio:.4g}") if atol else ratio  # rounding leaves no more digits


def only(words: Iterable[str]) -> str | None:
    """The words of all that agree; None where nothing does, or several that say different things."""
    found = set(words)
    return found.pop() if len(found) == 1 else None


def instead(
    found: Array, right: Array, known: list[Candidate], rtol: float, atol: float = 0.0,
    sizes: Names | None = None,
) -> str | None:  # fmt: skip
    """What was found in place of `right`, in words; None if it cannot be told, or if nothing is wrong.

    All arrays have one shape. `rtol` and `atol` say what rounding may do to the norm; `sizes` by name explain a factor.
    """
    if not np.isfinite(found).all() or near(found, right, rtol, atol):
        return None
    if not found.any():
        return "it is all zero: was it filled?"
    if same := [words for words, made in known if near(found, made, rtol, atol)]:
        return only(same)
    ratio = multiple(found, right, rtol, atol)
    if ratio and f"{ratio:.6g}" != "1":
        return times(ratio, rtol, sizes)
    turned = {
        "it is transposed and otherwise right": right.T,
        "its rows stand in reverse order": right[::-1],
        "its columns stand in reverse order": right[..., ::-1],
    }
    for words, made in turned.items():
        if made.shape == right.shape and near(found, made, rtol, atol):
            return words
    return None


def times(ratio: float, rtol: float, sizes: Names | None = None) -> str:
    """A constant factor in words, and what it comes from where that is clear."""
    size, turned = abs(ratio), "the sign is turned round"
    if abs(ratio + 1) <= 10 * rtol:
        return turned
    factor, causes = max(size, 1 / size), list[str]()
    for row in FACTORS:
        known = row.faces(sizes)[0] if sizes else np.nan
        if abs(size - known) <= 10 * rtol * known:
            name = row.written.removeprefix("1 / ")
            shown = f", and {name} is {factor:.6g}" if name in ("B", "V", "K", "B V") else ""
            causes.append(f"{shown}: {row.cause}")
    words = f"it is {factor:.6g} times too {'large' if size > 1 else 'small'}{only(causes) or ''}"
    return f"{turned}, and {words}" if ratio < 0 else words


def in_part(found: Array, right: Array, rtol: float) -> str | None:
    """Which rows or columns are wrong, the fewer of both, where all others are right, each beside its own size."""
    sides: dict[str, Any] = {"rows": 1, "columns": 0} if right.ndim == 2 else {"entries": ()}
    said = dict[float, str]()
    for lines, axis in sides.items():
        error, size = (np.sqrt((array**2).sum(axis)) for array in (found - right, right))
        wrong = error > rtol * np.linalg.norm(right)
        if wrong.any() and size[~wrong].any() and (wrong | (error <= 10 * rtol * size)).all():
            k, what = np.flatnonzero(wrong), "wrong" if found.any(axis)[wrong].any() else "zero"
            said[wrong.mean()] = f"{len(k)} of {len(wrong)} {lines} are {what}, from {k[0]} to {k[-1]}; others right"
    return said[min(said)] if said else None


def what_was_done(link: str, by_hand: Array, right: Array, arrays: Names, source: str | None = None) -> str | None:
    """How a wrong gradient came about, by the table of mistakes; None if it cannot be told, or if it is right.

    link: one of the nine, as z, or of the lecture's. arrays: the point in float64 under the names of the table, with
    the gradients that came in. source: a learner's statement that made it, or "" where it is not known.
    """
    rtol, hand, known = rounding(by_hand.dtype), by_hand.astype(np.float64), list[Candidate]()
    bare = partial(re.sub, r"np\.|\s", "")
    code = bare(source or "")
    rows = [row for row in (*MISTAKES.get(link, ()), *LECTURE.get(link, ())[2:]) if row.source in code]
    for row in {row.formula: row for row in reversed(rows)}.values():  # of rows with one formula the first
        begun = WROTE if bare(row.formula) in (code, code.partition("=")[2]) else NUMBERS
        begun = "it is " if source is None else begun
        with suppress(Exception), np.errstate(all="ignore"):  # an array may be missing, or of any shape
            for made in row.faces(arrays):
                if made.shape == right.shape and np.isfinite(made).all():
                    share = multiple(hand - right, made, rtol) or 0
                    known.append((f"{begun}{row.written}: {row.cause}", right + share * made if row.added else made))
    done = instead(hand, right, known, rtol, sizes=arrays)
    if done or near(hand, right, rtol):
        return done
    pair = only(
        f"two mistakes: {words}; and {times(ratio, rtol, arrays)}"
        for words, made in known
        if (ratio := multiple(hand, made, rtol)) and f"{ratio:.6g}" != "1"
    )
    return pair or in_part(hand, right, rtol)
