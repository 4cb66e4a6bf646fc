"""Bugs in the backward operations."""

from typing import Any

import numpy as np

from planted.planting import Bug, Wrong, half, into, source_of, titled
from trainer.core import ops

SCE, INPUT, WEIGHT = "softmax_cross_entropy_backward", "affine_backward_input", "affine_backward_weight"
BIAS, TANH, EMBED = "affine_backward_bias", "tanh_backward", "embedding_backward"


def backward(name: str, wrong: Wrong, setting: str, words: str) -> Bug:
    """An operation that is written anew: its arguments but for `out` -> its result."""
    count = {SCE: 3, TANH: 2, EMBED: 3}.get(name, 1 if name == BIAS else 2)

    def replacing(right: Any) -> Any:
        return lambda *given: into(given[count] if len(given) > count else None, wrong(right, *given[:count]))

    return Bug(ops, name, titled(replacing, source_of(wrong)), setting, words)


def one_hot(p: Any, Y: Any) -> Any:
    return np.eye(p.shape[1], dtype=p.dtype)[Y]


LOGITS, DH, DZ = f"dlogits is wrong | {SCE}", f"dh is wrong | {INPUT}", f"dz is wrong | {TANH}"
DW2, DB2, DC = f"dW2 is wrong | {WEIGHT}", f"db2 is wrong | {BIAS}", f"dC is wrong | {EMBED}"
SUM = "p - y does not sum to zero"
OPERATIONS = [
    backward(SCE, lambda f, p, Y, w: w * p.copy(), "plain", SCE),
    backward(SCE, lambda f, p, Y, w: w * (p + one_hot(p, Y)), "plain", SCE),
    backward(SCE, lambda f, p, Y, w: -w * one_hot(p, Y), "dropout", SCE),
    backward(SCE, lambda f, p, Y, w: w * (p - 0.9 * one_hot(p, Y)), "dropout", SCE),
    backward(SCE, lambda f, p, Y, w: w * (p - np.roll(one_hot(p, Y), 1, 0)), "dropout", LOGITS),
    backward(SCE, lambda f, p, Y, w: w * (p - np.roll(one_hot(p, Y), 1, 1)), "large V", LOGITS),
    backward(SCE, lambda f, p, Y, w: -f(p.copy(), Y, w), "dropout", f"{LOGITS} | sign is turned round"),
    backward(SCE, lambda f, p, Y, w: f(p.copy(), Y, 1.0), "plain", f"{LOGITS} | 1/B of the mean is missing"),
    backward(SCE, lambda f, p, Y, w: f(p.copy(), Y, w * w), "plain", f"{LOGITS} | 16 times too small"),
    backward(SCE, lambda f, p, Y, w: f(p.copy(), Y, 2 * w), "large V", f"{LOGITS} | 2 times too large"),
    backward(SCE, lambda f, p, Y, w: f(p.copy(), Y, 1 / p.shape[1]), "plain", LOGITS),
    backward(SCE, lambda f, p, Y, w: half(f(p.copy(), Y, w)), "plain", SCE),
    backward(SCE, lambda f, p, Y, w: f(p.copy(), Y, w).astype(np.float32).astype(p.dtype), "float64", SCE),
    backward(SCE, lambda f, p, Y, w: f(p.copy(), Y, w) * np.nan, "plain", SCE),
    backward(SCE, lambda f, p, Y, w: f(p.copy(), Y, w) / 0.0, "plain", SCE),
    backward(SCE, lambda f, p, Y, w: f(p.copy(), Y, w) * p * (1 - p), "plain", SCE),
    backward(INPUT, lambda f, dy, W: -f(dy, W), "dropout", f"{DH} | sign is turned round"),
    backward(INPUT, lambda f, dy, W: dy @ abs(W.T), "dropout", DH),
    backward(INPUT, lambda f, dy, W: dy @ np.sign(W.T), "dropout", DH),
    backward(INPUT, lambda f, dy, W: dy @ half(W.T), "dropout", DH),
    backward(INPUT, lambda f, dy, W: 2 * f(dy, W), "directions", f"{DH} | 2 times too large"),
    backward(INPUT, lambda f, dy, W: dy @ (W[:, ::-1]).T, "plain", DH),
    backward(INPUT, lambda f, dy, W: dy @ W if dy.shape[1] == len(W) else f(dy, W), "widths", DH),
    backward(INPUT, lambda f, dy, W: f(dy, W) * np.inf, "one", DH),
    backward(INPUT, lambda f, dy, W: 0 * f(dy, W), "dropout", f"{DH} | all zero"),
    backward(INPUT, lambda f, dy, W: f(dy - dy.mean(0), W), "dropout", DH),
    backward(WEIGHT, lambda f, x, dy: -f(x, dy), "dropout", f"{DW2} | sign is turned round"),
    backward(WEIGHT, lambda f, x, dy: 0.5 * f(x, dy), "threads", f"{DW2} | 2 times too small"),
    backward(WEIGHT, lambda f, x, dy: f(x, dy) / len(x), "one", DW2),
    backward(WEIGHT, lambda f, x, dy: x[-1:].T @ dy[-1:], "dropout", DW2),
    backward(WEIGHT, lambda f, x, dy: np.roll(x, 1, 0).T @ dy, "plain", DW2),
    backward(WEIGHT, lambda f, x, dy: np.outer(x.sum(0), dy.sum(0)), "dropout", DW2),
    backward(WEIGHT, lambda f, x, dy: abs(x).T @ dy, "directions", DW2),
    backward(WEIGHT, lambda f, x, dy: dy.T @ x if x.shape == dy.shape else f(x, dy), "widths", "is wrong | " + WEIGHT),
    backward(WEIGHT, lambda f, x, dy: half(x).T @ dy, "dropout", DW2),
    backward(WEIGHT, lambda f, x, dy: f(x, dy) * np.nan, "plain", DW2),
    backward(BIAS, lambda f, dy: dy.mean(0), "dropout", DB2),
    backward(BIAS, lambda f, dy: -f(dy), "dropout", f"{DB2} | sign is turned round"),
    backward(BIAS, lambda f, dy: dy[-1], "plain", DB2),
    backward(BIAS, lambda f, dy: abs(dy).sum(0), "directions", DB2),
    backward(BIAS, lambda f, dy: 0 * f(dy), "one", f"{DB2} | all zero"),
    backward(BIAS, lambda f, dy: f(dy)[::-1], "plain", DB2),
    backward(BIAS, lambda f, dy: f(dy) * np.array(1.001, dy.dtype), "dropout", DB2),
    backward(TANH, lambda f, dh, h: dh * (1 - h), "dropout", f"{DZ} | square is missing"),
    backward(TANH, lambda f, dh, h: dh * (1 + h * h), "large V", DZ),
    backward(TANH, lambda f, dh, h: dh * (h * h - 1), "one", f"{DZ} | sign"),
    backward(TANH, lambda f, dh, h: dh * h * (1 - h), "plain", f"{DZ} | logistic"),
    backward(TANH, lambda f, dh, h: dh.copy(), "plain", f"{DZ} | slope of tanh is missing"),
    backward(TANH, lambda f, dh, h: 1 - h * h, "directions", DZ),
    backward(TANH, lambda f, dh, h: dh * (1 - np.tanh(h) ** 2), "plain", DZ),
    backward(TANH, lambda f, dh, h: dh * (1 - h * h) ** 2, "float64", DZ),
    backward(TANH, lambda f, dh, h: dh * (1 - np.arctanh(h) ** 2), "dropout", DZ),
    backward(TANH, lambda f, dh, h: dh / (1 - h * h), "threads", DZ),
    backward(TANH, lambda f, dh, h: dh * (h > 0), "plain", DZ),
    backward(TANH, lambda f, dh, h: f(dh, h) / 0.0, "plain", DZ),
    backward(TANH, lambda f, dh, h: dh * (1 - 0.999 * h * h), "plain", DZ),
    backward("dropout_backward", lambda f, dy, m: dy.copy(), "dropout", "dz is wrong | dropout_backward"),
    backward("dropout_backward", lambda f, dy, m: dy * m * m, "directions", "dz is wrong | dropout_backward"),
    backward("dropout_backward", lambda f, dy, m: dy * (m > 0), "dropout", "dz is wrong | dropout_backward"),
    backward("dropout_backward", lambda f, dy, m: dy * m[::-1], "large V", "dz is wrong | dropout_backward"),
    backward("dropout_backward", lambda f, dy, m: dy * (m == 0), "one", "dz is wrong | dropout_backward"),
]


def last_wins(demb: Any, ids: Any, V: int) -> Any:
    dC = np.zeros((V, demb.shape[-1]), demb.dtype)
    dC[ids.reshape(-1)] = demb.reshape(-1, demb.shape[-1])
    return dC


def averaged(right: Any, demb: Any, ids: Any, V: int) -> Any:
    return right(demb, ids, V) / np.maximum(1, np.bincount(ids.reshape(-1), minlength=V))[:, None]


def piled_up(right: Any) -> Any:
    """Never cleared: the gradient of the step before is added."""
    kept: dict[str, Any] = {}

    def wrong(demb: Any, ids: Any, V: int, out: Any = None) -> Any:
        kept["sum"] = right(demb, ids, V) + kept.get("sum", 0)
        return into(out, kept["sum"])

    return wrong


def first_ids(right: Any) -> Any:
    """The characters of the first batch for ever."""
    kept: dict[str, Any] = {}
    return lambda demb, ids, V, out=None: right(demb, kept.setdefault("ids", ids), V, out)


EMBEDDINGS = [
    backward(EMBED, lambda f, demb, ids, V: last_wins(demb, ids, V), "dropout", f"{DC} | overwritten"),
    backward(EMBED, averaged, "plain", DC),
    backward(EMBED, lambda f, demb, ids, V: f(demb, np.roll(ids, 1, 0), V), "dropout", DC),
    backward(EMBED, lambda f, demb, ids, V: f(demb, ids[:, ::-1], V), "large V", DC),
    backward(EMBED, lambda f, demb, ids, V: f(demb[:, -1:], ids[:, -1:], V), "directions", DC),
    backward(EMBED, lambda f, demb, ids, V: -f(demb, ids, V), "one", DC),
    backward(EMBED, lambda f, demb, ids, V: f(demb, ids, V) + 1e-6, "large V", DC),
    backward(EMBED, lambda f, demb, ids, V: f(demb, 0 * ids, V), "dropout", DC),
    backward(EMBED, lambda f, demb, ids, V: f(demb, ids, V) * np.nan, "plain", DC),
    Bug(ops, EMBED, piled_up, "dropout", DC),
    Bug(ops, EMBED, first_ids, "dropout", DC),
]
