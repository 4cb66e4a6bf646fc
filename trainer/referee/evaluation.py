"""What an evaluation shows: the places it looked at, a few of their losses through the float64 pass, and their mean."""

import numpy as np

from trainer.core.model import Batch, Parameters
from trainer.core.ops import Array
from trainer.core.tolerances import loosened, unit
from trainer.core.verdict import Verdict
from trainer.mistakes.diagnosis import instead, rounding
from trainer.referee.feeding import examples_at, splits_of
from trainer.referee.forward import bounds, in_float64
from trainer.text.corpus import Corpus

FEW = 32  # losses that are computed again


def examine(
    p: Parameters, corpus: Corpus, split: str, positions: Array, losses: Array, shown: float, rng: np.random.Generator
) -> Verdict:
    """The verdict `evaluation` of a split: all places lie in it, a few losses are right, and `shown` is their mean.

    positions, losses: where the text was looked at, and the loss of each example there in nats, (n,) each. shown: what
    the log says, nats. The few are drawn by `rng`.
    """
    start, end = corpus.splits[split]
    n, dtype, sizes = len(positions), p.flat.dtype, p.sizes

    def verdict(found: float, expected: float, tolerance: float, where: str = "", more: str = "") -> Verdict:
        words = f"evaluation of the {split} split is wrong: look at {where} {found:.8g}, should be {expected:.8g}{more}"
        return Verdict(
            name="evaluation", of=split, passed=not where, error=abs(found - expected), tolerance=tolerance,
            found=found, expected=expected, count=n, words=words if where else None,
        )  # fmt: skip

    distinct = len(np.unique(positions[(positions >= start) & (positions < end)]))
    if distinct < n:
        where = "evaluate in session.py: distinct places of the split"
        return verdict(distinct, n, 0.0, where, f"; {splits_of(corpus, positions)}")
    if losses.shape != (n,):
        return verdict(losses.size, n, 0.0, "losses in threads.py: losses of its places")

    few = np.sort(rng.permutation(n)[:FEW])
    examples = examples_at(corpus, positions[few], sizes.K)
    x = in_float64(p, Batch(examples[:, :-1], examples[:, -1]))
    right, found = x["loss"], losses[few].astype(np.float64)
    bound = loosened(rounded(p, x), right, dtype)
    off = np.flatnonzero(~(np.abs(found - right) <= bound) & np.isfinite(bound))
    if len(off):
        k, where = off[0], f"losses in threads.py: at place {positions[few[off[0]]]}"
        done = instead(found, right, [], rounding(dtype), sizes=(1, sizes.V, sizes.K))
        more = done or "is dropout left on, or are other parameters taken?"
        return verdict(float(found[k]), float(right[k]), float(bound[k]), where, f"; {more}")
    mean = float(losses.mean(dtype=np.float64))
    tolerance = 1e-9 * (1 + abs(mean))
    wrong = np.isfinite(mean) and not abs(shown - mean) <= tolerance
    return verdict(shown, mean, tolerance, f"evaluate in session.py: the mean of {n} losses" if wrong else "")


def rounded(p: Parameters, x: dict[str, Array]) -> Array:
    """How far rounding may take the losses of training: (n,).

    Rounding of z and of tanh moves h by at most off_h; that moves a logit by off_h @ |W2|, its own rounding more.
    Logits that are off by so much move the loss by at most twice that.
    """
    own = bounds(p, x, unit(p.flat.dtype))
    off_h = np.minimum(own["z"], 2) + own["h"]  # (n, H)
    off_logits = off_h @ np.abs(p.W2) + own["logits"]  # (n, V)
    return np.asarray(2 * off_logits.max(axis=1) + own["loss"])
