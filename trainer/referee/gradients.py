"""The checks on gradients in words; whether a given eps, rtol or atol lets them see; the sum over threads once more."""

from dataclasses import replace

import numpy as np

from trainer.config import Check, Config
from trainer.core import checks
from trainer.core.numerical import Mapper, Point
from trainer.core.step import Step
from trainer.core.tolerances import tolerances
from trainer.core.verdict import Verdict, compare
from trainer.mistakes.blame import of_descent, of_gradient, of_sum, once_more
from trainer.mistakes.diagnosis import rounding

BLIND = 0.1  # a tolerance that is such a share of a gradient judges nothing


def check_derivatives(step: Step, at: Point, config: Config, rng: np.random.Generator, mapper: Mapper) -> list[Verdict]:
    """The verdicts `sum_to_zero`, `gradient` of nine tensors, and `descent`; what failed says what is wrong."""
    *gradients, descent = checks.check_gradients(at, step.gradients, config.check, config.model.dtype, rng, mapper)
    if len(step.passes) > 1:
        again = check_again(step)
        gradients = [again.get(str(each.of), each) if each.passed else each for each in gradients]
    wrong = [str(each.of) for each in gradients if not each.passed]
    unfit = misjudged(at, step, config, gradients)
    for k, verdict in enumerate(gradients):
        if words := unfit.get(str(verdict.of)) or ("" if verdict.passed else of_gradient(verdict, step, wrong)):
            gradients[k] = replace(verdict, passed=False, words=words)
    return [check_sum(step), *gradients, descent if descent.passed else replace(descent, words=of_descent(descent))]


def check_sum(step: Step) -> Verdict:
    """The verdict `sum_to_zero`, which is made in every run."""
    verdict = checks.sum_to_zero(step.gradients["logits"])
    return verdict if verdict.passed else replace(verdict, words=of_sum(verdict, step))


def check_again(step: Step) -> dict[str, Verdict]:
    """The gradients that come out otherwise when the parts of the batch are computed one after the other."""
    rtol = rounding(step.g.flat.dtype)
    verdicts = (
        compare("gradient", step.gradients[name], right, rtol * float(np.abs(right).max()), name)
        for name, right in once_more(step).items()
    )
    return {str(verdict.of): verdict for verdict in verdicts if not verdict.passed}


def misjudged(at: Point, step: Step, config: Config, verdicts: list[Verdict]) -> dict[str, str]:
    """Words for each gradient for which a given eps, rtol or atol is too wide or too narrow, where `auto` is not."""
    check, dtype = config.check, config.model.dtype
    auto = replace(check, eps="auto", rtol="auto", atol="auto")
    if check == auto:
        return {}
    written = {key: getattr(check, key) for key in ("eps", "rtol", "atol")}
    given = ", ".join(f"check.{key}={value:g}" for key, value in written.items() if value != "auto")
    seen, rounded = seen_by(at, step, auto), tolerances(at, auto, dtype)
    eps = [10.0**k for k in range(-15, -1) if seen <= seen_by(at, step, replace(check, eps=10.0**k))]
    advice = f"check.eps from {eps[0]:.0e} to {eps[-1]:.0e}" if check.eps != "auto" and eps else "auto"
    wide = f"sees nothing at {given}, and passes an error of a tenth; give {advice}"
    unseen, words = seen - seen_by(at, step, check), {}
    for verdict in verdicts:
        of, expected = str(verdict.of), abs(verdict.expected)
        if verdict.passed and of in unseen:
            words[of] = f"the check of d{of} {wide}"
        elif not verdict.passed and verdict.error <= rounded.atol[of] + rounded.rtol[of] * expected:
            numbers = f"off by {verdict.error:.1e} at {verdict.worst}, of {expected:.1e}"
            words[of] = f"d{of} is right to rounding, {numbers}: {given} is too strict for {dtype}; give auto"
    return words


def seen_by(at: Point, step: Step, check: Check) -> set[str]:
    """The gradients beside whose size the tolerances are small."""
    slopes, dtype = check.coordinates == "directions", step.g.flat.dtype
    tol = tolerances(at, check, dtype.name, slopes)
    sizes = {name: float(np.sqrt((g * g).mean()) if slopes else abs(g).max()) for name, g in step.gradients.items()}
    return {name for name, size in sizes.items() if tol.atol[name] + tol.rtol[name] * size < BLIND * size}
