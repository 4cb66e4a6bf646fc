"""What lies between right operations and a wrong gradient: writing into what was given, and the sum over threads."""

import numpy as np

from trainer.core.model import NAMES
from trainer.core.ops import Array
from trainer.core.witness import Witness
from trainer.referee.forward import probe
from trainer.referee.instead import loosened, mistake, ratio, times, unit, worst


def remarks(witness: Witness) -> list[str]:
    """Sentences that explain a wrong gradient better than the operation that made it; empty where there are none."""
    affine = probe(witness)
    return [*witness.changed, *([affine] if affine else []), *wrong_sums(witness)]


def wrong_sums(witness: Witness) -> list[str]:
    """The gradients of the parameters against the sum of those that the threads left behind."""
    dtype = witness.before.flat.dtype
    wrong = []
    for name in NAMES:
        parts = [seen.values["d" + name].astype(np.float64) for seen in witness.observations]
        found, right = witness.gradients[name].astype(np.float64), np.sum(parts, axis=0)
        bound = loosened(len(parts) * unit(dtype) * np.sum(np.abs(parts), axis=0), right, dtype)
        if not worst(found, right, bound).passed:
            wrong.append((name, explain(found, right, parts, bound, getattr(witness.before, name))))
    if not wrong:
        return []
    names, words = zip(*wrong, strict=True)
    said = next(filter(None, words), "")
    where = "look at gradients in threads.py, which adds up the parts"
    which = ", ".join("d" + name for name in names)
    return [f"what the threads computed and what came of it are not the same in {which}: {where}{said and ': '}{said}"]


def explain(found: Array, right: Array, parts: list[Array], bound: Array, p: Array) -> str:
    """What was done instead of a sum, where it can be told."""
    u = unit(p.dtype)
    words = mistake(
        found,
        u,
        [
            ("only the first part counts", lambda: parts[0]),
            ("only the last part counts", lambda: parts[-1]),
            ("it is the mean of the parts, not their sum", lambda: right / len(parts)),
            ("the parts are taken off each other", lambda: 2 * parts[0] - right),
            ("the last part counts twice", lambda: right + parts[-1]),
            ("the first part counts twice", lambda: right + parts[0]),
            ("it was divided by its norm", lambda: right / (np.linalg.norm(right) or 1)),
        ],
    )
    if words:
        return words
    factor = ratio(found, right, bound)
    if factor is not None:
        return f"it is {times(factor)}"
    added = ratio(found - right, p.astype(np.float64), bound + u * np.abs(found))
    if added is not None:
        return f"{added:.4g} times the parameters was added (weight decay in the gradient?)"
    wrong = np.abs(found - right) > bound
    if wrong.any() and np.ptp(np.abs(found[wrong])) < 1e-6 * np.abs(found[wrong]).max():
        return f"it was cut off at {np.abs(found[wrong]).max():.4g}"
    return f"{int(wrong.sum())} of {wrong.size} entries differ"
