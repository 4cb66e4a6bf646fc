"""The links of the chain rule as data: what each gradient is made from, by which operation and formula, and why."""

from typing import NamedTuple


class Link(NamedTuple):
    """A link of the chain rule: the gradient of one tensor."""

    tensor: str
    needs: tuple[str, ...]  # the links before it that a message names as right
    backward: str  # the operation that makes it
    forward: str  # what that is the derivative of
    formula: str
    words: str  # why


PRODUCT = "a product gives each factor the other's value"
LINKS = {
    link.tensor: link
    for link in (
        Link("logits", (), "softmax_cross_entropy_backward", "softmax, cross_entropy", "dlogits = (p - y) / B",
             "a logit is pushed down by its p, and at the target up by 1"),
        Link("h", ("logits",), "affine_backward_input", "affine", "dh = dlogits · W2ᵀ", PRODUCT),
        Link("z", ("logits", "h"), "tanh_backward", "tanh", "dz = dh · (1 - h²)",
             "the slope of tanh is 1 where h = 0, and nearly 0 where h is close to 1 or -1"),
        Link("emb", ("h", "z"), "affine_backward_input", "affine", "demb = dz · W1ᵀ", PRODUCT),
        Link("W2", ("logits",), "affine_backward_weight", "affine", "dW2 = hᵀ · dlogits", PRODUCT),
        Link("b2", ("logits",), "affine_backward_bias", "affine", "db2 = sum of dlogits over the batch",
             "a sum passes the gradient through"),
        Link("W1", ("z",), "affine_backward_weight", "affine", "dW1 = embᵀ · dz", PRODUCT),
        Link("b1", ("z",), "affine_backward_bias", "affine", "db1 = sum of dz over the batch",
             "a sum passes the gradient through"),
        Link("C", ("z", "emb"), "embedding_backward", "embedding", "dC[v] = sum of demb where v stands",
             "a character gathers from all the places where it stands"),
    )
}  # fmt: skip

# For each tensor that is watched, the operations that make it, and what each of them is given and must not change. What
# stands between two operations with dropout, such as tanh(z), is not watched: a change that matters shows in dz or dC.
GIVEN: dict[str, dict[str, tuple[str, ...]]] = {
    "emb": {"embedding": ("C", "contexts"), "dropout": ("emb_mask",)},
    "z": {"affine": ("emb", "W1", "b1")},
    "h": {"dropout": ("h_mask",)},  # tanh may write over z
    "logits": {"affine": ("h", "W2", "b2")},
    "dlogits": {"softmax_cross_entropy_backward": ("logits", "targets")},
    "dW2": {"affine_backward_weight": ("h", "dlogits")},
    "db2": {"affine_backward_bias": ("dlogits",)},
    "dh": {"affine_backward_input": ("dlogits", "W2")},
    "dz": {"dropout_backward": ("h_mask", "dh"), "tanh_backward": ("dh", "h")},
    "db1": {"affine_backward_bias": ("dz",)},
    "dW1": {"affine_backward_weight": ("emb", "dz")},
    "demb": {"affine_backward_input": ("dz", "W1")},
    "dC": {
        "dropout_backward": ("emb_mask", "demb"),
        "embedding_backward": ("contexts", "demb"),
    },
}
