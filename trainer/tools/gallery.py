"""`python -m trainer gallery [FILE.html]`: train with every mistake of the table, and draw a small picture of each."""

import multiprocessing
import signal
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from trainer import config
from trainer.core import checks, loop, model, numerical
from trainer.core.links import LINKS
from trainer.core.model import INNER, NAMES, Batch, InnerGradients, Parameters
from trainer.core.step import Pass
from trainer.errors import UserError, printable
from trainer.files import refuse_what_is_in_the_way, write_whole
from trainer.mistakes.point import applied, given
from trainer.mistakes.table import FACTORS, MISTAKES, Mistake
from trainer.runs.starting import begin
from trainer.runs.threads import cores
from trainer.text import corpus as text
from trainer.text.batches import batches
from trainer.tools.report.figures import INK, fill, require_matplotlib, svg

DATA = "data/names.txt"
STEPS = 3000
# The steps that are checked. At step 0 the biases are zero, and a mistake with them leaves no trace; later on a mistake
# may have saturated all units, whose gradients are then zero, right or wrong.
CHECKED = (1, 50)
BINS = 60  # points of a curve, each the mean of so many losses
ADDED = 0.1  # the share of what is added, where any share is the same mistake
CLOSE = 0.05  # nats above the right one at the end, within which a training looks healthy
LOW, HIGH = 2.1, 3.6  # the scale, in nats; log V, where nothing is known, is 3.3


class Trial(NamedTuple):
    """A mistake to train with."""

    link: str
    mistake: Mistake
    scaled: bool = False  # the right one times a number


# What became of a training: its losses in nats, means over equal stretches of it; and the checks that fail, with the
# tensor that is looked at, of gradients the first.
Outcome = tuple[list[float], dict[str, str | None]]


def gallery(path: str = "gallery.html") -> None:
    """Write the page, and print what comes of it. Minutes: some seconds for each mistake. Raises UserError."""
    require_matplotlib("the gallery")
    refuse_what_is_in_the_way(Path(path))  # sooner than after minutes
    if not Path(DATA).exists():
        raise UserError(f"no {DATA}, in {Path.cwd()}; start the gallery where it lies")
    many = trials()
    # Ctrl-C, which a terminal sends to all, is left to this process; the others end with the block.
    with multiprocessing.get_context("spawn").Pool(cores(), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        outcomes = list(tqdm(pool.imap(partial(train, path=DATA), many), "trainings", len(many)))
    words, html = page(list(zip(many, outcomes, strict=True)))
    write_whole(Path(path), html)
    print(f"{words}\nwritten to {printable(path)}")


def trials() -> list[Trial]:
    """The right one, every mistake of the table that differs in numbers, in the order of the chain, and scalings."""
    found = [Trial("logits", Mistake("(p - y) / B", "all right", "(p - y) / B"))]
    found += [Trial(link, mistake) for link, table in MISTAKES.items() for mistake in table if not mistake.source]
    for row in (Mistake("-1", "the sign is turned round", "-1"), *FACTORS):
        if "K" not in row.formula:  # no link of this chain is wrong by that
            mistake = Mistake(f"{row.written} · the right one", row.cause, f"{row.formula} * (p - y) / B")
            found.append(Trial("logits", mistake, scaled=True))
    return found


def train(trial: Trial, path: str, steps: int = STEPS) -> Outcome:
    """Train with a mistake at the ordinary sizes on a list. Raises UserError."""
    settings = config.read({"data": {"path": path}, "train": {"steps": steps}})
    corpus = text.load(settings.data, settings.model.context)
    start, rng = begin(settings, corpus), np.random.default_rng(0)
    losses, seen = list[float](), dict[str, str | None]()

    def gradients(p: Parameters, g: Parameters, batch: Batch) -> list[Pass]:
        a = model.forward(p, batch)
        arrays = given(p, batch, a)
        for link in MISTAKES:  # each after what it takes, and after what is mistaken for that
            found = applied(LINKS[link], arrays)
            if link == trial.link:
                wrong = trial.mistake.faces(arrays)[0]
                found = found + ADDED * wrong if trial.mistake.added else wrong
            arrays[f"d{link}"] = np.asarray(found, p.flat.dtype)
        for name in NAMES:
            getattr(g, name)[...] = arrays[f"d{name}"]
        return [Pass(a, InnerGradients(*(arrays[f"d{name}"] for name in INNER)))]

    run = settings.train, start.parameters, start.state, 0, batches(corpus, settings, 0), gradients
    with np.errstate(all="ignore"):
        for step in loop.steps(*run, CHECKED.__contains__):
            losses.append(step.loss)
            if step.looked_at and np.isfinite(step.loss):
                at, by_hand = numerical.point(step.before, step.batch), step.gradients
                verdicts = checks.check_gradients(at, by_hand, settings.check, settings.model.dtype, rng)
                for verdict in (checks.sum_to_zero(by_hand["logits"]), *verdicts):
                    if not verdict.passed:
                        seen.setdefault(verdict.name, verdict.of)
    return [float(each.mean()) for each in np.array_split(losses, BINS)], seen


def page(found: Sequence[tuple[Trial, Outcome]]) -> tuple[str, bytes]:
    """What comes of it in a sentence, and the page. The first trial is the right one."""
    (_, (right, _)), *mistakes = found
    healthy, sick, scaled, scaled_healthy = list[str](), list[str](), list[str](), 0
    for trial, (losses, seen) in mistakes:
        looks_healthy = losses[-1] <= right[-1] + CLOSE  # nan does not
        scaled_healthy += trial.scaled and looks_healthy
        cards = scaled if trial.scaled else healthy if looks_healthy else sick
        by = ", ".join(f"{name} (d{of})" if of else name for name, of in seen.items()) or "no check"
        cards.append(
            f'<figure class="{"healthy" if looks_healthy else "sick"}">'
            f"<h4>d{trial.link}: {escape(trial.mistake.written)}</h4>\n{svg(curve, losses, right, size=(2.6, 1.3))}\n"
            f'<figcaption>{escape(trial.mistake.cause)}<br><b class="loss">ends at {losses[-1]:.4g}</b><br>'
            f"seen by {by}</figcaption></figure>\n"
        )
    words = (
        f"{len(healthy)} of {len(healthy + sick)} wrong derivatives train as if nothing were wrong, and"
        f" {scaled_healthy} of {len(scaled)} that are only scaled; the gradient check sees"
        f" {sum('gradient' in seen for _, (_, seen) in mistakes)} of {len(mistakes)}."
    )
    body = (
        f'<p class="verdict bad">{words}</p><p>Each picture is a training of {STEPS:,} steps from the same weights on'
        " the same batches, with one derivative as people write it instead: the loss, orange, over that of the right"
        f" one, dashed; from {LOW} to {HIGH} nats, what lies above is cut off. A green edge: the last {STEPS // BINS}"
        f" steps lie at most {CLOSE} nats above those of the right one, {right[-1]:.3f}. Below stand the checks"
        " that fail at two early steps, and the first link that the gradient check names.</p>"
    )
    for head, made in ("Looks healthy, and is wrong", healthy), ("Shows in the loss", sick), ("Only scaled", scaled):
        body += f'<h2>{head} <small>{len(made)}</small></h2>\n<section class="gallery">\n{"".join(made)}</section>'
    return words, fill("What wrong derivatives do to training", body)


def curve(picture: Any, losses: Sequence[float], right: Sequence[float]) -> None:
    """The losses over those of the right one."""
    axes, steps = picture.subplots(), np.linspace(0, STEPS, len(right))
    axes.plot(steps, losses, color="C1", linewidth=1.6)
    axes.plot(steps, right, "--", color=INK, alpha=0.5, linewidth=1)
    axes.set(xlim=(0, STEPS), ylim=(LOW, HIGH))
    axes.tick_params(length=0, labelsize=7)
