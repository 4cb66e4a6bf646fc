"""Where a backward pass is judged: one small batch, the names that a learner's file may use, and what is right.

All sizes differ, so that a transposed or wrongly summed array has a shape of its own. Biases are random and W2 is ten
times its initial size: at the ordinary start the biases are zero, and there some mistakes leave no trace.

A file that reads one name of the lecture's seven steps is given them all.
"""

from functools import cache

import numpy as np

from trainer.core import model, numerical
from trainer.core.links import ORDER
from trainer.core.model import Batch, Parameters, Sizes
from trainer.core.ops import Array
from trainer.mistakes.names import SEVEN, Arrays, forward, given

LINES = "emma olivia ava isabella sophia charlotte mia amelia harper evelyn abigail"
VOCABULARY = ".abcdefghijklmnopqrstuvwxyz"  # the dot is the boundary
SIZES, B = Sizes(V=27, K=3, D=10, H=64), 32

NINE = ("logits", "W2", "b2", "h", "z", "W1", "b1", "emb", "C")  # the file with blanks, in its order
# Other names that the lecture has. hprebn is z where there is no batch norm.
ALIASES = {"n": "B", "Xb": "X", "Yb": "Y", "hpreact": "z", "hprebn": "z", "embcat": "emb"}
LINK_OF = {f"d{link}": link for link in (*SEVEN, *NINE)} | {"dhpreact": "z", "dhprebn": "z", "dembcat": "emb"}


def draw(seed: int = 0) -> tuple[Parameters, Batch]:
    """Parameters and 32 different examples of `LINES`."""
    rng = np.random.default_rng(seed)
    p = model.initial(SIZES, np.float64, rng)
    p.W2[...] *= 10
    p.flat[p.matrices.size :] = 0.5 * rng.standard_normal(SIZES.H + SIZES.V)  # the biases
    windows = sorted({f"...{line}."[start : start + 4] for line in LINES.split() for start in range(len(line) + 1)})
    ids = np.array([[VOCABULARY.index(letter) for letter in window] for window in rng.permutation(windows)[:B]])
    return p, Batch(ids[:, :-1], ids[:, -1])


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
def exercise(seed: int = 0) -> Arrays:
    """The batch of this seed, and its numerical gradients, in float64: nobody's derivative is taken on trust."""
    at = numerical.point(*draw(seed))
    right = numerical.gradients(at, "complex-step", dict.fromkeys(ORDER, numerical.TINY))
    right |= gradients(at.a.logits, at.batch.targets)
    return given(at.p, at.batch, at.a) | {f"d{link}": gradient for link, gradient in right.items()}
