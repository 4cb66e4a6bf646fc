"""The gallery's page: a small picture for each mistake, in one file that needs no other."""

import io
import math
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

from trainer.core.links import LINKS
from trainer.errors import UserError
from trainer.tools.gallery.trials import STEPS, Outcome, Trial

CLOSE = 0.05  # nats above the right one's validation loss, within which a training looks healthy
LOW, HIGH = 2.1, 3.6  # the scale, in nats; log V, where nothing is known, is 3.3
# Colours that stand for those of the page, which differ by day and night.
COLOURS = {"#010101": "var(--right)", "#020202": "var(--wrong)", "#030303": "var(--line)", "#040404": "var(--soft)"}


def page(found: Sequence[tuple[Trial, Outcome]]) -> str:
    """The whole page. The first trial is the right one. Raises UserError where Matplotlib is missing."""
    (_, right), *mistakes = found
    healthy = [outcome for _, outcome in mistakes if is_healthy(outcome, right)]
    seen = sum(bool(outcome.wrong) for _, outcome in mistakes)
    verdict = (
        f"<b>{len(healthy)} of {len(mistakes)}</b> wrong derivatives train as if nothing were wrong. The gradient check"
        f" sees {'all of them' if seen == len(mistakes) else f'{seen} of {len(mistakes)}'}."
    )
    sections = []
    for link in dict.fromkeys(trial.link for trial, _ in mistakes):
        own = sorted((pair for pair in mistakes if pair[0].link == link), key=lambda pair: severity(pair[1]))
        cards = "\n".join(card(trial, outcome, right) for trial, outcome in own)
        sections.append(f"<h2>d{link}<small>{escape(LINKS[link].formula)}</small></h2>\n<section>\n{cards}\n</section>")
    template = Template(files("trainer.tools.gallery").joinpath("page.html").read_text("utf-8"))
    return template.substitute(
        verdict=verdict,
        steps=f"{STEPS:,}",
        close=CLOSE,
        right_loss=f"{right.val_loss:.3f}",
        low=LOW,
        high=HIGH,
        body="\n".join(sections),
    )


def severity(outcome: Outcome) -> float:
    """The validation loss, for an order from harmless to hopeless."""
    return outcome.val_loss if math.isfinite(outcome.val_loss) else math.inf


def is_healthy(outcome: Outcome, right: Outcome) -> bool:
    """Whether nobody would see from the loss that a derivative is wrong."""
    return severity(outcome) <= right.val_loss + CLOSE


def card(trial: Trial, outcome: Outcome, right: Outcome) -> str:
    """A mistake: its formula, its curve, its loss, the checks that see it."""
    kind = "healthy" if is_healthy(outcome, right) else "sick"
    loss = f"{outcome.val_loss:.4g}" if math.isfinite(outcome.val_loss) else "no number"
    gradient = [f"gradient (d{outcome.wrong[0]})"] if outcome.wrong else []
    seen = ", ".join([*gradient, *outcome.others]) or "no check"
    written = trial.written.replace(" * ", " · ")
    return (
        f'<figure class="{kind}"><h3>{escape(written)}</h3>\n{curve(trial, outcome, right)}\n'
        f'<figcaption><span>{escape(trial.cause)}</span><span class="loss">validation {loss}</span>'
        f"<span>seen by {escape(seen)}</span></figcaption></figure>"
    )


def curve(trial: Trial, outcome: Outcome, right: Outcome) -> str:
    """The losses over those of the right one, as SVG in the colours of the page."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("Matplotlib is missing, for the gallery; pip install matplotlib") from None
    right_colour, wrong_colour, line, soft = COLOURS
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gallery", "font.size": 7}):
        figure = Figure(figsize=(2.6, 1.3), layout="constrained")
        axes = figure.add_subplot()
        steps = [STEPS * (bin + 0.5) / len(right.losses) for bin in range(len(right.losses))]
        losses = [loss if math.isfinite(loss) else math.nan for loss in outcome.losses]
        axes.plot(steps, losses, color=wrong_colour, linewidth=1.6)
        axes.plot(steps, right.losses, color=right_colour, linewidth=1, linestyle=(0, (3, 2)))
        if not any(loss < HIGH for loss in losses):
            axes.text(STEPS / 2, (LOW + HIGH) / 2, "above the scale", color=soft, ha="center", va="center")
        axes.set(xlim=(0, STEPS), ylim=(LOW, HIGH), xticks=[0, STEPS // 2, STEPS], yticks=[2.5, 3, 3.5])
        axes.tick_params(colors=soft, length=0)
        axes.grid(color=line, linewidth=0.6)
        for side, spine in axes.spines.items():
            spine.set(visible=side == "bottom", color=line)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = re.sub(r".*?<svg ", "<svg ", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for colour, name in COLOURS.items():
        svg = svg.replace(colour, name)
    label = escape(f"loss with {trial.written} for d{trial.link}, validation {outcome.val_loss:.3f}", quote=True)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
