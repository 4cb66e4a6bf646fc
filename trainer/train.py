"""The story: batches, gradients, updates, and between them checks, logs, evaluations, checkpoints."""

import math
import os
import platform
import shlex
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from trainer import __version__, checks, model, numerical, optim, runs, text
from trainer import config as configuration
from trainer.config import Config
from trainer.errors import Interrupted, RunFailed, UserError, printable
from trainer.model import NAMES, Batch
from trainer.ops import Array
from trainer.runs import CHECKS, WEIGHTS, Checkpoint, Journal, cores
from trainer.sample import sample
from trainer.step import batch_loss, batches, by_hand, choose_threads, gradients, mean_loss, split_batch
from trainer.text import Corpus

ALL = 1_000_000  # examples that the losses at the end look at, at most


def train(config: Config, name: str = "notebook") -> Path:
    """Train a model from the start; return its run folder under runs/.

    Raises UserError for what the user can mend, RunFailed if a check failed or training
    diverged, Interrupted after Ctrl-C or SIGTERM.
    """
    runs.check_name(name)
    corpus = text.load(config.data, config.model.context)
    c = start(config, corpus)
    return Run(c, corpus).go(runs.create(name), fresh=True)


def resume(name: str, overrides: list[str]) -> Path:
    """Go on with a run from its newest checkpoint, bit for bit as if it had never stopped. Raises as `train` does."""
    folder = runs.find(name)
    c = runs.load(folder / "checkpoint.npz")
    for override in overrides:
        lengthen(c, override, folder)
    if not (folder / "best.npz").exists():
        c.best_loss = None  # the next evaluation writes it again
    corpus = text.load(c.config.data, c.config.model.context)
    if corpus.fingerprint != c.fingerprint:
        raise UserError(f"the text has changed since the run began, {Path(c.config.data.path).absolute()}; restore it")
    return Run(c, corpus).go(folder, fresh=False)


def start(config: Config, corpus: Corpus) -> Checkpoint:
    """The state before the first step. Raises UserError for sizes that the memory cannot hold."""
    sizes, t = runs.sizes_of(config, corpus.vocabulary), config.train
    numbers = sizes.parameters() * 7 + t.batch_size * (6 * sizes.H + 4 * sizes.V + 5 * sizes.K * sizes.D)
    needed = numbers * np.dtype(config.model.dtype).itemsize / 2**30
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30 if hasattr(os, "sysconf") else math.inf
    if needed > memory:
        what = f"training needs {needed:,.0f} GiB and the machine has {memory:,.0f}"
        raise UserError(f"{what}, sections model and train; give smaller sizes or a smaller batch")
    p = model.initial(sizes, config.model.dtype, np.random.default_rng([config.seed, WEIGHTS]))
    return Checkpoint(
        config=config,
        vocabulary=corpus.vocabulary,
        parameters=p,
        state=optim.initial_state(t, p),
        threads=choose_threads(sizes, t.batch_size),
        fingerprint=corpus.fingerprint,
        opening="" if corpus.lines else "".join(corpus.vocabulary[i] for i in corpus.ids[: sizes.K]),
    )


def lengthen(c: Checkpoint, override: str, folder: Path) -> None:
    """Apply train.steps=N, the one override that resuming allows, where the schedule allows it."""
    key, _, value = override.partition("=")
    if key != "train.steps":
        raise UserError(f"{override!a} cannot change on resuming, {folder}; only train.steps=N can")
    tree = configuration.to_dict(c.config)
    tree["train"]["steps"] = configuration.parse_yaml(value.encode(), override)
    longer = configuration.build(tree, "the command line")
    if longer.train.steps < c.step:
        raise UserError(f"train.steps={longer.train.steps} is below the {c.step} steps done, {folder}; give more")
    if longer != c.config and c.config.train.schedule != "constant":
        why = f"the {c.config.train.schedule} schedule depends on it, {folder}"
        raise UserError(f"train.steps cannot change: {why}; a run with train.schedule=constant can be lengthened")
    c.config = longer


class Run:
    """A run in progress: its state, its arrays, and the files it writes."""

    def __init__(self, c: Checkpoint, corpus: Corpus) -> None:
        self.c, self.corpus, self.config = c, corpus, c.config
        dtype, B = c.config.model.dtype, c.config.train.batch_size
        self.g, self.scratch, self.before = (model.zeros(c.sizes, dtype) for _ in range(3))
        self.parts = split_batch(c.sizes, B, dtype, c.threads, self.g)
        self.pool = ThreadPoolExecutor(max(cores(), c.threads), initializer=np.seterr, initargs=("ignore",))
        self.batches = batches(corpus, c.config, c.step)

    def go(self, folder: Path, fresh: bool) -> Path:
        """Train to the last step, or to the first signal."""
        c, log = self.c, self.config.log
        steps = self.config.train.steps
        with (
            self.pool,
            np.errstate(all="ignore"),
            interruptible() as signals,
            Journal(folder, c) as self.journal,
        ):
            self.clock = time.monotonic() - c.seconds
            if fresh:
                self.introduce()
                self.save("checkpoint.npz")
            else:
                self.journal.say(f"resuming {folder} at step {c.step} of {steps}")
            self.mark, self.last = time.monotonic(), c.step
            batch = next(self.batches)
            while c.step < steps:
                batch = self.step(batch, c.step)
                c.step += 1
                if c.step % log.eval_every == 0 or c.step == steps:
                    self.evaluate()
                if c.step % log.checkpoint_every == 0 or c.step == steps or signals:
                    self.require_finite(c.parameters.flat, "a parameter")
                    self.save("checkpoint.npz")
                if signals and c.step < steps:
                    self.journal.say(f"interrupted at step {c.step}, state saved")
                    raise Interrupted(f"go on with: python -m trainer --resume {shlex.quote(str(folder))}")
            self.finish()
        return folder

    def step(self, batch: Batch, step: int) -> Batch:
        """Gradients, checks, update; the next batch. What training does not need is computed only where it is shown."""
        c, check = self.c, self.config.check
        gradients(c.parameters, batch, self.parts, self.g, self.pool)
        logged, checked = step % self.config.log.every == 0, check.enabled and step % check.every == 0
        if logged or checked:
            self.before.flat[...] = c.parameters.flat
            loss = batch_loss(self.parts, batch)
            self.require_sane(loss, "the loss")
            for name in ("W2", "b2", "W1", "b1", "C"):  # in the order of the backward pass
                self.require_finite(getattr(self.g, name), f"the gradient of {name}")
            rows = [self.sum_to_zero(batch)]
            if checked:
                began = time.monotonic()
                at, hand, more = self.check_gradients(batch, step)
                rows += more
                if step == 0:
                    self.announce_cost(time.monotonic() - began)
            self.judge(rows, step)
        # Where there are threads, one draws the next batch meanwhile, which takes as long as the update.
        coming = self.pool.submit(next, self.batches) if c.threads > 1 else None
        optim.update(self.config.train, c.parameters, self.g, c.state, step, self.scratch.flat)
        if checked:
            self.judge([checks.update(self.config, at, hand, c.parameters)], step)
        if logged:
            self.log_step(step, loss, len(batch.targets))
        return coming.result() if coming else next(self.batches)

    def sum_to_zero(self, batch: Batch) -> checks.Row:
        return checks.sum_to_zero([part.a.dlogits for part in self.parts], len(batch.targets))

    def check_gradients(self, batch: Batch, step: int) -> tuple[numerical.Point, dict[str, Array], list[checks.Row]]:
        """Where the step stands, its gradients by hand, and the rows that compare them with numerical ones."""
        c = self.c
        at = numerical.point(c.parameters, batch, c.sizes)
        hand = by_hand(c.parameters, batch, self.parts, self.g)
        rng = np.random.default_rng([self.config.seed, CHECKS, step])
        dtype = self.config.model.dtype
        return at, hand, checks.gradient_rows(at, hand, self.config.check, dtype, rng, self.pool)

    def log_step(self, step: int, loss: float, B: int) -> None:
        """The `step` row, and the bar."""
        now, c, ratio = time.monotonic(), self.c, {}
        for name in NAMES:
            data, after = getattr(self.before, name), getattr(c.parameters, name)
            size = np.linalg.norm(data)
            ratio[name] = float(np.linalg.norm(after - data) / size) if size else None
        self.journal.row(
            "step",
            step=step,
            loss=loss,
            learning_rate=optim.learning_rate(self.config.train, step),
            grad_norm=float(np.linalg.norm(self.g.flat)),
            steps_per_second=(step + 1 - self.last) / (now - self.mark),
            update_ratio=ratio,
            saturated=sum(int((abs(part.a.tanh) > 0.99).sum()) for part in self.parts) / (B * c.sizes.H),
        )
        self.mark, self.last = now, step + 1
        self.journal.progress(step + 1, f"loss {loss:.3f}, val {math.nan if c.best_loss is None else c.best_loss:.3f}")

    def judge(self, rows: list[checks.Row], step: int) -> None:
        """Log the rows of checks and count them. Raise RunFailed if one failed, unless it is to warn."""
        for row in rows:
            self.journal.row("check", step=step, **row)
            worst, where = checks.severity(row)
            tally = self.c.checks.setdefault(row["name"], {"run": 0, "failed": 0, "worst": -math.inf, "where": ""})
            tally["run"] += 1
            tally["failed"] += not row["passed"]
            if not worst <= tally["worst"]:
                tally["worst"], tally["where"] = min(worst, 1e308), f"step {step}{where}"
        broken, warning = checks.blame(rows, self.config), checks.warning(rows, self.config)
        if warning:
            self.journal.say(f"warning: step {step}: {warning}")
        if broken and self.config.check.on_failure == "stop":
            raise RunFailed(f"a check failed at step {step}: {broken}")
        if broken:
            self.journal.say(f"warning: step {step}: a check failed: {broken}")

    def evaluate(self) -> None:
        """The losses of training and validation; the best parameters so far are kept."""
        c, began = self.c, time.monotonic()
        self.require_finite(c.parameters.flat, "a parameter")
        train_loss, val_loss = self.losses(c, self.config.log.eval_examples, "train", "val")
        self.journal.row("eval", step=c.step, train_loss=train_loss, val_loss=val_loss)
        self.journal.say(f"step {c.step}: train {train_loss:.4f}, val {val_loss:.4f} nats per character")
        self.require_sane(val_loss, "the validation loss")
        if c.best_loss is None or val_loss < c.best_loss:
            c.best_loss, c.best_step = val_loss, c.step
            self.save("best.npz")
        self.mark += time.monotonic() - began

    def losses(self, c: Checkpoint, most: int, *splits: str) -> list[float]:
        """The mean loss over at most so many examples of each split, in nats."""
        places = [text.evenly(self.corpus, split, most) for split in splits]
        return [mean_loss(c.parameters, c.sizes, self.corpus, place, self.pool) for place in places]

    def save(self, file: str) -> None:
        self.journal.sync()
        self.c.metrics_length, self.c.seconds = self.journal.length, time.monotonic() - self.clock
        runs.save(self.journal.folder / file, self.c)

    def require_sane(self, loss: float, what: str) -> None:
        """Raise RunFailed for a loss that is not finite or above ten times log V."""
        log_V = math.log(self.c.sizes.V)
        if not loss <= 10 * log_V:
            self.diverged(f"{what} is {loss:.4g}, more than ten times log V = {log_V:.2f}")

    def require_finite(self, array: Array, what: str) -> None:
        """Raise RunFailed for an array with a number that is not finite: the sum shows it in one pass."""
        if not math.isfinite(array.sum(dtype=np.float64)):
            self.diverged(f"{what} is not finite")

    def diverged(self, what: str) -> NoReturn:
        raise RunFailed(
            f"training diverged at step {self.c.step}: {what}, at learning rate"
            f" {optim.learning_rate(self.config.train, min(self.c.step, self.config.train.steps - 1)):g};"
            f" the last good checkpoint is {self.journal.folder / 'checkpoint.npz'};"
            " try a learning rate ten times smaller, or train.warmup_steps"
        )

    def initial_loss(self, first: Batch) -> checks.Row:
        gradients(self.c.parameters, first, self.parts, self.g, self.pool)
        loss = batch_loss(self.parts, first)
        return checks.initial_loss(loss, self.c.sizes.V, self.config.check.initial_loss_atol)

    def introduce(self) -> None:
        """What is about to happen, before it does, and the first check: that nothing is known yet."""
        c, config, corpus, say = self.c, self.config, self.corpus, self.journal.say
        row = self.initial_loss(next(batches(corpus, config, 0)))
        examples = {split: end - begin for split, (begin, end) in corpus.splits.items()}
        blas: Any = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        self.journal.row(
            "start",
            version=__version__,
            numpy=np.__version__,
            blas=f"{blas['name']} {blas['version']}",
            platform=platform.platform(),
            threads=c.threads,
            seed=config.seed,
            vocab_size=c.sizes.V,
            parameters=c.sizes.parameters(),
            examples=examples,
        )
        characters = printable(corpus.vocabulary[corpus.lines :])
        shapes = ", ".join(f"{n} {'x'.join(map(str, getattr(c.parameters, n).shape))}" for n in NAMES)
        say(f"run         {self.journal.folder}")
        say(f"text        {printable(config.data.path)}: {len(corpus.ids) - corpus.lines:,} characters")
        say(f"vocabulary  {c.sizes.V}{', with the end of a line' * corpus.lines}: {characters[:80]}")
        say("examples    " + ", ".join(f"{split} {n:,}" for split, n in examples.items()))
        say(f"parameters  {c.sizes.parameters():,}: {shapes}; {config.model.dtype}, threads: {c.threads}")
        say(f"first loss  {row['value']:.4f} nats; log V = {row['expected']:.4f}")
        self.judge([row], 0)

    def announce_cost(self, seconds: float) -> None:
        """Say how long the checks of a long run will take, and what would be cheaper."""
        check = self.config.check
        minutes = seconds * self.config.train.steps / check.every / 60
        if minutes > 1:
            fewer = ", or check.coordinates=20" * (check.coordinates == "all")
            cheaper = f"cheaper: check.every={check.every * 10}{fewer}"
            self.journal.say(f"checks take {seconds:.2f} s a step, {minutes:.0f} minutes for this run; {cheaper}")

    def finish(self) -> None:
        """The losses of the best parameters, the checks, samples. Raises RunFailed if a check had failed."""
        c, folder, corpus = self.c, self.journal.folder, self.corpus
        best = runs.load(folder / "best.npz") if (folder / "best.npz").exists() else c
        losses = self.losses(best, ALL, "train", "val", "test")
        tallies = {name: {key: tally[key] for key in ("run", "failed", "worst")} for name, tally in c.checks.items()}
        named = dict(zip(("train_loss", "val_loss", "test_loss"), losses, strict=True))
        self.journal.row("end", step=c.step, **named, best_step=best.step, seconds=c.seconds, checks=tallies)
        lines = [f"losses of the best step, {best.step}, after {c.seconds:.1f} s:"]
        for split, loss in zip(("train", "validation", "test"), losses, strict=True):
            lines.append(f"  {split:<11} {loss:.4f} nats, {loss / math.log(2):.4f} bits per character")
        lines.append("check           run  failed  worst")
        for name, tally in c.checks.items():
            lines.append(
                f"  {name:<12} {tally['run']:>5} {tally['failed']:>7}  {tally['worst']:.2e} at {tally['where']}"
            )
        texts = list(sample(best, self.config.log.samples, seed=self.config.seed))
        runs.write_whole(folder / "samples.txt", "".join(line + "\n" for line in texts).encode())
        lines += ["samples:"] * bool(texts)
        for line in texts:
            known = corpus.lines and text.stands_in(line, corpus)
            mark = ("  (in the training text)" if known else "  (new)") * corpus.lines
            lines.append(f"  {printable(line)}{mark}")
        lines += [f"written to {folder}", f"for more samples: python -m trainer sample {shlex.quote(str(folder))}"]
        self.journal.conclude(lines)
        if any(tally["failed"] for name, tally in c.checks.items() if name != "initial_loss"):
            raise RunFailed(
                f"a check failed during the run, {folder / 'metrics.jsonl'}; see its rows with passed: false"
            )


def check(config: Config) -> list[checks.Row]:
    """The checks of the first step before its update: rows with `name` and `passed`, nothing written."""
    corpus = text.load(config.data, config.model.context)
    run = Run(start(config, corpus), corpus)
    batch = next(run.batches)
    with run.pool, np.errstate(all="ignore"):
        return [run.initial_loss(batch), run.sum_to_zero(batch), *run.check_gradients(batch, 0)[2]]


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
