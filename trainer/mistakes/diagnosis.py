"""What stands in place of what is right, in words: a wrong array held against candidates.

One matcher for the whole program. It says what agrees to rounding where nothing else does, and otherwise only what is
seen: a factor, a sign, the rows or columns that are wrong. What a learner made may be of any kind and shape; that is at
the end.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.core.links import Link
from trainer.core.ops import Array
from trainer.mistakes.table import FACTORS, MISTAKES, OF_THE_LECTURE, Mistake

WROTE, NUMBERS = "you wrote ", "these are the numbers of "
FEW = 4  # with fewer entries, any array is some number times any other

Candidate = tuple[str, Array]  # what was done, in words, and what it makes


def rounding(dtype: npt.DTypeLike) -> float:
    """What rounding may do to an array, relative to its norm: far above sums of thousands, far below any mistake."""
    return {np.dtype(np.float16): 1e-2, np.dtype(np.float32): 1e-5}.get(np.dtype(dtype), 1e-9)


def near(found: Array, other: Array, rtol: float, atol: float = 0.0) -> bool:
    """Whether two arrays of one shape are the same but for rounding, as a whole."""
    return bool(np.linalg.norm(found - other) <= atol + rtol * np.linalg.norm(other))


def multiple(found: Array, other: Array, rtol: float, atol: float = 0.0) -> float | None:
    """The ratio where found = ratio * other, else None."""
    square = float(np.vdot(other, other))
    if np.count_nonzero(other) < FEW or not 0 < square < np.inf:
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
    found: Array, right: Array, candidates: Iterable[Candidate], rtol: float, atol: float = 0.0,
    sizes: Mapping[str, Any] | None = None,
) -> str | None:  # fmt: skip
    """What was found in place of `right`, in words; None if it cannot be told, or if nothing is wrong.

    All arrays have one shape. `rtol` and `atol` say what rounding may do to the norm. `sizes`, B, V and K by name,
    are there to explain a factor.
    """
    if not np.isfinite(found).all() or near(found, right, rtol, atol):
        return None
    if not found.any():
        return "it is all zero: was it filled?"
    if same := [words for words, made in candidates if near(found, made, rtol, atol)]:
        return only(same)
    ratio = multiple(found, right, rtol, atol)
    if ratio is not None and f"{ratio:.6g}" != "1":
        return times(ratio, rtol, sizes)
    turned = {
        "it is transposed and otherwise right": right.T,
        "its rows stand in reverse order": right[::-1],
        "its columns stand in reverse order": right[..., ::-1],
    }
    same = [words for words, made in turned.items() if made.shape == right.shape and near(found, made, rtol, atol)]
    return same[0] if same else None


def times(ratio: float, rtol: float, sizes: Mapping[str, Any] | None = None) -> str:
    """A constant factor in words, and what it comes from where that is clear."""
    size, turned = abs(ratio), "the sign is turned round"
    if abs(ratio + 1) <= 10 * rtol:
        return turned
    factor, causes = max(size, 1 / size), list[str]()
    for row in FACTORS:
        known = row.faces(sizes)[0] if sizes else np.nan
        if abs(size - known) <= 10 * rtol * known:
            name = row.written.removeprefix("1 / ")
            shown = f", and {name} is {factor:.6g}" if set(name) <= set("B V K") else ""
            causes.append(f"{shown}: {row.cause}")
    words = f"it is {factor:.6g} times too {'large' if size > 1 else 'small'}{only(causes) or ''}"
    return f"{turned}, and {words}" if ratio < 0 else words


def in_part(found: Array, right: Array, rtol: float) -> str | None:
    """Which rows or columns are wrong, where others are right."""
    sides = {"rows": (found, right), "columns": (found.T, right.T)}
    if right.ndim == 1:
        sides = {"entries": (found[:, None], right[:, None])}
    for lines, (hand, wanted) in sides.items():
        wrong = np.linalg.norm(hand - wanted, axis=1) > rtol * np.linalg.norm(right)
        if wrong.any() and wanted[~wrong].any():
            places, what = np.flatnonzero(wrong), "wrong" if hand[wrong].any() else "zero"
            return f"{len(places)} of {len(wrong)} {lines} are {what}, from {places[0]} to {places[-1]}; others right"
    return None


def what_was_done(
    link: str, by_hand: Array, right: Array, arrays: Mapping[str, Any], source: str | None = None
) -> str | None:
    """How a wrong gradient came about, by the table of mistakes; None if it cannot be told, or if it is right.

    link: logits, h, z, emb, W2, b2, W1, b1 or C, or one of the lecture's. arrays: the point in float64 under the names
    of the table, with the gradients coming in (dlogits, dh, dz, demb) as they were given to this link. source: a
    learner's statement that made it, or "" where it is not known.
    """
    rtol, hand, candidates = rounding(by_hand.dtype), by_hand.astype(np.float64), []
    for mistake, wrong in evaluated(link, arrays, source or ""):
        if wrong.shape == right.shape and np.isfinite(wrong).all() and wrong.any():
            made = right + (multiple(hand - right, wrong, rtol) or 0) * wrong if mistake.added else wrong
            candidates.append((f"{begun(mistake, source)}{mistake.written}: {mistake.cause}", made))
    done = instead(hand, right, candidates, rtol, sizes=arrays)
    if done or near(hand, right, rtol):
        return done
    scaled = [(words, multiple(hand, made, rtol)) for words, made in candidates]
    pair = only(
        f"{words}; and {times(ratio, rtol, arrays)}" for words, ratio in scaled if ratio and f"{ratio:.6g}" != "1"
    )
    return f"two mistakes: {pair}" if pair else in_part(hand, right, rtol)


def begun(mistake: Mistake, source: str | None) -> str:
    """How to begin where a mistake is named: "you wrote" only of a statement that is its formula."""
    if source is None:
        return "it is "
    formula, code = (re.sub(r"np\.|\s", "", text) for text in (mistake.formula, source))
    return WROTE if formula in (code, code.partition("=")[2]) else NUMBERS


def evaluated(link: str, arrays: Mapping[str, Any], source: str) -> Iterator[tuple[Mistake, Array]]:
    """The rows of the table for a link with their numbers at this point; the source decides between equal formulas."""
    rows = [row for row in (*MISTAKES.get(link, ()), *OF_THE_LECTURE.get(link, ())) if row.source in source]
    decided = {row.formula for row in rows if row.source}
    for row in rows:
        with suppress(NameError), np.errstate(all="ignore"):  # the lecture's arrays are not there always
            if row.source or row.formula not in decided:
                yield from ((row, face) for face in row.faces(arrays))


# What a learner made


def of_kind(value: object) -> tuple[str, str]:
    """What stands where an array of real numbers should, and how it may have come there."""
    if value is None:
        return "it is None", "made by what works in place, as np.add.at does, or has no return?"
    if hasattr(value, "dtype"):
        return f"it is of type {value.dtype}", "a gradient is made of real numbers"
    asked = "are its brackets missing?" if callable(value) else "are its rows of one length?"
    return f"it is a {type(value).__name__}, and no array of numbers", asked


def of_shape(link: str, found: Array, right: Array, point: Mapping[str, Any]) -> tuple[str, Array | None]:
    """How a wrong shape came about, "" where that cannot be told; and the numbers in the right one, if they fit."""
    (B, K, D), narrow = (point[letter] for letter in "BKD"), right.ndim == 1 or right.shape[1] == 1
    if found.shape == right.shape[::-1] and not narrow:
        return "it is transposed and ", found.T
    if found.shape == (1, *right.shape) and not narrow:
        return "is there a comma at the end of the line? It is ", found[0]
    if found.size == right.size:
        return f"it has the right number of entries{', keepdims?' * narrow}, and is ", found.reshape(right.shape)
    known = (
        (found.size == 1, "one number; the sum ran over everything"),
        (found.shape == (B, *right.shape), "it still has a row for each example: sum over the batch, axis 0"),
        (right.shape == (B, 1), "one number for each example: sum over the characters, axis 1, with keepdims"),
        (right.ndim == 1 and found.size == B, "summed over the wrong axis: sum over the batch, axis 0"),
        (link == "C" and found.size == B * K * D, "it still has a row for each place: add up those of one character"),
    )
    return next((words for holds, words in known if holds), ""), None


def of_numbers(
    tensor: str, link: Link, found: Array, right: Array, points: Sequence[Mapping[str, Any]], source: str
) -> tuple[str, str, str]:
    """What is seen, what was done, and where it is worst.

    found and right have one shape, and found has the learner's type. points: arrays under the names of the table, each
    of them a point of whose arrays found may have been made: there it is held against what the link makes of them.
    """
    bad = ~np.isfinite(found)
    if bad.any():
        seen = f"{bad.sum()} of {bad.size} entries are not finite, the first at {np.argwhere(bad)[0].tolist()}"
        return seen, "a division by zero, or the exponential of a large number?", ""
    hand = found.astype(np.float64)
    error = float(np.linalg.norm(hand - right) / np.linalg.norm(right))
    kind = np.float16 if found.dtype == np.float16 else np.float32  # which may have been meant
    said, done = f"it is off by {error:.2g} of its size", list[str]()
    if error <= rounding(np.float64):
        said = "rows of characters that no context holds are not zero"
    elif error < rounding(kind):
        said += f", as if something had been rounded to {'half precision' if kind == np.float16 else 'float32'}"
    else:
        for arrays in points:
            with suppress(TypeError, ValueError, IndexError):  # what came in may have any shape
                there = np.asarray(link.right(*(arrays[name] for name in link.takes)), np.float64)
                done.append(what_was_done(tensor, found, there, arrays, source) or "")
        named = max(done, key=lambda words: (WROTE in words or NUMBERS in words, bool(words)), default="")
        said = named or f"{said}; no known mistake"
    worst = tuple(int(i) for i in np.unravel_index(abs(hand - right).argmax(), right.shape))
    return "", said, f"at {list(worst)}: yours {hand[worst]:.4e}, numerical {right[worst]:.4e}"
