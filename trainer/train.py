"""The story: batches, gradients, updates, and between them logs, checks, evaluations, checkpoints."""

import math
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from trainer import __version__, checks, model, ops, optim, runs, text
from trainer import config as configuration
from trainer.config import Config
from trainer.errors import Interrupted, RunFailed, UserError
from trainer.model import NAMES, Activations, Batch, Parameters, Sizes
from trainer.runs import CHECKS, TRAINING, Checkpoint, Journal, cores
from trainer.sample import sample
from trainer.text import Corpus

BITS = 1 / math.log(2)  # bits in a nat
ALL = 1_000_000  # examples that the losses at the end look at, at most


class Part(NamedTuple):
    """A thread's share of the batch, and its own arrays."""

    rows: slice
    a: Activations
    g: Parameters


def choose_threads(sizes: Sizes, batch_size: int) -> int:
    """Threads for a step, by shapes alone: below 16 million multiplications a step, threads cost more than they save."""
    work = batch_size * (sizes.K * sizes.D + sizes.V) * sizes.H
    return max(1, min(cores(), batch_size // 64)) if work >= 1 << 24 else 1


def split_batch(sizes: Sizes, batch_size: int, dtype: str, threads: int, g: Parameters) -> list[Part]:
    """The batch in so many parts of nearly equal size; a single part writes straight into g."""
    ends = [batch_size * k // threads for k in range(threads + 1)]
    return [
        Part(slice(i, j), Activations(sizes, j - i, dtype), g if threads == 1 else model.zeros(sizes, dtype))
        for i, j in zip(ends, ends[1:], strict=False)
    ]


def batches(corpus: Corpus, config: Config, step: int) -> Iterator[Batch]:
    """Batches from a step on, drawn a block of steps at once: 9 us less a step.

    Each block has a generator of its own, made from seed and block, so that any step can be drawn again.
    """
    B, K = config.train.batch_size, config.model.context
    size = max(1, min(64, (1 << 18) // (B * K)))  # steps
    start, end = corpus.splits["train"]
    for block in count(step // size):
        rng = np.random.default_rng([config.seed, TRAINING, block])
        contexts, targets = text.windows(corpus, rng.integers(start, end, size * B), K)
        for k in range(size):
            masks = draw_masks(config, rng) if config.train.dropout or config.train.embedding_dropout else ()
            if block * size + k >= step:
                rows = slice(k * B, (k + 1) * B)
                yield Batch(contexts[rows], targets[rows], *masks)


def draw_masks(config: Config, rng: np.random.Generator) -> list[ops.Array | None]:
    """Dropout masks of a batch for emb (B, K*D) and h (B, H): 0, or 1 / (1 - rate) where a value is kept."""
    m, t = config.model, config.train
    masks: list[ops.Array | None] = []
    for rate, width in ((t.embedding_dropout, m.context * m.embedding), (t.dropout, m.hidden)):
        kept = rng.random((t.batch_size, width), np.float32) >= rate
        masks.append(np.multiply(kept, 1 / (1 - rate), dtype=m.dtype) if rate else None)
    return masks


def gradients(p: Parameters, batch: Batch, parts: list[Part], g: Parameters, pool: ThreadPoolExecutor) -> None:
    """Forward and backward; the parts' gradients are added in the order of the parts."""
    weight = 1 / len(batch.targets)

    def run(part: Part) -> None:
        rows = batch.rows(part.rows) if len(parts) > 1 else batch
        model.forward(p, rows, part.a)
        model.backward(p, rows, part.a, part.g, weight)

    others = [pool.submit(run, part) for part in parts[1:]]
    run(parts[0])
    for part, other in zip(parts[1:], others, strict=True):
        other.result()
        np.add(parts[0].g.flat if part is parts[1] else g.flat, part.g.flat, g.flat)


def mean_loss(p: Parameters, sizes: Sizes, corpus: Corpus, positions: ops.Array, pool: ThreadPoolExecutor) -> float:
    """The mean loss at some positions of the text, in nats, without dropout."""
    size = max(1, min(1024, (1 << 22) // (sizes.H + sizes.V + sizes.K * sizes.D)))

    def total(first: int) -> float:
        contexts, targets = text.windows(corpus, positions[first : first + size], sizes.K)
        batch, a = Batch(contexts, targets), Activations(sizes, len(targets), p.flat.dtype, backward=False)
        model.forward(p, batch, a)
        return float(model.losses(a, batch).sum(dtype=np.float64))

    return math.fsum(pool.map(total, range(0, len(positions), size))) / len(positions)


def evaluate(
    c: Checkpoint, corpus: Corpus, most: int, splits: tuple[str, ...], pool: ThreadPoolExecutor
) -> list[float]:
    """The mean loss of each split, over at most so many evenly spaced examples, in nats."""
    return [mean_loss(c.parameters, c.sizes, corpus, text.evenly(corpus, s, most), pool) for s in splits]


class Show:
    """Tells the story on standard error and in train.log, beside a progress bar."""

    def __init__(self, journal: Journal, steps: int, step: int) -> None:
        self.journal = journal
        self.bar = tqdm(total=steps, initial=step, unit="step", disable=None, dynamic_ncols=True, leave=False)

    def say(self, line: str) -> None:
        self.journal.say(line)
        tqdm.write(line, file=sys.stderr)


def train(config: Config, name: str = "notebook") -> Path:
    """Train a model from the start; return its run folder under runs/.

    Raises UserError for what the user can mend, RunFailed if a check failed or training
    diverged, Interrupted after Ctrl-C or SIGTERM.
    """
    runs.check_name(name)
    corpus = text.load(config.data, config.model.context)
    sizes = runs.sizes_of(config, corpus.vocabulary)
    check_memory(sizes, config)
    p = model.initial(sizes, config.model.dtype, np.random.default_rng([config.seed, TRAINING]))
    c = Checkpoint(
        config, corpus.vocabulary, p, optim.initial_state(config.train, p),
        threads=choose_threads(sizes, config.train.batch_size), fingerprint=corpus.fingerprint,
        opening="" if corpus.lines else "".join(corpus.vocabulary[i] for i in corpus.ids[: sizes.K]),
    )  # fmt: skip
    return run(c, corpus, None, name)


def resume(run_name: str, overrides: list[str]) -> Path:
    """Go on with a run from its newest checkpoint, bit for bit as if it had never stopped. Raises as `train` does."""
    folder = runs.find(run_name)
    c = runs.load(folder / "checkpoint.npz")
    for override in overrides:
        key, _, value = override.partition("=")
        if key != "train.steps":
            raise UserError(f"{override!a} cannot change on resuming, {folder}; only train.steps=N can")
        tree = configuration.to_dict(c.config)
        tree["train"]["steps"] = configuration.parse_yaml(value.encode(), override)
        longer = configuration.build(tree, "the command line")
        if longer.train.steps < c.step:
            raise UserError(f"train.steps={longer.train.steps} is below the {c.step} steps done, {folder}; give more")
        if longer.train.steps != c.config.train.steps and c.config.train.schedule != "constant":
            raise UserError(
                f"train.steps cannot change: the {c.config.train.schedule} schedule depends on it, {folder};"
                " only a run with train.schedule=constant can be lengthened"
            )
        c.config = longer
    corpus = text.load(c.config.data, c.config.model.context)
    if corpus.fingerprint != c.fingerprint:
        raise UserError(f"the text has changed since the run began, {Path(c.config.data.path).absolute()}; restore it")
    return run(c, corpus, folder, "")


def run(c: Checkpoint, corpus: Corpus, folder: Path | None, name: str) -> Path:
    """Train from a checkpoint to the last step, in its folder or, without one, in one made for it."""
    config, p, log = c.config, c.parameters, c.config.log
    g, scratch, before = (model.zeros(c.sizes, config.model.dtype) for _ in range(3))
    parts = split_batch(c.sizes, config.train.batch_size, config.model.dtype, c.threads, g)
    stream = batches(corpus, config, c.step)
    with ThreadPoolExecutor(max(cores(), c.threads)) as pool, np.errstate(all="ignore"), interruptible() as signals:
        fresh = folder is None
        if folder is None:
            first = next(batches(corpus, config, 0))
            gradients(p, first, parts, g, pool)
            folder = runs.create(name)
            runs.write_config(folder, config)
        journal = Journal(folder, c.metrics_length)
        show = Show(journal, config.train.steps, c.step)
        began, mark, last = time.monotonic() - c.seconds, time.monotonic(), c.step

        def save(file: str) -> None:
            c.metrics_length, c.seconds = journal.length, time.monotonic() - began
            runs.save(folder / file, c)

        try:
            if fresh:
                introduce(c, corpus, folder, step_loss(parts, first), journal, show)
                save("checkpoint.npz")
            else:
                show.say(f"resuming {folder} at step {c.step} of {config.train.steps}")
            while c.step < config.train.steps:
                batch, step = next(stream), c.step
                gradients(p, batch, parts, g, pool)
                logged = step % log.every == 0
                checked = config.check.enabled and step % config.check.every == 0
                if logged or checked:
                    before.flat[...] = p.flat
                optim.update(config.train, p, g, c.state, step, scratch.flat)
                c.step += 1
                if logged:
                    now = time.monotonic()
                    speed = (c.step - last) / (now - mark)
                    look(c, batch, parts, g, before, speed, folder, journal, show)
                    mark, last = now, c.step
                if logged or checked:
                    check_step(c, batch, parts, g, before, checked, pool, folder, journal, show)
                if c.step % log.eval_every == 0 or c.step == config.train.steps:
                    paused = time.monotonic()
                    require_finite(c, folder, p.flat, "the parameters")
                    train_loss, val_loss = evaluate(c, corpus, log.eval_examples, ("train", "val"), pool)
                    journal.row("eval", step=c.step, train_loss=train_loss, val_loss=val_loss)
                    show.say(f"step {c.step}: train {train_loss:.4f}, val {val_loss:.4f} nats per character")
                    require_sane(c, folder, val_loss, "the validation loss")
                    if c.best_loss is None or val_loss < c.best_loss:
                        c.best_loss, c.best_step = val_loss, c.step
                        save("best.npz")
                    mark += time.monotonic() - paused
                if c.step % log.checkpoint_every == 0 or c.step == config.train.steps or signals:
                    require_finite(c, folder, p.flat, "the parameters")
                    save("checkpoint.npz")
                if signals and c.step < config.train.steps:
                    show.say(f"interrupted at step {c.step}, state saved")
                    raise Interrupted(f"go on with: python -m trainer --resume {folder}")
            finish(c, corpus, folder, journal, show, pool)
        finally:
            show.bar.close()
            journal.close()
    return folder


def introduce(c: Checkpoint, corpus: Corpus, folder: Path, loss: float, journal: Journal, show: Show) -> None:
    """What is about to happen, before it does, and the first check: that nothing is known yet."""
    config, sizes = c.config, c.sizes
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    examples = {split: corpus.examples(split) for split in corpus.splits}
    journal.row(
        "start", version=__version__, numpy=np.__version__, blas=f"{blas['name']} {blas['version']}",
        platform=platform.platform(), threads=c.threads, seed=config.seed, vocab_size=sizes.V,
        parameters=sizes.parameters(), examples=examples,
    )  # fmt: skip
    characters = text.printable(corpus.vocabulary[corpus.lines :])
    characters = characters if len(characters) <= 80 else characters[:80] + " ..."
    tensors = ", ".join(f"{name} {shape(getattr(c.parameters, name))}" for name in NAMES)
    row = checks.initial_loss(loss, sizes.V, config.check.initial_loss_atol)
    show.say(f"run         {folder}")
    show.say(f"text        {config.data.path}: {len(corpus.ids) - corpus.lines:,} characters")
    show.say(f"vocabulary  {sizes.V}{', with the boundary of lines' if corpus.lines else ''}: {characters}")
    show.say("examples    " + ", ".join(f"{split} {n:,}" for split, n in examples.items()))
    show.say(f"parameters  {sizes.parameters():,}: {tensors}; {config.model.dtype}, {c.threads} thread(s)")
    show.say(f"first loss  {loss:.4f} nats, log V = {row['expected']:.4f}")
    note(c, [row], 0, journal)
    if not row["passed"]:
        show.say("warning: the first loss is not close to log V: the output weights are too large at the start")


def shape(array: ops.Array) -> str:
    return "x".join(str(n) for n in array.shape)


def step_loss(parts: list[Part], batch: Batch) -> float:
    """The mean loss of the batch that `gradients` ran last, in nats."""
    total = sum(float(model.losses(part.a, batch.rows(part.rows)).sum(dtype=np.float64)) for part in parts)
    return total / len(batch.targets)


def look(
    c: Checkpoint, batch: Batch, parts: list[Part], g: Parameters, before: Parameters, speed: float,
    folder: Path, journal: Journal, show: Show,
) -> None:  # fmt: skip
    """Log a step: what is not needed for training is computed here only."""
    step, loss, norm = c.step - 1, step_loss(parts, batch), float(np.linalg.norm(g.flat))
    rate = optim.learning_rate(c.config.train, step)
    ratio = {}
    for name in NAMES:
        data, after = getattr(before, name), getattr(c.parameters, name)
        size = np.linalg.norm(data)
        ratio[name] = float(np.linalg.norm(after - data) / size) if size else None
    saturated = sum(int((abs(part.a.tanh) > 0.99).sum()) for part in parts) / (len(batch.targets) * c.sizes.H)
    journal.row(
        "step", step=step, loss=loss, learning_rate=rate, grad_norm=norm, steps_per_second=speed,
        update_ratio=ratio, saturated=saturated,
    )  # fmt: skip
    show.bar.set_postfix_str(f"loss {loss:.3f}, val {c.best_loss or math.nan:.3f}", refresh=False)
    show.bar.update(c.step - show.bar.n)
    require_sane(c, folder, loss, "the loss")
    for name in ("W2", "b2", "W1", "b1", "C"):  # in the order of the backward pass
        require_finite(c, folder, getattr(g, name), f"the gradient of {name}")


def require_sane(c: Checkpoint, folder: Path, loss: float, what: str) -> None:
    """Raise RunFailed for a loss that is not finite or above ten times log V."""
    limit = 10 * math.log(c.sizes.V)
    if not loss <= limit:
        diverged(c, folder, f"{what} is {loss:.4g}, more than ten times log V = {limit / 10:.2f}")


def require_finite(c: Checkpoint, folder: Path, array: ops.Array, what: str) -> None:
    """Raise RunFailed for an array with a number that is not finite. Their sum shows it, in one pass."""
    if not math.isfinite(float(array.sum(dtype=np.float64))):
        diverged(c, folder, f"{what} is not finite")


def diverged(c: Checkpoint, folder: Path, what: str) -> None:
    step, rate = c.step - 1, optim.learning_rate(c.config.train, c.step - 1)
    raise RunFailed(
        f"training diverged at step {step}: {what}, at learning rate {rate:g};"
        f" the last good checkpoint is {folder / 'checkpoint.npz'};"
        " try a learning rate ten times smaller, or train.warmup_steps"
    )


def check_step(
    c: Checkpoint, batch: Batch, parts: list[Part], g: Parameters, before: Parameters, checked: bool,
    pool: ThreadPoolExecutor, folder: Path, journal: Journal, show: Show,
) -> None:  # fmt: skip
    """Log the checks of a step: the cheap one, or all. Raise RunFailed at the first that fails, unless it is to warn."""
    config, step = c.config, c.step - 1
    rows = [checks.sum_to_zero([part.a.dlogits for part in parts], len(batch.targets))]
    if checked:
        started = time.monotonic()
        at = checks.point(before, batch, c.sizes)
        rng = np.random.default_rng([config.seed, CHECKS, step])
        by_hand = gradients_by_hand(parts, g)
        rows += checks.gradient_rows(at, by_hand, config.check, config.model.dtype, rng, pool)
        rows.append(checks.update(config, at, by_hand, c.parameters))
        if step == 0:
            announce_cost(config, time.monotonic() - started, show)
    note(c, rows, step, journal)
    for row in rows:
        if row["name"] == "update" and row["loss_after"] > row["loss_before"]:
            show.say(f"warning: step {step} went uphill: {checks.uphill(config, row)}")
    broken = checks.blame(rows, config)
    if broken and config.check.on_failure == "stop":
        show.say(f"step {step}: {broken}")
        raise RunFailed(f"a check failed at step {step}: {broken}")
    if broken:
        show.say(f"warning: step {step}: {broken}")


def gradients_by_hand(parts: list[Part], g: Parameters) -> dict[str, ops.Array]:
    """What backward left behind, by name, for the whole batch."""
    found = {
        name: np.concatenate([getattr(part.a, "d" + name) for part in parts]) for name in ("logits", "h", "z", "emb")
    }
    return found | {name: getattr(g, name) for name in NAMES}


def announce_cost(config: Config, seconds: float, show: Show) -> None:
    """Say how long the checks of a long run will take, and what would be cheaper."""
    total = seconds * config.train.steps / config.check.every
    if total > 60:
        show.say(
            f"checking takes {seconds:.2f} s a step, about {total / 60:.0f} minutes for this run;"
            f" cheaper: check.every={config.check.every * 10}, or check.coordinates=20"
        )


def note(c: Checkpoint, rows: list[checks.Row], step: int, journal: Journal) -> None:
    """Write check rows, and count them for the summary."""
    for row in rows:
        journal.row("check", step=step, **row)
        tally = c.checks.setdefault(row["name"], {"run": 0, "failed": 0, "worst": 0.0, "where": ""})
        tally["run"] += 1
        tally["failed"] += not row["passed"]
        value, where = checks.severity(row)
        if not value <= tally["worst"] or not tally["where"]:
            tally |= {"worst": runs.finite(value) if math.isfinite(value) else 1e308, "where": f"step {step}{where}"}
        c.checks[row["name"]] = tally


def finish(c: Checkpoint, corpus: Corpus, folder: Path, journal: Journal, show: Show, pool: ThreadPoolExecutor) -> None:
    """The losses of the best parameters, the checks, samples. Raises RunFailed if a check had failed."""
    best = runs.load(folder / "best.npz")
    train_loss, val_loss, test_loss = evaluate(best, corpus, ALL, ("train", "val", "test"), pool)
    tallies = {name: {key: tally[key] for key in ("run", "failed", "worst")} for name, tally in c.checks.items()}
    journal.row(
        "end", step=c.step, train_loss=train_loss, val_loss=val_loss, test_loss=test_loss,
        best_step=c.best_step, seconds=c.seconds, checks=tallies,
    )  # fmt: skip
    show.bar.close()
    lines = [f"losses of the best step, {c.best_step}, after {c.seconds:.1f} s:"]
    for split, loss in (("train", train_loss), ("validation", val_loss), ("test", test_loss)):
        lines.append(f"  {split:<11} {loss:.4f} nats, {loss * BITS:.4f} bits per character")
    lines.append("check           run  failed  worst")
    for name, tally in c.checks.items():
        lines.append(f"  {name:<12} {tally['run']:>5} {tally['failed']:>7}  {tally['worst']:.2e} at {tally['where']}")
    texts = sample(best, c.config.log.samples, seed=c.config.seed)
    runs.write_whole(folder / "samples.txt", "".join(line + "\n" for line in texts).encode())
    if texts:
        lines.append("samples:")
    for line in texts:
        mark = "" if not corpus.lines else "  (in the training text)" if text.stands_in(line, corpus) else "  (new)"
        lines.append("  " + text.printable(line) + mark)
    lines.append(f"written to {folder}")
    lines.append(
        f"more names: python -m trainer sample {folder}"
        if corpus.lines
        else f"more text: python -m trainer sample {folder}"
    )
    for line in lines:
        journal.say(line)
        print(line)
    if any(tally["failed"] for name, tally in c.checks.items() if name != "initial_loss"):
        raise RunFailed(
            f"a check failed during the run, {folder / 'metrics.jsonl'}; look at its rows with passed: false"
        )


def check(config: Config) -> list[checks.Row]:
    """The checks of one step of training, its first: the rows, each with `name` and `passed`."""
    corpus = text.load(config.data, config.model.context)
    sizes = runs.sizes_of(config, corpus.vocabulary)
    p = model.initial(sizes, config.model.dtype, np.random.default_rng([config.seed, TRAINING]))
    g, batch = model.zeros(sizes, config.model.dtype), next(batches(corpus, config, 0))
    parts = split_batch(sizes, config.train.batch_size, config.model.dtype, 1, g)
    with ThreadPoolExecutor(cores()) as pool:
        gradients(p, batch, parts, g, pool)
        at, rng = checks.point(p, batch, sizes), np.random.default_rng([config.seed, CHECKS, 0])
        rows = [
            checks.initial_loss(step_loss(parts, batch), sizes.V, config.check.initial_loss_atol),
            checks.sum_to_zero([part.a.dlogits for part in parts], len(batch.targets)),
        ]
        return rows + checks.gradient_rows(at, gradients_by_hand(parts, g), config.check, config.model.dtype, rng, pool)


def check_memory(sizes: Sizes, config: Config) -> None:
    """Raise UserError for sizes that this machine's memory cannot hold."""
    t, (V, K, D, H) = config.train, sizes
    state = 2 if t.optimizer == "adamw" else 1 if t.momentum else 0
    cells = sizes.parameters() * (5 + state) + t.batch_size * (6 * H + 4 * V + 3 * K * D + 2 * K)
    needed = cells * np.dtype(config.model.dtype).itemsize
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 2**40
    if needed > memory:
        raise UserError(
            f"the model needs {needed / 2**30:,.0f} GiB and the machine has {memory / 2**30:,.0f}, section model or"
            " train.batch_size; give smaller sizes"
        )


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM are noted in the list that is given; a second one ends the process at once."""
    seen: list[int] = []

    def handler(number: int, frame: Any) -> None:
        if seen:
            os._exit(130)
        seen.append(number)

    main = threading.current_thread() is threading.main_thread()
    old = [(number, signal.signal(number, handler)) for number in (signal.SIGINT, signal.SIGTERM)] if main else []
    try:
        yield seen
    finally:
        for number, previous in old:
            signal.signal(number, previous)
