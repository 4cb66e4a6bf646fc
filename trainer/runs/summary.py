"""What a run says at its beginning and at its end: the rows `start` and `end`, why it ended, and for people."""

import math
import platform
import sys

import numpy as np

from trainer import __version__
from trainer.config import RATES, Train
from trainer.core.ops import Array
from trainer.errors import Diverged, aligned, quoted
from trainer.files import write_whole
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.metrics import Journal
from trainer.runs.sampling import sample
from trainer.text.corpus import SPLITS, Corpus
from trainer.text.oddities import legible, show

MOST = 1_000_000  # examples of a split that the losses at the end look at
RULE = "-" * 20 + "\n"  # between running texts in a file


def introduce(journal: Journal) -> None:
    """The `start` row, and what is about to happen, before it does; of a run that goes on, where it stands."""
    checkpoint, corpus, say, listed = journal.checkpoint, journal.corpus, journal.say, journal.corpus.listed
    if checkpoint.metrics_length:
        say(f"resuming {journal.folder} at step {checkpoint.step} of {journal.config.train.steps}")
        return
    parameters = checkpoint.parameters.flat.size
    examples = dict.fromkeys(SPLITS, 0) | {split: end - start for split, (start, end) in corpus.splits.items()}
    journal.row(
        "start",
        version=__version__,
        numpy=np.__version__,
        blas=checkpoint.blas,
        platform=platform.platform(),
        threads=checkpoint.threads,
        seed=journal.config.seed,
        vocab_size=len(corpus.vocabulary),
        parameters=parameters,
        lines=len(listed) or None,
        distinct_lines=len({*listed}) or None,
        backward=checkpoint.backward,
        examples=examples,
    )
    length = len(corpus.ids) - corpus.lines  # the boundary before the first line is no part of the text
    counts = f", {len(listed):,} lines, {len({*listed}):,} distinct" if listed else ""
    say(f"run         {journal.folder}")
    say(f"text        {', '.join(checkpoint.places)}: {length:,} characters{counts}")
    say(f"vocabulary  {len(corpus.vocabulary)}: {show(corpus.vocabulary)}")
    say("examples    " + ", ".join(f"{split} {n:,}" for split, n in examples.items()))
    say(f"parameters  {parameters:,}: {checkpoint.parameters}; threads: {checkpoint.threads}")
    if checkpoint.source:
        say(f"begins with {checkpoint.source}")
    for words in filter(None, (*corpus.warnings, corpus.unseen)):
        say(f"warning: {words}")


def without_progress(checkpoint: Checkpoint) -> str:
    """Why to stop after train.patience evaluations without a better validation loss; else ""."""
    step, best, config = checkpoint.step, checkpoint.best_step, checkpoint.config
    patience = config.train.patience
    if patience and best and step - best >= patience * config.log.eval_every:
        return f"stopped at step {step}: no better validation loss since step {best}, train.patience is {patience}"
    return ""


def rate_of(train: Train) -> str:
    """The learning rate beside the usual one, for where it may not fit."""
    usual = f"usual with {train.optimizer} is {RATES[train.optimizer]:g}"
    return f"train.learning_rate is {train.learning_rate:g}, {usual}"


def diverged(journal: Journal, what: str) -> Diverged:
    """The error for a training whose numbers are not sound, with what may help."""
    said = f"training had diverged by step {journal.checkpoint.step}: {what}; the last good state is"
    said += f" {journal.folder / 'checkpoint.npz'}; try a lower rate: {rate_of(journal.config.train)}"
    return Diverged(said + "; --check tells whether every gradient is right" * (not journal.config.check.enabled))


def conclude(journal: Journal, best: Checkpoint, losses: dict[str, float]) -> None:
    """samples.txt, the `end` row, and for people the losses of the best parameters, the checks and the samples."""
    checkpoint, corpus = journal.checkpoint, journal.corpus
    texts = sample(best, journal.config.log.samples, seed=journal.config.seed)
    write_whole(journal.folder / "samples.txt", samples_file(texts, corpus.lines).encode())
    journal.row(
        "end",
        step=checkpoint.step,
        **{f"{split}_loss": losses.get(split) for split in SPLITS},
        best_step=best.step,
        seconds=journal.seconds(),
        checks=checkpoint.checks,
    )
    table = [("check", "run", "failed", "error/tolerance")]
    for name, tally in checkpoint.checks.items():
        table.append((name, f"{tally['run']:,}", f"{tally['failed']:,}", f"{tally['worst']:.2g}"))
    for line in (
        f"losses of the best step, {best.step}, after {journal.seconds():.1f} s:",
        *(f"  {split:<5} {of_split(split, loss, best, corpus)}" for split, loss in losses.items()),
        *(f"  {words}" for words in (corpus.unseen, remark(best, checkpoint, corpus)) if words),
        *aligned(table),
        f"samples: {len(texts)}",
        *sample_lines(texts, corpus),
        f"for more samples: python -m trainer sample {quoted(journal.folder)}",
    ):
        journal.say(line, sys.stdout)


def of_split(split: str, loss: float, best: Checkpoint, corpus: Corpus) -> str:
    """The loss of a split, in nats and bits, and what it is of."""
    start, end = corpus.splits[split]
    n, few = min(end - start, MOST), best.config.log.eval_examples
    line = f"{loss:.4f} nats, {loss / math.log(2):.4f} bits per character, of {n:,} examples"
    if split == "val" and few < n:
        line += f"; {best.best_loss:.4f} of the {few:,} by which the step was chosen"
    return line


def remark(best: Checkpoint, newest: Checkpoint, corpus: Corpus) -> str:
    """What the losses of the best and of the newest parameters say to someone who has not seen many, if anything."""
    log_V, rate, before, after = math.log(best.sizes.V), rate_of(best.config.train), best.losses, newest.losses
    start, end = corpus.splits["train"]
    counting = entropy(corpus.ids[start:end])
    if after["train"] > 0.98 * counting:
        costs = f"knowing nothing costs log V = {log_V:.4f}, counting the characters {counting:.4f}"
        return f"{costs}: train for longer; {rate}"
    if after.get("val", 0.0) > 1.02 * before.get("val", 0.0):
        rose = f"from step {best.step} on validation rose to {after['val']:.4f} and training"
        if after["train"] > before["train"]:
            return f"{rose} to {after['train']:.4f}; try a lower rate: {rate}"
        return f"{rose} fell to {after['train']:.4f}: little text for so long a training; --last samples the newest"
    return ""


def entropy(ids: Array) -> float:
    """The loss of a model that knows how often each of some ids (n,) occurs and nothing else, in nats."""
    shares = np.unique(ids, return_counts=True)[1] / len(ids)
    return -float(shares @ np.log(shares))


def sample_lines(texts: list[str], corpus: Corpus) -> list[str]:
    """The samples as a terminal shows them; those of a list with a mark where the text has them, too."""
    known = {*corpus.listed}
    lines = samples_file(texts, corpus.lines).split("\n")[:-1]
    return [f"  {legible(line)}" + "  (in the text)" * (line in known) for line in lines]


def samples_file(texts: list[str], lines: bool) -> str:
    """The samples: of a list a line each; running texts with a rule between them."""
    return ("" if lines else RULE).join(text + "\n" for text in texts)
