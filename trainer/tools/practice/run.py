"""A learner's file run statement by statement, and each gradient taken out when it is done.

A gradient is done after the last statement that changes it, however it is reached: by its name, an index, a view, a
function. That is only known when the file has run. So it is run again and again: each run notes after which statement
each gradient last changed, and the next one replaces it there by the right value, so that a mistake does not spoil
what comes below it. It ends when a run notes what the run before it had noted.
"""

import ast
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Any

import numpy as np

from trainer.core.ops import Array
from trainer.tools.practice import execute, source
from trainer.tools.practice.point import LINK_OF, Exercise, copied
from trainer.tools.practice.values import Failure, failure, same_numbers, seen_through, shared, snapshot, trace

RUNS = 12  # at most


@dataclass(frozen=True)
class Program:
    """A learner's file, ready to run."""

    path: str
    text: str
    tree: ast.Module
    codes: list[CodeType]  # one a statement
    targets: list[set[str]]  # the gradients that each is seen to write
    lecture: bool  # reads embcat, so that emb is (B, K, D)

    def line(self, number: int) -> str:
        """The text of a line."""
        lines = self.text.splitlines()
        return lines[number - 1].strip() if 0 < number <= len(lines) else ""


@dataclass(frozen=True)
class Taken:
    """A gradient as it stood when it was done."""

    statement: int
    value: Any  # ... where it was never given one
    failure: Failure | None
    together: dict[str, Any]  # all gradients that this statement finished, by link


def program(text: bytes, path: str) -> Program:
    """The file in its statements. Raises UserError where it is no Python."""
    tree = execute.parse(text, path)
    codes = [execute.code(node, path) for node in tree.body]
    targets = [source.targets(node) for node in tree.body]
    return Program(path, text.decode("utf-8-sig", "replace"), tree, codes, targets, source.reads(tree, "embcat"))


def settled(program: Program, exercise: Exercise, lazy: bool, begin: Callable[[int], None]) -> "Run":
    """The run in which everything is taken out where it is done. `lazy` and `begin` as in `Run`."""
    schedule: dict[str, int] = {}
    for _ in range(RUNS):
        run = Run(program, exercise, schedule, lazy)
        for number in range(len(program.codes)):
            begin(number)
            run.statement(number)
        if run.last == schedule:
            break
        schedule = run.last
    return run


class Run:
    """One run of the file.

    schedule: after which statement each gradient is done, as far as that is known. What a statement changes that was
    given is put back at once, or, if `lazy`, when the next gradient is done.
    """

    def __init__(self, program: Program, exercise: Exercise, schedule: Mapping[str, int], lazy: bool) -> None:
        self.program, self.right, self.schedule, self.lazy = program, exercise.right, schedule, lazy
        self.names = copied(exercise.given, program.lecture)
        self.given = copied(self.names)
        self.names |= {"__name__": "__main__", "__file__": program.path}
        self.bound: dict[str, int] = {}  # the statement that last bound each gradient's name
        self.fresh: set[str] = set()  # the names that the last statement bound
        self.replaced: set[str] = set()
        self.taken: dict[str, Taken] = {}  # by name
        self.last: dict[str, int] = {}  # the statement after which each name last changed
        self.failures: dict[str, Failure] = {}  # the first of each name, which those after it may come from
        self.notes: dict[str, int] = {}  # a word, and the line that it is about
        self.changed_given = False
        np.random.seed(0)  # the same numbers in each run
        random.seed(0)

    def statement(self, number: int) -> None:
        """Run a statement, and see to what it did."""
        before = {name: trace(self.names[name]) for name in LINK_OF if name in self.names}
        values = dict(self.names)
        failed = self.execute(number)
        self.fresh = {name for name, value in self.names.items() if values.get(name) is not value}
        self.note_changes(number, before, failed)
        done = [name for name in LINK_OF if self.schedule.get(name) == number]
        self.take(number, done, failed)
        self.put_back(number, bool(done) or not self.lazy)

    def execute(self, number: int) -> Failure | None:
        program, line = self.program, self.program.tree.body[number].lineno
        try:
            execute.run(program.codes[number], self.names)
        except BaseException as error:  # also sys.exit()
            failed = failure(error, program.path, program.tree, line, self.names)
            for name in program.targets[number]:
                self.failures.setdefault(name, failed)
            if not program.targets[number]:
                self.notes[f"line {failed.line}: {failed.what}; the lines below it were run"] = failed.line
            return failed
        return None

    def note_changes(self, number: int, before: Mapping[str, Any], failed: Failure | None) -> None:
        """Which gradients are this statement's doing; those replaced that it changed in passing are put right."""
        changed = set()
        for name in LINK_OF.keys() & self.names.keys():
            if name in self.fresh:
                self.bound[name] = number
            if trace(self.names[name]) != before.get(name):
                changed.add(name)
        targets = self.program.targets[number]
        mine = owners(changed, targets, self.names, self.bound) | (targets if failed else set())
        self.last |= dict.fromkeys(mine, number)
        for name in self.replaced & (changed - mine):  # dh, after `dz = dh` and `dz *= ...`
            line = self.program.tree.body[number].lineno
            self.notes[f"line {line} changed {name} too, which is the same array; begin with {name}.copy()"] = line
            self.names[name] = self.replacement(name)

    def take(self, number: int, done: list[str], failed: Failure | None) -> None:
        """Take out what is done with this statement, and leave the right values in its place."""
        values = {name: snapshot(self.names.get(name, ...)) for name in done}
        together = {LINK_OF[name]: value for name, value in values.items()}
        for name in done:
            first = self.failures.get(name, failed) if failed else None
            self.taken[name] = Taken(number, values[name], first, together)
        before = [self.names[name] for name in self.replaced if name in self.names]
        self.replaced |= set(done)
        for name in done:
            self.replace(name, before)

    def replace(self, name: str, before: list[Any]) -> None:
        """Bind the name, and every other name of its array, to the right values.

        `before`: the gradients that were replaced earlier; an array that is one of them (`dz = d = dh`) keeps the
        names that it had before this statement.
        """
        old, new = self.names.get(name), self.replacement(name)
        self.names[name] = new
        if not isinstance(old, np.ndarray | list):
            return
        others = self.fresh if any(shared(old, each) for each in before) else self.names.keys()
        for other in others - self.given.keys() - self.replaced:
            value = self.names[other]
            if shared(value, old):
                seen = seen_through(value, old, new)
                self.names[other] = seen.copy() if other in LINK_OF else seen

    def replacement(self, name: str) -> Array:
        """The right gradient, a copy of its own, in the learner's shape if that is one that it may have."""
        answer: Array = self.right[LINK_OF[name]].copy()
        shape = getattr(self.names.get(name), "shape", None)
        deep = (self.given["B"], self.given["K"], self.given["D"])
        as_given = name == "demb" and self.program.lecture and shape != answer.shape
        if LINK_OF[name] == "emb" and (shape == deep or as_given):
            answer = answer.reshape(deep)
        return answer

    def put_back(self, number: int, at_once: bool) -> None:
        """Give the names that are given their values again."""
        line = self.program.tree.body[number].lineno
        for name, value in self.given.items():
            if same_numbers(self.names.get(name), value):
                continue
            if name != "n":  # the lecture's name for B, and many a loop's
                self.changed_given = True
                copy = f"; begin with {name}.copy()" if isinstance(value, np.ndarray) else ""
                self.notes[f"line {line} changed {name} itself, which is given: it was put back{copy}"] = line
            if at_once:
                self.names[name] = snapshot(value)

    def coarse(self) -> bool:
        """Whether something in the file is float32."""
        kinds = (getattr(value, "dtype", None) for value in self.names.values())
        return "float32" in self.program.text or any(str(kind).endswith("float32") for kind in kinds)


def owners(changed: set[str], targets: set[str], names: Mapping[str, Any], bound: Mapping[str, int]) -> set[str]:
    """Of the gradients that changed, those whose change it was.

    After `dz = dh` both names are one array, and `dz *= ...` changes both. It is the change of the one that the
    statement is seen to write, or else of the one that was bound last.
    """
    mine = set(changed)
    for one in changed:
        for other in changed - {one}:
            this, that = ((name in targets, bound[name]) for name in (one, other))
            if this < that and shared(names[one], names[other]):
                mine.discard(one)
    return mine
