"""The rows of the table for the well-known lecture's chain, which goes through the loss in seven steps.

Names as there: logprobs, probs, counts_sum_inv, counts_sum, counts, norm_logits, logit_maxes.
"""

import numpy as np

from trainer.mistakes.table import Mistake

OF_THE_LECTURE: dict[str, tuple[Mistake, ...]] = {
    "logprobs": (
        Mistake(lambda y, B: np.full_like(y, -1 / B), "-1 / n at all places: the loss reads the target's alone"),
        Mistake(lambda y: -y, "-1 at the target: the 1/n of the mean is missing"),
    ),
    "probs": (
        Mistake(lambda dlogprobs, probs: dlogprobs * probs, "dlogprobs * probs: the slope of log x is 1/x; divided"),
        Mistake(lambda dlogprobs: dlogprobs, "dlogprobs: the slope of the logarithm is missing; / probs"),
        Mistake(lambda probs: 1 / probs, "1 / probs: the local slope alone; times dlogprobs"),
        Mistake(lambda dlogprobs, logprobs: dlogprobs / logprobs, "dlogprobs / logprobs: the slope of log x is 1/x"),
    ),
    "counts_sum_inv": (
        Mistake(lambda dprobs: dprobs.sum(1, keepdims=True), "dprobs.sum(1, keepdims=True): times counts, then sum"),
        Mistake(lambda dprobs, probs: (dprobs * probs).sum(1, keepdims=True),
                "(dprobs * probs).sum(1, keepdims=True): a product hands each factor the other one's value, counts"),
    ),
    "counts_sum": (
        Mistake(lambda counts_sum, dcounts_sum_inv: counts_sum**-2 * dcounts_sum_inv,
                "counts_sum**-2 * dcounts_sum_inv: the minus is missing"),
        Mistake(lambda counts_sum, dcounts_sum_inv: -1 / counts_sum * dcounts_sum_inv,
                "-1 / counts_sum * dcounts_sum_inv: the square is missing"),
        Mistake(lambda counts_sum, dcounts_sum_inv: np.log(counts_sum) * dcounts_sum_inv,
                "log(counts_sum) * dcounts_sum_inv: the slope of 1/x is -1/x**2, log x is not part of it"),
        Mistake(lambda counts_sum: -counts_sum**-2, "-counts_sum**-2: the local slope alone; times dcounts_sum_inv"),
        Mistake(lambda dcounts_sum_inv: -dcounts_sum_inv, "-dcounts_sum_inv: the slope of 1/x is -1/x**2"),
    ),
    "counts": (
        Mistake(lambda dprobs, counts_sum_inv: dprobs * counts_sum_inv,
                "dprobs * counts_sum_inv: the branch through counts_sum is missing; + dcounts_sum"),
        Mistake(lambda dcounts_sum, counts: dcounts_sum + np.zeros_like(counts),
                "dcounts_sum for each character: the branch through probs is missing; + dprobs * counts_sum_inv"),
        Mistake(lambda dprobs, counts_sum_inv, dcounts_sum: dprobs * counts_sum_inv - dcounts_sum,
                "dprobs * counts_sum_inv - dcounts_sum: the branches are added; the minus is in dcounts_sum"),
        Mistake(lambda dprobs, dcounts_sum: dprobs + dcounts_sum,
                "dprobs + dcounts_sum: a product hands each factor the other one's value, dprobs * counts_sum_inv"),
    ),
    "norm_logits": (
        Mistake(lambda dcounts: dcounts, "dcounts: the slope of exp is missing; times counts"),
        Mistake(lambda dcounts, norm_logits: dcounts * norm_logits,
                "dcounts * norm_logits: exp is its own slope; times counts"),
        Mistake(lambda dcounts, counts: dcounts / counts, "dcounts / counts: divided, where the slope multiplies"),
        Mistake(lambda dcounts, counts: dcounts * np.exp(counts),
                "dcounts * exp(counts): exp was taken twice; counts = exp(norm_logits)"),
    ),
    "logits": (
        Mistake(lambda dnorm_logits: dnorm_logits,
                "dnorm_logits: the branch through logit_maxes is missing; + dlogit_maxes at the maximum"),
        Mistake(lambda logits, dlogit_maxes: (logits == logits.max(1, keepdims=True)) * dlogit_maxes,
                "dlogit_maxes at the maximum: the branch through norm_logits is missing; + dnorm_logits"),
    ),
}  # fmt: skip
