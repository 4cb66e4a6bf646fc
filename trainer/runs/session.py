"""A training from beginning to end: start it or go on with it, step by step, and end it well whatever happens."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from pathlib import Path

import numpy as np

from trainer import config as configuration
from trainer import referee
from trainer.core import loop, model
from trainer.core.model import Parameters
from trainer.core.step import Step
from trainer.core.verdict import Verdict, compare
from trainer.errors import Interrupted, quoted
from trainer.mistakes.blame import only_reading
from trainer.referee.feeding import Spread
from trainer.referee.forward import check_evaluation
from trainer.runs import summary, threads
from trainer.runs.checkpoint import Checkpoint, load, save
from trainer.runs.folder import create, find, held
from trainer.runs.inspection import first_loss, inspect, is_due, judge, require_sound
from trainer.runs.metrics import Journal, histograms, step_row
from trainer.runs.signals import interruptible
from trainer.runs.starting import OwnBackward, begin, own_backward, reopen, same_text
from trainer.text import corpus as text
from trainer.text.batches import CHECKS, batches

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
    batch = next(batches(corpus, config, 0))  # what no memory holds is refused before there is a folder
    if own:  # so is a file that makes no gradients
        own.gradients(checkpoint.parameters, model.zeros(checkpoint.sizes, np.float64), batch)
    folder = create(name)
    with held(folder):
        fit(Journal(folder, checkpoint, corpus, quiet), own, on_eval)
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
        fit(Journal(folder, checkpoint, same_text(checkpoint), quiet), own, on_eval)
    return folder


def check(config: configuration.Source) -> list[Verdict]:
    """Make all checks of the first step, at random biases, which at zero would hide mistakes; nothing is written.

    config: as for `trainer.train`. A verdict for each check has `name`, `of`, `passed` and the numbers compared;
    `pandas.DataFrame` takes the list as it is. Raises UserError, and RunFailed if an operation writes into its input.

    >>> verdicts = trainer.check(config)
    >>> [verdict.of for verdict in verdicts if verdict.name == "gradient" and verdict.passed]
    ['logits', 'h', 'z', 'emb', 'W2', 'b2', 'W1', 'b1', 'C']
    """
    config = configuration.read(config)
    corpus = text.load(config.data, config.model.context)
    checkpoint, batch = begin(config, corpus), next(batches(corpus, config, 0))
    p, rng = checkpoint.parameters, np.random.default_rng([config.seed, CHECKS])
    with threads.workers() as pool, only_reading(0):
        at_start = first_loss(config.check, p, batch)
        for bias in (p.b1, p.b2):
            bias[...] = rng.standard_normal(bias.shape)
        step, mapper = next(steps(checkpoint, corpus, None, pool)), pool.map if checkpoint.threads > 1 else map
        return [at_start, *referee.examine(step, corpus, config, rng, Spread(corpus), mapper)]


def fit(journal: Journal, own: OwnBackward | None, on_eval: OnEval | None) -> None:
    """Train from where the state stands to the last step, or to the first signal; then the losses, checks and samples.

    Raises UserError, RunFailed, Interrupted.
    """
    checkpoint, corpus, config = journal.checkpoint, journal.corpus, journal.config
    with journal, interruptible(journal.say) as asked, threads.workers() as pool:
        summary.introduce(journal)
        save_state(journal)
        # At step 0 the biases are zero, which hides some mistakes from the checks.
        if own and config.check.enabled and (words := own.complaint()):
            complaint = compare("gradient", 0, 0, 0)
            complaint.passed, complaint.words = False, words
            judge(journal, [complaint], checkpoint.step)
        seen = Spread(corpus) if config.check.enabled else None
        mapper = pool.map if checkpoint.threads > 1 else map
        made, logged, in_steps = steps(checkpoint, corpus, own, pool), checkpoint.step, 0.0
        end, stopped = config.train.steps, summary.without_progress(checkpoint)  # why the run ends before its last step
        while checkpoint.step < end and not (stopped or asked):
            began = time.monotonic()
            with only_reading(checkpoint.step):
                step = next(made)
            in_steps += time.monotonic() - began
            checkpoint.step = step.number + 1
            if step.looked_at:  # the checks speak before anything is called divergence
                if own:
                    step.own = own.lines
                with only_reading(step.number):
                    inspect(journal, step, seen, mapper)
                if not (np.isfinite(step.loss) and np.isfinite(step.g.flat).all()):
                    raise summary.diverged(journal, "the loss or a gradient is not finite")
                if step.number % config.log.every == 0:
                    pace = (checkpoint.step - logged) / max(in_steps, 1e-9)  # of training alone
                    journal.row("step", **step_row(step, corpus), steps_per_second=pace)
                    logged, in_steps = checkpoint.step, 0.0
                journal.progress(f"loss {step.loss:.3f}")
            if checkpoint.step == end or checkpoint.step % config.log.eval_every == 0:
                stopped = validate(journal, step, on_eval)
            if checkpoint.step == end or stopped or checkpoint.step % config.log.checkpoint_every == 0:
                save_state(journal)
        if asked and checkpoint.step < end:
            save_state(journal)
            how = f"go on with: python -m trainer --resume {quoted(journal.folder)}"
            how += f" --backward {quoted(own.path)}" if own else ""
            raise Interrupted(f"interrupted at step {checkpoint.step}, state saved; {how}")
        if stopped:
            journal.say(stopped)
        best = load(journal.folder / "best.npz")
        losses = evaluate(journal, best.parameters, corpus.splits, summary.MOST)
        try:
            summary.conclude(journal, best, losses)
        finally:  # also where the reader of standard output has left
            require_sound(journal)


def steps(checkpoint: Checkpoint, corpus: text.Corpus, own: OwnBackward | None, pool: Executor) -> Iterator[Step]:
    """The loop, from where the state stands."""
    config, p, count = checkpoint.config, checkpoint.parameters, checkpoint.threads
    return loop.steps(
        config.train, p, checkpoint.state, checkpoint.step,
        batches=batches(corpus, config, checkpoint.step),
        gradients=own.gradients if own else threads.gradients(p, count, pool),
        looked_at=lambda step: step % config.log.every == 0 or is_due(config, step),
        in_parts=threads.in_parts(count, pool, len(p.flat)),
    )  # fmt: skip


def validate(journal: Journal, step: Step, on_eval: OnEval | None) -> str:
    """Log the losses of training and validation, keep the best parameters so far; say why the run ends, if it does."""
    checkpoint, splits = journal.checkpoint, [split for split in journal.corpus.splits if split != "test"]
    losses = checkpoint.losses = evaluate(journal, checkpoint.parameters, splits, journal.config.log.eval_examples)
    train_loss, val_loss = losses["train"], losses.get("val", math.nan)
    if not train_loss < 100 * math.log(checkpoint.sizes.V):
        raise summary.diverged(journal, f"the training loss is {train_loss:.4g}")
    told = ", ".join(f"{split} {loss:.4f}" for split, loss in losses.items())
    journal.say(f"step {checkpoint.step}: {told} nats per character")
    journal.row("eval", step=checkpoint.step, train_loss=train_loss, val_loss=val_loss, histograms=histograms(step))
    if val_loss < (math.inf if checkpoint.best_loss is None else checkpoint.best_loss):
        checkpoint.best_loss, checkpoint.best_step = val_loss, checkpoint.step
        save_state(journal, "best.npz")
    if on_eval and on_eval(checkpoint.step, train_loss, val_loss) is False:
        return "stopped by on_eval"
    return summary.without_progress(checkpoint)


def evaluate(journal: Journal, p: Parameters, splits: Iterable[str], most: int) -> dict[str, float]:
    """The mean loss of each split in nats, over at most so many places, which are the same for a run."""
    checkpoint, corpus, found = journal.checkpoint, journal.corpus, {}
    for split in splits:
        positions = text.sample_positions(corpus, split, most, journal.config.data.split_seed)
        progress = lambda done, split=split: journal.progress(f"evaluating {done} of {split}")
        losses = threads.losses(p, corpus, positions, progress)
        shown = found[split] = float(losses.mean(dtype=np.float64))
        if journal.config.check.enabled and math.isfinite(shown):  # else training diverges
            given = p, corpus, split, positions, losses, shown, np.random.default_rng(checkpoint.step)
            judge(journal, [check_evaluation(*given)], checkpoint.step)
    return found


def save_state(journal: Journal, file: str = "checkpoint.npz") -> None:
    """Write the state into a file of the run; without a validation split into best.npz, too."""
    checkpoint = journal.checkpoint
    if not all(np.isfinite(each).all() for each in (checkpoint.parameters.flat, *checkpoint.state.values())):
        raise summary.diverged(journal, "a parameter, or what the rule remembers, is not finite")
    checkpoint.metrics_length, checkpoint.seconds = journal.sync(), journal.seconds()
    if "val" not in journal.corpus.splits:
        save(journal.folder / "best.npz", checkpoint)
    save(journal.folder / file, checkpoint)
