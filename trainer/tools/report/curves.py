"""The figures that logs can draw: losses, errors of checks, ratios, distributions; and what they say."""

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from trainer.core.model import NAMES
from trainer.core.ops import Array
from trainer.runs.summary import entropy
from trainer.text.corpus import Corpus
from trainer.tools.report.figures import PALE, along_steps, steps_below
from trainer.tools.report.run import Run, histogram, looked_at, severity

HIGH = 1.25  # of log V; no loss that matters lies above
NEAR = 1.15  # of the lowest loss of several runs
LOWEST = 1e-5  # of ratios; smaller ones are not drawn
GREEN, RED = "#1f7a4c", "#d02f2f"
OUTLINES = 6  # histograms over each other
# What the checks look at, from top to bottom; gradients in the order of the backward pass.
ROWS = (  # noqa: SIM905
    "initial loss, sum to zero, batch, dropout emb, dropout h, forward emb, forward z, forward h, forward logits,"
    " forward loss, dlogits, dh, dz, demb, dW2, db2, dW1, db1, dC, descent, update, update learning rate,"
    " update velocity, update m, update v, update C, update W1, update b1, update W2, update b2, evaluation train,"
    " evaluation val, evaluation test, spread positions, spread masks"
).split(", ")


def losses(picture: Any, run: Run) -> None:
    """Training, validation and batches, and losses to compare with."""
    curves = [(name, run.column("eval", f"{name}_loss")) for name in ("train", "val")]
    axes = along_steps(picture, [*curves, ("batch", run.column("step", "loss"))])
    axes.lines[-1].set(**PALE)  # it is noise
    levels = by_counting(run.corpus) if run.corpus else {}
    for name, level in levels.items():
        axes.axhline(level, label=f"{name} {level:.4g}", linestyle=":", **PALE)
    low, high = axes.dataLim.intervaly
    axes.set_ylim(0.97 * low, min(1.02 * high, HIGH * levels.get("log V", math.inf)))


def by_counting(corpus: Corpus) -> dict[str, float]:
    """The losses of who knows nothing, how often a character occurs, or how often after which other one; in nats."""
    V, (start, end) = len(corpus.vocabulary), corpus.splits["train"]
    after, before = corpus.ids[start:end], corpus.ids[start - 1 : end - 1].astype(np.int64)
    # The last is H(next | previous).
    return {"log V": math.log(V), "unigram": entropy(after), "bigram": entropy(before * V + after) - entropy(before)}


def errors(picture: Any, run: Run) -> None:
    """A row for each check, and in it a line at each step that the log has of it; the worst is drawn last."""
    marks = sorted((severity(row), looked_at(row), row["step"]) for row in run.of("check"))
    if not marks:
        raise ValueError("the run ended before its first check")
    ratios, places, steps = zip(*marks, strict=True)
    worst = dict(zip(places, ratios, strict=True))
    names = sorted(worst, key=[*ROWS, *worst].index)  # a check of another version comes last
    picture.set_figheight(0.7 + 0.19 * len(names))
    axes = picture.subplots()
    axes.scatter(
        steps, list(map(names.index, places)), 70, [RED if ratio > 1 else GREEN for ratio in ratios],
        alpha=np.clip(np.power(ratios, 0.25), 0.4, 1), marker="|", linewidths=2, rasterized=True,
    )  # fmt: skip
    labels = [f"{name}  {'✗' if worst[name] > 1 else '✓'} {worst[name]:<5.1g}" for name in names]
    axes.set_yticks(range(len(names)), labels, family="monospace")
    axes.set_ylim(len(names) - 0.5, -0.5)
    steps_below(axes, run.steps_done)


def ratios(picture: Any, run: Run, key: str) -> None:
    """A curve for each parameter, by powers of ten."""
    axes = along_steps(picture, [(name, run.column("step", f"{key}.{name}")) for name in NAMES])
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(bottom=max(LOWEST, axes.get_ylim()[0]))


def level(picture: Any, run: Run, key: str) -> None:
    """One number along the steps, from zero on."""
    along_steps(picture, [("last", run.column("step", key))]).set_ylim(0)


def distribution(picture: Any, run: Run, name: str) -> None:
    """Histograms of h, dh or dz at some evaluations, the newest dark, older ones paler."""
    axes, rows = picture.subplots(), run.of("eval")
    shown = rows[:: -1 - len(rows) // OUTLINES]
    for row, strength in zip(shown, np.linspace(1, 0.2, len(shown)), strict=True):
        counts, edges = histogram(row, name)
        axes.stairs(counts / np.diff(edges), edges, color="C0", alpha=strength, label=f"step {row['step']:,}")
    axes.set(yscale="log", xlabel=name)
    axes.yaxis.set_visible(False)


def overlay(picture: Any, curves: Sequence[tuple[str, Array]]) -> None:
    """A curve of each run, at a scale that the best one sets: what diverges, or is much longer, runs out of it."""
    picture.set_figheight(4.4)  # room for the names
    axes = along_steps(picture, curves)
    lowest, ends = axes.dataLim.y0, [points[0, -1] for _, points in curves if points.size]
    axes.set_ylim(0.99 * lowest, NEAR * lowest)
    for line, (_, points) in zip(axes.lines, curves, strict=True):
        if points.size and points[1].min() > NEAR * lowest:
            line.set_label(f"{line.get_label()} ↑")
    steps_below(axes, min(max(ends), 2 * median(ends)))


# By event of the log that they need: a section, and its figures: by title the function, its arguments, and the caption.
SECTIONS: dict[str, tuple[str, dict[str, tuple[Any, ...]]]] = {
    "start": ("Losses and checks", {
        "Loss": (losses,
            "In nats; evaluations are of a sample of each split. Look for validation below the bigram line, which"
            " counting pairs of characters reaches; where it rises while training falls, the text is learned by"
            " heart. Many a wrong gradient only makes training a little worse. What lies above 1.25 log V is cut off."),
        "Error over tolerance": (errors,
            "The largest error of each check over its tolerance, step by step, and beside its name the worst. Green"
            " is within, the darker the closer; red is outside. A wrong link and all that is made from it are red."
            " The log has the first hundred checked steps, the first in each log.every steps, and all that failed or"
            " were the worst so far."),
    }),
    "step": ("How it learns", {
        "Update : data": (ratios, "update_ratio",
            "How far a step moves a tensor, relative to its size; nothing below 1e-5 is drawn. Look for curves"
            " within a factor of a hundred of 1e-3. They fall with the learning rate, at the end of some schedules"
            " to nothing; the output weights W2 begin small, and biases at zero, so theirs begin high."),
        "Gradient : data": (ratios, "grad_ratio",
            "How large a gradient is, relative to its tensor; W2 and the biases, which are small, stand above the"
            " others. Look for one that drifts away from them: a factor that is missing shifts its curve by it."),
        "Gradient norm": (level, "grad_norm",
            "Of all gradients together. Look for a level that changes slowly; single peaks are hard batches."),
        "Saturated units": (level, "saturated",
            "The share of hidden units with |h| > 0.99, through which almost no gradient passes. In a sound training"
            " it climbs slowly to a quarter or a third. Look for a level below a half."),
    }),
    "eval": ("Distributions over time", {
        "h over time": (distribution, "h",
            "The hidden units; here and below the height is by powers of ten. Piles at -1 and 1 are saturated"
            " units, of which a trained model has some. Look for a floor between them that stays."),
        "dh over time": (distribution, "dh",
            "The gradient that reaches the hidden units. Look for a width that changes slowly over the steps."),
        "dz over time": (distribution, "dz",
            "The same after the slope of tanh, 1 - h². Look for a shape narrower than dh: saturated units add to"
            " the peak at zero."),
    }),
}  # fmt: skip
