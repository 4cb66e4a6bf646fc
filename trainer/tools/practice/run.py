"""A learner's file run once, as Python runs it, and each gradient judged by what it is in the end.

After each statement of the file it is seen which gradients have changed, however they were reached: by name, an index,
a view, a function. A gradient belongs to the last statement that changed it. Nothing is put back; the right value takes
the place only of what was never made, so that the lines below it can run.
"""

import ast
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from trainer.tools.practice import source
from trainer.tools.practice.judge import Finding, Judge
from trainer.tools.practice.point import LINK_OF, NINE, Point
from trainer.tools.practice.source import Line, Program, explained, near_name, never_called

MISSING = "the 1/B of the mean is missing"


class Answer(NamedTuple):
    """What is said about a file."""

    findings: list[Finding]  # in the order of the chain
    notes: list[str]
    ended: bool  # at its last line, and no line raised

    def right(self) -> int:
        return sum(finding.word == "right" for finding in self.findings)

    def all_right(self) -> bool:
        return self.ended and self.right() == len(self.findings)


class Run(Judge):
    """The run of a file, statement by statement."""

    def __init__(self, program: Program, point: Point) -> None:
        super().__init__(program, point)
        self.failures: dict[int, str] = {}  # by line

    def statement(self, node: ast.stmt) -> None:
        """Run a statement, and see what it did."""
        before, first, failed = self.state, self.program.line(node), None
        lines = {f"d{LINK_OF[name]}": line for name, line in self.program.lines(node).items() if name in LINK_OF}
        try:
            source.run(compile(ast.Module([node], []), self.program.path, "exec"), self.names)
        except BaseException as error:  # also sys.exit()
            line, said = explained(error, self.program, self.names, first)
            failed, self.failures[line[0]] = Finding("", line, "ERROR", said), said.replace("\n", "; ")
        self.look(first)
        for tensor in self.tensors:
            name, value = f"d{tensor}", self.state[f"d{tensor}"]
            if failed and name in lines and not self.findings.get(name, failed).follows:
                self.findings[name] = failed._replace(name=name)
            elif differ(before[name], value):
                found = self.judged(tensor, value, lines.get(name, first))
                self.findings[name] = self.held_against_before(found, lines)
            if name in lines and value is ... and not isinstance(node, ast.FunctionDef):
                self.names[name] = source.namespace(self.point, self.program)[name]
        self.look(first)

    def held_against_before(self, found: Finding, lines: Mapping[str, Line]) -> Finding:
        """The finding, and that the gradient was right before this statement, where it is no longer."""
        name, number = found.name, found.line[0]
        if found.follows or found.word == "to do" or not self.findings.get(name, found).follows:
            return found
        if lines and name not in lines:
            what = f"line {number} changed {name}: {next(iter(lines))} and {name} are one array"
            return Finding(name, found.line, "WRONG", what, f"begin with {name}.copy()")
        return found._replace(fact=f"it was right before line {number}" + (found.fact and f"; {found.fact}"))

    def answer(self) -> Answer:
        """What is to be said, if the file ended here."""
        last = {}
        for tensor in self.tensors:
            if found := self.findings.get(f"d{tensor}"):
                last[tensor] = found
            elif tensor in NINE:
                other = self.names.keys() - LINK_OF.keys() - self.given.keys()
                last[tensor] = self.judged(tensor, ...)._replace(fact=near_name(f"d{tensor}", other))
        taken = [f"d{tensor}" for tensor in ("W2", "b2", "h") if last[tensor].word == "right"]
        if taken and last["logits"].sentence.endswith(MISSING):
            said = f"{last['logits'].sentence}; it is taken in {' and '.join(taken)} instead"
            last["logits"] = last["logits"]._replace(sentence=said)
        shown = {found.line[0] for found in last.values() if found.word == "ERROR"}
        notes = [f"line {line}: {said}" for line, said in self.failures.items() if line not in shown]
        notes += never_called(self.program) if any(found.word == "to do" for found in last.values()) else []
        return Answer(list(last.values()), notes, not self.failures)


def differ(x: Any, y: Any) -> bool:
    """Whether a name holds something else than before."""
    arrays = isinstance(x, np.ndarray) and isinstance(y, np.ndarray)
    return (x.shape, x.tobytes()) != (y.shape, y.tobytes()) if arrays else x is not y
