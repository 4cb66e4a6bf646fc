"""A step under the names in which formulas are written, those of the table of mistakes, and what the formulas make.

Beside the model's own there are those of "becoming a backprop ninja". That well-known lecture goes through the loss in
seven steps, each a link of its own, in place of p and y.
"""

from typing import Any

import numpy as np

from trainer.core.links import LINKS, Link
from trainer.core.model import INNER, NAMES, Activations, Batch, Parameters
from trainer.mistakes.table import LECTURE, Names

*SEVEN, _ = LECTURE  # the lecture's, in the order in which they come before dlogits

Arrays = dict[str, Any]  # arrays and sizes under the names of the table of mistakes, and the right gradients


def applied(link: Link, arrays: Names) -> Any:
    """What the right formula of a link makes of these arrays."""
    return link.right(*(arrays[name] for name in link.takes))


def link_of(right: str) -> Link:
    """A link whose right formula is in the words of NumPy; what else stands in it is what it takes."""
    names = [name for name in compile(right, right, "eval").co_names if not hasattr(np, name)]
    function = eval(f"lambda {', '.join(names)}: {right}", vars(np))
    return LINKS["logits"]._replace(shape="(B, V) or (B, 1)", right=function)


MADE = {step: compile(LECTURE[step][0].formula, step, "eval") for step in reversed(SEVEN)}
OF_THE_LECTURE = {name: link_of(right.formula) for name, (_, right, *_) in LECTURE.items()}


def forward(arrays: Names) -> Arrays:
    """The arrays, and those of the seven steps that are not among them, made of them."""
    names = dict(arrays)
    for step, made in MADE.items():
        if step not in names:
            names[step] = eval(made, vars(np), names)
    return names


def given(p: Parameters, batch: Batch, a: Activations) -> Arrays:
    """A step without its gradients, under the names of the table; its softmax is that of the seven steps."""
    names = {name: getattr(p, name) for name in NAMES} | {name: getattr(a, name) for name in INNER}
    y = np.eye(p.sizes.V, dtype=a.logits.dtype)[batch.targets]  # (B, V)
    names = forward({**names, "X": batch.contexts, "Y": batch.targets, "y": y, "B": len(y), **p.sizes._asdict()})
    return names | {"p": names["probs"]}
