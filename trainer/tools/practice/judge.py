"""A learner's file run once, as Python runs it, and each gradient judged by what it is in the end.

After each statement of the file it is seen which gradients have changed, however they were reached: by name, an index,
a view, a function. A gradient belongs to the last statement that changed it. Nothing is put back; the right value takes
the place only of what was never made, so that the lines below it can run. File, notebook and training ask this judge.
"""

import ast
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from trainer.core.links import LINKS
from trainer.mistakes.diagnosis import near, rounding
from trainer.mistakes.names import OF_THE_LECTURE, SEVEN, Arrays, applied
from trainer.mistakes.table import Names
from trainer.tools.practice import source
from trainer.tools.practice.point import LINK_OF, NINE
from trainer.tools.practice.source import Line, Program
from trainer.tools.practice.wrong import of_kind, of_numbers, of_shape

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
    """The names in which a backward pass is written, and the verdicts on the gradients among them."""

    def __init__(self, program: Program, point: Arrays) -> None:
        self.program, self.point = program, point
        self.given = {name: value for name, value in point.items() if name[0] != "d"}
        self.names = source.namespace(self.given, program) | {"cmp": self.cmp}
        self.tensors = NINE if program.reads.isdisjoint(SEVEN) else (*SEVEN, *NINE)
        self.values: dict[str, Any] = {}  # what the given names and the gradients held when they were last looked at
        self.moved: dict[str, str] = {}  # the given names that were changed, with words on the line that did it
        self.failures: dict[Line, str] = {}  # what the lines that raised say
        self.findings: dict[str, Finding] = {}
        self.findings = {f"d{tensor}": self.judged(tensor, ...) for tensor in NINE}
        self.look((0, ""))

    def look(self, line: Line) -> set[str]:
        """Take down what the names hold after this line; which of them held something else before."""
        before = self.values
        self.values = {name: seen(self.names.get(name)) for name in self.given}
        self.values |= {f"d{tensor}": gradient(tensor, self.names, self.point) for tensor in self.tensors}
        changed = {name for name, value in self.values.items() if differ(before.get(name, value), value)}
        words = f"which had moved already, line {line[0]}: {line[1]}"
        self.moved |= {name: f"{name}, {words}" for name in self.given if name in changed}
        return changed

    def statement(self, node: ast.stmt) -> None:
        """Run a statement, and judge what it changed."""
        first, written = self.program.line(node), self.program.gradients(node)
        code = compile(ast.Module([node], []), self.program.path, "exec")
        if failure := source.run(code, self.program, self.names):
            self.failures[failure[0]] = failure[1].replace("\n", "; ")
        changed = self.look(first)
        for tensor in self.tensors:
            name, value = f"d{tensor}", self.values[f"d{tensor}"]
            found = before = self.findings.get(name)
            if name in changed:
                found = self.judged(tensor, value, written.get(name, first))
                if before and before.follows and not found.follows and value is not ...:
                    found = spoilt(found, [*written])
            if name in written and failure and not (found and found.follows):
                found = Finding(name, failure[0], "ERROR", failure[1])
            if name in written and value is ... and not isinstance(node, ast.FunctionDef):
                self.names[name] = source.namespace(self.point, self.program)[name]
                self.values[name] = self.point[name]
            if found:
                self.findings[name] = found

    def judged(self, tensor: str, array: Any, line: Line = (0, "")) -> Finding:
        """The verdict on what was made in this line, by what the names hold."""
        found, right = partial(Finding, f"d{tensor}", line), self.point[f"d{tensor}"]
        link = (LINKS | OF_THE_LECTURE if "dnorm_logits" in self.findings else OF_THE_LECTURE | LINKS)[tensor]
        if array is ...:
            return Finding(f"d{tensor}", (0, f"from {', '.join(link.takes)}: {link.shape}"), "to do")
        if not is_real(array):
            return found("TYPE", *of_kind(array))
        made = {name: self.values[name] for name in self.findings if is_real(self.values[name])}
        rounded = FLOAT32 & (self.program.reads | {own.dtype.name for own in (array, *made.values())})
        rtol = rounding("float32" if rounded else "float64")
        # The gradient by the maximum is 0 but for the rounding of a sum that cancels.
        atol = rtol * np.linalg.norm(self.point["dnorm_logits"]) if tensor == "logit_maxes" else 0
        unread = ~right.any(axis=1) if tensor == "C" else []
        if array.shape == right.shape and near(array, right, rtol, atol) and not array[unread].any():
            return found("right")
        moved = {name: self.values[name] for name in self.moved}
        came = " and ".join(name for name in link.takes if name in made and self.findings[name].word != "right")
        gone = " and ".join(words for name, words in self.moved.items() if name in link.takes)
        points = []
        for arrays, blamed, verdict in (
            (self.point | made, came, (f"right, from your {came}",)),
            (self.point | made | moved, gone, ("WRONG", "", f"it is right but for {gone}")),
        ):
            with suppress(Exception), np.errstate(all="ignore"):  # what came in may be of any shape
                there = np.asarray(applied(link, arrays), np.float64)
                if there.shape == array.shape:
                    points.append((arrays, there))
                    own, other = np.nan_to_num((array, there), posinf=0, neginf=0)
                    if blamed and near(own, other, rtol):
                        return found(*verdict)
        if array.shape == right.shape:
            return found("WRONG", *of_numbers(tensor, array, right, points, line[1]))
        said, turned = of_shape(array, right, self.point["B"])
        if turned is not None:
            again = self.judged(tensor, turned, line)
            said += "otherwise right" if again.follows else f"otherwise wrong too: {again.said}"
        return found("SHAPE", f"shape {array.shape}, should be {right.shape}, that of {tensor}", said)

    def answer(self) -> Answer:
        """What is to be said, if the file ended here."""
        findings, other = list[Finding](), self.names.keys() - LINK_OF.keys() - self.given.keys()
        taken = " and ".join(name for name in ("dW2", "db2", "dh") if self.findings[name].word == "right")
        for tensor in self.tensors:
            if found := self.findings.get(f"d{tensor}"):
                if found.word == "to do":
                    found = found._replace(fact=source.near_name(found.name, other))
                if taken and tensor == "logits" and found.sentence.endswith("the 1/B of the mean is missing"):
                    found = found._replace(sentence=f"{found.sentence}; it is taken in {taken} instead")
                findings.append(found)
        shown = {found.line for found in findings if found.word == "ERROR"}
        notes = [f"line {line[0]}: {said}" for line, said in self.failures.items() if line not in shown]
        to_do = {found.name for found in findings if found.word == "to do"}
        functions = [node for node in self.program.tree.body if isinstance(node, ast.FunctionDef)]
        for node in functions if to_do else ():
            if node.name not in self.program.reads or not to_do.isdisjoint(self.program.gradients(node)):
                where = f"line {node.lineno}: the names made inside {node.name} stay there"
                notes.append(f"{where}; call it, return them, and name them where it is called")
        return Answer(findings, notes)

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


def gradient(tensor: str, names: Names, point: Names) -> Any:
    """What these names hold as the gradient by a tensor, `...` for nothing; demb (B, K, D) or (B*K, D) as (B, K*D)."""
    array: Any = next((seen(names[name]) for name, of in LINK_OF.items() if of == tensor and name in names), ...)
    B, K, D = (point[letter] for letter in "BKD")
    flat = tensor == "emb" and getattr(array, "shape", ()) in ((B, K, D), (B * K, D))
    return array.reshape(B, K * D) if flat else array
