"""The verdict on one gradient: the first that applies of everything that can be said.

The file, the notebook and the first step of a training with a learner's file are all judged here.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from trainer.core.links import LINKS, Link
from trainer.core.ops import Array
from trainer.mistakes import wrong as mistakes
from trainer.mistakes.diagnosis import near, rounding
from trainer.tools.practice import lecture, source
from trainer.tools.practice.point import ALIASES, LINK_OF, NINE, SEVEN, Point
from trainer.tools.practice.source import Line, Program

FLOAT32 = {".float32", "float32", ".float"}  # what is read by a file whose numbers are rounded


class Finding(NamedTuple):
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

    @property
    def said(self) -> str:
        """What is seen, and what was done."""
        return ": ".join(filter(None, [self.fact, self.sentence]))


def seen(value: Any) -> Any:
    """A copy of a value as NumPy has it, or the value itself where it is no array of numbers."""
    try:
        array = np.array(value.detach().numpy() if hasattr(value, "detach") else value)
        return array if array.dtype.kind in "biufc" else value
    except Exception:  # a learner's own object may raise anything
        return value


def is_real(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "iuf"


def gradient(tensor: str, names: Mapping[str, Any], point: Point) -> Any:
    """What these names hold as the gradient by a tensor, `...` for nothing; demb (B, K, D) or (B*K, D) as (B, K*D)."""
    array: Any = next((seen(names[name]) for name, of in LINK_OF.items() if of == tensor and name in names), ...)
    B, K, D = (point[letter] for letter in "BKD")
    flat = tensor == "emb" and is_real(array) and array.shape in ((B, K, D), (B * K, D))
    return array.reshape(B, K * D) if flat else array


def is_made(link: Link, array: Array, arrays: Point, rtol: float) -> bool:
    """Whether it is what the link's right formula makes of these arrays, whatever they are."""
    try:
        with np.errstate(all="ignore"):
            made = np.asarray(link.right(*(arrays[name] for name in link.takes)), np.float64)
    except Exception:  # the shapes may be anything
        return False
    found, made = (np.where(np.isfinite(numbers), numbers, 0) for numbers in (array, made))
    return made.shape == found.shape and near(found, made, rtol)


class Judge:
    """What is known of the names in which a backward pass is written, and the verdicts on its gradients."""

    def __init__(self, program: Program, point: Point) -> None:
        self.program, self.point = program, point
        self.names = source.namespace({name: value for name, value in point.items() if name[0] != "d"}, program)
        self.names["cmp"] = self.cmp
        self.given = {name: ALIASES.get(name, name) for name in self.names if ALIASES.get(name, name) in point}
        self.tensors = NINE if program.reads.isdisjoint(lecture.FORWARD) else SEVEN + NINE
        self.findings: dict[str, Finding] = {}
        self.moved: dict[str, str] = {}  # the given names that were changed, and by which line
        self.look((0, ""))

    def look(self, line: Line) -> None:
        """Take down the gradients after this line, and which of the arrays that were given it has changed."""
        self.state = {f"d{tensor}": gradient(tensor, self.names, self.point) for tensor in self.tensors}
        for name, meant in self.given.items():
            value = seen(self.names.get(name))
            if not (is_real(value) and np.array_equal(value.ravel(), np.ravel(self.point[meant]))):
                self.moved.setdefault(name, f"{meant}, which had moved already, line {line[0]}: {line[1]}")

    def judged(self, tensor: str, array: Any, line: Line = (0, "")) -> Finding:
        """The verdict on what was made in this line, from the names as they were when they were looked at."""
        name = f"d{tensor}"
        link = (LINKS | lecture.LINKS if "dnorm_logits" in self.findings else lecture.LINKS | LINKS)[tensor]
        found, right = partial(Finding, name, line), self.point[name]
        if array is ...:
            return Finding(name, (0, f"from {', '.join(link.takes)}: {link.shape}"), "to do")
        if not is_real(array):
            return found("TYPE", *mistakes.of_kind(array))
        made = {name: self.state[name] for name in self.findings if is_real(self.state[name])}
        types = [array.dtype, *(own.dtype for own in made.values())]
        rtol = rounding(np.float32 if np.float32 in types or self.program.reads & FLOAT32 else np.float64)

        def is_right(array: Array) -> bool:
            # The gradient by the maximum is 0 but for the rounding of a sum that cancels.
            atol = rtol * np.linalg.norm(self.point["dnorm_logits"]) if tensor == "logit_maxes" else 0
            unread = ~right.any(axis=1) if tensor == "C" else []
            return array.shape == right.shape and near(array, right, rtol, atol) and not array[unread].any()

        if is_right(array):
            return found("right")
        moved = {self.given[name]: seen(self.names.get(name)) for name in self.moved}
        points = [self.point | made, self.point | made | moved]
        wrong = {each.name for each in self.findings.values() if each.word != "right"}
        for arrays, gone in zip(points, ({}, self.moved), strict=True):
            if is_made(link, array, arrays, rtol):
                if lines := {words for name, words in gone.items() if self.given[name] in link.takes}:
                    return found("WRONG", "", f"it is right but for {' and '.join(sorted(lines))}")
                if came := [each for each in link.takes if each in wrong]:
                    return found(f"right, from your {' and '.join(came)}")
        if array.shape == right.shape:
            return found("WRONG", *mistakes.of_numbers(tensor, array, right, points, line[1]))

        def is_fine(turned: Array) -> bool:
            return is_right(turned) or any(is_made(link, turned, arrays, rtol) for arrays in points)

        fact = f"shape {array.shape}, should be {right.shape}, that of {tensor}"
        return found("SHAPE", fact, mistakes.of_shape(tensor, array, right, points, line[1], is_fine))

    def cmp(self, name: str, value: Any, *_: Any) -> None:
        """The lecture's `cmp`: print the judge's line on a gradient, as it is at this moment."""
        tensor = LINK_OF.get(f"d{name}", "")
        if tensor in self.tensors:
            found = self.judged(tensor, gradient(tensor, {f"d{tensor}": value}, self.point))
            print(f"{name:15} {found.word}  {found.said}".rstrip())
        else:
            print(f"{name:15} no name of the chain")
