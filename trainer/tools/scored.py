"""A scored text line by line, each as it stands in its file."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from trainer.core.ops import Array
from trainer.text.corpus import Corpus


class Encoded(NamedTuple):
    """A text in the ids of a model, and as it was."""

    corpus: Corpus  # without the characters that the model does not know
    unknown: dict[str, int]  # these, and how often each occurs
    ids: Array  # (characters,) of all of them, places in `characters`
    characters: str
    known: Array  # (len(characters),) whether the model knows each
    starts: Array | None  # (lines,) of a list: where in the text each line begins; of running text all lies as it was


class Line(NamedTuple):
    """A line, or so much of it as has been scored."""

    text: str  # as it stands, with what the model does not know
    losses: Array  # (characters,) of those that it knows, the end of the line among them
    left_out: str  # each character that it does not know, once
    start: int  # where in the text it begins

    @property
    def nats(self) -> float:
        """The mean loss of a character; nan where the model knows none."""
        return float(self.losses.mean(dtype=np.float64)) if len(self.losses) else np.nan


def lines_of(encoded: Encoded, losses: Array) -> list[Line]:
    """Each line with the losses of its characters, its end among them; of running text what has been scored."""
    ids, characters, first = encoded.ids, encoded.characters, encoded.corpus.splits["train"][0]
    known = encoded.known[ids]  # (characters,)
    begin = int(np.flatnonzero(known)[first - 1]) + 1  # where what is scored begins
    scored = np.concatenate([[0], np.cumsum(known)]) - first  # before each character
    ends = np.flatnonzero(ids[begin:] == characters.find("\n")) + begin + 1  # just after each line
    bounds = [begin, *ends.tolist(), *([len(ids)] if not len(ends) or ends[-1] < len(ids) else [])]
    code_points = np.array([ord(character) for character in characters], np.uint32)
    found = []
    for number, (start, end) in enumerate(pairwise(bounds)):
        line = code_points[ids[start:end]].tobytes().decode("utf-32-le").removesuffix("\n")
        missing = ids[start:end][~known[start:end]]
        left_out = "".join(dict.fromkeys(characters[k] for k in missing)).replace("\n", "")
        place = start if encoded.starts is None else int(encoded.starts[number])
        found.append(Line(line, losses[scored[start] : scored[end]], left_out, place))
    return found


def by_file(lines: Sequence[Line], lengths: Sequence[int]) -> list[list[Line]]:
    """The lines of each file of a text, of so many characters each."""
    file = np.searchsorted(np.cumsum(lengths), [line.start for line in lines], side="right")
    return [[lines[int(k)] for k in np.flatnonzero(file == number)] for number in range(len(lengths))]
