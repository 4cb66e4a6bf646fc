"""Bugs between the operations: the chain, writing into what was given, the sum over the threads."""

from typing import Any

import numpy as np

from planted.forward import Z
from planted.operations import BIAS, DC, DH, DW2, DZ, INPUT, LOGITS, TANH, WEIGHT
from planted.planting import Bug, Wrong, added, clip, once, rewritten
from trainer.core import model, ops
from trainer.runs import threads

# The chain, and what an operation does to what it was given.

BACKWARD = "backward"


def chain(name: str, old: str, new: str, setting: str, words: str) -> Bug:
    return Bug(model, name, rewritten(old, new), setting, words)


CHAIN = [
    chain("forward", "room.emb, p.W1, p.b1, room", "room.emb, p.W1, 0 * p.b1, room", "plain", f"{Z} | bias is missing"),
    chain(
        "forward",
        "ops.affine(room.h, p.W2",
        "ops.affine(room.hidden, p.W2",
        "dropout",
        "logits is wrong | before dropout",
    ),
    chain(
        "forward",
        "ops.affine(room.h, p.W2",
        "ops.affine(np.roll(room.h, 1, 0), p.W2",
        "plain",
        "logits is wrong | another example",
    ),
    chain(
        "forward",
        "p.W2, p.b2, room.logits",
        "p.W2, -p.b2, room.logits",
        "plain",
        "logits is wrong | bias was taken off",
    ),
    chain(
        "forward",
        "ops.dropout(room.hidden, batch.h_mask",
        "ops.dropout(room.hidden, batch.h_mask > 0",
        "dropout",
        "h is wrong | dropout | not scaled",
    ),
    chain("forward", "if batch.h_mask is None else", "if True else", "dropout", "h is wrong | dropout | not applied"),
    chain(
        BACKWARD,
        "ops.affine_backward_weight(room.h, dlogits",
        "ops.affine_backward_weight(room.hidden, dlogits",
        "dropout",
        DW2,
    ),
    chain(BACKWARD, "affine_backward_weight(room.h,", "affine_backward_weight(np.arctanh(room.h),", "plain", DW2),
    chain(BACKWARD, "dlogits, p.W2, room.dh)", "dlogits, np.sign(p.W2), room.dh)", "plain", DH),
    chain(BACKWARD, "dlogits, p.W2, room.dh)", "dlogits, p.W2 - g.W2, room.dh)", "plain", DH),
    chain(BACKWARD, "dlogits, p.W2, room.dh)", "dlogits, p.W2, room.dh) + p.b2 @ p.W2.T", "plain", DH),
    chain(BACKWARD, "(dtanh, room.hidden, room.dz)", "(dtanh, room.h, room.dz)", "dropout", DZ),
    chain(BACKWARD, "dh if batch.h_mask is None else", "dh if True else", "dropout", "dz is wrong | dropout_backward"),
    chain(
        BACKWARD, "affine_backward_bias(dz, g.b1)", "affine_backward_bias(dh, g.b1)", "plain", f"db1 is wrong | {BIAS}"
    ),
    chain(
        BACKWARD,
        "affine_backward_bias(dz, g.b1)",
        "affine_backward_bias(dz[1:], g.b1)",
        "plain",
        f"db1 is wrong | {BIAS}",
    ),
    chain(BACKWARD, "(room.emb, dz, g.W1)", "(room.emb, dh, g.W1)", "plain", f"dW1 is wrong | {WEIGHT}"),
    chain(
        BACKWARD,
        "(room.emb, dz, g.W1)",
        "(p.C[batch.contexts].reshape(room.emb.shape), dz, g.W1)",
        "dropout",
        f"dW1 is wrong | {WEIGHT}",
    ),
    chain(BACKWARD, "(dz, p.W1, room.demb)", "(dh, p.W1, room.demb)", "dropout", f"demb is wrong | {INPUT}"),
    chain(BACKWARD, "(dz, p.W1, room.demb)", "(dz, p.W1[::-1], room.demb)", "large V", f"demb is wrong | {INPUT}"),
    chain(
        BACKWARD,
        "demb if batch.emb_mask is None else",
        "demb if True else",
        "dropout",
        "dC is wrong | dropout_backward",
    ),
    chain(
        BACKWARD,
        ".reshape(*batch.contexts.shape, D), batch.contexts, V",
        ".reshape(*batch.contexts.shape, D), np.roll(batch.contexts, 1, 0), V",
        "dropout",
        DC,
    ),
]


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
