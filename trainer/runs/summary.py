"""What a run says at its beginning and at its end: the rows `start` and `end`, why it ended, and for people."""

import math
import platform
import sys

import numpy as np

from trainer import __version__
from trainer.config import RATES, Train
from trainer.errors import aligned, quoted
from trainer.files import write_whole
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.metrics import Journal
from trainer.text.corpus import SPLITS, Corpus
from trainer.text.oddities import legible, show

MOST = 1_000_000  # examples of a split that the losses at the end look at
RULE = "-" * 20 + "\n"  # between running texts in a file


def introduce(journal: Journal, checkpoint: Checkpoint, corpus: Corpus) -> None:
    """The `start` row, and what is about to happen, before it does."""
    p, sizes, say, listed = checkpoint.parameters, checkpoint.sizes, journal.say, corpus.listed
    examples = dict.fromkeys(SPLITS, 0) | {split: end - start for split, (start, end) in corpus.splits.items()}
    journal.row(
        "start",
        version=__version__,
        numpy=np.__version__,
        blas=checkpoint.blas,
        platform=platform.platform(),
        threads=checkpoint.threads,
        seed=checkpoint.config.seed,
        vocab_size=sizes.V,
        parameters=sizes.parameters(),
        lines=len(listed) or None,
        distinct_lines=len({*listed}) or None,
        backward=checkpoint.backward,
        examples=examples,
    )
    length, counts = len(corpus.ids), ""
    if corpus.lines:
        length -= 1  # the boundary before the first line is no part of the text
        counts = f", {len(listed):,} lines, {len({*listed}):,} distinct"
    say(f"run         {journal.folder}")
    say(f"text        {', '.join(checkpoint.places)}: {length:,} characters{counts}")
    say(f"vocabulary  {sizes.V}: {show(corpus.vocabulary)}")
    say("examples    " + ", ".join(f"{split} {n:,}" for split, n in examples.items()))
    say(f"parameters  {sizes.parameters():,}: {p}; threads: {checkpoint.threads}")
    if checkpoint.source:
        say(f"begins with {checkpoint.source}")
    for words in filter(None, (*corpus.warnings, corpus.unseen)):
        say(f"warning: {words}")


def without_progress(checkpoint: Checkpoint) -> str:
    """Why to stop after train.patience evaluations without a better validation loss; else nothing."""
    step, best, config = checkpoint.step, checkpoint.best_step, checkpoint.config
    patience, every = config.train.patience, config.log.eval_every
    if patience and best and (step - best) // every >= patience:
        return f"stopped at step {step}: no better validation loss since step {best}, train.patience is {patience}"
    return ""


def rate_of(train: Train) -> str:
    """The learning rate beside the usual one, for where it may not fit."""
    rate, usual = train.learning_rate, RATES[train.optimizer]
    beside = "the usual one" if rate == usual else f"usual with {train.optimizer} is {usual:g}"
    return f"train.learning_rate is {rate:g}, {beside}"


def against_divergence(checkpoint: Checkpoint) -> str:
    """What may help where a training diverged."""
    train, own = checkpoint.config.train, checkpoint.backward
    decays = train.learning_rate * train.weight_decay > 1
    advice = "try less train.weight_decay" if decays else f"try a lower rate: {rate_of(train)}"
    checked = checkpoint.config.check.enabled or not own
    return advice if checked else f"{advice}; --check tells whether {own} is right"


def conclude(
    journal: Journal, checkpoint: Checkpoint, best: Checkpoint, corpus: Corpus,
    losses: dict[str, float], texts: list[str],
) -> None:  # fmt: skip
    """samples.txt, the `end` row, and for people the losses of the best parameters, the checks and the samples."""
    tallies = checkpoint.checks.items()
    table = [(name, f"{each['run']:,}", f"{each['failed']:,}", f"{each['worst']:.2g}") for name, each in tallies]
    write_whole(journal.folder / "samples.txt", samples_file(texts, corpus.lines).encode())
    journal.row(
        "end",
        step=checkpoint.step,
        **{f"{split}_loss": losses.get(split) for split in SPLITS},
        best_step=best.step,
        seconds=journal.seconds(),
        checks=checkpoint.checks,
    )
    for line in (
        f"losses of the best step, {best.step}, after {journal.seconds():.1f} s:",
        *(f"  {split:<5} {of_split(split, loss, best, corpus)}" for split, loss in losses.items()),
        *(f"  {words}" for words in (corpus.unseen, remark(best, checkpoint, corpus)) if words),
        *aligned([("check", "run", "failed", "error/tolerance"), *table]),
        *(["samples:"] if texts else []),
        *sample_lines(texts, corpus),
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


def remark(best: Checkpoint, newest: Checkpoint, corpus: Corpus) -> str:
    """What the losses of the best and of the newest parameters say to someone who has not seen many, if anything."""
    log_V, rate = math.log(best.sizes.V), rate_of(best.config.train)
    start, end = corpus.splits["train"]
    shares = np.unique(corpus.ids[start:end], return_counts=True)[1] / (end - start)
    counting = -float(shares @ np.log(shares))  # the loss of a model that knows how often each character occurs
    train_loss, val_loss = newest.losses["train"], newest.losses.get("val", 0.0)
    if train_loss > 1.05 * log_V:
        return f"the training loss is above log V = {log_V:.4f}: worse than knowing nothing; try a lower rate: {rate}"
    if train_loss > 0.98 * counting:
        return f"not clearly better than counting the characters, {counting:.4f} nats: train for longer; {rate}"
    if best.best_loss is not None and val_loss > 1.02 * best.best_loss:
        rose = f"from step {best.step} on validation rose to {val_loss:.4f} and training"
        if train_loss > best.losses["train"]:
            return f"{rose} to {train_loss:.4f}; try a lower rate: {rate}"
        return f"{rose} fell to {train_loss:.4f}: little text for so long a training; --last samples the newest state"
    return ""


def sample_lines(texts: list[str], corpus: Corpus) -> list[str]:
    """The samples as a terminal shows them; those of a list with a mark where the text has them, too."""
    known = {*corpus.listed}
    lines = samples_file(texts, corpus.lines).split("\n")[:-1]
    return [f"  {legible(line)}  (in the text)" if line in known else f"  {legible(line)}" for line in lines]


def samples_file(texts: list[str], lines: bool) -> str:
    """The samples: of a list a line each; running texts with a rule between them."""
    return ("" if lines else RULE).join(text + "\n" for text in texts)
