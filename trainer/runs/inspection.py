"""Which steps are checked, and what becomes of the verdicts: rows, tallies, a warning, the end of the run."""

import math
import time
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from trainer import referee
from trainer.config import Check, Config
from trainer.core import checks, model, ops, tolerances
from trainer.core.numerical import Mapper
from trainer.core.step import Step
from trainer.core.verdict import Verdict
from trainer.errors import RunFailed
from trainer.referee.feeding import Spread
from trainer.runs.metrics import Journal
from trainer.text.batches import CHECKS

WRITTEN = 100  # checked steps whose verdicts are all written
OF_STEP, OF_BLOCK = range(2)  # random numbers for one purpose each, apart from those of training
WARNING = "initial_loss"  # out of tolerance it is no failure


def is_due(config: Config, step: int) -> bool:
    """Whether a step is checked: step 0, then one step drawn at random in each block of check.every."""
    check = config.check
    return check.enabled and step == chosen_step(config.seed, step // check.every, check.every)


@lru_cache(2)  # asked at every step
def chosen_step(seed: int, block: int, every: int) -> int:
    """The step that is checked of a block of so many."""
    place = np.random.default_rng([seed, CHECKS, OF_BLOCK, block]).integers(every) if block else 0
    return block * every + int(place)


def inspect(journal: Journal, step: Step, seen: Spread | None, mapper: Mapper) -> None:
    """Check a step that is due, of another one that p - y sums to zero, and of the very first its loss."""
    config, number, verdicts = journal.config, step.number, list[Verdict]()
    if number == 0:
        first = first_loss(config.check, step.before, step.batch, bool(journal.checkpoint.source))
        verdicts.append(first)
        journal.say(f"first loss  {first.found:.4f} nats; log V = {first.expected:.4f}")
    if seen and is_due(config, number):
        began, rng = time.monotonic(), np.random.default_rng([config.seed, CHECKS, OF_STEP, number])
        verdicts += referee.examine(step, journal.corpus, config, rng, seen, mapper)
        if seen.steps == 2:  # the first is slower: memory and caches are cold
            cheaper = "a larger check.every or check.coordinates=directions"
            journal.say(f"checks take about {time.monotonic() - began:.2g} s a step; cheaper: {cheaper}")
    elif math.isfinite(step.loss):  # else training diverges
        verdicts.append(referee.check_sum(step))
    judge(journal, verdicts, number)


def judge(journal: Journal, verdicts: Sequence[Verdict], step: int) -> None:
    """Count verdicts and log them, then raise RunFailed for one that failed; a warning is said once for a check."""
    config, tallies = journal.config, journal.checkpoint.checks
    checked, block = tallies.get("descent", {"run": 0})["run"], range(step - step % config.log.every, step)
    whole = checked < WRITTEN or not any(is_due(config, each) for each in block)
    for verdict in verdicts:
        tally = tallies.setdefault(verdict.name, {"run": 0, "failed": 0, "worst": -1.0})
        severity = min(1e308, float(verdict.severity))  # JSON has neither infinity nor nan
        if whole or severity > tally["worst"] or not verdict.passed:
            journal.row("check", step=step, **vars(verdict))
        tally["run"] += 1
        tally["failed"] += not verdict.passed
        tally["worst"] = max(tally["worst"], severity)
    for verdict in verdicts:
        failed = not verdict.passed and verdict.name != WARNING
        words = verdict.words or str(verdict)
        if failed and config.check.on_failure == "stop":
            raise RunFailed(f"step {step}: {words}")
        if (failed or verdict.words) and verdict.name not in journal.told:
            journal.told.add(verdict.name)
            journal.say(f"warning: step {step}: {words}")


def require_sound(journal: Journal) -> None:
    """Raise RunFailed if a check of the run has failed, or none was made although they were asked for."""
    tallies = journal.checkpoint.checks
    failed = [name for name, tally in tallies.items() if tally["failed"] and name != WARNING]
    if failed:
        raise RunFailed(f"checks did not pass: {', '.join(failed)}, {journal.metrics}; see its rows with passed: false")
    if journal.config.check.enabled and "descent" not in tallies:
        raise RunFailed("check.enabled is true, and not one step of the run was checked")


def first_loss(check: Check, p: model.Parameters, batch: model.Batch, known: bool = False) -> Verdict:
    """The loss of the first batch beside log V; parameters that are known from another run may know more."""
    activations, V, atol = model.forward(p, batch), p.sizes.V, check.initial_loss_atol
    losses = ops.cross_entropy(activations.logits, batch.targets)  # (B,)
    if atol == "auto":
        atol = tolerances.of_initial_loss(activations.h, batch.targets, V)
    verdict = checks.check_initial_loss(float(losses.mean(dtype=np.float64)), V, float(atol))
    if known and verdict.found < verdict.expected:
        verdict.passed, verdict.error = True, 0.0
    if not verdict.passed:
        said = f"the first loss is {verdict.found:.4f}, not within {atol:.3g} of log V = {verdict.expected:.4f}"
        verdict.words = f"{said}: the output weights are too large at the start, or know another text"
    return verdict
