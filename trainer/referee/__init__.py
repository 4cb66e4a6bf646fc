"""What else can be wrong in a step, beside its gradients: each part of it against a plain transcription of what it is.

Slow and obvious on purpose, in float64, and not the code that trains, which runs again only to find whose fault it is:
`feeding` (batch and dropout masks, and over a run how they are drawn), `forward` (tensors and loss, and those of an
evaluation), `update` (the move). Here all are called, in the order of blame.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from trainer.config import Check, Config
from trainer.core import checks, numerical
from trainer.core.links import FORWARD, LINKS, ORDER
from trainer.core.numerical import Mapper, Point
from trainer.core.ops import Array
from trainer.core.step import Step
from trainer.core.tolerances import tolerances
from trainer.core.verdict import Verdict, compare
from trainer.mistakes.blame import of_descent, of_gradient, of_sum, once_more
from trainer.mistakes.diagnosis import rounding
from trainer.referee.feeding import Spread, check_batch, check_masks
from trainer.referee.forward import check_forward
from trainer.referee.update import check_update
from trainer.text.corpus import Corpus

BLIND = 0.1  # a tolerance that is such a share of a gradient judges nothing


def examine(
    step: Step, corpus: Corpus, config: Config, rng: np.random.Generator, seen: Spread, mapper: Mapper = map,
) -> list[Verdict]:  # fmt: skip
    """All that is checked of a step but the first loss: verdicts in the order in which blame is laid.

    `seen` remembers what earlier steps drew; `mapper` makes the passes of the numerical gradients.
    """
    fed = [check_batch(step.batch, corpus, config.train, seen, step.number)]
    fed += check_masks(step.batch, step.before, config.train, seen)
    if not all(verdict.passed for verdict in fed):
        return fed  # it may have ids that there are not, or masks of another shape
    forward = check_forward(step)
    if all(verdict.passed for verdict in forward) and not np.isfinite(step.forward["logits"]).all():
        return [*fed, *forward]  # too large for their type: training diverges, and nothing else can be compared
    at = numerical.point(step.before, step.batch)
    derivatives = check_derivatives(step, at, config, rng, mapper)
    check_types(step, forward, derivatives)
    return [*fed, *forward, *derivatives, check_update(step, at, config.train), *seen.verdicts()]


def check_types(step: Step, forward: Sequence[Verdict], gradients: Sequence[Verdict]) -> None:
    """Fail what is of another type than the parameters: NumPy goes on with it, slower or less exact."""
    dtype = step.g.flat.dtype
    for links, arrays, verdicts in (FORWARD, step.forward, forward), (LINKS, step.gradients, gradients):
        for verdict in verdicts:
            made = arrays.get(str(verdict.of))
            if verdict.passed and made is not None and made.dtype != dtype:
                verdict.passed = False
                verdict.words = f"{links[str(verdict.of)].formula} is of type {made.dtype}, should be {dtype}"


def check_derivatives(step: Step, at: Point, config: Config, rng: np.random.Generator, mapper: Mapper) -> list[Verdict]:
    """The verdicts `sum_to_zero`, `gradient` of nine tensors, and `descent`; what failed says what is wrong."""
    check_by = partial(checks.check_gradients, at, step.gradients, dtype=config.model.dtype, rng=rng, mapper=mapper)
    *found, descent = misjudged(at, config, step.gradients, check_by)
    gradients = dict(zip(ORDER, found, strict=True))
    if len(step.passes) > 1:
        for name, right in once_more(step).items():  # the parts of the batch one after the other
            most = rounding(right.dtype) * np.abs(right).max()
            again = compare("gradient", step.gradients[name], right, most, name)
            if not again.passed:
                gradients[name] = again
    wrong = [name for name, verdict in gradients.items() if not (verdict.passed or verdict.words)]
    for name in wrong:
        gradients[name].words = of_gradient(gradients[name], step, wrong)
    if not descent.passed:
        descent.words = of_descent(descent, wrong)
    return [check_sum(step), *gradients.values(), descent]


def check_sum(step: Step) -> Verdict:
    """The verdict `sum_to_zero`, which is made in every run."""
    verdict = checks.check_sum_to_zero(step.gradients["logits"].astype(step.g.flat.dtype))
    if not verdict.passed:
        verdict.words = of_sum(verdict, step)
    return verdict


def misjudged(
    at: Point, config: Config, by_hand: dict[str, Array], check_by: Callable[[Check], list[Verdict]]
) -> list[Verdict]:  # fmt: skip
    """The verdicts on gradients and descent, with words where eps, rtol or atol, given or automatic, are to blame."""
    check, dtype = config.check, config.model.dtype
    verdicts, auto = check_by(check), replace(check, eps="auto", rtol="auto", atol="auto")
    written = [key for key in ("eps", "rtol", "atol") if getattr(check, key) != "auto"]
    given = ", ".join(f"check.{key}={getattr(check, key):g}" for key in written)
    if given and not all(verdict.passed for verdict in verdicts):
        again = check_by(replace(auto, coordinates="all"))
        if not all(verdict.passed for verdict in again):
            return again
        for verdict in verdicts:
            if not verdict.passed:
                said = f"d{verdict.of} is off by {verdict.error:.1e} of {abs(verdict.expected):.1e}, as rounding may do"
                verdict.words = f"{said}: {given} is too strict for {dtype}; give auto, or model.dtype=float64"
        return [*verdicts[:-1], again[-1]]
    slopes = check.coordinates == "directions"

    def shares(by: Check) -> dict[str, float]:
        """The tolerance of each gradient as a share of its size."""
        tol = tolerances(at, by, dtype, slopes)
        sizes = {name: np.sqrt((g * g).mean()) if slopes else abs(g).max() for name, g in by_hand.items()}
        return {name: tol.rtol[name] + tol.atol[name] / (size or np.inf) for name, size in sizes.items()}

    least = shares(auto)
    most = shares(check) if given else least
    for name, verdict in zip(ORDER, verdicts, strict=False):
        blind = f"the check of d{name} sees nothing"
        if least[name] < BLIND and most[name] >= 2 * BLIND:
            verdict.passed, verdict.words = False, f"{blind} at {given}, and passes an error of a tenth; give auto"
        elif verdict.passed and least[name] > 1:
            verdict.words = f"{blind}: rounding in {dtype} may be as large as it is; model.dtype=float64 shows more"
    return verdicts
