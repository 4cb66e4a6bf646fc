"""What is said of a gradient that is wrong: of another kind than an array, of another shape, or in its numbers."""

from collections.abc import Iterable

import numpy as np

from trainer.core.ops import Array
from trainer.mistakes.diagnosis import rounding, what_was_done
from trainer.mistakes.table import Names


def of_kind(value: object) -> tuple[str, str]:
    """What stands where an array of real numbers should, and how it may have come there."""
    if value is ...:
        return "it is still to do", ""
    if value is None:
        return "it is None", "made by what works in place, as np.add.at does, or has no return?"
    if hasattr(value, "dtype"):
        return f"it is of type {value.dtype}", "a gradient is made of real numbers"
    asked = "are its brackets missing?" if callable(value) else "are its rows of one length?"
    return f"it is a {type(value).__name__}, and no array of numbers", asked


def of_shape(found: Array, right: Array, B: int) -> tuple[str, Array | None]:
    """How a wrong shape came about, "" where that cannot be told; and the numbers in the right one, if they fit."""
    narrow = right.ndim == 1 or right.shape[1] == 1
    if found.shape == right.shape[::-1] and not narrow:
        return "it is transposed and ", found.T
    if found.size == right.size:
        return f"it has the right number of entries{', keepdims?' * narrow}, and is ", found.reshape(right.shape)
    known = (
        (found.size == 1, "one number; the sum ran over everything"),
        (found.shape == (B, *right.shape), "it still has a row for each example: sum over the batch, axis 0"),
        (right.shape == (B, 1), "one number for each example: sum over the characters, axis 1, with keepdims"),
        (right.ndim == 1 and found.size == B, "summed over the wrong axis: sum over the batch, axis 0"),
    )
    return next((words for holds, words in known if holds), ""), None


def of_numbers(
    link: str, found: Array, right: Array, points: Iterable[tuple[Names, Array]], source: str
) -> tuple[str, str, str]:
    """What is seen, what was done, and where it is worst.

    found and right have one shape, and found has the learner's type. points: arrays under the names of the table of
    which found may have been made, each with what is right for them.
    """
    bad = ~np.isfinite(found)
    if bad.any():
        seen = f"{bad.sum()} of {bad.size} entries are not finite, the first at {np.argwhere(bad)[0].tolist()}"
        return seen, "a division by zero, or the exponential of a large number?", ""
    hand, half = found.astype(np.float64), found.dtype == "float16"
    error = float(np.linalg.norm(hand - right) / np.linalg.norm(right))
    said = f"its error is {error:.2g} times its size"
    if error <= rounding("float64"):
        said = "rows of characters that no context holds are not zero"
    elif error < rounding("float16" if half else "float32"):
        said += f", as if something had been rounded to {'half precision' if half else 'float32'}"
    else:
        done = (what_was_done(link, found, there, arrays, source) for arrays, there in points)
        said = next(filter(None, done), f"{said}; no known mistake")
    worst = tuple(int(i) for i in np.unravel_index(abs(hand - right).argmax(), right.shape))
    return "", said, f"at {list(worst)}: yours {hand[worst]:.4e}, numerical {right[worst]:.4e}"
