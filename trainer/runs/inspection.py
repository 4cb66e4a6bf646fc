"""Which steps are checked, and what becomes of the verdicts: rows, tallies, a warning, the end of the run."""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np

from trainer import blame, checks, loop, numerical, text, threads
from trainer.batches import CHECKS, batches
from trainer.config import Config
from trainer.errors import RunFailed
from trainer.numerical import Run
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.journal import Journal
from trainer.runs.starting import check_initial_loss, gradients_of, start
from trainer.verdicts import Gradient, Verdict
from trainer.witness import Witness

WRITTEN = 100  # checked steps whose verdicts are all written


class Inspector:
    """Makes the checks of a run."""

    def __init__(self, checkpoint: Checkpoint, journal: Journal, run: Run) -> None:
        self.config, self.tallies = checkpoint.config, checkpoint.checks
        self.journal, self.run = journal, run
        self.place = lru_cache(2)(self.draw_place)  # it is asked for at every step

    def due(self, step: int) -> bool:
        """Whether a step is checked: step 0, then one step drawn at random in each block of check.every."""
        check = self.config.check
        if not check.enabled:
            return False
        block, place = divmod(step, check.every)
        return place == self.place(block)

    def draw_place(self, block: int) -> int:
        """Where in a block of check.every steps its checked one stands."""
        return 0 if block == 0 else int(self.random(1, block).integers(self.config.check.every))

    def random(self, *numbers: int) -> np.random.Generator:
        """Random numbers apart from those of training."""
        return np.random.default_rng([self.config.seed, CHECKS, *numbers])

    def examine(self, witness: Witness) -> None:
        """Check a watched step; raise RunFailed for what fails, unless it is to warn."""
        verdicts: list[Verdict] = [checks.sum_to_zero(witness.gradients["logits"])]
        if self.due(witness.step):
            began = time.monotonic()
            at = numerical.point(witness.before, witness.batch, witness.sizes)
            rng, dtype = self.random(0, witness.step), self.config.model.dtype
            verdicts += checks.check_gradients(at, witness.gradients, self.config.check, dtype, rng, self.run)
            if witness.step == 0:
                self.announce_cost(time.monotonic() - began)
        self.judge(verdicts, witness.step)

    def judge(self, verdicts: list[Verdict], step: int) -> None:
        """Log and count verdicts, warn, and raise RunFailed if one failed, unless it is to warn."""
        whole = self.is_written_whole(step)
        for verdict in verdicts:
            worst_so_far = self.count(verdict, step)
            if whole or worst_so_far or not verdict.passed:
                self.journal.row("check", step=step, **verdict.row())
        broken, warning = blame.blame(verdicts, self.config), blame.warning(verdicts)
        if warning:
            self.journal.say(f"warning: step {step}: {warning}")
        if broken and self.config.check.on_failure == "stop":
            raise RunFailed(f"a check failed at step {step}: {broken}")
        if broken:
            self.journal.say(f"warning: step {step}: a check failed: {broken}")

    def is_written_whole(self, step: int) -> bool:
        """Whether all verdicts of a step are written; of the others only the failed and the worst ones are."""
        every = self.config.log.every
        checked_before = self.tallies.get("gradient", {}).get("run", 0) // len(numerical.ORDER)
        first_in_block = not any(self.due(earlier) for earlier in range(step - step % every, step))
        return checked_before < WRITTEN or first_in_block

    def count(self, verdict: Verdict, step: int) -> bool:
        """Add to the tally of its kind; whether it is the worst so far."""
        tally = self.tallies.setdefault(verdict.name, {"run": 0, "failed": 0, "worst": -math.inf, "where": ""})
        tally["run"] += 1
        tally["failed"] += not verdict.passed
        worst = not verdict.severity <= tally["worst"]
        if worst:
            tally["worst"] = min(verdict.severity, 1e308)
            tally["where"] = f"step {step}, {verdict.tensor}" if isinstance(verdict, Gradient) else f"step {step}"
        return worst

    def announce_cost(self, seconds: float) -> None:
        """Say how long the checks of a long run will take, and what would be cheaper."""
        check = self.config.check
        minutes = seconds * self.config.train.steps / check.every / 60
        if minutes > 1:
            fewer = ", or check.coordinates=20" if check.coordinates == "all" else ""
            cheaper = f"cheaper: check.every={check.every * 10}{fewer}"
            self.journal.say(f"checks take {seconds:.2f} s a step, {minutes:.0f} minutes for this run; {cheaper}")


def summary(tallies: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The tallies as the `end` row holds them."""
    return {name: {key: tally[key] for key in ("run", "failed", "worst")} for name, tally in tallies.items()}


def check(config: Config) -> list[Verdict]:
    """The checks of the first step before its update; nothing is written. Raises UserError as `train` does."""
    corpus = text.load(config.data, config.model.context)
    checkpoint = start(config, corpus)
    with np.errstate(all="ignore"), ThreadPoolExecutor(max(threads.cores(), checkpoint.threads)) as pool:
        first_loss = check_initial_loss(checkpoint, corpus)
        drawn = batches(corpus, config, 0)
        gradients = gradients_of(checkpoint, pool)
        p, state, sizes = checkpoint.parameters, checkpoint.state, checkpoint.sizes
        witness = loop.watched_step(config.train, sizes, p, state, 0, next(drawn), gradients)
        at = numerical.point(witness.before, witness.batch, sizes)
        rng, dtype = np.random.default_rng([config.seed, CHECKS]), config.model.dtype
        verdicts = checks.check_gradients(at, witness.gradients, config.check, dtype, rng, pool.map)
    return [first_loss, checks.sum_to_zero(witness.gradients["logits"]), *verdicts]
