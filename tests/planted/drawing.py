"""Bugs that show only over a run: how places and masks are drawn."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from planted.planting import bugs, configured
from trainer.config import Config
from trainer.core.model import Sizes
from trainer.core.verdict import Verdict
from trainer.referee.feeding import check_batch, check_masks
from trainer.referee.spread import Spread
from trainer.text import batches as feeding
from trainer.text.corpus import Corpus, load

BATCHES, PLACES = "text.batches:batches", "rng.integers(start, end, size * B)"
MASK, KEEP = "text.batches:draw_mask", "reshape(shape) >= dropped"
SPREAD, MASKS = (
    "positions are not drawn as chance does: look at batches in batches.py",
    "look at draw_mask in batches.py",
)
DRAWN = [
    *bugs(BATCHES, PLACES, [
        ("rng.integers(start, start + 100, size * B)", "32", f"{SPREAD}: places in tenth"),
        ("rng.integers(start, (start + end) // 2, size * B)", "32", f"{SPREAD}: places in tenth"),
        ("np.clip(rng.normal(end / 2, end / 8, size * B), start, end - 1).astype(int)", "32", f"{SPREAD}: places"),
        (f"np.sort({PLACES})", "32", SPREAD),
        ("start + (block * size * B + np.arange(size * B)) % (end - start)", "32", SPREAD),
        ("start + (block * size * B + np.arange(size * B)) % (end - start)", "1", SPREAD),
        ("np.repeat(rng.integers(start, end, size), B)", "32", SPREAD),
        ("rng.choice(np.flatnonzero(corpus.ids[start - 1 : end - 1] == 0) + start, size * B)", "32", SPREAD),
        ("rng.choice(np.flatnonzero(corpus.ids[start:end]) + start, size * B)", "32", f"{SPREAD}: places whose"),
        ("np.full(size * B, start + 5)", "1", f"{SPREAD}: "),
        ("np.tile(np.arange(start, end)[:: (end - start) // 4][:B], size)", "4", f"{SPREAD}: "),
    ]),
    *bugs(MASK, KEEP, [
        (KEEP + "; kept[:, 3] = True", "32", f"{MASKS}: kept in column 3 of"),
        (KEEP + "; kept = rng.random(shape) >= 2 * rate; kept[:, ::2] = True", "32", MASKS),
        (KEEP + "; kept = rng.random(shape) >= 0.9 * rate", "32", f"{MASKS}: kept in"),
        (KEEP + "; kept = rng.random(shape) >= 1.2 * rate", "32", f"{MASKS}: kept in"),
        (KEEP + "; kept = lasting.setdefault(shape, kept)", "1", f"{MASKS}: "),
        (KEEP + "; kept[:, 1::2] = kept[:, : shape[1] // 2 * 2 : 2]", "32", "as in the next column"),
        (KEEP + "; kept[1::2] = kept[: len(kept) // 2 * 2 : 2]", "32", "as in the next example"),
        (KEEP + "; kept[...] = True", "rare", f"{MASKS}: "),
    ]),
]  # fmt: skip


def over_a_run(corpus: Corpus, config: Config, steps: int) -> Iterator[Verdict]:
    """The verdicts on what is drawn in each of so many steps."""
    seen, shape = Spread(corpus), config.model
    sizes = Sizes(len(corpus.vocabulary), shape.context, shape.embedding, shape.hidden)
    for number, batch in enumerate(islice(feeding.batches(corpus, config, 0), steps)):
        witness: Any = SimpleNamespace(number=number, batch=batch, sizes=sizes)
        yield check_batch(witness, corpus, seen)
        yield from (*check_masks(witness, config.train, seen), *seen.verdicts())


def drawn_from(folder: Path, setting: str) -> tuple[Corpus, Config]:
    """A text and a training with batches of so many examples, or with "rare" dropout."""
    config = configured(folder, "plain")
    batch_size, dropout = (32, 0.01) if setting == "rare" else (int(setting), 0.3)
    embedding_dropout = 0.0 if setting == "rare" else 0.2
    train = replace(config.train, batch_size=batch_size, dropout=dropout, embedding_dropout=embedding_dropout)
    return load(config.data, config.model.context), replace(config, train=train)
