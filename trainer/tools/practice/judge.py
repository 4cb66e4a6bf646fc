"""A learner's file run once, as Python runs it, and each gradient judged by what it is in the end.

After each statement of the file it is seen which gradients have changed, however they were reached: by name, an index,
a view, a function. A gradient belongs to the last statement that changed it. Nothing is put back; the right value takes
the place only of what was never made, so that the lines below it can run. File, notebook and training ask this judge.
"""

import ast
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from trainer.core.links import LINKS, Link
from trainer.core.ops import Array
from trainer.mistakes.diagnosis import near, of_kind, of_numbers, of_shape, rounding
from trainer.mistakes.point import ALIASES, FORWARD, LINK_OF, NINE, SEVEN, STEPS, Point
from trainer.tools.practice import source
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
        return ": ".join(filter(None, [self.fact, self.sentence]))


class Answer(NamedTuple):
    """What is said about a file."""

    findings: list[Finding]  # in the order of the chain
    notes: list[str]  # of what did not go well beside them

    def right(self) -> int:
        return sum(finding.word == "right" for finding in self.findings)

    def all_right(self) -> bool:
        return not self.notes and self.right() == len(self.findings)


class Judge:
    """What is known of the names in which a backward pass is written, and the verdicts on its gradients."""

    def __init__(self, program: Program, point: Point) -> None:
        self.program, self.point = program, point
        given = {name: value for name, value in point.items() if name[0] != "d"}
        self.names = source.namespace(given, program) | {"cmp": self.cmp}
        self.given = {name: name for name in given} | ALIASES
        self.tensors = NINE if program.reads.isdisjoint(FORWARD) else SEVEN + NINE
        self.findings: dict[str, Finding] = {}
        self.failures: dict[Line, str] = {}  # what the lines that raised say
        self.moved: dict[str, str] = {}  # the given names that were changed, and by which line
        self.look((0, ""))

    def statement(self, node: ast.stmt) -> None:
        """Run a statement, and see what it did."""
        before, first = self.state, self.program.line(node)
        lines = {f"d{tensor}": line for tensor, line in self.program.gradients(node).items()}
        code = compile(ast.Module([node], []), self.program.path, "exec")
        if failure := source.run(code, self.program, self.names, first):
            self.failures[failure[0]] = failure[1].replace("\n", "; ")
        self.look(first)
        for name, value in self.state.items():
            was_right = name in self.findings and self.findings[name].follows
            if failure and name in lines and not was_right:
                self.findings[name] = Finding(name, failure[0], "ERROR", failure[1])
            elif differ(before[name], value):
                found = self.findings[name] = self.judged(name[1:], value, lines.get(name, first))
                if was_right and not found.follows and value is not ...:
                    self.findings[name] = spoilt(found, [*lines])
            if name in lines and value is ... and not isinstance(node, ast.FunctionDef):
                self.names[name] = source.namespace(self.point, self.program)[name]
        self.look(first)

    def look(self, line: Line) -> None:
        """Take down the gradients after this line, and which of the arrays that were given it has changed."""
        self.state = {f"d{tensor}": gradient(tensor, self.names, self.point) for tensor in self.tensors}
        for name, meant in self.given.items():
            value = seen(self.names.get(name))
            if not (is_real(value) and np.array_equal(value.ravel(), np.ravel(self.point[meant]))):
                self.moved.setdefault(name, f"{meant}, which had moved already, line {line[0]}: {line[1]}")

    def judged(self, tensor: str, array: Any, line: Line = (0, "")) -> Finding:
        """The verdict on what was made in this line, from the names as they were when they were looked at."""
        found, right = partial(Finding, f"d{tensor}", line), self.point[f"d{tensor}"]
        link = (LINKS | STEPS if "dnorm_logits" in self.findings else STEPS | LINKS)[tensor]
        if array is ...:
            return Finding(f"d{tensor}", (0, f"from {', '.join(link.takes)}: {link.shape}"), "to do")
        if not is_real(array):
            return found("TYPE", *of_kind(array))
        made = {name: self.state[name] for name in self.findings if is_real(self.state[name])}
        rounded = np.float32 in [array.dtype, *(own.dtype for own in made.values())] or self.program.reads & FLOAT32
        rtol = rounding(np.float32 if rounded else np.float64)
        # The gradient by the maximum is 0 but for the rounding of a sum that cancels.
        atol = rtol * np.linalg.norm(self.point["dnorm_logits"]) if tensor == "logit_maxes" else 0
        unread = ~right.any(axis=1) if tensor == "C" else []
        if array.shape == right.shape and near(array, right, rtol, atol) and not array[unread].any():
            return found("right")
        moved = {self.given[name]: seen(self.names.get(name)) for name in self.moved}
        points = [self.point | made, self.point | made | moved]
        for arrays, gone in zip(points, ({}, self.moved), strict=True):
            if is_made(link, array, arrays, rtol):  # as it should be, of what may not be right
                if lines := {words for name, words in gone.items() if self.given[name] in link.takes}:
                    return found("WRONG", "", f"it is right but for {' and '.join(sorted(lines))}")
                wrong = {each.name for each in self.findings.values() if each.word != "right"}
                if came := [name for name in link.takes if name in wrong]:
                    return found(f"right, from your {' and '.join(came)}")
        if array.shape == right.shape:
            return found("WRONG", *of_numbers(tensor, link, array, right, points, line[1]))
        said, turned = of_shape(tensor, array, right, self.point)
        if turned is not None:
            again = self.judged(tensor, turned, line)
            said += "otherwise right" if again.follows else f"otherwise wrong too: {again.said}"
        return found("SHAPE", f"shape {array.shape}, should be {right.shape}, that of {tensor}", said)

    def answer(self) -> Answer:
        """What is to be said, if the file ended here."""
        last, other = {}, self.names.keys() - LINK_OF.keys() - self.given.keys()
        for tensor in self.tensors:
            if found := self.findings.get(f"d{tensor}"):
                last[tensor] = found
            elif tensor in NINE:
                last[tensor] = self.judged(tensor, ...)._replace(fact=source.near_name(f"d{tensor}", other))
        taken = [f"d{tensor}" for tensor in ("W2", "b2", "h") if last[tensor].word == "right"]
        if taken and (said := last["logits"].sentence).endswith("the 1/B of the mean is missing"):
            last["logits"] = last["logits"]._replace(sentence=f"{said}; it is taken in {' and '.join(taken)} instead")
        shown = {found.line for found in last.values() if found.word == "ERROR"}
        notes = [f"line {line[0]}: {said}" for line, said in self.failures.items() if line not in shown]
        to_do = {tensor for tensor, found in last.items() if found.word == "to do"}
        functions = [node for node in self.program.tree.body if isinstance(node, ast.FunctionDef)]
        for each in functions if to_do else []:
            if each.name not in self.program.reads:
                notes.append(f"line {each.lineno}: {each.name} is defined, and never called")
            elif not to_do.isdisjoint(self.program.gradients(each)):
                advice = "return them, and name them where it is called"
                notes.append(f"line {each.lineno}: names made inside {each.name} stay there; {advice}")
        return Answer([*last.values()], notes)

    def cmp(self, name: str, value: Any, *_: Any) -> None:
        """The lecture's `cmp`: print the judge's line on a gradient, as it is at this moment."""
        tensor = LINK_OF[f"d{name}"]
        found = self.judged(tensor, gradient(tensor, {f"d{tensor}": value}, self.point))
        print(f"{name:15} {found.word}  {found.said}".rstrip())


def spoilt(found: Finding, written: list[str]) -> Finding:
    """What is said of a gradient that was right before this line, which is seen to write other gradients, or it."""
    name, number = found.name, found.line[0]
    if written and name not in written:
        what = f"line {number} changed {name}: {written[0]} and {name} are one array"
        return Finding(name, found.line, "WRONG", what, f"begin with {name}.copy()")
    return found._replace(fact=f"it was right before line {number}" + (found.fact and f"; {found.fact}"))


def seen(value: Any) -> Any:
    """A copy of a value as NumPy has it, or the value itself where it is no array of numbers."""
    try:
        array = np.array(value.detach().numpy() if hasattr(value, "detach") else value)
        return array if array.dtype.kind in "biufc" else value
    except Exception:  # a learner's own object may raise anything
        return value


def is_real(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "iuf"


def differ(x: Any, y: Any) -> bool:
    """Whether a name holds something else than before."""
    arrays = isinstance(x, np.ndarray) and isinstance(y, np.ndarray)
    return (x.shape, x.tobytes()) != (y.shape, y.tobytes()) if arrays else x is not y


def gradient(tensor: str, names: Mapping[str, Any], point: Point) -> Any:
    """What these names hold as the gradient by a tensor, `...` for nothing; demb (B, K, D) or (B*K, D) as (B, K*D)."""
    array: Any = next((seen(names[name]) for name, of in LINK_OF.items() if of == tensor and name in names), ...)
    B, K, D = (point[letter] for letter in "BKD")
    flat = tensor == "emb" and getattr(array, "shape", ()) in ((B, K, D), (B * K, D))
    return array.reshape(B, K * D) if flat else array


def is_made(link: Link, array: Array, arrays: Point, rtol: float) -> bool:
    """Whether it is what the link's right formula makes of these arrays, whatever they are."""
    try:
        with np.errstate(all="ignore"):
            made = np.asarray(link.right(*(arrays[name] for name in link.takes)), np.float64)
    except Exception:  # the shapes may be anything
        return False
    found, made = (np.nan_to_num(numbers, posinf=0, neginf=0) for numbers in (array, made))
    return made.shape == found.shape and near(found, made, rtol)
