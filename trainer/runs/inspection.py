"""Which steps are checked, and what becomes of the verdicts: rows, tallies, a warning, the end of the run."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from trainer import referee
from trainer.config import Config
from trainer.core import checks, loop
from trainer.core.model import Parameters
from trainer.core.numerical import Mapper
from trainer.core.ops import Array
from trainer.core.verdicts import Gradient, Verdict
from trainer.core.witness import Witness
from trainer.errors import RunFailed
from trainer.mistakes import blame
from trainer.referee import dropout, evaluation, start, sums
from trainer.runs import cost, threads
from trainer.runs.blas import one_thread
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.journal import Journal
from trainer.runs.starting import begin, check_initial_loss, gradients_of
from trainer.text import corpus as text
from trainer.text.batches import CHECKS, batches
from trainer.text.corpus import Corpus

WRITTEN = 100  # checked steps whose verdicts are all written
LARGEST = 1e308  # JSON has no infinity
# Random numbers for one purpose each, apart from those of training.
OF_STEP, OF_BLOCK, OF_EVALUATION, OF_COST, OF_FIRST = range(5)


class Inspector:
    """Makes the checks of a run."""

    def __init__(
        self, checkpoint: Checkpoint, corpus: Corpus, journal: Journal, mapper: Mapper, own: Mapping[str, str]
    ) -> None:
        self.config, self.tallies, self.corpus = checkpoint.config, checkpoint.checks, corpus
        self.seen: dict[int, int] = {}  # the batches and masks of earlier steps
        self.journal, self.mapper = journal, mapper
        self.told = False  # what the checks will cost
        self.own = own  # where each link is written, if the backward pass is the user's own
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
        every = self.config.check.every
        return 0 if block == 0 or every == 1 else int(self.random(OF_BLOCK, block).integers(every))

    def random(self, purpose: int, number: int = 0) -> np.random.Generator:
        """Random numbers for one step, block or evaluation."""
        return np.random.default_rng([self.config.seed, CHECKS, purpose, number])

    def examine_sum(self, witness: Witness) -> None:
        """Of a step that is not due, check that p - y sums to zero, in every run."""
        self.judge([checks.sum_to_zero(witness.gradients["logits"])], witness.step)

    def examine(self, witness: Witness) -> None:
        """Check a step that is due; raise RunFailed for what fails, unless it is to warn."""
        if witness.step == 0:
            self.warn(0, start.warnings(witness))
        if not self.told and not dropout.misshapen(witness):
            self.told = True
            self.journal.say(cost.sentence(witness, self.config, self.random(OF_COST)))
        rng = self.random(OF_STEP, witness.step)
        verdicts = referee.examine(witness, self.corpus, self.config, rng, self.seen, self.mapper)
        remarks = witness.changed
        if not all(verdict.passed for verdict in verdicts):
            remarks = sums.remarks(witness)
        instead = blame.what_was_done(verdicts, witness, self.mapper)
        self.judge(verdicts, witness.step, remarks, instead)

    def evaluate(self, p: Parameters, split: str, mean_loss: Callable[[Array], float], step: int) -> None:
        """Check what evaluation shows, in a checked run."""
        if self.config.check.enabled:
            rng = self.random(OF_EVALUATION, step)
            verdict = evaluation.examine(p, self.corpus, split, self.config.model.context, mean_loss, rng)
            self.judge([verdict], step)

    def judge(self, verdicts: Sequence[Verdict], step: int, remarks: Sequence[str] = (), instead: str = "") -> None:
        """Log and count verdicts, warn, and raise RunFailed if one failed, unless it is to warn."""
        whole = self.is_written_whole(step)
        for verdict in verdicts:
            worst_so_far = self.count(verdict, step)
            if whole or worst_so_far or not verdict.passed:
                self.journal.row("check", step=step, **verdict.row())
        warning = blame.warning(verdicts, self.config)
        self.warn(step, [warning] if warning else [])
        broken = blame.blame(verdicts, self.config, remarks, instead, self.own)
        if broken and self.config.check.on_failure == "stop":
            raise RunFailed(f"a check failed at step {step}: {broken}")
        if broken:
            self.warn(step, [f"a check failed: {broken}"])

    def warn(self, step: int, sentences: Sequence[str]) -> None:
        for sentence in sentences:
            self.journal.say(f"warning: step {step}: {sentence}")

    def is_written_whole(self, step: int) -> bool:
        """Whether all verdicts of a step are written; of the others only the failed and the worst ones are."""
        every = self.config.log.every
        checked_before = self.tallies.get("update", {}).get("run", 0)
        first_in_block = not any(self.due(earlier) for earlier in range(step - step % every, step))
        return checked_before < WRITTEN or first_in_block

    def count(self, verdict: Verdict, step: int) -> bool:
        """Add to the tally of its kind; whether it is the worst so far."""
        tally = self.tallies.setdefault(verdict.name, {"run": 0, "failed": 0, "worst": -math.inf, "where": ""})
        tally["run"] += 1
        tally["failed"] += not verdict.passed
        severity = verdict.severity if math.isfinite(verdict.severity) else LARGEST
        worst = bool(severity > tally["worst"])
        if worst:
            tally["worst"] = severity
            tally["where"] = f"step {step}, {verdict.tensor}" if isinstance(verdict, Gradient) else f"step {step}"
        return worst


def check(config: Config) -> list[Verdict]:
    """Make all checks of the first step; nothing is written.

    The biases are random, for at zero they would hide mistakes in which they have a part.

    Parameters
    ----------
    config
        What `trainer.read_config` gives; its section `check` says how the numerical gradients are taken.

    Returns
    -------
    list of Verdict
        One for each check, with `name`, `passed` and the numbers compared; `pandas.DataFrame` takes the list as it is.

    Raises
    ------
    UserError
        For what the user can mend, as `trainer.train`.

    Examples
    --------
    >>> verdicts = trainer.check(config)
    >>> [verdict.tensor for verdict in verdicts if verdict.name == "gradient" and verdict.passed]
    ['logits', 'h', 'z', 'emb', 'W2', 'b2', 'W1', 'b1', 'C']
    """
    corpus = text.load(config.data, config.model.context)
    checkpoint = begin(config, corpus)
    workers = threads.workers(max(threads.cores(), checkpoint.threads))
    with np.errstate(all="ignore"), one_thread(), workers as pool:
        first_loss = check_initial_loss(checkpoint, corpus)
        p, sizes, rng = checkpoint.parameters, checkpoint.sizes, np.random.default_rng([config.seed, CHECKS, OF_FIRST])
        p.b1[...], p.b2[...] = rng.standard_normal(sizes.H), rng.standard_normal(sizes.V)
        batch = next(batches(corpus, config, 0))
        gradients = gradients_of(checkpoint, pool)
        witness = loop.watched_step(config.train, sizes, p, checkpoint.state, 0, batch, gradients)
        mapper = threads.mapper(pool, checkpoint.threads)
        return [first_loss, *referee.examine(witness, corpus, config, rng, {}, mapper)]
