"""What an evaluation shows: the places it looked at, a few of their losses through the float64 pass, and their mean."""

from dataclasses import replace

import numpy as np

from trainer.core.model import Batch, Parameters
from trainer.core.ops import Array
from trainer.core.tolerances import loosened, machine_epsilon
from trainer.core.verdict import Verdict, compare
from trainer.mistakes.diagnosis import instead, rounding
from trainer.referee.feeding import examples_at, splits_of
from trainer.referee.forward import bounds, in_float64
from trainer.text.corpus import Corpus

FEW = 32  # losses that are computed again


def check_evaluation(
    p: Parameters, corpus: Corpus, split: str, positions: Array, losses: Array, shown: float, rng: np.random.Generator
) -> Verdict:
    """The verdict `evaluation` of a split: all positions (n,) lie in it, a few losses (n,) and `shown` are right."""
    (start, end), n, dtype = corpus.splits[split], len(positions), p.flat.dtype
    distinct = len(np.unique(positions[(positions >= start) & (positions < end)]))
    where = f"evaluate in session.py, distinct places of the split ({splits_of(corpus, positions)})"
    verdict = compare("evaluation", distinct, n, 0, split)
    if verdict.passed:
        where = "losses in threads.py, losses of its places"
        verdict = compare("evaluation", losses.size, n, 0, split)
    if verdict.passed:
        few = np.sort(rng.permutation(n)[:FEW])
        examples = examples_at(corpus, positions[few], p.sizes.K)
        x = in_float64(p, Batch(examples[:, :-1], examples[:, -1]))
        found, right = losses[few].astype(np.float64), x["loss"]
        done = instead(found, right, [], rounding(dtype), sizes={"B": 1, **p.sizes._asdict()})
        where = f"losses in threads.py, {done or 'is dropout on, or are other parameters taken?'}"
        verdict = compare("evaluation", found, right, loosened(rounded(p, x), right, dtype), split)
    if verdict.passed:
        mean = float(losses.mean(dtype=np.float64))
        where = f"evaluate in session.py, the mean of {n} losses"
        verdict = compare("evaluation", shown, mean, 1e-9 * (1 + abs(mean)) if np.isfinite(mean) else np.inf, split)
    numbers = f"{verdict.found:.8g}, should be {verdict.expected:.8g}"
    words = f"evaluation of the {split} split is wrong: look at {where}: {numbers}"
    return replace(verdict, count=n, words=None if verdict.passed else words)


def rounded(p: Parameters, x: dict[str, Array]) -> Array:
    """How far rounding may take the losses of training, (n,): logits that are off move a loss by at most twice that."""
    own = bounds(p, x, machine_epsilon(p.flat.dtype))
    off_h = np.minimum(own["z"], 2) + own["h"]  # (n, H)
    off_logits = off_h @ np.abs(p.W2) + own["logits"]  # (n, V)
    return np.asarray(2 * off_logits.max(axis=1) + own["loss"])
