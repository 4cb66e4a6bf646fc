"""What a run says for people, at its beginning and at its end."""

import math
import platform
from typing import Any

import numpy as np

from trainer import __version__
from trainer.core.model import NAMES
from trainer.core.verdicts import InitialLoss
from trainer.errors import quoted
from trainer.runs.blas import Blas
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.journal import Journal
from trainer.text.corpus import LENGTHS, SPLITS, Corpus, standing
from trainer.text.oddities import show

RULE = "-" * 20 + "\n"  # between running texts in a file


def tell_products(journal: Journal, checkpoint: Checkpoint, products: Blas) -> None:
    """Note which library multiplies matrices, and say where that can be felt."""
    before, checkpoint.blas = checkpoint.blas, str(products)
    if products.warning:
        journal.say(f"warning: {products.warning}")
    if before not in ("", checkpoint.blas):
        journal.say(f"the last bits of results may differ: {before} has computed them, {checkpoint.blas} goes on")


def introduce(journal: Journal, checkpoint: Checkpoint, corpus: Corpus, first_loss: InitialLoss) -> None:
    """The `start` row, and what is about to happen, before it does."""
    config, p, sizes = checkpoint.config, checkpoint.parameters, checkpoint.sizes
    bounds = {split: corpus.splits.get(split, (0, 0)) for split in SPLITS}
    examples = {split: end - begin for split, (begin, end) in bounds.items()}
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
        backward=checkpoint.backward["path"] if checkpoint.backward else None,
        examples=examples,
    )
    characters = show(corpus.vocabulary[corpus.lines :])
    files = ", ".join([config.data.path] if isinstance(config.data.path, str) else config.data.path)
    ends = ", with the end of a line" if corpus.lines else ""
    shapes = ", ".join(f"{name} {'x'.join(map(str, getattr(p, name).shape))}" for name in NAMES)
    journal.say(f"run         {journal.folder}")
    journal.say(f"text        {files}: {len(corpus.ids) - corpus.lines:,} characters{line_counts(corpus)}")
    journal.say(f"vocabulary  {sizes.V}{ends}: {characters}")
    journal.say("examples    " + ", ".join(f"{split} {n:,}" for split, n in examples.items()))
    journal.say(f"parameters  {sizes.parameters():,}: {shapes}; {config.model.dtype}, threads: {checkpoint.threads}")
    if checkpoint.source:
        journal.say(f"begins with  {checkpoint.source}")
    journal.say(f"first loss  {first_loss.value:.4f} nats; log V = {first_loss.expected:.4f}")
    if corpus.warning:
        journal.say(f"warning: in the text {corpus.warning}")
    steps, warmup = config.train.steps, config.train.warmup_steps
    if warmup >= steps:
        why = f"train.warmup_steps is {warmup} and train.steps {steps}"
        journal.say(f"warning: {why}: the learning rate ends while it still rises; give fewer warmup_steps")


def line_counts(corpus: Corpus) -> str:
    """How many lines a list has."""
    if not corpus.lines:
        return ""
    return f", {corpus.line_count:,} lines, {corpus.distinct_lines:,} distinct"


def conclude(
    journal: Journal, checkpoint: Checkpoint, best: Checkpoint, corpus: Corpus, losses: dict[str, float],
    last_val_loss: float | None, texts: list[str],
) -> None:  # fmt: skip
    """The `end` row, and for people the losses of the best parameters, the checks, samples, and how to go on."""
    tallies = checkpoint.checks
    counted = {name: {key: tally[key] for key in ("run", "failed", "worst")} for name, tally in tallies.items()}
    journal.row(
        "end",
        step=checkpoint.step,
        **{f"{split}_loss": losses.get(split) for split in SPLITS},
        best_step=best.step,
        seconds=checkpoint.seconds,
        checks=counted,
    )
    more = f"for more samples: python -m trainer sample {quoted(journal.folder)}"
    journal.conclude(
        [
            f"losses of the best step, {best.step}, on whole splits, after {checkpoint.seconds:.1f} s:",
            *loss_lines(losses),
            *remarks(journal, best, losses, last_val_loss),
            "check           run  failed  worst",
            *(tally_line(name, tally) for name, tally in tallies.items()),
            *(["samples:"] if texts else []),
            *sample_lines(texts, corpus),
            f"written to {journal.folder}",
            more,
        ]
    )


def loss_lines(losses: dict[str, float]) -> list[str]:
    """A line for each split, in nats and bits."""
    names = {"train": "train", "val": "validation", "test": "test"}
    return [
        f"  {names[split]:<11} {loss:.4f} nats, {loss / math.log(2):.4f} bits per character"
        for split, loss in losses.items()
    ]


def tally_line(name: str, tally: dict[str, Any]) -> str:
    """How often a kind of check was made and failed, and the worst of it."""
    counts = f"{tally['run']:>5} {tally['failed']:>7}"
    return f"  {name:<12} {counts}  {tally['worst']:.2e} at {tally['where']}"


def without_progress(checkpoint: Checkpoint) -> str:
    """Why to stop after train.patience evaluations without a better validation loss; else nothing."""
    patience, every = checkpoint.config.train.patience, checkpoint.config.log.eval_every
    evaluations = checkpoint.step // every - checkpoint.best_step // every
    if not patience or checkpoint.best_loss is None or evaluations < patience:
        return ""
    since = f"no better validation loss since step {checkpoint.best_step}"
    return f"stopped at step {checkpoint.step}: {since}, train.patience is {patience}"


def remarks(journal: Journal, best: Checkpoint, losses: dict[str, float], last_val_loss: float | None) -> list[str]:
    """What the losses say to someone who has not seen many."""
    found = []
    log_V = math.log(best.sizes.V)
    val_loss = losses.get("val", 0.0)
    if val_loss > log_V:
        found.append(f"  the validation loss is above log V = {log_V:.4f}: worse than knowing nothing")
    if last_val_loss is not None and best.best_loss is not None and last_val_loss > 1.02 * best.best_loss:
        rose = f"validation rose from step {best.step} on, to {last_val_loss:.4f}: little text for so long a training"
        newest = f"python -m trainer sample {quoted(journal.folder)} --last"
        found.append(f"  {rose}; samples of the newest state: {newest}")
    return found


def samples_file(texts: list[str], lines: bool) -> str:
    """The samples: of a list a line each; running texts with a rule between them."""
    return "".join(text + "\n" for text in texts) if lines else RULE.join(text + "\n" for text in texts)


def sample_lines(texts: list[str], corpus: Corpus) -> list[str]:
    """The samples as a terminal shows them; those of a list with a word on where they stand."""
    if corpus.lines:
        marked = zip(texts, marks(texts, corpus, LENGTHS["lines"]), strict=True)
        return [f"  {text}  ({mark})" for text, mark in marked]
    return [f"  {line}" for text in texts for line in (text + "\n").split("\n")][:-1]


def marks(texts: list[str], corpus: Corpus, length: int) -> list[str]:
    """For each line whether it is new or where it stands; one as long as `length` was cut before its end."""
    words = {"": "new", "train": "in the training text"}
    known = "in the validation or test text"
    return [
        "cut" if len(text) >= length else words.get(split, known)
        for text, split in zip(texts, standing(texts, corpus), strict=True)
    ]
