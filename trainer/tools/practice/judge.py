"""The verdict on one gradient: the first that applies of everything that can be said.

The file, the notebook and the first step of a training with a learner's file are all judged here.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.core.links import Link
from trainer.core.ops import Array
from trainer.mistakes import wrong as mistakes
from trainer.mistakes.diagnosis import near, rounding
from trainer.tools.practice.point import Point
from trainer.tools.practice.source import Line


@dataclass
class Finding:
    """What is said about a gradient."""

    name: str
    line: Line
    word: str  # right; right, from your dh; WRONG, SHAPE, ERROR, TYPE, to do
    fact: str = ""  # what is seen
    sentence: str = ""  # what was done
    place: str = ""  # where it is worst

    @property
    def follows(self) -> bool:
        """Whether it is right as it was made, from what came in, right or not."""
        return self.word.startswith("right")


def seen(value: Any) -> Any:
    """A copy of a value as NumPy has it, or the value itself where it is no array of numbers."""
    try:
        array = np.array(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
        return array if array.dtype.kind in "biufc" else value
    except Exception:  # a learner's own object may raise anything
        return value


def is_real(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "iuf"


def as_gradient(tensor: str, value: Any, point: Point) -> Any:
    """A value as `seen`; demb as emb is, (B, K*D), where it is (B, K, D) or (B*K, D)."""
    array, (B, K, D) = seen(value), (point[letter] for letter in "BKD")
    flat = tensor == "emb" and is_real(array) and array.shape in ((B, K, D), (B * K, D))
    return array.reshape(B, K * D) if flat else array


def judge(
    link: Link, value: Any, line: Line, point: Point, points: Sequence[Point],
    wrong: Collection[str], moved: Mapping[str, str], dtype: npt.DTypeLike,
) -> Finding:  # fmt: skip
    """Hold a value, made in this line, against the right gradient of its link at the point.

    points: what it may have been made from, in this order: the point with the learner's own gradients, `wrong` where
    they are not right, and with the given arrays that have `moved`, by the lines that did it. dtype: float32 where such
    numbers came in.
    """
    name, array = f"d{link.tensor}", as_gradient(link.tensor, value, point)
    if value is ...:
        return Finding(name, (0, f"from {', '.join(link.takes)}: {link.shape}"), "to do")
    if not is_real(array):
        return Finding(name, line, "TYPE", *mistakes.of_kind(array))
    right, rounded = point[name], max(rounding(array.dtype), rounding(dtype))
    rtol = min(rounded, rounding(np.float32))

    def is_right(array: Array, rtol: float = rtol) -> bool:
        if link.tensor == "logit_maxes" and array.shape == right.shape:  # 0 but for the rounding of a sum that cancels
            return bool(np.linalg.norm(array) <= rtol * np.linalg.norm(point["dnorm_logits"]))
        unread = ~right.any(axis=1) if link.tensor == "C" else []
        return array.shape == right.shape and near(array, right, rtol) and not array[unread].any()

    if is_right(array):
        return Finding(name, line, "right")
    for arrays in points:
        if is_made(link, array, arrays, rounded):
            own = [each for each in link.takes if arrays[each] is not point[each]]
            if lines := [each + moved[each] for each in own if each in moved]:
                return Finding(name, line, "WRONG", "", f"it is right but for {' and '.join(lines)}")
            if came := [each for each in own if each in wrong]:
                return Finding(name, line, f"right, from your {' and '.join(came)}")
            if any(each[0] == "d" for each in link.takes) and is_right(array, rounding(np.float32)):
                return Finding(name, line, "right")  # as the gradients that came in, which float32 has rounded
    if array.shape == right.shape:
        return Finding(name, line, "WRONG", *mistakes.of_numbers(link.tensor, array, right, points, line[1]))

    def is_fine(turned: Array) -> bool:
        return is_right(turned) or any(is_made(link, turned, arrays, rtol) for arrays in points)

    fact = f"shape {array.shape}, should be {right.shape}, that of {link.tensor}"
    return Finding(name, line, "SHAPE", fact, mistakes.of_shape(link.tensor, array, right, points, line[1], is_fine))


def is_made(link: Link, array: Array, arrays: Point, rtol: float) -> bool:
    """Whether it is what the link's right formula makes of these arrays, whatever they are."""
    try:
        with np.errstate(all="ignore"):
            made = np.asarray(link.right(*(arrays[name] for name in link.takes)), np.float64)
    except Exception:  # the shapes may be anything
        return False
    finite = np.isfinite(made)
    same = made.shape == array.shape and np.array_equal(made[~finite], array[~finite], equal_nan=True)
    return same and near(array[finite], made[finite], rtol)
