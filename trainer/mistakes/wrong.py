"""What is to be said of a gradient that is wrong: of its kind, its shape, its numbers."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from trainer.core.ops import Array
from trainer.mistakes.diagnosis import NUMBERS, WROTE, rounding, what_was_done

Points = Sequence[Mapping[str, Any]]  # arrays under the names of the table, of which a gradient may have been made

EXACT = rounding(np.float64)


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
    B, narrow = point["B"], right.ndim == 1 or right.shape[1] == 1
    if found.size == 1:
        return "one number; the sum ran over everything", None
    if found.shape == right.shape[::-1] and not narrow:
        return "it is transposed and ", found.T
    if found.shape == (1, *right.shape) and not narrow:
        return "is there a comma at the end of the line? It is ", found[0]
    if found.size == right.size:
        return f"it has the right number of entries{', keepdims?' * narrow}, and is ", found.reshape(right.shape)
    if found.shape == (B, *right.shape):
        return "it still has a row for each example: sum over the batch, axis 0", None
    if right.shape == (B, 1):
        return "one number for each example: sum over the characters, axis 1, with keepdims", None
    if right.ndim == 1 and found.size == B:
        return "summed over the wrong axis: sum over the batch, axis 0", None
    if link == "C" and found.size == point["emb"].size:
        return "it still has a row for each place: add up those of one character", None
    return "", None


def of_numbers(link: str, found: Array, right: Array, points: Points, source: str) -> tuple[str, str, str]:
    """What is seen, what was done, and where it is worst: arrays of one shape, `found` in the learner's type."""
    bad = ~np.isfinite(found)
    if bad.any():
        seen = f"{bad.sum()} of {bad.size} entries are not finite, the first at {np.argwhere(bad)[0].tolist()}"
        return seen, "a division by zero, or the exponential of a large number?", ""
    hand = found.astype(np.float64)
    error = float(np.linalg.norm(hand - right) / np.linalg.norm(right))
    kind = np.float16 if found.dtype == np.float16 else np.float32  # which may have been meant
    said = f"it is off by {error:.2g} of its size"
    if error <= EXACT:
        said = "rows of characters that no context holds are not zero"
    elif error < rounding(kind):
        said += f", as if something had been rounded to {'half precision' if kind == np.float16 else 'float32'}"
    else:
        said = recognised(link, found, right, points, source) or f"{said}; no known mistake"
    worst = tuple(int(i) for i in np.unravel_index(abs(hand - right).argmax(), right.shape))
    return "", said, f"at {list(worst)}: yours {hand[worst]:.4e}, numerical {right[worst]:.4e}"


def recognised(link: str, found: Array, right: Array, points: Points, source: str) -> str:
    """A formula of the table, made of the arrays of one of the points, or else what is seen in the numbers; or ""."""
    said = []
    for arrays in points:
        with suppress(TypeError, ValueError, IndexError):  # what came in may have any shape
            said.append(what_was_done(link, found, right, arrays, source) or "")
    return max(said, key=lambda words: (WROTE in words or NUMBERS in words, bool(words)), default="")
