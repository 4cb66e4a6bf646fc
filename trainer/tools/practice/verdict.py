"""The verdict on one gradient: the first that applies of everything that can be said."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.core.ops import Array
from trainer.mistakes.diagnosis import near, what_was_done
from trainer.tools.practice.point import BLANKS
from trainer.tools.practice.values import LARGEST, as_array

RTOL, COARSE = 1e-9, 1e-5  # of the norm: a formula in float64, and where something is float32
WROTE = "you wrote"


@dataclass
class Verdict:
    """What is said about a gradient."""

    name: str
    word: str  # what the screen says: right, WRONG, SHAPE, ERROR, TYPE, to do
    fact: str = ""  # what is seen
    sentence: str = ""  # what was done
    place: str = ""  # where it is worst
    line: int = 0
    source: str = ""


def judge(
    link: str, value: Any, arrays: Mapping[str, Any], right: Array, coarse: bool = False, source: str = ""
) -> Verdict:
    """Hold a value against the right gradient of its link.

    arrays: the point, with the gradients that come in. coarse: whether float32 may have rounded it.
    """
    blank = next(blank for blank in BLANKS if blank.link == link)
    name = blank.name
    if value is ...:
        return Verdict(name, "to do", f"from {', '.join(blank.takes)}: {blank.shape}")
    try:
        array = as_array(value)
    except Exception:
        array = np.array(None)
    if array.dtype.kind not in "iuf":
        return Verdict(name, "TYPE", *of_type(value, array))
    rtol = COARSE if coarse or array.dtype in (np.float32, np.float16) else RTOL
    deep = (arrays["B"], arrays["K"], arrays["D"])
    if link == "emb" and array.shape == deep:
        array = array.reshape(right.shape)
    if array.size <= LARGEST:
        array = array.astype(np.float64)
    if array.shape != right.shape:
        fact = f"shape {array.shape}, should be {right.shape}, that of {link}"
        return Verdict(name, "SHAPE", fact, of_shape(link, array, arrays, right, source, rtol))
    finite = np.isfinite(array)
    if not finite.all():
        first = tuple(int(index) for index in np.argwhere(~finite)[0])
        fact = f"{(~finite).sum()} of {array.size} entries are not finite, the first, {array[first]}, at {list(first)}"
        return Verdict(name, "WRONG", fact, "a division by zero, or the exponential of a large number?")
    if near(array, right, rtol):
        return Verdict(name, "right")
    sentence = what_was_done(link, array, right, arrays, source, WROTE, rtol) or in_all(array, right)
    worst = tuple(int(index) for index in np.unravel_index(abs(array - right).argmax(), right.shape))
    place = f"at {list(worst)}: yours {array[worst]:.4e}, numerical {right[worst]:.4e}"
    return Verdict(name, "WRONG", "", sentence, place)


def in_all(array: Array, right: Array) -> str:
    """How far off it is, where nothing better is known."""
    error = float(np.linalg.norm(array - right) / np.linalg.norm(right))
    rounded = ", as if something had been rounded to float32" if error < COARSE else ""
    return f"it is off by {error:.2g} of its size{rounded}; no known mistake"


def of_type(value: Any, array: Array) -> tuple[str, str]:
    """What kind of thing stands where an array should."""
    if value is None:
        return "it is None", "made by what works in place, as np.add.at does, or has no return?"
    if callable(value):
        return f"it is a {type(value).__name__}", "are its brackets missing?"
    if array.dtype == object:
        return f"it is a {type(value).__name__}, and no array of numbers", "are its rows of one length?"
    return f"it is of type {array.dtype}", "a gradient is made of real numbers"


def of_shape(link: str, array: Array, arrays: Mapping[str, Any], right: Array, source: str, rtol: float) -> str:
    """How a wrong shape came about, and whether it is all that is wrong; "" where that cannot be told."""
    B = arrays["B"]
    if array.size == 1:
        return "one number; the sum ran over everything"
    if right.ndim == 2 and array.shape == right.shape[::-1]:
        return "it is transposed and " + besides(link, array.T, arrays, right, source, rtol)
    if right.ndim == 2 and array.shape == (1, *right.shape):
        return "is there a comma at the end of the line? It is " + besides(link, array[0], arrays, right, source, rtol)
    if array.size == right.size:
        numbers = besides(link, array.reshape(right.shape), arrays, right, source, rtol)
        return f"it has the right number of entries{', keepdims?' if right.ndim == 1 else ''}, and is {numbers}"
    if array.shape == (B, *right.shape):
        return "it still has a row for each example: sum over the batch, axis 0"
    if right.ndim == 1 and array.size == B:
        return "summed over the wrong axis: sum over the batch, axis 0"
    if link == "C" and array.size == arrays["emb"].size:
        return "it still has a row for each place: add up those of one character"
    return ""


def besides(link: str, array: Array, arrays: Mapping[str, Any], right: Array, source: str, rtol: float) -> str:
    """What is to be said of the numbers, when they have been brought into the right shape."""
    if near(array, right, rtol):
        return "otherwise right"
    done = what_was_done(link, array, right, arrays, source, WROTE, rtol)
    return f"otherwise wrong too: {done}" if done else "otherwise wrong too"
