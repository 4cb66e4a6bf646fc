"""The checks on gradients in words; whether they can see anything at all; and the sum over the threads, once more."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from trainer.config import Check, Config
from trainer.core import checks
from trainer.core.numerical import Mapper, Point
from trainer.core.tolerances import of_slopes, tolerances
from trainer.core.verdict import Verdict, compare
from trainer.core.witness import Witness
from trainer.mistakes.blame import in_words, once_more
from trainer.mistakes.diagnosis import rounding

BLIND = 0.1  # a tolerance that is such a share of a gradient judges nothing


def check_derivatives(
    witness: Witness, at: Point, config: Config, rng: np.random.Generator, mapper: Mapper, own: Mapping[str, str]
) -> list[Verdict]:
    """The verdicts `sum_to_zero`, `gradient` of nine tensors, and `descent`; what failed says what is wrong."""
    verdicts = checks.check_gradients(at, witness.gradients, config.check, config.model.dtype, rng, mapper)
    if len(witness.passes) > 1:
        again = check_again(witness)
        verdicts = [again.get(str(each.of), each) if each.passed else each for each in verdicts]
    wrong = [str(each.of) for each in verdicts if each.name == "gradient" and not each.passed]
    blind = blindness(at, witness, config.check)
    for k, verdict in enumerate(verdicts):
        if not verdict.passed:
            words = too_strict(verdict, at, config) or in_words(verdict, witness, own, wrong)
            verdicts[k] = replace(verdict, words=words)
        elif verdict.of in blind:
            verdicts[k] = replace(verdict, passed=False, words=blind[verdict.of])
    return [check_sum(witness, own), *verdicts]


def check_sum(witness: Witness, own: Mapping[str, str]) -> Verdict:
    """The verdict `sum_to_zero`, which is made in every run."""
    verdict = checks.sum_to_zero(witness.gradients["logits"])
    return verdict if verdict.passed else replace(verdict, words=in_words(verdict, witness, own, ()))


def check_again(witness: Witness) -> dict[str, Verdict]:
    """The gradients that come out otherwise when the parts of the batch are computed one after the other."""
    rtol = rounding(witness.g.flat.dtype)
    verdicts = (
        compare("gradient", witness.gradients[name], right, rtol * float(np.abs(right).max()), name)
        for name, right in once_more(witness).items()
    )
    return {str(verdict.of): verdict for verdict in verdicts if not verdict.passed}


def as_written(check: Check) -> str:
    """What the configuration gives of eps, rtol and atol, as it is written there."""
    values = {key: getattr(check, key) for key in ("eps", "rtol", "atol")}
    return ", ".join(f"check.{key}={value:g}" for key, value in values.items() if value != "auto")


def derived(check: Check) -> Check:
    """The same check with none of these given."""
    return replace(check, eps="auto", rtol="auto", atol="auto")


def too_strict(verdict: Verdict, at: Point, config: Config) -> str:
    """That a gradient is right to rounding, which a given rtol or atol does not allow for; "" where that is not so."""
    if verdict.name != "gradient" or not as_written(config.check):
        return ""
    dtype, of = config.model.dtype, str(verdict.of)
    tol = tolerances(at, derived(config.check), dtype)
    if verdict.error > tol.atol[of] + tol.rtol[of] * abs(verdict.expected):
        return ""
    numbers = f"off by {verdict.error:.1e} at {verdict.worst}, of {abs(verdict.expected):.1e}"
    return f"d{of} is right to rounding, {numbers}: {as_written(config.check)} is too strict for {dtype}; give auto"


def blindness(at: Point, witness: Witness, check: Check) -> dict[str, str]:
    """For each gradient of which a given eps, rtol or atol sees nothing, where `auto` would, words for that."""
    if not as_written(check):
        return {}
    seen = seen_by(at, witness, derived(check))
    unseen = seen - seen_by(at, witness, check)
    if not unseen:
        return {}
    eps = [10.0**k for k in range(-15, -1) if seen <= seen_by(at, witness, replace(check, eps=10.0**k))]
    advice = f"check.eps from {eps[0]:.0e} to {eps[-1]:.0e}" if check.eps != "auto" and eps else "auto"
    return {
        name: f"the check of d{name} sees nothing at {as_written(check)}, and passes an error of a tenth; give {advice}"
        for name in unseen
    }


def seen_by(at: Point, witness: Witness, check: Check) -> set[str]:
    """The gradients beside whose size the tolerances are small."""
    slopes, dtype = check.coordinates == "directions", witness.g.flat.dtype
    tol = (of_slopes if slopes else tolerances)(at, check, dtype.name)
    sizes = {name: float(np.linalg.norm(g) if slopes else np.abs(g).max()) for name, g in witness.gradients.items()}
    return {name for name, size in sizes.items() if tol.atol[name] + tol.rtol[name] * size < BLIND * size}
