"""The links of the chain as data: what each tensor is made from, by which operation and formula, and why."""

from collections.abc import Callable
from inspect import signature
from typing import Any, NamedTuple

import numpy as np


class Forward(NamedTuple):
    """How a tensor of the forward pass comes about."""

    operation: str
    formula: str


FORWARD = {
    "emb": Forward("embedding", "emb = C[contexts], side by side"),
    "z": Forward("affine", "z = emb · W1 + b1"),
    "h": Forward("tanh", "h = tanh(z)"),
    "logits": Forward("affine", "logits = h · W2 + b2"),
    "loss": Forward("softmax and cross_entropy", "loss = mean of -log softmax(logits)[target]"),
}


class Link(NamedTuple):
    """A link of the chain rule: the gradient of one tensor."""

    needs: tuple[str, ...]  # the links before it that a message calls right or wrong; the last one's gradient comes in
    shape: str  # of the tensor and of its gradient
    backward: str  # the operation that makes it
    forward: str  # what that is the derivative of
    formula: str
    words: str  # why
    right: Callable[..., Any]  # the formula; its arguments name what it takes, as in mistakes/table.txt
    dropout: str = ""  # the formula where a mask of dropout stands between

    @property
    def takes(self) -> tuple[str, ...]:
        return tuple(signature(self.right).parameters)


PRODUCT = "a product gives each factor the other's value"
SUM = "a sum passes the gradient through"
LINKS = {
    "logits": Link((), "(B, V)", "softmax_cross_entropy_backward", "softmax, cross_entropy",
        "dlogits = (p - y) / B", "a logit is pushed down by its p, and at the target up by 1",
        lambda p, y, B: (p - y) / B),
    "h": Link(("logits",), "(B, H)", "affine_backward_input", "affine",
        "dh = dlogits · W2ᵀ", PRODUCT,
        lambda dlogits, W2: dlogits @ W2.T),
    "z": Link(("logits", "h"), "(B, H)", "tanh_backward", "tanh",
        "dz = dh · (1 - h²)", "the slope of tanh is 1 where h = 0, and nearly 0 where h is close to 1 or -1",
        lambda dh, h: dh * (1 - h * h), dropout="dz = dh · mask · (1 - tanh²)"),
    "emb": Link(("h", "z"), "(B, K*D)", "affine_backward_input", "affine",
        "demb = dz · W1ᵀ", PRODUCT,
        lambda dz, W1: dz @ W1.T),
    "W2": Link(("logits",), "(H, V)", "affine_backward_weight", "affine",
        "dW2 = hᵀ · dlogits", PRODUCT,
        lambda h, dlogits: h.T @ dlogits),
    "b2": Link(("logits",), "(V,)", "affine_backward_bias", "affine",
        "db2 = sum of dlogits over the batch", SUM,
        lambda dlogits: dlogits.sum(axis=0)),
    "W1": Link(("z",), "(K*D, H)", "affine_backward_weight", "affine",
        "dW1 = embᵀ · dz", PRODUCT,
        lambda emb, dz: emb.T @ dz),
    "b1": Link(("z",), "(H,)", "affine_backward_bias", "affine",
        "db1 = sum of dz over the batch", SUM,
        lambda dz: dz.sum(axis=0)),
    "C": Link(("z", "emb"), "(V, D)", "embedding_backward", "embedding",
        "dC[v] = sum of demb where v stands", "a character gathers from all the places where it stands",
        lambda demb, X, V, D: (X.reshape(-1) == np.arange(V)[:, None]) @ demb.reshape(-1, D),
        dropout="dC[v] = sum of demb · mask where v stands"),
}  # fmt: skip

# The order of blame, from the loss back: activations, then parameters. The first wrong one is the broken link.
ORDER = tuple(LINKS)
