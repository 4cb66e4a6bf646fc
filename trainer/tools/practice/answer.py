"""The answer to one file: a verdict on each gradient, and words about what else it did."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainer.core.ops import Array
from trainer.tools.practice.point import BLANKS, LINK_OF, Exercise, local
from trainer.tools.practice.run import Program, Run, Taken, settled
from trainer.tools.practice.source import line as line_of
from trainer.tools.practice.values import as_array
from trainer.tools.practice.verdict import Verdict, judge


@dataclass
class Answer:
    """What is said about a file."""

    verdicts: list[Verdict]  # in the order of the file with blanks; none if it was stopped
    notes: list[str]
    printed: str = ""
    stopped: str = ""  # where the process ended, and there is no verdict

    def right(self) -> int:
        return sum(verdict.word == "right" for verdict in self.verdicts)


def answer(program: Program, exercise: Exercise, begin: Callable[[int], None] = lambda statement: None) -> Answer:
    """Run a learner's file, and judge each of its gradients where it is done."""
    run = settled(program, exercise, False, begin)
    run.notes |= made_at_once(program, exercise, run)
    verdicts = [verdict(blank.link, program, exercise, run) for blank in BLANKS]
    if run.changed_given and any(each.word != "right" for each in verdicts):
        # `p[range(B), Y] -= 1` and then `dlogits = p / B` is right, though p is given: see what the change was for.
        other = settled(program, exercise, True, begin)
        again = [verdict(blank.link, program, exercise, other) for blank in BLANKS]
        verdicts = [second if second.word == "right" else first for first, second in zip(verdicts, again, strict=True)]
    return Answer(verdicts, sorted(run.notes, key=lambda note: run.notes[note]))


def made_at_once(program: Program, exercise: Exercise, run: Run) -> dict[str, int]:
    """A word about each statement that makes a gradient out of another that it makes."""
    notes = {}
    for taken in run.taken.values():
        if any(own_coming_in(link, taken, exercise) for link in taken.together):
            line = program.tree.body[taken.statement].lineno
            many = f"line {line} makes {len(taken.together)} gradients at once"
            notes[f"{many}: each is judged with your own gradients coming in"] = line
    return notes


def verdict(link: str, program: Program, exercise: Exercise, run: Run) -> Verdict:
    """The verdict on a link: of its names (dz, dhpreact) the first that is not right."""
    names = [name for name in run.taken if LINK_OF[name] == link]
    if not names:
        return judge(link, ..., exercise.given, exercise.right[link])
    names.sort(key=lambda name: run.taken[name].statement)
    found = [of_name(name, run.taken[name], program, exercise, run.coarse()) for name in names]
    return next((each for each in found if each.word != "right"), found[0])


def of_name(name: str, taken: Taken, program: Program, exercise: Exercise, coarse: bool) -> Verdict:
    link = LINK_OF[name]
    where = line_of(program.tree.body[taken.statement], name, program.text)
    if taken.failure:
        failed = taken.failure
        text = where.text if failed.line == where.number else program.line(failed.line)
        facts = [each for each in (failed.what, failed.hint, failed.arrays) if each]
        return Verdict(f"d{link}", "ERROR", "\n".join(facts), line=failed.line, source=text)

    arrays: dict[str, Any] = {**exercise.given, **{f"d{key}": value for key, value in exercise.right.items()}}
    own = own_coming_in(link, taken, exercise)
    arrays |= own
    right = local(link, arrays) if own else exercise.right[link]
    found = judge(link, taken.value, arrays, right, coarse, where.text)
    return replace(found, line=where.number, source=where.text)


def own_coming_in(link: str, taken: Taken, exercise: Exercise) -> dict[str, Array]:
    """The learner's gradients from which the same statement made this one."""
    takes = next(blank.takes for blank in BLANKS if blank.link == link)
    made = {f"d{other}": usable(value, exercise.right[other]) for other, value in taken.together.items()}
    return {name: value for name, value in made.items() if name in takes and value is not None}


def usable(value: Any, right: Array) -> Array | None:
    """A learner's gradient as it can come into the next link, else None."""
    try:
        array = as_array(value).reshape(right.shape)
        if array.dtype.kind not in "iuf":
            return None
        array = array.astype(np.float64)
    except Exception:
        return None
    return array if np.isfinite(array).all() else None
