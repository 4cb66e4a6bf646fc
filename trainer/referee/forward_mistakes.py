"""Known mistakes of the forward pass, one operation at a time: in words, and what each of them gives."""

import math
from collections.abc import Iterator

import numpy as np

from trainer.core.model import Batch
from trainer.core.ops import Array
from trainer.core.witness import Witness
from trainer.referee.instead import Mistake
from trainer.referee.plain import dropped, embed, losses


def known(witness: Witness, tensor: str) -> Iterator[Mistake]:
    """Known mistakes of one operation."""
    p, batch = witness.before, witness.batch
    seen = {name: array.astype(np.float64) for name, array in witness.forward.items()}
    W1, b1, W2, b2 = (array.astype(np.float64) for array in (p.W1, p.b1, p.W2, p.b2))
    match tensor:
        case "emb":
            yield from known_embeddings(p.C.astype(np.float64), batch)
        case "z":
            plain = embed(p.C.astype(np.float64), batch.contexts)
            yield from known_affine(seen["emb"], W1, b1)
            yield "emb was taken before dropout", lambda: plain @ W1 + b1
        case "h":
            yield from known_activations(seen["z"], batch.h_mask)
        case "logits":
            yield from known_affine(seen["h"], W2, b2)
            yield "h was taken before dropout", lambda: np.tanh(seen["z"]) @ W2 + b2
            yield "z stands where h belongs", lambda: seen["z"] @ W2 + b2
        case "loss":
            for words, each in known_losses(seen["logits"], batch.targets):
                yield words, lambda each=each: np.asarray(each()).mean(keepdims=True)  # type: ignore[misc]


def known_embeddings(C: Array, batch: Batch) -> Iterator[Mistake]:
    contexts, mask = batch.contexts, batch.emb_mask
    right = embed(C, contexts)
    if mask is not None:
        yield from known_masks(right, mask)
    yield "the context was reversed", lambda: dropped(embed(C, contexts[:, ::-1]), mask)
    yield "character 0 was read everywhere", lambda: dropped(embed(C, 0 * contexts), mask)
    yield "the context of another example was read", lambda: dropped(embed(C, np.roll(contexts, 1, axis=0)), mask)
    yield "the context of another example was read", lambda: dropped(embed(C, np.roll(contexts, -1, axis=0)), mask)
    yield (
        "the numbers of a row were laid out in the wrong order",
        lambda: dropped(C[contexts].transpose(0, 2, 1).reshape(right.shape), mask),
    )
    yield "the row after each character's was read", lambda: dropped(embed(np.roll(C, -1, axis=0), contexts), mask)
    yield "the target was read too", lambda: dropped(embed(C, np.column_stack([contexts[:, 1:], batch.targets])), mask)


def known_affine(x: Array, W: Array, b: Array) -> Iterator[Mistake]:
    right = x @ W
    yield "the bias is missing", lambda: right
    yield "the bias was taken off", lambda: right - b
    yield "the bias was added twice", lambda: right + 2 * b
    yield "the product was doubled", lambda: 2 * right + b
    yield "the product has the wrong sign", lambda: b - right
    yield "the product is missing", lambda: 0 * right + b
    yield "the input was squared", lambda: (x * x) @ W + b
    yield "the input lost its signs", lambda: np.abs(x) @ W + b
    yield "the input of another example was taken", lambda: np.roll(x, 1, axis=0) @ W + b
    yield "the input was reversed", lambda: x[:, ::-1] @ W + b
    yield "the weights were transposed", lambda: x @ W.T + b if W.shape[0] == W.shape[1] else np.zeros(0)
    yield "the weights lost their signs", lambda: x @ np.abs(W) + b
    yield "the product was divided by its number of inputs", lambda: right / len(W) + b
    yield "the output was cut off below zero", lambda: np.maximum(right + b, 0)


def known_activations(z: Array, mask: Array | None) -> Iterator[Mistake]:
    right = np.tanh(z)
    if mask is not None:
        yield from known_masks(right, mask)
        yield "dropout came before tanh", lambda: np.tanh(dropped(z, mask))
    yield "there is no tanh", lambda: dropped(z, mask)
    yield "tanh was taken of 2 z", lambda: dropped(np.tanh(2 * z), mask)
    yield "tanh was taken twice", lambda: dropped(np.tanh(right), mask)
    yield "the logistic function stands in for tanh", lambda: dropped(0.5 + 0.5 * np.tanh(z / 2), mask)
    yield "ReLU stands in for tanh", lambda: dropped(np.maximum(z, 0), mask)
    yield "sin stands in for tanh", lambda: dropped(np.sin(z), mask)
    yield "arctan stands in for tanh", lambda: dropped(np.arctan(z), mask)
    yield "z / (1 + |z|) stands in for tanh", lambda: dropped(z / (1 + np.abs(z)), mask)
    yield "z was cut off at -1 and 1", lambda: dropped(np.clip(z, -1, 1), mask)


def known_masks(x: Array, mask: Array) -> Iterator[Mistake]:
    m = mask.astype(np.float64)
    yield "the mask was not applied", lambda: x
    yield "the mask was applied twice", lambda: x * m * m
    yield "what is kept was not scaled by 1 / (1 - rate)", lambda: x * (m > 0)
    yield "what should be kept was dropped", lambda: x * (m == 0)
    yield "the mask of another example was applied", lambda: x * m[::-1]
    yield "the mask of another example was applied", lambda: x * np.roll(m, 1, axis=0)
    yield "the mask was added", lambda: x + m


def known_losses(logits: Array, targets: Array) -> Iterator[Mistake]:
    V = logits.shape[1]
    each = losses(logits, targets)  # (B,)
    top = logits.max(axis=1, keepdims=True)  # (B, 1)
    total = np.exp(logits - top).sum(axis=1)  # (B,)
    shown = (logits - top)[np.arange(len(targets)), targets]  # (B,), log of the target's exp

    def of(others: Array) -> Array:
        return losses(logits, others % V)

    yield "it is the sum over the batch, not the mean", lambda: np.array([each.sum()])
    yield "it has the wrong sign", lambda: -each
    yield "it is in bits, not in nats", lambda: each / math.log(2)
    yield "it is divided by the number of characters, not of examples", lambda: np.array([each.sum() / V])
    yield "it is the median", lambda: np.array([np.median(each)])
    yield "it is the largest of the batch", lambda: np.array([each.max()])
    yield "it is that of the first example", lambda: each[:1]
    yield "it is that of the last example", lambda: each[-1:]
    yield "it is that of another example's target", lambda: of(np.roll(targets, 1))
    yield "it is that of another example's target", lambda: of(np.roll(targets, -1))
    yield "it is that of the character after the target", lambda: of(targets + 1)
    yield "it is that of the character before the target", lambda: of(targets - 1)
    yield "it is that of character 0", lambda: of(0 * targets)
    yield "log(1 + sum of exps) stands where log(sum) belongs", lambda: np.log1p(total) - shown
    yield "the logarithm of the sum is missing", lambda: -shown
    yield "the logarithm of the sum counts half", lambda: 0.5 * np.log(total) - shown
    yield "the target's logit is missing", lambda: np.log(total)
    yield "the logarithm is missing: it is 1 - p", lambda: 1 - np.exp(-each)
    yield "the logarithm is missing: it is -p", lambda: -np.exp(-each)
    yield "the logarithm was taken to base 2", lambda: np.log2(total) - shown
    yield (
        "the softmax ran over the batch",
        lambda: (
            np.log(np.exp(logits - logits.max(axis=0)).sum(axis=0)[targets])
            - (logits - logits.max(axis=0))[np.arange(len(targets)), targets]
        ),
    )
    yield "exp was taken of twice the logits", lambda: np.log(np.exp(2 * (logits - top)).sum(axis=1)) - shown
    yield "2 to the logits stands where exp belongs", lambda: np.log(np.exp2(logits - top).sum(axis=1)) - shown
    yield "a temperature of 2 was applied", lambda: losses(logits / 2, targets)
