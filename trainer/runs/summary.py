"""What a run says for people, at its beginning and at its end."""

import math
import platform
import shlex
from typing import Any

import numpy as np

from trainer import __version__, text
from trainer.blas import Blas
from trainer.errors import printable
from trainer.model import NAMES
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.journal import Journal
from trainer.text import Corpus
from trainer.verdicts import InitialLoss


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
    examples = {split: end - begin for split, (begin, end) in corpus.splits.items()}
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
        backward=checkpoint.backward,
        examples=examples,
    )
    characters = printable(corpus.vocabulary[corpus.lines :])
    ends = ", with the end of a line" if corpus.lines else ""
    shapes = ", ".join(f"{name} {'x'.join(map(str, getattr(p, name).shape))}" for name in NAMES)
    journal.say(f"run         {journal.folder}")
    journal.say(f"text        {printable(str(config.data.path))}: {len(corpus.ids) - corpus.lines:,} characters")
    journal.say(f"vocabulary  {sizes.V}{ends}: {characters[:80]}")
    journal.say("examples    " + ", ".join(f"{split} {n:,}" for split, n in examples.items()))
    journal.say(f"parameters  {sizes.parameters():,}: {shapes}; {config.model.dtype}, threads: {checkpoint.threads}")
    journal.say(f"first loss  {first_loss.value:.4f} nats; log V = {first_loss.expected:.4f}")


def conclude(
    journal: Journal, checkpoint: Checkpoint, best: Checkpoint, corpus: Corpus, losses: dict[str, float],
    texts: list[str],
) -> None:  # fmt: skip
    """The `end` row, and for people the losses of the best parameters, the checks, samples, and how to go on."""
    tallies = checkpoint.checks
    counted = {name: {key: tally[key] for key in ("run", "failed", "worst")} for name, tally in tallies.items()}
    journal.row(
        "end",
        step=checkpoint.step,
        **{f"{split}_loss": loss for split, loss in losses.items()},
        best_step=best.step,
        seconds=checkpoint.seconds,
        checks=counted,
    )
    more = f"for more samples: python -m trainer sample {shlex.quote(str(journal.folder))}"
    journal.conclude(
        [
            f"losses of the best step, {best.step}, after {checkpoint.seconds:.1f} s:",
            *loss_lines(losses),
            "check           run  failed  worst",
            *(tally_line(name, tally) for name, tally in tallies.items()),
            *(["samples:"] if texts else []),
            *(f"  {printable(sample)}{mark(sample, corpus)}" for sample in texts),
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


def mark(sample: str, corpus: Corpus) -> str:
    """Whether a line stands in the training text."""
    if not corpus.lines:
        return ""
    return "  (in the training text)" if text.stands_in(sample, corpus) else "  (new)"
