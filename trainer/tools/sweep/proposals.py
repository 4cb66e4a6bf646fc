"""Which values a trial gets, and when it is hopeless: by its place and the trials it learns from, nothing else.

The trials of a sweep have the places 0, 1, 2, ... . A trial learns from the first three quarters of those before it,
and is proposed once all of these have ended. So what a sweep finds does not depend on how many processes work on it,
which of them is faster, or how often they are killed; and as many as a quarter of the trials so far can still run.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.tools.sweep.ranges import Span, distributions

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

AT_RANDOM = 10  # trials that have to have ended before any is proposed by what they found


def learns_from(place: int) -> int:
    """How many trials, from the first on, the trial at that place learns from."""
    known = place * 3 // 4
    return known if known >= AT_RANDOM else 0


def propose(spans: Mapping[str, Span], seed: int, place: int, known: "Sequence[FrozenTrial]") -> dict[str, Any]:
    """The values of a trial: drawn at random, or where the known trials were good.

    Tree-structured Parzen Estimator: Bergstra et al. 2011, Algorithms for hyper-parameter optimization.
    """
    import optuna

    own_seed = int(np.random.SeedSequence([seed, place]).generate_state(1)[0])
    sampler = optuna.samplers.TPESampler(n_startup_trials=AT_RANDOM, seed=own_seed)
    study = optuna.create_study(sampler=sampler)
    study.add_trials(known)
    return study.ask(distributions(spans)).params


def hopeless(losses: Mapping[int, float], steps: int, known: "Sequence[FrozenTrial]") -> bool:
    """Whether a trial is to be pruned after these validation losses, by step, of `steps` in all.

    It is if its best loss so far is worse than the median of the known trials at the same step, though not in the first
    fifth of its steps, where what holds a model back makes it slow too.
    """
    import optuna

    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_warmup_steps=steps // 5))
    study.add_trials(known)
    trial = study.ask()
    for step, loss in losses.items():
        trial.report(loss, step)
    return trial.should_prune()
