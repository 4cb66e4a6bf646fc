"""What else can be wrong in a step, beside its gradients: each part of it against a plain transcription of what it is.

Slow and obvious on purpose, in float64, and never the code that trains: `batch` (what the step was fed), `dropout` (its
masks), `forward` (its tensors and its loss), `update` (its move) and `evaluation`; `slopes` sees all nine gradients at
the price of a few forward passes, and `start` looks at the model before its first step.
"""

from dataclasses import replace

import numpy as np

from trainer.config import Config
from trainer.core import checks, numerical
from trainer.core.numerical import Mapper
from trainer.core.verdicts import Verdict
from trainer.core.witness import Witness
from trainer.referee import batch, dropout, forward, slopes, update
from trainer.text.corpus import Corpus


def examine(
    witness: Witness,
    corpus: Corpus,
    config: Config,
    rng: np.random.Generator,
    seen: dict[int, int],
    mapper: Mapper = map,
) -> list[Verdict]:
    """All that is checked of a step but the first loss: verdicts in the order in which blame is laid.

    `seen` remembers the batches and masks of the steps before, and is empty at first.
    """
    forward_rows = forward.examine(witness)
    if all(row.passed for row in forward_rows) and not np.isfinite(witness.forward["logits"]).all():
        # The numbers are too large for their type: training diverges, and nothing can be compared.
        return [*forward_rows]
    fed = [batch.examine(witness, corpus, rng, seen), *dropout.examine(witness, config, seen)]
    if dropout.misshapen(witness):
        return [*forward_rows, *fed]
    at = numerical.point(witness.before, witness.batch, witness.sizes)
    return [
        *forward_rows,
        *fed,
        checks.sum_to_zero(witness.gradients["logits"]),
        *gradient_rows(witness, at, config, rng, mapper),
        update.examine(witness, at, config.train),
    ]


def gradient_rows(
    witness: Witness, at: numerical.Point, config: Config, rng: np.random.Generator, mapper: Mapper
) -> list[Verdict]:
    """The rows `gradient` and what goes with them; slopes where those are asked for, and everything if one is wrong."""
    check, by_hand = config.check, witness.gradients
    if check.coordinates == "directions":
        rows = slopes.examine(at, by_hand, check, config.model.dtype, rng)
        if all(row.passed for row in rows):
            return [*rows]
        check = replace(check, coordinates="all")
    return checks.check_gradients(at, by_hand, check, config.model.dtype, rng, mapper)
