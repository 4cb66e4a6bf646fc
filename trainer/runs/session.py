"""A training from beginning to end: start it or go on with it, step by step, and end it well whatever happens."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer import config as configuration
from trainer.core import loop
from trainer.core.model import Batch, Parameters
from trainer.core.step import Pass, Step
from trainer.errors import Diverged, Interrupted, RunFailed, quoted
from trainer.files import held
from trainer.mistakes import blame
from trainer.referee.forward import check_evaluation
from trainer.runs import checkpoint as checkpoints
from trainer.runs import metrics, summary, threads
from trainer.runs.folder import create, find
from trainer.runs.inspection import Inspector
from trainer.runs.sampling import sample
from trainer.runs.signals import interruptible
from trainer.runs.starting import OwnBackward, begin, own_backward, reopen, same_text
from trainer.text import corpus as text
from trainer.text.batches import batches

OnEval = Callable[[int, float, float], bool | None]  # step, training and validation loss; False stops the run


def train(
    config: configuration.Source, name: str = "notebook", quiet: bool = False,
    on_eval: OnEval | None = None, source: str | Path | None = None, backward: str | Path | None = None,
) -> Path:  # fmt: skip
    """Train a model from the start; returns the run's folder, runs/NAME/YYYYMMDD-HHMMSS.

    config: what `read_config` gives, or takes. `quiet` prints nothing. `on_eval` is called after each evaluation with
    the step and the losses of training and validation, in nats per character (nan without a validation split); False
    from it stops the run. `source` is a run whose parameters it begins with, `backward` a file with a backward pass in
    place of the model's. Raises UserError for what the user can mend, RunFailed if a check failed or training diverged,
    Interrupted after Ctrl-C, SIGTERM or SIGHUP, with the state saved.

    >>> run = trainer.train(config, name="example", quiet=True)
    >>> sorted(path.name for path in run.iterdir())
    ['best.npz', 'checkpoint.npz', 'config.yaml', 'metrics.jsonl', 'samples.txt', 'train.log']
    """
    config, own = configuration.read(config), own_backward(backward)
    corpus = text.load(config.data, config.model.context)
    checkpoint = begin(config, corpus, source, own)
    next(batches(corpus, config, 0))  # what no memory holds is refused before there is a folder
    folder = create(name)
    with held(folder):
        Session(folder, checkpoint, corpus, own, quiet, on_eval).run()
    return folder


def resume(
    run: str | Path, overrides: configuration.Overrides = (), quiet: bool = False, on_eval: OnEval | None = None,
    backward: str | Path | None = None,
) -> Path:  # fmt: skip
    """Go on with a run, or the newest in a folder of runs, bit for bit as if it had never stopped; returns its folder.

    overrides: `train.steps=N` where `train.schedule` is constant, `data.path=FILE` for a text that has moved; the rest
    as for `trainer.train`. The text may not have changed, and a backward pass of one's own is given again.

    >>> trainer.resume(run, quiet=True) == run  # it has ended before: its last lines are written again
    True
    """
    folder, own = find(run).parent, own_backward(backward)
    with held(folder):
        checkpoint = reopen(folder, overrides, own)
        Session(folder, checkpoint, same_text(checkpoint), own, quiet, on_eval).run()
    return folder


@dataclass
class Session:
    """One run, from what it says first to what it sums up."""

    folder: Path
    checkpoint: checkpoints.Checkpoint
    corpus: text.Corpus
    own: OwnBackward | None
    quiet: bool
    on_eval: OnEval | None

    def __post_init__(self) -> None:
        self.config = self.checkpoint.config
        self.logged = self.checkpoint.step  # when the last `step` row was written
        self.in_steps = 0.0  # seconds in the steps since then
        self.in_own_lines = False  # of a learner, which may never end
        self.stopped = summary.without_progress(self.checkpoint)  # why the run ends before its last step

    def run(self) -> None:
        """Train to the last step, or to the first signal. Raises UserError, RunFailed, Interrupted."""
        with (
            np.errstate(all="ignore"),
            metrics.Journal(self.folder, self.checkpoint, self.quiet) as self.journal,
            interruptible(self.journal.say, lambda: self.in_own_lines) as self.asked,
            threads.one_thread() as products,
            threads.workers() as self.pool,
        ):
            self.inspector = Inspector(self.checkpoint, self.corpus, self.journal, self.pool)
            steps = self.steps()
            try:
                self.begin(products)
                while not self.stopped and (step := next(steps, None)):
                    self.hear(step)
                self.finish()
            except (RunFailed, Interrupted) as error:
                error.run = self.folder
                raise

    def begin(self, products: str) -> None:
        """What is said first; step 0 on disk. `products` is what multiplies matrices."""
        checkpoint, say = self.checkpoint, self.journal.say
        checkpoint.blas = products
        if checkpoint.metrics_length:
            say(f"resuming {self.folder} at step {checkpoint.step} of {self.config.train.steps}")
        else:
            summary.introduce(self.journal, checkpoint, self.corpus)
        self.save()
        if self.own and self.config.check.enabled and (words := self.own.complaint()):  # biases of zero hide some
            self.inspector.tell(checkpoint.step, words)

    def steps(self) -> Iterator[Step]:
        """The loop, from where the run stands."""
        checkpoint, count, pool = self.checkpoint, self.checkpoint.threads, self.pool
        made = loop.steps(
            self.config.train, checkpoint.parameters, checkpoint.state, checkpoint.step,
            batches=batches(self.corpus, self.config, checkpoint.step),
            gradients=self.own_gradients if self.own else threads.gradients(checkpoint.parameters, count, pool),
            looked_at=lambda step: step % self.config.log.every == 0 or self.inspector.due(step),
            in_parts=threads.in_parts(count, pool, len(checkpoint.parameters.flat)),
        )  # fmt: skip
        began = time.monotonic()
        try:
            for step in made:
                self.in_steps += time.monotonic() - began
                yield step
                began = time.monotonic()
        except ValueError as error:  # at a step an operation wrote into what it may only read
            if (words := blame.wrote_into(error)) is None:
                raise
            raise RunFailed(f"step {checkpoint.step}: {words}") from None

    def own_gradients(self, p: Parameters, g: Parameters, batch: Batch) -> Sequence[Pass]:
        """A learner's backward pass: a signal ends it at once, and the step is not made."""
        assert self.own
        self.in_own_lines = True
        try:
            return self.own.gradients(p, g, batch)
        except KeyboardInterrupt:
            raise self.interrupted() from None
        finally:
            self.in_own_lines = False

    def hear(self, step: Step) -> None:
        """A step has been made: check it, log it, evaluate, save, and stop where that is asked for."""
        log, checkpoint = self.config.log, self.checkpoint
        checkpoint.step = made = step.number + 1
        last = made == self.config.train.steps
        if step.looked_at:
            step.own = self.own.lines if self.own else {}
            self.look(step)
        if last or made % log.eval_every == 0:
            self.validate(step)
        if last or made % log.checkpoint_every == 0 or self.stopped:
            self.save()
        if self.asked and not last:
            raise self.interrupted()

    def interrupted(self) -> Interrupted:
        """What ends a run after a signal, its state saved."""
        self.save()
        own = f" --backward {quoted(self.own.path)}" if self.own else ""
        how = f"go on with: python -m trainer --resume {quoted(self.folder)}{own}"
        return Interrupted(f"interrupted at step {self.checkpoint.step}, state saved; {how}")

    def look(self, step: Step) -> None:
        """Check a step and log it. The checks speak before anything is called divergence."""
        self.inspector.examine(step)
        made, sound = self.checkpoint.step, np.isfinite(step.loss) and np.isfinite(step.g.flat).all()
        self.require(bool(sound), "the loss or a gradient is not finite")
        if step.number % self.config.log.every == 0:
            pace = (made - self.logged) / max(self.in_steps, 1e-9)  # of training alone
            self.journal.row("step", **metrics.step_row(step, self.corpus), steps_per_second=pace)
            self.logged, self.in_steps = made, 0.0
        self.journal.progress(made, f"loss {step.loss:.3f}")

    def validate(self, step: Step) -> None:
        """The losses of training and validation; the best parameters so far are kept."""
        checkpoint, say, began = self.checkpoint, self.journal.say, self.journal.seconds()
        splits = sorted(self.corpus.splits.keys() - {"test"})
        losses = checkpoint.losses = self.evaluate(checkpoint.parameters, splits, self.config.log.eval_examples)
        train_loss, val_loss = losses["train"], losses.get("val", math.nan)
        self.require(train_loss < 100 * math.log(checkpoint.sizes.V), f"the training loss is {train_loss:.4g}")
        told = ", ".join(f"{split} {loss:.4f}" for split, loss in losses.items())
        say(f"step {checkpoint.step}: {told} nats per character")
        if (seconds := self.journal.seconds() - began) > 10:
            say(f"evaluating took {seconds:.0f} s, which a smaller log.eval_examples shortens")
        seen = metrics.histograms(step)
        self.journal.row("eval", step=checkpoint.step, train_loss=train_loss, val_loss=val_loss, histograms=seen)
        if val_loss < (math.inf if checkpoint.best_loss is None else checkpoint.best_loss):
            checkpoint.best_loss, checkpoint.best_step = val_loss, checkpoint.step
            self.save("best.npz")
        self.stopped = summary.without_progress(checkpoint)
        if self.on_eval and self.on_eval(checkpoint.step, train_loss, val_loss) is False:
            self.stopped = "stopped by on_eval"

    def evaluate(self, p: Parameters, splits: Iterable[str], most: int) -> dict[str, float]:
        """The mean loss of each split in nats, over at most so many places, which are the same for a run."""
        found, step = {}, self.checkpoint.step
        for split in splits:
            positions = text.sample_positions(self.corpus, split, most, self.config.data.split_seed)
            tell = lambda words, split=split: self.journal.progress(step, f"evaluating {split}, {words}")
            losses = threads.losses(p, self.corpus, positions, self.pool, tell)
            shown = found[split] = float(losses.mean(dtype=np.float64))
            if self.config.check.enabled and math.isfinite(shown):  # else training diverges
                given = p, self.corpus, split, positions, losses, shown, np.random.default_rng(step)
                self.inspector.judge([check_evaluation(*given)], step)
        return found

    def save(self, file: str = "checkpoint.npz") -> None:
        """Write the state into a file of the run, and where none is the best by validation, as the best, too."""
        checkpoint = self.checkpoint
        sound = all(np.isfinite(each).all() for each in (checkpoint.parameters.flat, *checkpoint.state.values()))
        self.require(sound, "a parameter, or what the rule remembers, is not finite")
        checkpoint.metrics_length, checkpoint.seconds = self.journal.sync(), self.journal.seconds()
        if "val" not in self.corpus.splits:
            checkpoints.save(self.folder / "best.npz", checkpoint)
        checkpoints.save(self.folder / file, checkpoint)

    def require(self, sound: bool, what: str) -> None:
        """Raise Diverged if the numbers of a training are not sound."""
        if not sound:
            words = f"training had diverged by step {self.checkpoint.step}: {what}; the last good state is"
            raise Diverged(f"{words} {self.folder / 'checkpoint.npz'}; {summary.against_divergence(self.checkpoint)}")

    def finish(self) -> None:
        """The losses of the best parameters, the checks, samples. Raises RunFailed if a check had failed."""
        if self.stopped:
            self.journal.say(self.stopped)
        best = checkpoints.load(self.folder / "best.npz")
        losses = self.evaluate(best.parameters, self.corpus.splits, summary.MOST)
        texts = sample(best, self.config.log.samples, seed=self.config.seed)
        summary.conclude(self.journal, self.checkpoint, best, self.corpus, losses, texts)
        self.inspector.require_sound()
