"""Where a backward pass is judged: one small batch of names, and the right gradients there.

All sizes differ, so that a transposed or wrongly summed array has a shape of its own. Biases are random and W2 is ten
times its initial size: at the ordinary start the biases are zero, and there some mistakes leave no trace.
"""

from functools import cache
from typing import Any

import numpy as np

from trainer.core import model, numerical
from trainer.core.links import ORDER
from trainer.core.model import Batch, Parameters, Sizes
from trainer.mistakes import lecture

LINES = ("emma", "olivia", "ava", "isabella", "sophia", "charlotte", "mia", "amelia", "harper", "evelyn", "abigail")
VOCABULARY = ".abcdefghijklmnopqrstuvwxyz"  # the dot is the boundary
SIZES, B = Sizes(V=27, K=3, D=10, H=64), 32

NINE = ("logits", "W2", "b2", "h", "z", "W1", "b1", "emb", "C")  # the file with blanks, in its order
SEVEN = tuple(reversed(lecture.FORWARD))  # the lecture's, in the order in which they come before dlogits
# Other names that the lecture has. hprebn is z where there is no batch norm.
ALIASES = {"n": "B", "Xb": "X", "Yb": "Y", "hpreact": "z", "hprebn": "z", "embcat": "emb"}
LINK_OF = {f"d{link}": link for link in SEVEN + NINE} | {"dhpreact": "z", "dhprebn": "z", "dembcat": "emb"}

Point = dict[str, Any]  # arrays and sizes under the names of the table of mistakes, and the right gradients


def draw(seed: int = 0) -> tuple[Parameters, Batch]:
    """Parameters and 32 different examples of `LINES`."""
    rng = np.random.default_rng(seed)
    p = model.initial(SIZES, np.float64, rng)
    p.W2[...] *= 10
    for bias in (p.b1, p.b2):
        bias[...] = 0.5 * rng.standard_normal(bias.shape)
    windows = sorted({f"...{line}."[start : start + 4] for line in LINES for start in range(len(line) + 1)})
    ids = np.array([[VOCABULARY.index(letter) for letter in window] for window in rng.permutation(windows)[:B]])
    return p, Batch(ids[:, :-1], ids[:, -1])


@cache
def exercise(seed: int = 0) -> Point:
    """The batch of this seed, and its numerical gradients, in float64: nobody's derivative is taken on trust."""
    at = numerical.point(*draw(seed))
    arrays = lecture.forward(lecture.given(at.p, at.batch, at.a))
    right = numerical.gradients(at, "complex-step", dict.fromkeys(ORDER, lecture.EPS)) | lecture.gradients(arrays)
    return arrays | {f"d{link}": gradient for link, gradient in right.items()}
