"""What a run says for people, at its beginning and at its end."""

import math
import platform
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from trainer import __version__, text
from trainer.errors import printable
from trainer.model import NAMES
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.journal import Journal
from trainer.text import Corpus
from trainer.verdicts import InitialLoss


def blas_name() -> str:
    """The library that NumPy was built with for matrix products."""
    blas: Any = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"


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


def losses(best: Checkpoint, seconds: float, named: dict[str, float]) -> list[str]:
    """A line for each split, in nats and bits."""
    lines = [f"losses of the best step, {best.step}, after {seconds:.1f} s:"]
    for split, loss in named.items():
        lines.append(f"  {split:<11} {loss:.4f} nats, {loss / math.log(2):.4f} bits per character")
    return lines


def tallies(checks: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each kind of check."""
    lines = ["check           run  failed  worst"]
    for name, tally in checks.items():
        counts = f"{tally['run']:>5} {tally['failed']:>7}"
        lines.append(f"  {name:<12} {counts}  {tally['worst']:.2e} at {tally['where']}")
    return lines


def samples(texts: list[str], corpus: Corpus) -> list[str]:
    """A line for each sample; for lines with a word on whether it stands in the training text."""
    lines = ["samples:"] if texts else []
    for sample in texts:
        mark = ""
        if corpus.lines:
            mark = "  (in the training text)" if text.stands_in(sample, corpus) else "  (new)"
        lines.append(f"  {printable(sample)}{mark}")
    return lines


def where(folder: Path) -> list[str]:
    """Where everything stands, and how to go on."""
    more = f"for more samples: python -m trainer sample {shlex.quote(str(folder))}"
    return [f"written to {folder}", more]
