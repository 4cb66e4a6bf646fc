"""What else can be wrong in a step, beside its gradients: each part of it against a plain transcription of what it is.

Slow and obvious on purpose, in float64, and not the code that trains: `feeding` (batch and dropout masks, and over a
run how they are drawn), `forward` (tensors and loss, and those of an evaluation), `update` (the move); `gradients` puts
the nine gradients into words and looks at the sum over threads.
"""

import numpy as np

from trainer.config import Config
from trainer.core import numerical
from trainer.core.numerical import Mapper
from trainer.core.step import Step, masks
from trainer.core.verdict import Verdict
from trainer.referee.feeding import Spread, check_batch, check_masks
from trainer.referee.forward import check_forward
from trainer.referee.gradients import check_derivatives
from trainer.referee.update import check_update
from trainer.text.corpus import Corpus


def examine(
    step: Step, corpus: Corpus, config: Config, rng: np.random.Generator, seen: Spread, mapper: Mapper = map,
) -> list[Verdict]:  # fmt: skip
    """All that is checked of a step but the first loss: verdicts in the order in which blame is laid.

    `seen` remembers what earlier steps drew; `mapper` makes the passes of the numerical gradients.
    """
    batch, x = step.batch, step.forward
    fed = [check_batch(batch, corpus, seen, step.number), *check_masks(batch, step.g.sizes, config.train, seen)]
    misshapen = any(mask.shape != x[name].shape for name, mask in masks(batch).items())
    if misshapen or batch.contexts.min() < 0 or batch.contexts.max() >= step.g.sizes.V:
        return fed  # nothing else can be computed
    forward = check_forward(step)
    if all(verdict.passed for verdict in forward) and not np.isfinite(x["logits"]).all():
        return [*forward, *fed]  # too large for their type: training diverges, and nothing else can be compared
    at = numerical.point(step.before, batch)
    gradients = check_derivatives(step, at, config, rng, mapper)
    return [*forward, *fed, *gradients, check_update(step, at, config.train), *seen.verdicts()]
