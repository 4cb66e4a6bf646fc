"""Which steps are checked, and what becomes of the verdicts: rows, tallies, a warning, the end of the run."""

import math
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from tqdm import tqdm

from trainer import config as configuration
from trainer import referee
from trainer.core import checks, loop, model, ops, tolerances
from trainer.core.step import Step
from trainer.core.verdict import Verdict
from trainer.errors import RunFailed
from trainer.referee.feeding import Spread
from trainer.runs import threads
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.metrics import Journal
from trainer.runs.starting import begin
from trainer.text import corpus as text
from trainer.text.batches import CHECKS, batches

WRITTEN = 100  # checked steps whose verdicts are all written
OF_STEP, OF_BLOCK = range(2)  # random numbers for one purpose each, apart from those of training
WARNING = "initial_loss"  # out of tolerance it is no failure


@dataclass
class Inspector:
    """Makes the checks of a run."""

    checkpoint: Checkpoint
    corpus: text.Corpus
    journal: Journal
    pool: Executor

    def __post_init__(self) -> None:
        self.config, self.tallies = self.checkpoint.config, self.checkpoint.checks
        self.seen = Spread(self.corpus)  # what earlier steps drew
        self.mapper = self.pool.map if self.checkpoint.threads > 1 else map
        self.told = -1  # the step at which a learner was told of a mistake, by practice or by a check

    def due(self, step: int) -> bool:
        """Whether a step is checked: step 0, then one step drawn at random in each block of check.every."""
        check = self.config.check
        return check.enabled and step == chosen_step(self.config.seed, step // check.every, check.every)

    def checked(self) -> int:
        """How many steps have been checked."""
        return int(self.tallies.get("descent", {}).get("run", 0))

    def examine(self, step: Step) -> None:
        """Check a step that is due, of another one that p - y sums to zero, and of the very first its loss."""
        number, check, verdicts = step.number, self.config.check, list[Verdict]()
        if number == 0:
            verdicts = [first_loss(check, step.before, step.batch, bool(self.checkpoint.source))]
            self.journal.say(f"first loss  {verdicts[0].found:.4f} nats; log V = {verdicts[0].expected:.4f}")
        if self.due(number):
            began, rng = time.monotonic(), np.random.default_rng([self.config.seed, CHECKS, OF_STEP, number])
            verdicts += referee.examine(step, self.corpus, self.config, rng, self.seen, self.mapper)
            if self.checked() == 1:  # the first is slower: memory and caches are cold
                seconds = time.monotonic() - began
                whole = tqdm.format_interval(math.ceil(seconds * self.config.train.steps / check.every))
                cheaper = "a larger check.every or check.coordinates=directions"
                self.journal.say(f"checks take about {seconds:.2g} s a step, {whole} for this run; cheaper: {cheaper}")
        elif math.isfinite(step.loss):  # else training diverges
            verdicts.append(referee.check_sum(step))
        self.judge(verdicts, number)

    def judge(self, verdicts: Sequence[Verdict], step: int) -> None:
        """Count verdicts and log them; the first that failed is a failure, what else has words a warning."""
        block = range(step - step % self.config.log.every, step)
        whole = self.checked() < WRITTEN or not any(map(self.due, block))
        for verdict in verdicts:
            tally = self.tallies.setdefault(verdict.name, {"run": 0, "failed": 0, "worst": -1.0})
            tally["run"] += 1
            tally["failed"] += not verdict.passed
            before, severity = tally["worst"], min(1e308, float(verdict.severity))  # JSON has neither infinity nor nan
            tally["worst"] = max(before, severity)
            if whole or severity > before or not verdict.passed:
                self.journal.row("check", step=step, **vars(verdict))
        failed = [each.words or str(each) for each in verdicts if not each.passed and each.name != WARNING]
        warnings = [each.words for each in verdicts if each.words]
        for words in (failed or warnings)[:1]:
            self.tell(step, words, bool(failed))

    def tell(self, step: int, words: str, failed: bool = True) -> None:
        """Raise RunFailed for what has failed; a warning, and where it is asked for a failure, is said."""
        if failed and self.config.check.on_failure == "stop":
            raise RunFailed(f"step {step}: {words}")
        if failed and self.checkpoint.backward:
            if step == self.told:
                return
            self.told = step
        self.journal.say(f"warning: step {step}: {words}")

    def require_sound(self) -> None:
        """Raise RunFailed if a check of the run has failed, or none was made although they were asked for."""
        failed = [name for name, tally in self.tallies.items() if tally["failed"] and name != WARNING]
        if failed:
            what, where = f"checks did not pass: {', '.join(failed)}", self.journal.folder / "metrics.jsonl"
            raise RunFailed(f"{what}, {where}; see its rows with passed: false")
        if self.config.check.enabled and not self.checked():
            raise RunFailed("check.enabled is true, and not one step of the run was checked")


@lru_cache(2)  # asked at every step
def chosen_step(seed: int, block: int, every: int) -> int:
    """The step that is checked of a block of so many."""
    place = np.random.default_rng([seed, CHECKS, OF_BLOCK, block]).integers(every) if block else 0
    return block * every + int(place)


def first_loss(check: configuration.Check, p: model.Parameters, batch: model.Batch, known: bool = False) -> Verdict:
    """The loss of the first batch beside log V; parameters that are known from another run may know more."""
    activations, V, atol = model.forward(p, batch), p.sizes.V, check.initial_loss_atol
    losses = ops.cross_entropy(activations.logits, batch.targets)  # (B,)
    if atol == "auto":
        atol = tolerances.of_initial_loss(activations.h, batch.targets, V)
    verdict = checks.initial_loss(float(losses.mean(dtype=np.float64)), V, float(atol))
    if known and verdict.found < verdict.expected:
        return replace(verdict, passed=True, error=0.0)
    said = f"the first loss is {verdict.found:.4f}, not within {atol:.1g} of log V = {verdict.expected:.4f}"
    why = "the output weights are too large at the start, or know another text"
    return verdict if verdict.passed else replace(verdict, words=f"{said}: {why}")


def check(config: configuration.Source) -> list[Verdict]:
    """Make all checks of the first step, at random biases, which at zero would hide mistakes; nothing is written.

    config: as for `trainer.train`. A verdict for each check has `name`, `of`, `passed` and the numbers compared;
    `pandas.DataFrame` takes the list as it is. Raises UserError for what the user can mend.

    >>> verdicts = trainer.check(config)
    >>> [verdict.of for verdict in verdicts if verdict.name == "gradient" and verdict.passed]
    ['logits', 'h', 'z', 'emb', 'W2', 'b2', 'W1', 'b1', 'C']
    """
    config = configuration.read(config)
    corpus = text.load(config.data, config.model.context)
    checkpoint, batch = begin(config, corpus), next(batches(corpus, config, 0))
    p, rng = checkpoint.parameters, np.random.default_rng([config.seed, CHECKS])
    with np.errstate(all="ignore"), threads.one_thread(), threads.workers() as pool:
        at_start = first_loss(config.check, p, batch)
        p.b1[...], p.b2[...] = rng.standard_normal(p.b1.shape), rng.standard_normal(p.b2.shape)
        gradients = threads.gradients(p, checkpoint.threads, pool)
        step = next(loop.steps(config.train, p, checkpoint.state, 0, iter([batch]), gradients, lambda _: True))
        mapper = pool.map if checkpoint.threads > 1 else map
        return [at_start, *referee.examine(step, corpus, config, rng, Spread(corpus), mapper)]
