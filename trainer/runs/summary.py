"""What a run says at its beginning and at its end: the rows `start` and `end`, why it ended, and for people."""

import math
import platform
import sys
from pathlib import Path

import numpy as np

from trainer import __version__
from trainer.config import RATES
from trainer.core import optim
from trainer.errors import quoted
from trainer.files import write_whole
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.journal import Journal
from trainer.runs.starting import OwnBackward
from trainer.runs.terminal import aligned
from trainer.text.corpus import LENGTHS, SPLITS, Corpus, standing
from trainer.text.oddities import legible, show

MOST = 1_000_000  # examples of a split that the losses at the end look at
RULE = "-" * 20 + "\n"  # between running texts in a file
Losses = dict[str, float]  # by split, in nats per character


def introduce(journal: Journal, checkpoint: Checkpoint, corpus: Corpus) -> None:
    """The `start` row, and what is about to happen, before it does."""
    config, p, sizes, say = checkpoint.config, checkpoint.parameters, checkpoint.sizes, journal.say
    examples = dict.fromkeys(SPLITS, 0) | {split: end - start for split, (start, end) in corpus.splits.items()}
    journal.row(
        "start",
        version=__version__,
        numpy=np.__version__,
        blas=checkpoint.blas,
        platform=platform.platform(),
        threads=checkpoint.threads,
        seed=config.seed,
        vocab_size=sizes.V,
        parameters=sizes.parameters(),
        lines=corpus.line_count,
        distinct_lines=corpus.distinct_lines,
        backward=checkpoint.backward,
        examples=examples,
    )
    counts = f", {corpus.line_count:,} lines, {corpus.distinct_lines:,} distinct" if corpus.lines else ""
    ends = ", with the end of a line" if corpus.lines else ""
    say(f"run         {journal.folder}")
    say(f"text        {', '.join(checkpoint.places)}: {len(corpus.ids) - corpus.lines:,} characters{counts}")
    say(f"vocabulary  {sizes.V}{ends}: {show(corpus.vocabulary[corpus.lines :])}")
    say("examples    " + ", ".join(f"{split} {n:,}" for split, n in examples.items()))
    say(f"parameters  {sizes.parameters():,}: {p}; threads: {checkpoint.threads}")
    if checkpoint.source:
        say(f"begins with {checkpoint.source}")
    for words in filter(None, (*corpus.warnings, corpus.unseen)):
        say(f"warning: {words}")
    if checkpoint.backward and not config.check.enabled:
        say(f"warning: {checkpoint.backward} is not checked, which --check does")
    if config.train.warmup_steps >= config.train.steps:
        warmup = f"train.warmup_steps is {config.train.warmup_steps} and train.steps {config.train.steps}"
        say(f"warning: {warmup}: the learning rate ends while it still rises")


def without_progress(checkpoint: Checkpoint) -> str:
    """Why to stop after train.patience evaluations without a better validation loss; else nothing."""
    step, best, config = checkpoint.step, checkpoint.best_step, checkpoint.config
    patience, every = config.train.patience, config.log.eval_every
    if patience and best and (step - best) // every >= patience:
        return f"stopped at step {step}: no better validation loss since step {best}, train.patience is {patience}"
    return ""


def diverged(checkpoint: Checkpoint, what: str, folder: Path, own: OwnBackward | None) -> str:
    """That a training diverged, and what may help."""
    train, step = checkpoint.config.train, checkpoint.step
    advice = f"try train.learning_rate={train.learning_rate / 10:g}, train.warmup_steps or less train.weight_decay"
    if own and not checkpoint.config.check.enabled:
        advice += f", and --check: {own.path} was not checked"
    rate, good = optim.learning_rate(train, step - 1), folder / "checkpoint.npz"
    happened = f"training diverged at step {step}: {what}, at learning rate {rate:g}"
    return f"{happened}; the last good state is {good}; {advice}"


def conclude(
    journal: Journal, checkpoint: Checkpoint, best: Checkpoint, corpus: Corpus, losses: Losses, texts: list[str]
) -> None:
    """samples.txt, the `end` row, and for people the losses of the best parameters, the checks and the samples."""
    tallies = checkpoint.checks
    write_whole(journal.folder / "samples.txt", samples_file(texts, corpus.lines).encode())
    journal.row(
        "end",
        step=checkpoint.step,
        **{f"{split}_loss": losses.get(split) for split in SPLITS},
        best_step=best.step,
        seconds=journal.seconds(),
        checks={name: {key: tally[key] for key in ("run", "failed", "worst")} for name, tally in tallies.items()},
    )
    counts = [
        (name, str(tally["run"]), str(tally["failed"]), f"{tally['worst']:.2e}", tally["where"])
        for name, tally in tallies.items()
    ]
    for line in (
        f"losses of the best step, {best.step}, after {journal.seconds():.1f} s:",
        *(f"  {split:<5} {of_split(split, loss, best, corpus)}" for split, loss in losses.items()),
        *(f"  {words}" for words in (corpus.unseen, remark(best, checkpoint, corpus, losses)) if words),
        *aligned([("check", "run", "failed", "worst", "at"), *counts]),
        *(["samples:"] if texts else []),
        *sample_lines(texts, corpus),
        f"written to {journal.folder}",
        f"for more samples: python -m trainer sample {quoted(journal.folder)}",
    ):
        journal.say(line, sys.stdout)


def of_split(split: str, loss: float, best: Checkpoint, corpus: Corpus) -> str:
    """The loss of a split, in nats and bits, and what it is of."""
    start, end = corpus.splits[split]
    line = f"{loss:.4f} nats, {loss / math.log(2):.4f} bits per character"
    if end - start > MOST:
        line += f", of {MOST:,} examples"
    few = best.config.log.eval_examples
    if split == "val" and few < min(end - start, MOST):
        line += f"; {best.best_loss:.4f} of the {few:,} by which the step was chosen"
    return line


def remark(best: Checkpoint, newest: Checkpoint, corpus: Corpus, losses: Losses) -> str:
    """What the losses of the best and of the newest parameters say to someone who has not seen many, if anything."""
    log_V, train = math.log(best.sizes.V), best.config.train
    start, end = corpus.splits["train"]
    shares = np.unique(corpus.ids[start:end], return_counts=True)[1] / (end - start)
    counting = -float(shares @ np.log(shares))  # the loss of a model that knows how often each character occurs
    train_loss, val_loss = newest.losses["train"], newest.losses.get("val", 0.0)
    usual = " and ".join(f"{rate:g} with {name}" for name, rate in RATES.items())
    advice = f"try another train.learning_rate than {train.learning_rate:g}; usual are {usual}"
    if train_loss > 1.05 * log_V:
        return f"the training loss is above log V = {log_V:.4f}: worse than knowing nothing; {advice}"
    if train_loss > 0.98 * counting:
        than = "worse than" if train_loss > counting else "hardly better than"
        return f"{than} counting the characters, {counting:.4f} nats: train for longer, or {advice}"
    if best.best_loss is not None and val_loss > 1.02 * best.best_loss:
        rose = f"from step {best.step} on validation rose to {val_loss:.4f} and training"
        if train_loss > best.losses["train"]:
            return f"{rose} to {train_loss:.4f}; {advice}"
        return f"{rose} fell to {train_loss:.4f}: little text for so long a training; --last samples the newest state"
    if losses.get("val", 0.0) > log_V:
        return f"the validation loss is above log V = {log_V:.4f}: is that text of another kind?"
    return ""


def sample_lines(texts: list[str], corpus: Corpus) -> list[str]:
    """The samples as a terminal shows them; those of a list with a word on where they stand."""
    if not corpus.lines:
        return [f"  {legible(line)}" for line in samples_file(texts, False).split("\n")[:-1]]
    found = marks(texts, corpus, LENGTHS["lines"])
    return [f"  {legible(text)}  ({mark})" for text, mark in zip(texts, found, strict=True)]


def samples_file(texts: list[str], lines: bool) -> str:
    """The samples: of a list a line each; running texts with a rule between them."""
    return ("" if lines else RULE).join(text + "\n" for text in texts)


def marks(texts: list[str], corpus: Corpus, length: int) -> list[str]:
    """For each line whether it is new or where it stands; one as long as `length` was cut before its end."""
    found = [f"in the {split} split" if split else "new" for split in standing(texts, corpus)]
    return ["cut" if len(text) >= length else mark for text, mark in zip(texts, found, strict=True)]
