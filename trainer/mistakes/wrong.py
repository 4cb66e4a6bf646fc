"""What is to be said of a gradient that is wrong: of its kind, its shape, its numbers."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from trainer.core.ops import Array
from trainer.mistakes.diagnosis import near, rounding, what_was_done

WROTE, NUMBERS = "you wrote ", "these are the numbers of "
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


def of_shape(
    link: str, found: Array, right: Array, points: Points, source: str, is_fine: Callable[[Array], bool]
) -> str:
    """How a wrong shape came about, and whether it is all that is wrong; "" where that cannot be told."""

    def besides(turned: Array) -> str:
        said = recognised(link, turned.astype(np.float64), right, points, source)
        return "otherwise right" if is_fine(turned) else f"otherwise wrong too{said and ': '}{said}"

    B, narrow = points[0]["B"], right.ndim == 1 or right.shape[1] == 1
    if found.size == 1:
        return "one number; the sum ran over everything"
    if right.ndim == 2 and found.shape == right.shape[::-1] and not narrow:
        return f"it is transposed and {besides(found.T)}"
    if right.ndim == 2 and found.shape == (1, *right.shape):
        return f"is there a comma at the end of the line? It is {besides(found[0])}"
    if found.size == right.size:
        numbers = besides(found.reshape(right.shape))
        return f"it has the right number of entries{', keepdims?' if narrow else ''}, and is {numbers}"
    if found.shape == (B, *right.shape):
        return "it still has a row for each example: sum over the batch, axis 0"
    if right.shape == (B, 1):
        return "one number for each example: sum over the characters, axis 1, with keepdims"
    if right.ndim == 1 and found.size == B:
        return "summed over the wrong axis: sum over the batch, axis 0"
    if link == "C" and found.size == points[0]["emb"].size:
        return "it still has a row for each place: add up those of one character"
    return ""


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
        said = recognised(link, hand, right, points, source) or f"{said}; no known mistake"
    worst = tuple(int(i) for i in np.unravel_index(abs(hand - right).argmax(), right.shape))
    return "", said, f"at {list(worst)}: yours {hand[worst]:.4e}, numerical {right[worst]:.4e}"


def recognised(link: str, hand: Array, right: Array, points: Points, source: str) -> str:
    """A formula of the table, made of the arrays of one of the points, or else what is seen in the numbers; or ""."""
    said = ""
    for arrays in points:
        try:
            found = what_was_done(link, hand, right, arrays, source, NUMBERS.strip()) or ""
        except (TypeError, ValueError, IndexError):  # what came in may have any shape
            continue
        if NUMBERS in found:
            formula = found.partition(NUMBERS)[2].partition(": ")[0].replace("·", "*")
            statement, formula = (re.sub(r"np\.|\s", "", code) for code in (source, formula))
            return found.replace(NUMBERS, WROTE) if formula in (statement, statement.partition("=")[2]) else found
        said = said or found
    for axis, lines in enumerate(("rows", "columns")[: right.ndim]):
        said = said or f"its {lines} stand in reverse order" * near(np.flip(hand, axis), right, EXACT)
    return said
