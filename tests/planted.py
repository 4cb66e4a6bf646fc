"""Bugs of every kind, planted one at a time into a running training: each is caught, under its right name.

A bug is a function that stands in for one of the program's own. `wrong` gets the right one and gives what takes its
place; the sentence that stops the run must hold each of `words`.
"""

import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from trainer import batches, model, ops, optim, text, threads
from trainer.config import Config, build
from trainer.errors import RunFailed
from trainer.model import Batch
from trainer.runs import session

Wrong = Callable[..., Any]
DROPOUT = {"train": {"dropout": 0.3, "embedding_dropout": 0.2}}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"V": 20, "train": {"learning_rate": 1.0}},
    "dropout": {"V": 20, **DROPOUT},
    "distance": {"V": 20, "train": {"context_dropout": 0.6, "dropout": 0.3}},
    "places": {"V": 8, "model": {"embedding": 7}, "train": {"batch_size": 128}},
    "widths": {"V": 12, "model": {"embedding": 4, "hidden": 12}, **DROPOUT},
    "large V": {"V": 300, **DROPOUT},
    "threads": {"V": 20, "parts": 2, **DROPOUT},
    "float64": {"V": 20, "model": {"dtype": "float64"}, "check": {"method": "complex-step"}, **DROPOUT},
    "momentum": {"V": 20, "train": {"momentum": 0.9, "weight_decay": 0.1, "learning_rate": 0.5}},
    "adamw": {"V": 20, "train": {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1}},
    "warmup": {"V": 20, "train": {"warmup_steps": 3, "learning_rate": 1.0}},
    "steps": {"V": 20, "train": {"schedule": "step", "learning_rate": 1.0}},
    "stream": {"V": 20, "data": {"mode": "stream"}},
    "directions": {"V": 20, "check": {"coordinates": "directions"}, **DROPOUT},
    "one": {"V": 20, "check": {"coordinates": 1}, **DROPOUT},
}
STEPS = 6


class Bug(NamedTuple):
    module: Any
    name: str  # of the function
    wrong: Wrong  # the right function -> the wrong one
    setting: str
    words: str  # of the sentence, parted by " | "

    def __str__(self) -> str:
        source = " ".join(inspect.getsource(self.wrong).split())
        return f"{self.name}, {self.setting}: {source[:60]}"


def configured(folder: Path, setting: str) -> Config:
    """A small training on random lines."""
    chosen = SETTINGS[setting]
    rng = np.random.default_rng(0)
    letters = [chr(ord("a") + k) if k < 26 else chr(0x4E00 + k) for k in range(chosen["V"] - 1)]
    lines = ["".join(rng.choice(letters, rng.integers(2, 7))) for _ in range(60)]
    (folder / "text").write_text("\n".join([*lines, *letters]), encoding="utf-8")
    tree = {
        "data": {"path": str(folder / "text"), **chosen.get("data", {})},
        "model": {"embedding": 5, "hidden": 9, **chosen.get("model", {})},
        "train": {"steps": STEPS, "batch_size": 16, **chosen.get("train", {})},
        "log": {"samples": 0, "eval_every": 3},
    }
    given = {"enabled": True, **chosen.get("check", {})}
    coordinates = given.pop("coordinates", "all")
    config = build({**tree, "check": given}, "here")
    return replace(config, check=replace(config.check, coordinates=coordinates))


def sentence(folder: Path, setting: str) -> str:
    """What stops a checked training; empty if nothing does."""
    try:
        session.train(configured(folder, setting), quiet=True)
    except RunFailed as error:
        return str(error)
    return ""


def plant(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = SETTINGS[bug.setting].get("parts", 1)
    monkeypatch.setattr(threads, "choose_threads", lambda *_: parts)
    right = getattr(bug.module, bug.name)
    wrong = bug.wrong(right)
    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] == "trainer"]:
        if getattr(module, bug.name, None) is right:
            monkeypatch.setattr(module, bug.name, wrong)


def rewritten(old: str, new: str) -> Wrong:
    """The same function with some of its text replaced."""

    def change(right: Any) -> Any:
        source = inspect.getsource(right)
        assert source.count(old) == 1, f"not exactly once: {old!r}"
        space = dict(right.__globals__)
        exec(source.replace(old, new), space)
        return space[right.__name__]

    return change


def fed(change: Callable[[Batch, Any], Batch]) -> Wrong:
    """Batches that are changed on their way."""

    def wrong(right: Any) -> Any:
        def drawn(corpus: Any, config: Any, step: int) -> Any:
            for batch in right(corpus, config, step):
                yield change(batch, corpus)

        return drawn

    return wrong


def once(change: Callable[[Any], Any]) -> Wrong:
    """What a function gives, changed."""
    return lambda right: lambda *given, **named: change(right(*given, **named))


def moved(change: Callable[..., None]) -> Wrong:
    """An update rule in other words: p, g and what else the rule takes, in place."""
    return lambda right: change


def into(out: Any, value: Any) -> Any:
    """A result, in the room that was given."""
    if out is None:
        return value
    out[...] = value
    return out


def clip(g: Any, most: float) -> Any:
    np.clip(g.flat, -most, most, out=g.flat)
    return g


def added(g: Any, what: Any) -> Any:
    g.flat[...] += what
    return g


def half(x: Any) -> Any:
    return x.astype(np.float16).astype(x.dtype)


# Backward operations.

SCE, INPUT, WEIGHT = "softmax_cross_entropy_backward", "affine_backward_input", "affine_backward_weight"
BIAS, TANH, EMBED = "affine_backward_bias", "tanh_backward", "embedding_backward"


def backward(name: str, wrong: Wrong, setting: str, words: str) -> Bug:
    """An operation that is written anew: its arguments but for `out` -> its result."""
    count = {SCE: 3, TANH: 2, EMBED: 3}.get(name, 1 if name == BIAS else 2)

    def replacing(right: Any) -> Any:
        return lambda *given: into(given[count] if len(given) > count else None, wrong(right, *given[:count]))

    return Bug(ops, name, replacing, setting, words)


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
    backward(SCE, lambda f, p, Y, w: f(p.copy(), Y, 2 * w), "places", f"{LOGITS} | 2 times too large"),
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
    backward(TANH, lambda f, dh, h: dh * (1 + h * h), "places", DZ),
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


PLACES = "embedded_affine_backward"
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
    Bug(ops, PLACES, rewritten("dC.sum(axis=0)", "-dC.sum(axis=0)"), "places", f"dC is wrong | {PLACES}"),
    Bug(ops, PLACES, rewritten("dC.sum(axis=0)", "dC[0]"), "places", f"dC is wrong | {PLACES}"),
    Bug(
        ops, PLACES, rewritten("one_hot.T @ dz", "np.roll(one_hot, 1, 0).T @ dz"), "places", f"dW1 is wrong | {PLACES}"
    ),
    Bug(ops, PLACES, rewritten("C.T @ sums", "C[::-1].T @ sums"), "places", f"dW1 is wrong | {PLACES}"),
    Bug(ops, PLACES, rewritten("W.reshape(K, D, H)", "W.reshape(K, D, H)[::-1]"), "places", f"dC is wrong | {PLACES}"),
]

# Forward operations, of training and checker alike.


def forward(name: str, wrong: Wrong, setting: str, words: str) -> Bug:
    count = {"affine": 3, "embedding": 2, "dropout": 2, "cross_entropy": 2}.get(name, 1)

    def replacing(right: Any) -> Any:
        return lambda *given: into(given[count] if len(given) > count else None, wrong(right, *given[:count]))

    return Bug(ops, name, replacing, setting, words)


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
    forward("affine", lambda f, x, W, b: f(x, 2 * W, b), "places", f"{Z} | "),
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

# The chain, and what an operation does to what it was given.

BACKWARD = "backward"


def chain(name: str, old: str, new: str, setting: str, words: str) -> Bug:
    return Bug(model, name, rewritten(old, new), setting, words)


CHAIN = [
    chain("forward", "room.emb, p.W1, p.b1, room", "room.emb, p.W1, 0 * p.b1, room", "plain", f"{Z} | bias is missing"),
    chain("forward", "ops.affine(room.h, p.W2", "ops.affine(room.tanh, p.W2", "dropout", "logits is wrong | before dropout"),
    chain("forward", "ops.affine(room.h, p.W2", "ops.affine(np.roll(room.h, 1, 0), p.W2", "plain",
          "logits is wrong | another example"),
    chain("forward", "p.W2, p.b2, room.logits", "p.W2, -p.b2, room.logits", "plain", "logits is wrong | bias was taken off"),
    chain("forward", "ops.dropout(room.tanh, batch.h_mask", "ops.dropout(room.tanh, batch.h_mask > 0", "dropout",
          "h is wrong | dropout | not scaled"),
    chain("forward", "if batch.h_mask is None else", "if True else", "dropout", "h is wrong | dropout | not applied"),
    chain(BACKWARD, "ops.affine_backward_weight(room.h, dlogits", "ops.affine_backward_weight(room.tanh, dlogits",
          "dropout", DW2),
    chain(BACKWARD, "affine_backward_weight(room.h,", "affine_backward_weight(np.arctanh(room.h),", "plain",
          DW2),
    chain(BACKWARD, "dlogits, p.W2, room.dh)", "dlogits, np.sign(p.W2), room.dh)", "plain", DH),
    chain(BACKWARD, "dlogits, p.W2, room.dh)", "dlogits, p.W2 - g.W2, room.dh)", "plain", DH),
    chain(BACKWARD, "dlogits, p.W2, room.dh)", "dlogits, p.W2, room.dh) + p.b2 @ p.W2.T", "plain", DH),
    chain(BACKWARD, "(dtanh, room.tanh, room.dz)", "(dtanh, room.h, room.dz)", "dropout", DZ),
    chain(BACKWARD, "dh if batch.h_mask is None else", "dh if True else", "dropout", "dz is wrong | dropout_backward"),
    chain(BACKWARD, "affine_backward_bias(dz, g.b1)", "affine_backward_bias(dh, g.b1)", "plain", f"db1 is wrong | {BIAS}"),
    chain(BACKWARD, "affine_backward_bias(dz, g.b1)", "affine_backward_bias(dz[1:], g.b1)", "plain",
          f"db1 is wrong | {BIAS}"),
    chain(BACKWARD, "(room.emb, dz, g.W1)", "(room.emb, dh, g.W1)", "plain", f"dW1 is wrong | {WEIGHT}"),
    chain(BACKWARD, "(room.emb, dz, g.W1)", "(p.C[batch.contexts].reshape(room.emb.shape), dz, g.W1)", "dropout",
          f"dW1 is wrong | {WEIGHT}"),
    chain(BACKWARD, "(dz, p.W1, room.demb)", "(dh, p.W1, room.demb)", "dropout", f"demb is wrong | {INPUT}"),
    chain(BACKWARD, "(dz, p.W1, room.demb)", "(dz, p.W1[::-1], room.demb)", "large V", f"demb is wrong | {INPUT}"),
    chain(BACKWARD, "demb if batch.emb_mask is None else", "demb if True else", "dropout", "dC is wrong | dropout_backward"),
    chain(BACKWARD, ".reshape(*batch.contexts.shape, D), batch.contexts, V", ".reshape(*batch.contexts.shape, D), np.roll("
          "batch.contexts, 1, 0), V", "dropout", DC),
]  # fmt: skip


def spoils(index: int, factor: float) -> Wrong:
    """An operation that gives the right thing and writes into what it was given."""

    def wrong(right: Any) -> Any:
        def spoiling(*given: Any) -> Any:
            result = np.array(right(*given))
            if given[index].dtype != int:
                given[index][...] *= factor
            return result

        return spoiling

    return wrong


SPOILED = [
    Bug(ops, TANH, spoils(1, 0.5), "plain", "tanh_backward changed"),
    Bug(ops, "dropout_backward", spoils(0, 0.5), "dropout", "changed"),
    Bug(ops, "affine_backward_weight", spoils(0, 0.5), "plain", "affine_backward_weight changed h"),
    Bug(ops, "affine_backward_weight", spoils(1, 2.0), "plain", "affine_backward_weight changed dlogits"),
    Bug(ops, "affine_backward_bias", spoils(0, 2.0), "plain", "affine_backward_bias changed dlogits"),
    Bug(ops, "affine_backward_input", spoils(0, 2.0), "plain", "affine_backward_input changed dlogits"),
    Bug(ops, "affine_backward_input", spoils(1, 0.99), "dropout", "affine_backward_input changed W2"),
    Bug(ops, "embedding", spoils(0, 0.99), "dropout", "embedding changed C"),
]

# Threads.

ADD = "np.add(first.g.flat, part.g.flat, out=first.g.flat)"
PARTS = "look at gradients in threads.py"


def adding(new: str) -> Wrong:
    return rewritten(ADD, new)


def twice_wrong(right: Any) -> Any:
    def wrong(p: Any, batch: Any, part: Any, weight: float, watch: Any) -> None:
        rough = weight if part.rows.start == 0 else weight * 2
        right(p, batch, part, rough, watch)

    return wrong


THREADS = [
    Bug(threads, "gradients", adding("pass"), "threads", f"{PARTS} | only the first part"),
    Bug(threads, "gradients", adding("first.g.flat[...] = part.g.flat"), "threads", f"{PARTS} | only the last part"),
    Bug(threads, "gradients", adding(ADD.replace("part.g.flat", "2 * part.g.flat")), "threads", f"{PARTS} | twice"),
    Bug(threads, "gradients", adding(ADD.replace("part.g.flat", "np.float32(1.001) * part.g.flat")), "threads", PARTS),
    Bug(threads, "gradients", adding(ADD.replace("np.add", "np.subtract")), "threads", f"{PARTS} | off each other"),
    Bug(threads, "gradients", adding(ADD + "; first.g.flat[...] /= 2"), "threads", f"{PARTS} | mean of the parts"),
    Bug(threads, "gradients", adding(ADD + "; first.g.flat[...] += 0.01 * p.flat"), "threads", f"{PARTS} | parameters"),
    Bug(threads, "gradients", once(lambda g: clip(g, 0.001)), "threads", f"{PARTS} | cut off"),
    Bug(threads, "gradients", once(lambda g: clip(g, 0.001)), "plain", f"{PARTS} | cut off"),
    Bug(threads, "gradients", once(lambda g: added(g, 1e-3)), "plain", PARTS),
    Bug(threads, "gradients", once(lambda g: added(g, -2 * g.flat)), "plain", f"{PARTS} | sign"),
    Bug(threads, "gradients", adding(ADD + "; first.g.flat[...] = first.g.flat.astype('f2')"), "threads", PARTS),
    Bug(threads, "forward_and_backward", twice_wrong, "threads", LOGITS),
    Bug(
        threads,
        "gradients",
        rewritten("1 / len(batch.targets)", "1.0"),
        "plain",
        f"{LOGITS} | 1/B of the mean is missing",
    ),
    Bug(
        threads,
        "gradients",
        rewritten("1 / len(batch.targets)", "1 / len(batch.targets) / len(parts)"),
        "threads",
        LOGITS,
    ),
]

# What a step is fed.

FED = "look at batches.py"


def block(right: Any) -> Any:
    """The first batch for ever."""

    def drawn(corpus: Any, config: Any, step: int) -> Any:
        first = next(right(corpus, config, step))
        while True:
            yield first

    return drawn


def elsewhere(split: str) -> Wrong:
    def wrong(right: Any) -> Any:
        def drawn(corpus: Any, config: Any, step: int) -> Any:
            return right(replace(corpus, splits={"train": corpus.splits[split]}), config, step)

        return drawn

    return wrong


def leaking(corpus: Any, positions: Any, context: int) -> Any:
    return corpus.ids[positions[:, None] + np.arange(-context, 0)].astype(np.intp), corpus.ids[positions].astype(
        np.intp
    )


BATCHES = [
    Bug(batches, "batches", fed(lambda b, c: b._replace(targets=np.roll(b.targets, 1))), "plain", f"{FED} | other examples"),
    Bug(batches, "batches", fed(lambda b, c: b._replace(targets=b.targets[::-1].copy())), "stream", f"{FED} | target"),
    Bug(batches, "batches", fed(lambda b, c: b._replace(targets=c.ids.take(b.positions + 1, mode="clip").astype(int))),
        "plain", f"{FED} | shifted"),
    Bug(batches, "batches", fed(lambda b, c: b._replace(targets=c.ids[b.positions - 1].astype(int))), "stream",
        f"{FED} | one place early"),
    Bug(batches, "batches", fed(lambda b, c: b._replace(targets=0 * b.targets)), "plain", f"{FED} | target"),
    Bug(batches, "batches", fed(lambda b, c: b._replace(contexts=b.contexts[:, ::-1].copy())), "plain",
        f"{FED} | context is reversed"),
    Bug(batches, "batches", fed(lambda b, c: b._replace(contexts=np.roll(b.contexts, 1, 0))), "plain", f"{FED} | context"),
    Bug(batches, "batches", fed(lambda b, c: b._replace(contexts=0 * b.contexts)), "stream", f"{FED} | context"),
    Bug(text, "windows", lambda right: leaking, "plain", f"{FED} | line before leak"),
    Bug(text, "windows", lambda right: lambda c, at, K: (right(c, at - 1, K)[0], right(c, at, K)[1]), "stream",
        f"{FED} | leaves out the nearest"),
    Bug(text, "windows", lambda right: lambda c, at, K: (right(c, np.minimum(at + 1, len(c.ids) - 1), K)[0],
        right(c, at, K)[1]), "stream", f"{FED} | holds the target"),
    Bug(batches, "batches", elsewhere("test"), "plain", f"{FED} | of the test split"),
    Bug(batches, "batches", elsewhere("val"), "stream", f"{FED} | of the val split"),
    Bug(batches, "batches", block, "plain", f"{FED} | that of step 0"),
    Bug(batches, "batches", block, "stream", f"{FED} | that of step 0"),
    Bug(batches, "batches", block, "dropout", "that of step 0"),
]  # fmt: skip

# Dropout masks.

MASKS = "look at draw_masks"


def mask(change: Callable[..., Any]) -> Wrong:
    """A mask from its right one, its rate and its random numbers."""
    return lambda right: lambda rate, shape, dtype, rng: change(right(rate, shape, dtype, rng), rate).astype(dtype)


def same_mask(right: Any) -> Any:
    kept: dict[Any, Any] = {}
    return lambda rate, shape, dtype, rng: kept.setdefault(shape, right(rate, shape, dtype, rng))


def tiled(right: Any) -> Any:
    """The rates of the places laid out column by column."""

    def wrong(config: Config) -> Any:
        D = config.model.embedding
        return np.tile(right(config)[::D], D)

    return wrong


MASKED = [
    Bug(batches, "draw_mask", mask(lambda m, rate: m > 0), "dropout", f"{MASKS} | not scaled"),
    Bug(batches, "draw_mask", mask(lambda m, rate: (m > 0) / np.maximum(rate, 1e-3)), "dropout", f"{MASKS} | 1 / rate"),
    Bug(
        batches,
        "draw_mask",
        mask(lambda m, rate: (m == 0) / (1 - rate)),
        "dropout",
        f"{MASKS} | keeps what it should drop",
    ),
    Bug(batches, "draw_mask", mask(lambda m, rate: 1.01 * m), "directions", MASKS),
    Bug(batches, "draw_mask", mask(lambda m, rate: np.ones_like(m)), "dropout", MASKS),
    Bug(batches, "draw_mask", mask(lambda m, rate: 0 * m), "dropout", f"{MASKS} | all is dropped"),
    Bug(batches, "draw_mask", same_mask, "dropout", f"{MASKS} | the mask of step 0"),
    Bug(batches, "embedding_rate", once(lambda rate: rate[::-1]), "distance", f"{MASKS} | reversed"),
    Bug(batches, "embedding_rate", tiled, "distance", f"{MASKS} | laid out"),
    Bug(batches, "embedding_rate", once(lambda rate: rate.mean()), "distance", f"{MASKS} | one rate"),
    Bug(batches, "draw_masks", once(lambda masks: (None, masks[1])), "dropout", f"{MASKS} | emb is not dropped"),
    Bug(batches, "draw_masks", once(lambda masks: (masks[0], None)), "dropout", f"{MASKS} | h is not dropped"),
]

# The update.


def rule(name: str, change: Wrong, setting: str, words: str) -> Bug:
    return Bug(optim, name, lambda right: change, setting, f"the update is not what | {words}")


def update(change: Callable[..., None], setting: str, words: str) -> Bug:
    """The whole update in other words: the right one, train, p, g, state, step."""

    def wrong(right: Any) -> Any:
        return lambda *given: change(right, *given)

    return Bug(optim, "update", wrong, setting, f"the update is not what | {words}")


def gone(times: float) -> Callable[..., None]:
    """A move so many times as long."""

    def change(right: Any, train: Any, p: Any, g: Any, state: Any, step: int) -> None:
        before = p.flat.copy()
        right(train, p, g, state, step)
        p.flat[...] = before + np.asarray(times * (p.flat - before), p.flat.dtype)

    return change


def uphill(*names: str) -> Callable[..., None]:
    """Some parameters that go the other way."""

    def change(right: Any, train: Any, p: Any, g: Any, state: Any, step: int) -> None:
        before = {name: getattr(p, name).copy() for name in names}
        right(train, p, g, state, step)
        for name, old in before.items():
            getattr(p, name)[...] = 2 * old - getattr(p, name)

    return change


def last_gradient(right: Any) -> Any:
    kept: dict[str, Any] = {}

    def change(train: Any, p: Any, g: Any, state: Any, step: int) -> None:
        mine = g.flat.copy()
        g.flat[...] = kept.get("g", mine)
        kept["g"] = mine
        right(train, p, g, state, step)

    return change


def frozen(right: Any, train: Any, p: Any, g: Any, state: Any, step: int) -> None:
    old = p.C.copy()
    right(train, p, g, state, step)
    p.C[...] = old


def adam_text(old: str, new: str, words: str) -> Bug:
    return Bug(optim, "adam", rewritten(old, new), "adamw", f"the update is not what | adam in optim.py | {words}")


def decayed(old: str, new: str, words: str) -> Bug:
    return Bug(optim, "update", rewritten(old, new), "adamw", f"the update is not what | weight decay {words}")


DECAY = "np.multiply(p.matrices, 1 - rate * train.weight_decay, out=p.matrices)"
VELOCITY = "np.multiply(velocity, keep, out=velocity)"
UPDATES = [
    update(lambda right, *given: None, "plain", "never applied"),
    update(gone(0.5), "plain", "sgd | 0.5 times"),
    update(gone(10), "plain", "sgd | 10 times"),
    update(gone(-1), "dropout", "sgd | uphill"),
    update(gone(2), "adamw", "adam | 2 times"),
    update(gone(1 / 16), "plain", "sgd | 0.0625 times"),
    update(uphill("b1", "b2"), "plain", "sgd | b1 moved turned round in sign, b2"),
    update(uphill("C"), "plain", "sgd | C moved turned round in sign"),
    update(frozen, "plain", "sgd | C did not move"),
    rule("sgd", lambda p, g, rate: np.subtract(p, np.asarray(rate * np.sign(g), p.dtype), out=p), "plain",
         "sgd | sign of the gradient"),
    rule("sgd", lambda p, g, rate: np.add(p, np.asarray(rate * g, p.dtype), out=p), "plain", "sgd | uphill"),
    rule("sgd", lambda p, g, rate: np.subtract(p, np.asarray(rate * g / np.linalg.norm(g), p.dtype), out=p), "plain",
         "sgd | norm"),
    rule("sgd", lambda p, g, rate: np.subtract(p, np.asarray(rate * np.clip(g, -0.001, 0.001), p.dtype), out=p), "plain",
         "sgd | cut off at 0.001"),
    rule("sgd", lambda p, g, rate: np.subtract(p, (rate * g).astype("f2").astype(p.dtype), out=p), "plain", "sgd"),
    rule("sgd", lambda p, g, rate: np.subtract(p, np.asarray(rate * g[::-1], p.dtype), out=p), "plain",
         "sgd | not along this step's gradient"),
    Bug(optim, "update", last_gradient, "plain", "the update is not what | sgd | gradient"),
    Bug(optim, "momentum", rewritten(VELOCITY, "velocity *= -keep"), "momentum", "velocity is wrong | wrong sign"),
    Bug(optim, "momentum", rewritten(VELOCITY, "velocity /= keep"), "momentum", "velocity is wrong | divided"),
    Bug(optim, "momentum", rewritten(VELOCITY, "velocity *= 0"), "momentum", "velocity is wrong | cleared"),
    Bug(optim, "momentum", rewritten(VELOCITY, "pass"), "momentum", "velocity is wrong | does not fade"),
    Bug(optim, "momentum", rewritten("np.add(velocity, g,", "np.add(velocity, (1 - keep) * g,"), "momentum",
        "velocity is wrong | averaged"),
    Bug(optim, "momentum", rewritten("np.add(velocity, g,", "np.subtract(velocity, g,"), "momentum",
        "velocity is wrong | taken off"),
    Bug(optim, "momentum", rewritten("np.multiply(velocity, rate,", "np.multiply(g, rate,"), "momentum",
        "sgd | velocity is not used"),
    Bug(optim, "momentum", rewritten("np.multiply(velocity, rate,", "np.multiply(g + keep * velocity, rate,"), "momentum",
        "sgd | Nesterov"),
    Bug(optim, "momentum", rewritten("np.subtract(p, g, out=p)", "np.add(p, g, out=p)"), "momentum", "sgd | uphill"),
    adam_text("(1 - beta1) / (1 - beta1 ** (step + 1))", "(1 - beta1)", "mean has no bias correction"),
    adam_text("(1 - beta2) / (1 - beta2 ** (step + 1))", "(1 - beta2)", "mean square has no bias correction"),
    adam_text("np.divide(m, move, out=move)", "np.divide(m * 0 + m.mean(), move, out=move)", ""),
    adam_text("np.multiply(m, beta1, out=m)", "m *= 0", "m is wrong | cleared"),
    adam_text("np.add(m, g, out=m)", "np.subtract(m, g, out=m)", "m is wrong | taken off"),
    adam_text("np.multiply(v, beta2, out=v)", "v *= beta1", "v is wrong | beta1 stands where beta2"),
    adam_text("np.multiply(g, g, out=g)", "np.abs(g, out=g)", "v is wrong | |g| stands"),
    adam_text("np.sqrt(v, out=g)", "np.multiply(v, 1, out=g)", ""),
    adam_text("np.add(move, eps / root_factor, out=move)", "np.add(move, 1e-3, out=move)", ""),
    adam_text("np.subtract(p, move, out=p)", "np.add(p, move, out=p)", "uphill"),
    decayed(DECAY, DECAY.replace("1 - rate", "1 + rate"), "has the wrong sign"),
    decayed(DECAY, DECAY.replace("p.matrices", "p.flat"), "reaches the biases too"),
    decayed(DECAY, DECAY.replace("rate * ", ""), "leaves out the rate"),
    decayed(DECAY, "pass", "is missing"),
    decayed(DECAY, f"{DECAY}; {DECAY}", "was applied twice"),
    Bug(optim, "update", rewritten("rate = learning_rate(train, step)", "rate = learning_rate(train, step + 1)"), "plain",
        "learning_rate in optim.py | step after"),
    Bug(optim, "update", rewritten("rate = learning_rate(train, step)", "rate = learning_rate(train, max(0, step - 1))"),
        "plain", "learning_rate in optim.py | step before"),
    Bug(optim, "learning_rate", rewritten("math.cos(math.pi / 2 * done) ** 2", "math.sin(math.pi / 2 * done) ** 2"),
        "plain", "the update is not what"),
    Bug(optim, "learning_rate", rewritten("math.cos(math.pi / 2 * done) ** 2", "math.cos(math.pi / 2 * done)"), "plain",
        "learning_rate in optim.py | not squared"),
    Bug(optim, "learning_rate", rewritten("math.cos(math.pi / 2 * done) ** 2", "1.0"), "plain",
        "learning_rate in optim.py"),
    Bug(optim, "learning_rate", rewritten("(step + 1) / train.warmup", "(step + 2) / train.warmup"), "warmup",
        "learning_rate in optim.py | step after"),
    Bug(optim, "learning_rate", rewritten("if step < train.warmup_steps", "if False"), "warmup", "optim.py"),
    Bug(optim, "learning_rate", rewritten("0.1**drops", "0.5**drops"), "steps", "optim.py"),
    Bug(optim, "learning_rate", rewritten("2 * step >= train.steps", "3 * step >= train.steps"), "steps", "optim.py"),
]  # fmt: skip

# Evaluation, and the start.

SHOWN = "evaluation of the"
EVALUATION = [
    Bug(threads, "example_losses", once(lambda losses: losses * 0.5), "plain", f"{SHOWN} | 0.5 times"),
    Bug(threads, "example_losses", once(lambda losses: losses / np.log(2)), "plain", f"{SHOWN} | bits"),
    Bug(threads, "mean_loss", once(lambda loss: -loss), "plain", f"{SHOWN} | sign"),
    Bug(threads, "mean_loss", once(np.exp), "plain", f"{SHOWN} | perplexity"),
    Bug(threads, "example_losses", lambda right: lambda p, sizes, corpus, at: right(p, sizes, corpus, at - 1), "stream",
        SHOWN),
    Bug(threads, "example_losses", rewritten("sizes.K))", "sizes.K), h_mask=np.float32(np.random.default_rng(0).random(("
        "len(positions), sizes.H)) > 0.3) / np.float32(0.7))"), "dropout", f"{SHOWN} | dropout left on"),
    Bug(threads, "example_losses", rewritten("sizes.K))", "sizes.K)[::-1][::-1], h_mask=np.full((len(positions), sizes.H),"
        " 0.7, np.float32))"), "dropout", SHOWN),
]  # fmt: skip

BUGS = [
    *OPERATIONS, *EMBEDDINGS, *FORWARD, *CHAIN, *SPOILED, *THREADS, *BATCHES, *MASKED, *UPDATES, *EVALUATION,
]  # fmt: skip
