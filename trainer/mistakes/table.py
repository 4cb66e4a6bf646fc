"""The table of mistakes: what people write instead of the right derivative, read from table.txt and lecture.txt.

How to add a row stands at the head of table.txt; here are the functions that its formulas may use.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer.core.links import LINKS
from trainer.core.ops import Array

Names = Mapping[str, Any]  # arrays and sizes under the names of the table


class Mistake(NamedTuple):
    """A row: what its formula makes stands where the right gradient of the link should."""

    written: str  # as it is shown
    cause: str
    formula: str
    added: str = ""  # a formula: not in place of the right gradient but added to it, times any number
    source: str = ""  # told apart from a row with the same numbers by this text in the statement

    def faces(self, arrays: Names) -> list[Any]:
        """What the formula makes of arrays under the names of the table. Raises NameError where one is missing."""
        found = eval(self.added or self.formula, {**arrays, **vars(np), **globals()})
        return found if isinstance(found, list) else [found]


MARKS = {"=": "formula", "+": "added", "where": "source"}  # what an indented line says of the row above it


def read(name: str) -> dict[str, list[Mistake]]:
    """The rows of a file of this folder, under their links."""
    table: dict[str, list[Mistake]] = {}
    for line in Path(__file__).with_name(name).read_text("utf-8").splitlines():
        if line.startswith("["):
            rows = table[line.strip("[]")] = []
        elif line.startswith(" "):
            mark, text = line.split(maxsplit=1)
            rows[-1] = rows[-1]._replace(**{MARKS[mark]: text})
        elif line and line[0] != "#":
            written, _, cause = line.replace(" * ", " · ").partition(": ")
            rows.append(Mistake(written, cause, written.replace(" · ", " * ")))
    return table


MISTAKES, LECTURE = read("table.txt"), read("lecture.txt")
FACTORS = MISTAKES.pop("factor")  # what a wrong gradient may be times the right one, whatever the link

added_up = LINKS["C"].right  # for table.txt, as what follows


def overwritten(demb: Array, X: Array, V: int, D: int) -> Array:
    """Each row of demb put, not added, into the row of dC that its id names, where the last one stays."""
    dC = np.zeros((V, D))
    dC[X.reshape(-1)] = demb.reshape(-1, D)
    return dC
