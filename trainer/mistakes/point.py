"""Where a backward pass is judged: one small batch, under the names in which formulas are written, and what is right.

All sizes differ, so that a transposed or wrongly summed array has a shape of its own. Biases are random and W2 is ten
times its initial size: at the ordinary start the biases are zero, and there some mistakes leave no trace.

The names are the model's, and those of "becoming a backprop ninja". That well-known lecture goes through the loss in
seven steps, each a link of its own, in place of p and y. A learner's file that reads one of them is given them all.
"""

from functools import cache
from typing import Any

import numpy as np

from trainer.core import model, numerical
from trainer.core.links import LINKS, ORDER, Link
from trainer.core.model import INNER, NAMES, Activations, Batch, Parameters, Sizes
from trainer.core.ops import Array
from trainer.mistakes.table import LECTURE, Names

LINES = "emma olivia ava isabella sophia charlotte mia amelia harper evelyn abigail"
VOCABULARY = ".abcdefghijklmnopqrstuvwxyz"  # the dot is the boundary
SIZES, B = Sizes(V=27, K=3, D=10, H=64), 32

NINE = ("logits", "W2", "b2", "h", "z", "W1", "b1", "emb", "C")  # the file with blanks, in its order
*SEVEN, _ = LECTURE  # the lecture's, in the order in which they come before dlogits
# Other names that the lecture has. hprebn is z where there is no batch norm.
ALIASES = {"n": "B", "Xb": "X", "Yb": "Y", "hpreact": "z", "hprebn": "z", "embcat": "emb"}
LINK_OF = {f"d{link}": link for link in (*SEVEN, *NINE)} | {"dhpreact": "z", "dhprebn": "z", "dembcat": "emb"}

Point = dict[str, Any]  # arrays and sizes under the names of the table of mistakes, and the right gradients


def draw(seed: int = 0) -> tuple[Parameters, Batch]:
    """Parameters and 32 different examples of `LINES`."""
    rng = np.random.default_rng(seed)
    p = model.initial(SIZES, np.float64, rng)
    p.W2[...] *= 10
    p.flat[p.matrices.size :] = 0.5 * rng.standard_normal(SIZES.H + SIZES.V)  # the biases
    windows = sorted({f"...{line}."[start : start + 4] for line in LINES.split() for start in range(len(line) + 1)})
    ids = np.array([[VOCABULARY.index(letter) for letter in window] for window in rng.permutation(windows)[:B]])
    return p, Batch(ids[:, :-1], ids[:, -1])


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


def forward(arrays: Names) -> Point:
    """The arrays, and those of the seven steps that are not among them, made of them."""
    names = dict(arrays)
    for step, made in MADE.items():
        if step not in names:
            names[step] = eval(made, vars(np), names)
    return names


def given(p: Parameters, batch: Batch, a: Activations) -> Point:
    """A step without its gradients, under the names of the table; its softmax is that of the seven steps."""
    names = {name: getattr(p, name) for name in NAMES} | {name: getattr(a, name) for name in INNER}
    y = np.eye(p.sizes.V, dtype=a.logits.dtype)[batch.targets]  # (B, V)
    names = forward({**names, "X": batch.contexts, "Y": batch.targets, "y": y, "B": len(y), **p.sizes._asdict()})
    return names | {"p": names["probs"]}


def gradients(logits: Array, targets: Array) -> dict[str, Array]:
    """The numerical gradient by each step: a column is nudged in all examples at once, for they do not touch."""
    steps, found = forward({"logits": logits}), {}
    for step in SEVEN:
        columns = 1j * numerical.TINY * np.identity(steps[step].shape[1])
        nudged = [forward({"logits": logits, step: steps[step] + column})["logprobs"] for column in columns]
        losses = [-logprobs[np.arange(len(targets)), targets] for logprobs in nudged]  # each (B,)
        found[step] = np.stack(losses, axis=1).imag / numerical.TINY / len(targets)
    return found


@cache
def exercise(seed: int = 0) -> Point:
    """The batch of this seed, and its numerical gradients, in float64: nobody's derivative is taken on trust."""
    at = numerical.point(*draw(seed))
    right = numerical.gradients(at, "complex-step", dict.fromkeys(ORDER, numerical.TINY))
    right |= gradients(at.a.logits, at.batch.targets)
    return given(at.p, at.batch, at.a) | {f"d{link}": gradient for link, gradient in right.items()}
