"""Bugs in the forward operations, which training and checker share."""

from typing import Any

import numpy as np

from planted.operations import LOGITS, SUM
from planted.planting import Bug, Wrong, half, into, once, rewritten, source_of, titled
from trainer.core import ops


def forward(name: str, wrong: Wrong, setting: str, words: str) -> Bug:
    count = {"affine": 3, "embedding": 2, "dropout": 2, "cross_entropy": 2}.get(name, 1)

    def replacing(right: Any) -> Any:
        return lambda *given: into(given[count] if len(given) > count else None, wrong(right, *given[:count]))

    return Bug(ops, name, titled(replacing, source_of(wrong)), setting, words)


E, Z, H, L = "emb is wrong | embedding", "z is wrong | affine", "h is wrong | tanh", "loss is wrong | cross_entropy"


def total(x: Any) -> Any:
    return np.exp(x - x.real.max(-1, keepdims=True)).sum(-1)


def at(x: Any, Y: Any) -> Any:
    return np.take_along_axis(x - x.real.max(-1, keepdims=True), Y[..., None], -1)[..., 0]


FORWARD = [
    forward("embedding", lambda f, C, ids: f(C, ids[:, ::-1]), "plain", f"{E} | the context was reversed"),
    forward("embedding", lambda f, C, ids: f(C, 0 * ids), "dropout", f"{E} | character 0"),
    forward("embedding", lambda f, C, ids: f(C, np.roll(ids, 1, 0)), "large V", f"{E} | another example"),
    forward("embedding", lambda f, C, ids: f(np.roll(C, -1, 0), ids), "plain", f"{E} | row after"),
    forward("embedding", lambda f, C, ids: half(f(C, ids)) if C.dtype == "f4" else f(C, ids), "plain", E),
    forward("embedding", lambda f, C, ids: f(C, ids) if C.dtype == int else f(C, ids) * C.dtype.type(1.01), "one", E),
    forward("affine", lambda f, x, W, b: f(x, W, 0 * b), "plain", "affine | bias is missing"),
    forward("affine", lambda f, x, W, b: f(x, W, -b), "dropout", "affine | bias was taken off"),
    forward("affine", lambda f, x, W, b: f(x, 2 * W, b), "large V", f"{Z} | "),
    forward("affine", lambda f, x, W, b: f(x * x, W, b), "large V", f"{Z} | squared"),
    forward("affine", lambda f, x, W, b: f(x, abs(W), b), "dropout", f"{Z} | lost their signs"),
    forward("affine", lambda f, x, W, b: f(x, W, b) / len(W), "directions", Z),
    forward("affine", lambda f, x, W, b: f(half(x), W, b) if x.dtype == "f4" else f(x, W, b), "plain", Z),
    forward("tanh", lambda f, z: np.sin(z), "dropout", f"{H} | sin stands in"),
    forward("tanh", lambda f, z: f(2 * z), "plain", f"{H} | 2 z"),
    forward("tanh", lambda f, z: 0.5 + 0.5 * f(z / 2), "one", f"{H} | logistic function"),
    forward("tanh", lambda f, z: z * (z.real > 0), "plain", f"{H} | ReLU"),
    forward("tanh", lambda f, z: f(f(z)), "float64", f"{H} | twice"),
    forward("tanh", lambda f, z: z + 0, "directions", f"{H} | no tanh"),
    forward("dropout", lambda f, x, m: x * (m > 0), "dropout", "emb is wrong | dropout | not scaled"),
    forward("dropout", lambda f, x, m: x * m * m, "directions", "emb is wrong | dropout | applied twice"),
    forward("dropout", lambda f, x, m: x + 0, "dropout", "emb is wrong | dropout | not applied"),
    forward("dropout", lambda f, x, m: x * m[::-1], "large V", "emb is wrong | dropout | another example"),
    forward("cross_entropy", lambda f, x, Y: np.log1p(total(x)) - at(x, Y), "dropout", f"{L} | log(1 + sum"),
    forward("cross_entropy", lambda f, x, Y: 0.5 * np.log(total(x)) - at(x, Y), "dropout", f"{L} | half"),
    forward("cross_entropy", lambda f, x, Y: f(x, 0 * Y), "plain", f"{L} | character 0"),
    forward("cross_entropy", lambda f, x, Y: f(x, (Y + 1) % x.shape[-1]), "plain", f"{L} | after the target"),
    forward("cross_entropy", lambda f, x, Y: f(x, Y) / np.log(2), "one", f"{L} | bits"),
    forward("cross_entropy", lambda f, x, Y: -f(x, Y), "plain", f"{L} | sign"),
    forward("cross_entropy", lambda f, x, Y: f(2 * x, Y), "large V", f"{L} | "),
    forward("cross_entropy", lambda f, x, Y: 1 - np.exp(-f(x, Y)), "directions", f"{L} | 1 - p"),
    forward("cross_entropy", lambda f, x, Y: f(x, Y) / 16, "plain", L),
    forward("cross_entropy", lambda f, x, Y: f(x, Y) + 0.01, "plain", L),
    Bug(ops, "softmax", once(lambda p: p * 1.01), "plain", f"{SUM} | softmax"),
    Bug(ops, "softmax", once(lambda p: p / p.sum(0)), "dropout", "softmax"),
    Bug(
        ops, "softmax", rewritten("np.divide(exps, total", "np.divide(exps, 1 + 0 * total"), "plain", f"{SUM} | softmax"
    ),
    Bug(ops, "softmax", rewritten("exps = np.exp(np", "exps = np.exp2(np"), "plain", LOGITS),
]
