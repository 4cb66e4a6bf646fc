"""`python -m trainer gallery [FILE.html]`: train with every mistake, and draw a small picture of each."""

import multiprocessing
import signal
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from trainer.errors import UserError, printable
from trainer.files import refuse_what_is_in_the_way, write_whole
from trainer.runs.threads import cores
from trainer.tools.gallery.trials import STEPS, Outcome, Trial, train, trials
from trainer.tools.report.figures import COLOURS, INK, svg
from trainer.tools.report.markup import fill

DATA = "data/names.txt"
CLOSE = 0.05  # nats above the right one's validation loss, within which a training looks healthy
LOW, HIGH = 2.1, 3.6  # the scale, in nats; log V, where nothing is known, is 3.3


def gallery(path: str = "gallery.html") -> None:
    """Write the page, and print what comes of it. Minutes: some seconds for each mistake. Raises UserError."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError("the gallery needs matplotlib; pip install 'handmade-char-lm[report]'") from None
    refuse_what_is_in_the_way(Path(path))  # sooner than after minutes
    if not Path(DATA).exists():
        raise UserError(f"no {DATA}, in {Path.cwd()}; start the gallery where it lies")
    many = trials()
    # Ctrl-C, which a terminal sends to all, is left to this process; the others end with the block.
    with multiprocessing.get_context("spawn").Pool(cores(), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        made = pool.imap(partial(train, path=DATA), range(len(many)))
        outcomes = list(tqdm(made, "trainings", len(many)))
    words, html = page(list(zip(many, outcomes, strict=True)))
    write_whole(Path(path), html.encode())
    print(f"{words}\nwritten to {printable(path)}")


def page(found: Sequence[tuple[Trial, Outcome]]) -> tuple[str, str]:
    """What comes of it in a sentence, and the page. The first trial is the right one."""
    (_, right), *mistakes = found
    own = [pair for pair in mistakes if not pair[0].scaled]
    scaled = [pair for pair in mistakes if pair[0].scaled]
    healthy, healthy_scaled = ([pair for pair in pairs if looks_healthy(pair[1], right)] for pairs in (own, scaled))
    words = (
        f"{len(healthy)} of {len(own)} wrong derivatives train as if nothing were wrong, and {len(healthy_scaled)} of"
        f" {len(scaled)} that are only scaled; the gradient check sees"
        f" {sum(bool(outcome.wrong) for _, outcome in mistakes)} of {len(mistakes)}."
    )
    title = "What wrong derivatives do to training"
    body = (
        f'<h1>{title}</h1><p class="verdict bad">{words}</p><p>Each picture is a training of {STEPS:,} steps from the'
        " same weights on the same batches, with one derivative as people write it instead: the loss, orange, over that"
        f" of the right one, dashed; from {LOW} to {HIGH} nats, what lies above is cut off. A green edge: validation"
        f" ends at most {CLOSE} nats above the right one's, {right.val_loss:.3f}. Below stand the checks that fail at"
        " two early steps, and the first link that the gradient check names.</p>"
    )
    sick = [pair for pair in own if pair not in healthy]
    for head, pairs in (("Looks healthy, and is wrong", healthy), ("Shows in the loss", sick), ("Only scaled", scaled)):
        cards = "\n".join(card(trial, outcome, right) for trial, outcome in pairs)
        body += f'<h2>{head} <small>{len(pairs)}</small></h2>\n<section class="gallery">\n{cards}\n</section>'
    return words, fill(title, body)


def looks_healthy(outcome: Outcome, right: Outcome) -> bool:
    """Whether nobody would see from the loss that a derivative is wrong."""
    return outcome.val_loss <= right.val_loss + CLOSE  # nan is not


def card(trial: Trial, outcome: Outcome, right: Outcome) -> str:
    """A mistake: its formula, its curve, its loss, the checks that see it."""
    kind = "healthy" if looks_healthy(outcome, right) else "sick"
    seen = ", ".join([f"gradient (d{link})" for link in outcome.wrong[:1]] + outcome.others) or "no check"
    loss = f'<b class="loss">validation {outcome.val_loss:.4g}</b>'
    about = f"<figcaption>{escape(trial.cause)}<br>{loss}<br>seen by {escape(seen)}</figcaption>"
    picture, _ = svg(curve, outcome.losses, right.losses, size=(2.6, 1.3))
    return f'<figure class="{kind}"><h4>d{trial.link}: {escape(trial.written)}</h4>\n{picture}\n{about}</figure>'


def curve(picture: Any, losses: Sequence[float], right: Sequence[float]) -> str:
    """The losses over those of the right one."""
    axes, steps = picture.add_subplot(), STEPS * (np.arange(len(right)) + 0.5) / len(right)
    axes.plot(steps, losses, color=COLOURS[1], linewidth=1.6)
    axes.plot(steps, right, color=INK, alpha=0.5, linewidth=1, linestyle=(0, (3, 2)))
    axes.set(xlim=(0, STEPS), ylim=(LOW, HIGH), xticks=[0, STEPS // 2, STEPS], yticks=[2.5, 3, 3.5])
    axes.tick_params(length=0, labelsize=7)
    return ""
