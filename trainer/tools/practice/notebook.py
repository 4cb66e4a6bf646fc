"""Practice in a notebook: the arrays of the point, and a check of each gradient as soon as it is written."""

from typing import Any

import numpy as np

from trainer.errors import UserError
from trainer.tools.practice.command import about
from trainer.tools.practice.judge import Judge
from trainer.tools.practice.point import LINK_OF, NINE, exercise
from trainer.tools.practice.source import parse


class Practice:
    """The arrays of the practice file as attributes: C W1 b1 W2 b2, X Y, emb z h logits p y, B K D H V.

    `globals().update(vars(point))` pours them into the names of a cell; `point.check("dz", dz)` prints the verdict,
    and so does the lecture's `cmp("z", dz, z)`.

    >>> point = trainer.practice()
    >>> point.check("dlogits", (point.p - point.y) / point.B)  # doctest: +ELLIPSIS
    dlogits...right...
    """

    __slots__ = ("__dict__", "_judge")  # `vars` shows the first alone

    def __init__(self) -> None:
        self._judge = Judge(parse(b"logprobs", "notebook"), exercise())  # as a file that goes through the seven steps
        self.__dict__ = {name: value for name, value in self._judge.names.items() if name[0] != "_"}

    def __repr__(self) -> str:
        given = self._judge.given.items()
        return f"Practice({', '.join(f'{name} {np.shape(value) or value}' for name, value in given)})"

    def check(self, name: str, value: Any) -> None:
        """Print whether the gradient is right, and what was done instead.

        name: dlogits, dW2, db2, dh, dz, dW1, db1, demb or dC, or one of the lecture's. value: an array, a list, a
        tensor of PyTorch. Those that were checked before it come in, else the right ones. Raises UserError.
        """
        if name not in LINK_OF:
            raise UserError(f"{name!r} is no gradient, in check; give one of {', '.join(f'd{link}' for link in NINE)}")
        judge, tensor = self._judge, LINK_OF[name]
        judge.names |= vars(self) | {f"d{tensor}": value}
        judge.look((0, "in a cell"))
        found = judge.findings[f"d{tensor}"] = judge.judged(tensor, judge.values[f"d{tensor}"])
        print(about(found))
