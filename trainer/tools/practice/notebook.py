"""Practice in a notebook: the arrays of the point, and a check of each gradient as soon as it is written."""

from typing import Any

import numpy as np

from trainer.errors import UserError
from trainer.tools.practice.answer import usable
from trainer.tools.practice.point import BLANKS, LINK_OF, Exercise, copied, exercise, local
from trainer.tools.practice.screen import about_one
from trainer.tools.practice.verdict import judge


class Practice:
    """The arrays of the practice file as attributes: C W1 b1 W2 b2, X Y, emb z h logits p y, B K D H V.

    `globals().update(vars(point))` pours them into the names of a cell; `point.check("dz", dz)` prints the verdict.
    """

    __slots__ = ("__dict__", "_exercise", "_own")  # `vars` shows the first alone

    def __init__(self, exercise: Exercise) -> None:
        self._exercise = exercise
        self._own: dict[str, Any] = {}  # the gradients that were checked, by name
        self.__dict__.update(copied(exercise.given))

    def check(self, name: str, value: Any) -> None:
        """Print whether the gradient is right, and what was done instead.

        name: dlogits, dW2, db2, dh, dz, dW1, db1, demb or dC. value: an array, a list, a tensor of PyTorch.
        It is judged with the right gradients coming in, and else with those that were checked before it.
        Raises UserError for another name.
        """
        if name not in LINK_OF:
            names = ", ".join(blank.name for blank in BLANKS)
            raise UserError(f"{name!r} is no gradient, in check; give one of {names}")
        for given, was in self._exercise.given.items():
            if isinstance(was, np.ndarray) and not np.array_equal(getattr(self, given, ()), was):
                self.__dict__[given] = was.copy()
                print(f"{given} itself was changed, which is given: begin with {given}.copy(), and take the names anew")
        link, right = LINK_OF[name], self._exercise.right
        arrays = {**self._exercise.given, **{f"d{key}": answer for key, answer in right.items()}}
        verdict = judge(link, value, arrays, right[link])
        takes = next(blank.takes for blank in BLANKS if blank.link == link)
        own = {each: array for each, array in self._own.items() if each in takes}
        if verdict.word == "WRONG" and own:
            again = judge(link, value, arrays | own, local(link, arrays | own))
            if again.word == "right":
                verdict.sentence = f"it is right for your {' and '.join(own)}, which is not: look there first"
                verdict.place = ""
        print("\n".join(about_one(verdict, 2)))
        array = usable(value, right[link])
        if array is not None:
            self._own[f"d{link}"] = array


def practice() -> Practice:
    """The point at which the practice file is judged, to be used from a notebook.

    >>> point = trainer.practice()
    >>> point.check("dlogits", (point.p - point.y) / point.B)  # doctest: +ELLIPSIS
    dlogits...right...
    """
    return Practice(exercise())
