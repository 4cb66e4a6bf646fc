"""Where a backward pass is judged: one small batch of names, and the right gradients there.

All sizes differ, so that a transposed or wrongly summed array has a shape of its own. Biases are random and W2 is ten
times its initial size: at the ordinary start the biases are zero, and there some mistakes leave no trace.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from trainer.core import model, numerical, ops
from trainer.core.model import INNER, NAMES, Batch, Parameters, Sizes
from trainer.core.ops import Array

LINES = ("emma", "olivia", "ava", "isabella", "sophia", "charlotte", "mia", "amelia", "harper", "evelyn", "abigail")
LETTERS = "abcdefghijklmnopqrstuvwxyz"  # ids 1 to 26; 0 is the boundary
SIZES, B = Sizes(V=27, K=3, D=10, H=64), 32
EPS = 1e-20  # of the complex step


class Blank(NamedTuple):
    """A line to fill in: the gradient by `link`, what it is made from, and its shape."""

    link: str
    takes: tuple[str, ...]
    shape: str

    @property
    def name(self) -> str:
        return f"d{self.link}"


BLANKS = (
    Blank("logits", ("p", "y", "B"), "(B, V)"),
    Blank("W2", ("h", "dlogits"), "(H, V)"),
    Blank("b2", ("dlogits",), "(V,)"),
    Blank("h", ("dlogits", "W2"), "(B, H)"),
    Blank("z", ("dh", "h"), "(B, H)"),
    Blank("W1", ("emb", "dz"), "(K*D, H)"),
    Blank("b1", ("dz",), "(H,)"),
    Blank("emb", ("dz", "W1"), "(B, K*D)"),
    Blank("C", ("demb", "X"), "(V, D)"),
)
LINK_OF = {blank.name: blank.link for blank in BLANKS} | {"dhpreact": "z", "dembcat": "emb"}


class Exercise(NamedTuple):
    """What a learner is given, and the right answers, all in float64."""

    given: dict[str, Any]
    right: dict[str, Array]  # by link
    loss: float  # nats


def draw(seed: int = 0) -> tuple[Parameters, Batch]:
    """Parameters and 32 different examples of `LINES`."""
    rng = np.random.default_rng(seed)
    p = model.initial(SIZES, np.float64, rng)
    p.W2[...] *= 10
    p.b1[...] = 0.5 * rng.standard_normal(p.b1.shape)
    p.b2[...] = 0.5 * rng.standard_normal(p.b2.shape)

    ids = [[LETTERS.index(character) + 1 for character in line] for line in LINES]
    windows = set()
    for line in ids:
        padded = [0] * SIZES.K + line + [0]
        windows |= {tuple(padded[start : start + SIZES.K + 1]) for start in range(len(line) + 1)}
    chosen = np.array(sorted(windows))[rng.permutation(len(windows))[:B]]  # (B, K + 1)
    return p, Batch(chosen[:, :-1].copy(), chosen[:, -1].copy())


def exercise(seed: int = 0) -> Exercise:
    """The batch of this seed, its forward pass and its numerical gradients."""
    p, batch = draw(seed)
    at = numerical.point(p, batch, SIZES)
    loss = float(np.real(numerical.loss_at(at, at.p.flat)))
    return Exercise(given(p, batch, {name: getattr(at, name) for name in INNER}), gradients(at), loss)


def gradients(at: numerical.Point) -> dict[str, Array]:
    """Each link's numerical gradient, in full; nobody's derivative is taken on trust."""
    eps = dict.fromkeys(numerical.ORDER, EPS)
    return numerical.gradients(at, "complex-step", eps, "all", np.random.default_rng())


def given(p: Parameters, batch: Batch, forward: Mapping[str, Array]) -> dict[str, Any]:
    """A step under the names of the practice file, and of the well-known lecture. forward: emb, z, h and logits."""
    (B, K), (V, D) = batch.contexts.shape, p.C.shape
    probs = ops.softmax(forward["logits"])  # (B, V)
    y = np.zeros_like(probs)
    y[np.arange(B), batch.targets] = 1
    names: dict[str, Any] = {name: getattr(p, name) for name in NAMES} | {name: forward[name] for name in INNER}
    names |= {"X": batch.contexts, "Y": batch.targets, "p": probs, "y": y}
    names |= {"Xb": batch.contexts, "Yb": batch.targets, "hpreact": forward["z"], "embcat": forward["emb"]}
    return {**names, "B": B, "n": B, "K": K, "D": D, "H": len(p.W2), "V": V, "np": np}


def copied(given: Mapping[str, Any], lecture: bool = False) -> dict[str, Any]:
    """The given names with arrays of their own; with `lecture`, emb is (B, K, D)."""
    names = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in given.items()}
    if lecture:
        names["emb"] = names["emb"].reshape(given["B"], given["K"], given["D"])
    return names


def local(link: str, arrays: Mapping[str, Any]) -> Array:
    """The right gradient of a link for the gradient that comes in, right or not.

    That is the slope of sum(incoming * operation(x)) by each entry of x, by a complex step.
    """
    names = ("emb", "W1", "b1", "h", "W2", "b2")
    emb, W1, b1, h, W2, b2 = (arrays[name].astype(np.complex128) for name in names)
    operations: dict[str, tuple[str, Callable[[Array], Array]]] = {
        "W2": ("dlogits", lambda x: ops.affine(h, x, b2)),
        "b2": ("dlogits", lambda x: ops.affine(h, W2, x)),
        "h": ("dlogits", lambda x: ops.affine(x, W2, b2)),
        "z": ("dh", ops.tanh),
        "W1": ("dz", lambda x: ops.affine(emb, x, b1)),
        "b1": ("dz", lambda x: ops.affine(emb, W1, x)),
        "emb": ("dz", lambda x: ops.affine(x, W1, b1)),
        "C": ("demb", lambda x: model.embed(x, Batch(arrays["X"], arrays["Y"]))),
    }
    incoming, operation = operations[link]
    x = arrays[link].astype(np.complex128)
    slopes = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        was = x[place]
        x[place] = was + 1j * EPS
        slopes[place] = (arrays[incoming] * operation(x)).sum().imag / EPS
        x[place] = was
    return slopes
