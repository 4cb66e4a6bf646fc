"""`python -m trainer gallery [FILE.html]`: train with every mistake of the table, and draw a small picture of each."""

import multiprocessing
import signal
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from trainer import config
from trainer.core import checks, model, numerical, ops, optim
from trainer.core.links import LINKS
from trainer.core.ops import Array
from trainer.errors import UserError, printable
from trainer.files import refuse_what_is_in_the_way, write_whole
from trainer.mistakes.names import applied, given
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
        outcomes = list(tqdm(pool.imap(train, many), "trainings", len(many)))
    words, html = page(list(zip(many, outcomes, strict=True)))
    write_whole(Path(path), html)
    print(f"{words}\nwritten to {printable(path)}")


def trials() -> list[Trial]:
    """The right one, every mistake of the table that differs in numbers, in the order of the chain, and scalings."""
    mistakes = [Trial(link, mistake) for link, table in MISTAKES.items() for mistake in table if not mistake.source]
    scaled = []
    for row in (Mistake("1", "all right", "1"), Mistake("-1", "the sign is turned round", "-1"), *FACTORS):
        if "K" not in row.formula:  # no link of this chain is wrong by that
            mistake = Mistake(f"{row.written} · the right one", row.cause, f"{row.formula} * (p - y) / B")
            scaled.append(Trial("logits", mistake, scaled=True))
    return [scaled.pop(0), *mistakes, *scaled]


def train(trial: Trial, steps: int = STEPS) -> Outcome:
    """Train with a mistake at the ordinary sizes on a list. Raises UserError."""
    settings = config.read({"data": {"path": DATA}, "train": {"steps": steps}})
    corpus = text.load(settings.data, settings.model.context)
    p, losses, seen = begin(settings, corpus).parameters, list[float](), dict[str, str | None]()
    with np.errstate(all="ignore"):
        for step, batch in zip(range(steps), batches(corpus, settings, 0), strict=False):
            a = model.forward(p, batch)
            loss, gradients = ops.cross_entropy(a.logits, batch.targets).mean(), backward(given(p, batch, a), trial)
            losses.append(float(loss))
            if step in CHECKED and np.isfinite(loss):
                at, rng = numerical.point(p, batch), np.random.default_rng(0)
                verdicts = checks.check_gradients(at, gradients, settings.check, settings.model.dtype, rng)
                for verdict in (checks.check_sum_to_zero(gradients["logits"]), *verdicts):
                    if not verdict.passed:
                        seen.setdefault(verdict.name, verdict.of)
            p.flat -= optim.learning_rate(settings.train, step) * checks.as_parameters(p.sizes, gradients).flat
    return [float(each.mean()) for each in np.array_split(losses, BINS)], seen


def backward(arrays: dict[str, Any], trial: Trial) -> dict[str, Array]:
    """The nine gradients by their formulas, but for the mistake."""
    gradients = {}
    for name in MISTAKES:  # each after what it takes, and after what is mistaken for that
        made = applied(LINKS[name], arrays)
        if name == trial.link:
            wrong = trial.mistake.faces(arrays)[0]
            made = made + ADDED * wrong if trial.mistake.added else wrong
        gradients[name] = arrays[f"d{name}"] = np.asarray(made, arrays["emb"].dtype)
    return gradients


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
            f"<h4>d{trial.link}: {escape(trial.mistake.written)}</h4>\n{svg(curve, losses, right)}\n"
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
    """The losses, and those of the right one."""
    picture.set_size_inches(2.6, 1.3)
    axes, steps = picture.subplots(), np.linspace(0, STEPS, len(right))
    axes.plot(steps, losses, "C1")
    axes.plot(steps, right, "--", color=INK, alpha=0.5, linewidth=1)
    axes.set(xlim=(0, STEPS), ylim=(LOW, HIGH), xticks=range(0, STEPS + 1, 1000))
    axes.tick_params(length=0, labelsize=7)
