"""The model before its first step: what lets it learn nothing, or next to nothing, in words."""

import numpy as np

from trainer.core.witness import Witness


def warnings(witness: Witness) -> list[str]:
    """Sentences about the first step, which is watched in every run; empty for a sound start."""
    z, p = witness.forward["z"], witness.before
    said = []
    if not np.any(p.W1):
        said.append("W1 is all zero at the start: the hidden layer does not see its input, and C gets no gradient")
    if not np.any(p.W2):
        said.append("W2 is all zero at the start: the hidden layer gets no gradient at the first step")
    if not np.any(p.C):
        said.append("C is all zero at the start: every character looks the same, and W1 gets no gradient")
    share = float((np.abs(np.tanh(z)) > 0.99).mean())
    if share > 0.5:
        said.append(
            f"{share:.0%} of the hidden units are saturated at the start (|tanh| > 0.99), where its slope is nearly 0:"
            " W1 or C is too large"
        )
    return said
