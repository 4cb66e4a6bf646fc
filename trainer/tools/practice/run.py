"""A learner's file run once, as Python runs it, and each gradient judged by what it is in the end.

After each statement of the file it is seen which gradients have changed, however they were reached: by name, an index,
a view, a function. A gradient belongs to the last statement that changed it. Nothing is put back; the right value takes
the place only of what was never made, so that the lines below it can run.
"""

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainer.core.links import LINKS
from trainer.mistakes.diagnosis import near, rounding
from trainer.tools.practice import lecture, source
from trainer.tools.practice.judge import Finding, is_real, judge, seen
from trainer.tools.practice.point import ALIASES, LINK_OF, NINE, SEVEN, Point
from trainer.tools.practice.source import Line, Program
from trainer.tools.practice.stumbles import explained, meant_by, near_name, never_called

MISSING = "the 1/B of the mean is missing"

State = Mapping[str, Any]  # what the known names hold at a moment


@dataclass
class Answer:
    """What is said about a file."""

    findings: list[Finding]  # in the order of the chain
    notes: list[str]
    ended: bool  # at its last line, and no line raised

    def right(self) -> int:
        return sum(finding.word == "right" for finding in self.findings)

    def all_right(self) -> bool:
        return self.ended and self.right() == len(self.findings)


class Run:
    """The run of a file: what its names hold, and what is found."""

    def __init__(self, program: Program, point: Point) -> None:
        self.program, self.point = program, point
        self.names = source.namespace({name: value for name, value in point.items() if name[0] != "d"}, program)
        self.names["cmp"] = self.cmp
        links = NINE if program.reads.isdisjoint(lecture.FORWARD) else SEVEN + NINE
        self.link_of = {name: link for name, link in LINK_OF.items() if link in links}
        self.meant = {name: ALIASES.get(name, name) for name in self.names if ALIASES.get(name, name) in point}
        self.findings: dict[str, Finding] = {}  # by name
        self.moved: dict[str, str] = {}  # the given names that were changed, and by which line
        self.failures: dict[int, str] = {}  # by line
        self.state = self.look()

    def look(self) -> State:
        return {name: seen(self.names[name]) for name in [*self.meant, *self.link_of] if name in self.names}

    def statement(self, node: ast.stmt) -> None:
        """Run a statement, and see what it did."""
        before, lines, first, failed = self.state, self.program.lines(node), self.program.line(node), None
        try:
            source.run(source.compiled(ast.Module([node], []), self.program.path), self.names)
        except BaseException as error:  # also sys.exit()
            line, said = explained(error, self.program, self.names, first)
            failed, self.failures[line[0]] = Finding("", line, "ERROR", said), said.replace("\n", "; ")
        after = self.look()
        self.note_given(after, lines, first)
        for name, link in self.link_of.items():
            if failed and name in lines:
                self.findings[name] = replace(failed, name=f"d{link}")
            elif name in before.keys() ^ after.keys() or differ(before.get(name), after.get(name)):
                found = self.judged(name, after.get(name, ...), [before, after], lines.get(name, first))
                self.findings[name] = self.held_against_before(name, found, lines)
            if name in self.findings and after.get(name, ...) is ...:
                self.names[name] = source.namespace(self.point, self.program)[f"d{link}"]
        self.state = self.look()

    def judged(self, name: str, value: Any, states: Sequence[State], line: Line = (0, "")) -> Finding:
        """The verdict on a value, made from what there was before a statement or from what the statement made."""
        links = LINKS | lecture.LINKS if "dnorm_logits" in self.findings else lecture.LINKS | LINKS
        points = [self.seen_at(state, moved) for moved in ((), self.moved) for state in states]
        wrong = {finding.name for finding in self.findings.values() if finding.word != "right"}
        moved = {self.meant[name]: text for name, text in self.moved.items()}
        words = re.findall(r"\.?\b[^\W\d]\w*", line[1])
        kinds = [str(getattr(self.names.get(word), "dtype", word)) for word in words]
        dtype = np.float32 if any(each.endswith(("float32", ".float")) for each in kinds) else np.float64
        return judge(links[self.link_of[name]], value, line, self.point, points, wrong, moved, dtype)

    def seen_at(self, state: State, moved: Iterable[str]) -> Point:
        """The point with the learner's own gradients at a moment, and with what was given and has moved."""
        own = [(finding.name, state.get(name)) for name, finding in self.findings.items()]
        arrays = {name: np.asarray(array, np.float64) for name, array in own if is_real(array)}
        return self.point | arrays | {self.meant[name]: state.get(name) for name in moved}

    def note_given(self, after: State, lines: Mapping[str, Line], first: Line) -> None:
        """Which given names no longer hold their numbers, in whatever shape."""
        for name in [name for name in self.meant if name in after and differ(self.state.get(name), after[name])]:
            value, given = after[name], np.asarray(self.point[self.meant[name]])
            same = is_real(value) and value.size == given.size
            if same and near(value.reshape(given.shape), given, rounding(np.float32)):
                self.moved.pop(name, None)
            else:
                number, text = lines.get(name, first)
                self.moved.setdefault(name, f", which had moved already, line {number}: {text}")

    def held_against_before(self, name: str, found: Finding, lines: Mapping[str, Line]) -> Finding:
        """The finding, and that the gradient was right before this statement, where it is no longer."""
        if found.follows or not self.findings.get(name, found).follows:
            return found
        number = found.line[0]
        if lines and name not in lines:
            what = f"line {number} changed {name}: {next(iter(lines))} and {name} are one array"
            return replace(found, word="WRONG", fact=what, sentence=f"begin with {name}.copy()", place="")
        return replace(found, fact=f"it was right before line {number}" + (found.fact and f"; {found.fact}"))

    def cmp(self, name: str, gradient: Any, *_: Any) -> None:
        """The lecture's `cmp`: print the judge's line on a gradient, as it is at this moment."""
        said = meant_by(name, self.program, 0, ()) or "no name of the chain"
        if f"d{name}" in self.link_of:
            found = self.judged(f"d{name}", gradient, [self.look()])
            said = ": ".join(filter(None, [found.word, found.fact, found.sentence]))
        print(f"{name:15} {said}")

    def answer(self) -> Answer:
        """What is to be said, if the file ended here."""
        last: dict[str, Finding] = {}
        for link in SEVEN + NINE:
            of = [self.findings[name] for name in self.link_of if name in self.findings and self.link_of[name] == link]
            if of:  # demb counts where there is dembcat too, but if it is wrong, dembcat may have been so before
                wrong = [finding for finding in of if finding.word != "right"]
                last[link] = of[0] if of[0].word == "right" else min(wrong, key=lambda finding: finding.line)
            elif link in NINE:
                last[link] = self.judged(f"d{link}", ..., ())
                last[link].fact = near_name(f"d{link}", self.names.keys() - self.state.keys())
        taken = [f"d{link}" for link in ("W2", "b2", "h") if last[link].word == "right"]
        if taken and last["logits"].sentence.endswith(MISSING):
            said = f"{last['logits'].sentence}; it is taken in {' and '.join(taken)} instead"
            last["logits"] = replace(last["logits"], sentence=said)
        shown = {found.line[0] for found in last.values() if found.word == "ERROR"}
        notes = [f"line {line}: {said}" for line, said in self.failures.items() if line not in shown]
        notes += never_called(self.program) if any(found.word == "to do" for found in last.values()) else []
        return Answer(list(last.values()), notes, not self.failures)


def differ(x: Any, y: Any) -> bool:
    """Whether a name holds something else than before."""
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        return (x.shape, x.dtype, x.tobytes()) != (y.shape, y.dtype, y.tobytes())
    return x is not y
