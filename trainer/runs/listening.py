"""What listens to the loop of a run: it logs, evaluates, saves, stops and sums up."""

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import numpy as np

from trainer.core import loop, optim
from trainer.core.ops import Array
from trainer.core.witness import Witness
from trainer.errors import Diverged, Interrupted, RunFailed
from trainer.runs import blas, rows, summary, threads
from trainer.runs import checkpoint as checkpoints
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.files import write_whole
from trainer.runs.inspection import Inspector
from trainer.runs.journal import Journal
from trainer.runs.resuming import calmer
from trainer.runs.sampling import sample
from trainer.runs.signals import Signals
from trainer.runs.starting import OwnBackward, check_initial_loss, gradients_of, take_back
from trainer.text import corpus as text
from trainer.text.batches import ahead, batches
from trainer.text.corpus import Corpus

MOST = 1_000_000  # examples that the losses at the end look at
OnEval = Callable[[int, float, float], bool | None]  # step, training and validation loss; False stops the run


class CutShort(Exception):
    """A long check ends because of a signal."""


class Session:
    """One run, from what it says first to what it sums up."""

    def __init__(
        self, checkpoint: Checkpoint, corpus: Corpus, journal: Journal, signals: Signals, pool: ThreadPoolExecutor,
        on_eval: OnEval | None, backward: OwnBackward | None = None,
    ) -> None:  # fmt: skip
        self.checkpoint, self.config, self.corpus = checkpoint, checkpoint.config, corpus
        self.journal, self.signals, self.pool, self.on_eval = journal, signals, pool, on_eval
        self.backward = backward
        self.inspector = Inspector(checkpoint, corpus, journal, self.until_signal, backward.lines if backward else {})
        self.pace = journal.seconds(), checkpoint.step  # when and where the last `step` row was written
        self.stopped = ""  # why the run ends before its last step
        self.saved = checkpoint.step  # the step of checkpoint.npz
        self.last_val_loss: float | None = None

    def until_signal(self, function: Callable[[Any], Array], many: Iterable[Any]) -> Iterable[Array]:
        """The passes of a check; a signal cuts a long check short."""
        for result in threads.mapper(self.pool, self.checkpoint.threads)(function, many):
            if self.signals:
                raise CutShort
            yield result

    def begin(self, fresh: bool, products: blas.Blas) -> None:
        """The first check, that nothing is known yet; step 0 on disk."""
        summary.tell_products(self.journal, self.checkpoint, products)
        if not fresh:
            steps = self.config.train.steps
            self.journal.say(f"resuming {self.journal.folder} at step {self.checkpoint.step} of {steps}")
            self.stopped = summary.without_progress(self.checkpoint)
            self.save("checkpoint.npz")  # where its text is, and how many steps it is to make, may have changed
            return
        first_loss = check_initial_loss(self.checkpoint, self.corpus)
        summary.introduce(self.journal, self.checkpoint, self.corpus, first_loss)
        if not self.checkpoint.source:  # other parameters know something from the first step on
            self.inspector.judge([first_loss], 0)
        self.save("checkpoint.npz")

    def steps(self) -> Iterator[loop.Step]:
        """The loop, from where the run stands."""
        checkpoint = self.checkpoint
        drawn = batches(self.corpus, self.config, checkpoint.step)
        if checkpoint.threads > 1:
            drawn = ahead(drawn, self.pool)
        return loop.steps(
            self.config.train, checkpoint.sizes, checkpoint.parameters, checkpoint.state, checkpoint.step,
            drawn, gradients_of(checkpoint, self.pool, self.backward), self.watched,
        )  # fmt: skip

    def watched(self, step: int) -> bool:
        """A step is watched where it is logged, checked or followed by an evaluation."""
        log, made = self.config.log, step + 1  # steps that have been made after this one
        evaluated = made % log.eval_every == 0 or made == self.config.train.steps
        return step % log.every == 0 or evaluated or self.inspector.due(step)

    def hear(self, step: loop.Step) -> None:
        """A step has been made: look at it, log it, evaluate, save, and stop where that is asked for."""
        log, checkpoint, steps = self.config.log, self.checkpoint, self.config.train.steps
        checkpoint.step = step.number + 1
        if step.witness:
            try:
                self.look(step.witness)
            except CutShort:
                take_back(checkpoint, step.witness)
                self.save("checkpoint.npz")
                self.interrupt()
        last = checkpoint.step == steps
        if checkpoint.step % log.eval_every == 0 or last:
            self.evaluate(step.witness)
        if checkpoint.step % log.checkpoint_every == 0 or last or self.signals or self.stopped:
            self.require_finite(checkpoint.parameters.flat, "a parameter")
            self.save("checkpoint.npz")
        if self.signals and not last:
            self.interrupt()

    def interrupt(self) -> NoReturn:
        """Raise Interrupted; the state has been saved."""
        self.journal.say(f"interrupted at step {self.checkpoint.step}, state saved")
        folder = self.journal.folder
        raise Interrupted(f"interrupted, state saved; go on with trainer.resume({str(folder)!r})", folder)

    def look(self, witness: Witness) -> None:
        """Check and log a watched step. Where it is checked, the checks speak before anything is called divergence."""
        shown, due = witness.step % self.config.log.every == 0, self.inspector.due(witness.step)
        if due:
            self.inspector.examine(witness)
        if not math.isfinite(witness.loss):
            self.diverged("the loss is not finite")
        for name in ("W2", "b2", "W1", "b1", "C"):  # from the loss back
            self.require_finite(getattr(witness.g, name), f"the gradient of {name}")
        if shown and not due:
            self.inspector.examine_sum(witness)
        if shown:
            self.log_step(witness)

    def log_step(self, witness: Witness) -> None:
        """The `step` row, and the bar."""
        seconds, (last_seconds, last_step) = self.journal.seconds(), self.pace
        made = witness.step + 1
        pace = (made - last_step) / max(seconds - last_seconds, 1e-9)
        self.journal.row("step", **rows.of_step(witness, self.corpus), steps_per_second=pace)
        self.pace = seconds, made
        best = self.checkpoint.best_loss
        note = f"loss {witness.loss:.3f}" + ("" if best is None else f", val {best:.3f}")
        self.journal.progress(made, note)

    def evaluate(self, witness: Witness | None) -> None:
        """The losses of training and validation; the best parameters so far are kept."""
        checkpoint, began = self.checkpoint, self.journal.seconds()
        self.require_finite(checkpoint.parameters.flat, "a parameter")
        most = self.config.log.eval_examples
        splits = [split for split in ("train", "val") if split in self.corpus.splits]
        losses = {split: self.loss(checkpoint, split, most) for split in splits}
        for split in splits:
            self.inspector.evaluate(checkpoint.parameters, split, self.mean_loss, checkpoint.step)
        train_loss, val_loss = losses["train"], losses.get("val")
        seen = rows.histograms(witness) if witness else {}
        self.journal.row("eval", step=checkpoint.step, train_loss=train_loss, val_loss=val_loss, histograms=seen)
        shown = ", ".join(f"{split} {loss:.4f}" for split, loss in losses.items())
        self.journal.say(f"step {checkpoint.step}: {shown} nats per character")
        if train_loss > 10 * math.log(checkpoint.sizes.V):
            self.diverged(f"the training loss is {train_loss:.4g}, more than ten times log V")
        self.last_val_loss = val_loss
        if val_loss is not None and (checkpoint.best_loss is None or val_loss < checkpoint.best_loss):
            checkpoint.best_loss, checkpoint.best_step = val_loss, checkpoint.step
            self.save("best.npz")
        self.stopped = summary.without_progress(checkpoint)
        if (
            self.on_eval
            and self.on_eval(checkpoint.step, train_loss, math.nan if val_loss is None else val_loss) is False
        ):
            self.stopped = "stopped by on_eval"
        paused = self.journal.seconds() - began
        self.pace = self.pace[0] + paused, self.pace[1]

    def loss(self, checkpoint: Checkpoint, split: str, most: int) -> float:
        """The mean loss over at most so many examples of a split, in nats."""
        return self.mean_loss(text.evenly(self.corpus, split, most), checkpoint)

    def mean_loss(self, positions: Array, checkpoint: Checkpoint | None = None) -> float:
        """The mean loss at some positions of the text, in nats."""
        checkpoint = checkpoint or self.checkpoint
        return threads.mean_loss(checkpoint.parameters, checkpoint.sizes, self.corpus, positions, self.pool)

    def save(self, file: str) -> None:
        """Write the state into a file of the run's folder."""
        self.journal.sync()
        self.checkpoint.metrics_length, self.checkpoint.seconds = self.journal.length, self.journal.seconds()
        files = [file]
        if file == "checkpoint.npz" and "val" not in self.corpus.splits:  # there is no better way to choose the best
            self.checkpoint.best_step = self.checkpoint.step
            files.append("best.npz")
        for each in files:
            checkpoints.save(self.journal.folder / each, self.checkpoint)
        if file == "checkpoint.npz":
            self.saved = self.checkpoint.step

    def require_finite(self, array: Array, what: str) -> None:
        """Raise RunFailed for an array with a number that is not finite: the sum shows it in one pass."""
        if not math.isfinite(array.sum(dtype=np.float64)):
            self.diverged(f"{what} is not finite")

    def diverged(self, what: str) -> NoReturn:
        """Raise Diverged, with what may help."""
        rate = optim.learning_rate(self.config.train, max(0, self.checkpoint.step - 1))
        suspect = ""
        if self.backward and not self.config.check.enabled:
            suspect = f"the backward pass of {self.backward.path} was not checked, which --check does; "
        raise Diverged(
            f"training diverged at step {self.checkpoint.step}: {what}, at learning rate {rate:g};"
            f" {suspect}the last good checkpoint, of step {self.saved}, is {self.journal.folder / 'checkpoint.npz'};"
            f" try {calmer(self.config.train)}"
        )

    def finish(self) -> None:
        """The losses of the best parameters, the checks, samples. Raises RunFailed if a check had failed."""
        checkpoint, folder = self.checkpoint, self.journal.folder
        best_file = folder / "best.npz"
        best = checkpoints.load(best_file) if best_file.exists() else checkpoint
        losses = {split: self.loss(best, split, MOST) for split in self.corpus.splits}
        texts = sample(best, self.config.log.samples, seed=self.config.seed)
        write_whole(folder / "samples.txt", summary.samples_file(texts, self.corpus.lines).encode())
        summary.conclude(self.journal, checkpoint, best, self.corpus, losses, self.last_val_loss, texts)
        if any(tally["failed"] for name, tally in checkpoint.checks.items() if name != "initial_loss"):
            raise RunFailed(
                f"a check failed during the run, {folder / 'metrics.jsonl'}; see its rows with passed: false"
            )
