"""The answer to one file: a verdict on each gradient, and words about what else it did."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainer.ops import Array
from trainer.tools.practice.point import BLANKS, LINK_OF, Exercise, local
from trainer.tools.practice.run import Program, Run, Taken, settled
from trainer.tools.practice.source import line
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
    verdicts = [verdict(blank.link, program, exercise, run) for blank in BLANKS]
    if run.changed_given and any(each.word != "right" for each in verdicts):
        # `p[range(B), Y] -= 1` and then `dlogits = p / B` is right, though p is given: see what the change was for.
        other = settled(program, exercise, True, begin)
        again = [verdict(blank.link, program, exercise, other) for blank in BLANKS]
        verdicts = [second if second.word == "right" else first for first, second in zip(verdicts, again, strict=True)]
    return Answer(verdicts, sorted(run.notes, key=lambda note: run.notes[note]))


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
    where = line(program.tree.body[taken.statement], name, program.text)
    if taken.failure:
        failed = taken.failure
        text = where.text if failed.line == where.number else program.line(failed.line)
        facts = [each for each in (failed.what, failed.hint, failed.arrays) if each]
        return Verdict(f"d{link}", "ERROR", "\n".join(facts), line=failed.line, source=text)

    arrays: dict[str, Any] = {**exercise.given, **{f"d{key}": value for key, value in exercise.right.items()}}
    right, note = exercise.right[link], ""
    incoming = {f"d{other}" for other in taken.together} & set(next(b.takes for b in BLANKS if b.link == link))
    own = {each: usable(taken.together[each[1:]], arrays[each]) for each in incoming}
    own = {each: value for each, value in own.items() if value is not None}
    if own:
        arrays |= own
        right = local(link, arrays)
        note = f"judged with your own {' and '.join(sorted(own))} coming in, of the same statement"
    found = judge(link, taken.value, arrays, right, coarse, where.text)
    return replace(found, line=where.number, source=where.text, note=note)


def usable(value: Any, right: Array) -> Array | None:
    """A learner's gradient as it can come into the next link, else None."""
    try:
        array = as_array(value).astype(np.float64).reshape(right.shape)
    except Exception:
        return None
    return array if np.isfinite(array).all() else None
