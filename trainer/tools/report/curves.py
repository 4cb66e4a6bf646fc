"""The figures that the log of a run can draw: losses, ratios, distributions."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.core.model import NAMES
from trainer.core.ops import Array
from trainer.runs.metrics import Row
from trainer.tools.report import advice
from trainer.tools.report.figures import (
    BY_NAME,
    COLOURS,
    INK,
    figure,
    label_ends,
    marker,
    plain,
    smooth,
    thin,
    thin_to_largest,
)
from trainer.tools.report.run import Run

LOWEST_RATIO = 1e-5  # smaller ones are drawn there
HIGH = 1.25  # of log V; nothing that matters lies above
OUTLINES = 6  # histograms over each other
LOSS = (
    "In nats. Look for validation below the bigram line, which counting pairs of characters reaches, and still falling."
    " A wrong gradient need not show here: many a mistake only makes training a little worse."
)
UPDATES = (
    "How far a step moves a tensor, relative to its size. Look for curves within a factor of a hundred of 1e-3. They"
    " fall with the learning rate, at the end of some schedules to nothing; the output weights W2 begin small, and"
    " biases at zero, so theirs begin high."
)
GRADIENTS = (
    "How large a gradient is, relative to its tensor; small tensors, as W2 and the biases, stand above C and W1. Look"
    " for a tensor that drifts away from the others: a factor that is missing shifts its curve by that factor."
)
NORM = "Of all gradients together. Look for a level that changes slowly; single peaks are single hard batches."
SATURATED = (
    "The share of hidden units with |h| > 0.99, through which almost no gradient passes. It climbs slowly while the"
    " weights grow, in a sound training to a quarter or a third. Look for a level below a half."
)
DISTRIBUTIONS = {
    "h": "The hidden units. Piles at -1 and 1 are saturated units, of which a trained model has some. Look for a floor"
    " between them that stays.",
    "dh": "The gradient that reaches the hidden units. Look for a width that changes slowly over the steps.",
    "dz": "The same after the slope of tanh, 1 - h². Look for a shape narrower than dh: saturated units add to the"
    " peak at zero.",
}


def losses(parts: list[str], run: Run, guides: dict[str, float]) -> None:
    """Batch loss in grey, training and validation with their last number; the learning rate beneath."""
    step, batch = run.numbers("step", "step"), run.numbers("step", "loss")
    evals = {name: run.numbers("eval", key) for name, key in (("train", "train_loss"), ("validation", "val_loss"))}
    if not len(step) and not len(evals["train"]):
        return
    with figure(parts, "Loss", LOSS, 3.7) as picture:
        axes, rate = picture.subplots(2, 1, sharex=True, height_ratios=[6, 1])
        axes.plot(*thin(step, batch), color=INK, alpha=0.25, linewidth=0.7, marker=marker(step))
        if len(step) > 60:
            axes.plot(*smooth(step, batch), color=INK, alpha=0.6)
        labels = []
        for (name, values), colour in zip(evals.items(), COLOURS, strict=False):
            at = run.numbers("eval", "step")
            axes.plot(*thin(at, values), marker=".", color=colour)
            known = values[np.isfinite(values)]
            if len(known):
                labels.append((float(known[-1]), f"{name} {known[-1]:.3f}", colour))
        above = clip(axes, [batch, *evals.values()], guides)
        for name, value in guides.items():
            axes.axhline(value, color=INK, linewidth=0.8, linestyle=":")
            labels.append((value, f"{name} {value:.2f}", INK))
        axes.set_ylabel(f"nats (up to {above:.3g}, cut)" if above else "nats")
        label_ends(axes, labels, gap=0.075)
        rate.plot(*thin(step, run.numbers("step", "learning_rate")), color=INK, alpha=0.6, marker=marker(step))
        rate.set(xlabel="step", ylabel="rate", ylim=(0, None))
        rate.tick_params(axis="y", labelsize=8)
        plain(axes)
        plain(rate)


def clip(axes: Any, curves: Sequence[Array], guides: dict[str, float]) -> float:
    """Show the losses that matter, up to a little above log V; return the largest one if it lies higher, else 0."""
    values = np.concatenate(curves)
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0
    if guides and np.median(values) > HIGH * guides["log V"]:  # it diverged: what happened is told by powers of ten
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.8 * min([values.min(), *guides.values()]))
        return 0.0
    low = min([values.min(), *guides.values()])
    top = max([np.percentile(values, 98), *guides.values()])
    if guides:
        top = min(top, HIGH * guides["log V"])
    pad = 0.04 * (top - low) or 0.1
    axes.set_ylim(low - pad, top + pad)
    return float(values.max()) if values.max() > top + pad else 0.0


def ratios(parts: list[str], run: Run) -> None:
    """How far steps move each parameter, and how large its gradient is, over the size of its data."""
    for title, key, caption in (
        ("Update : data", "update_ratio", UPDATES + advice.on_updates(run)),
        ("Gradient : data", "grad_ratio", GRADIENTS),
    ):
        if not any(key in row for row in run.rows("step")):
            continue
        with figure(parts, title, caption) as picture:
            axes = picture.subplots()
            axes.set_yscale("log")
            labels = []
            for name in NAMES:
                values = run.numbers("step", f"{key}.{name}")
                values = np.where(values > 0, np.maximum(values, LOWEST_RATIO), np.nan)
                x, y = thin_to_largest(run.numbers("step", "step"), values)
                axes.plot(x, y, color=BY_NAME[name], linewidth=1, marker=marker(x))
                known = y[np.isfinite(y)]
                if len(known):
                    labels.append((float(np.median(known[-10:])), name, BY_NAME[name]))
            if key == "update_ratio":
                axes.axhline(1e-3, color=INK, linewidth=0.8, linestyle=":")
                labels.append((1e-3, "1e-3", INK))
            axes.set(xlabel="step")
            plain(axes)
            label_ends(axes, labels)


def levels(parts: list[str], run: Run) -> None:
    """The norm of the gradient, and the share of saturated units."""
    for title, key, caption in (
        ("Gradient norm", "grad_norm", NORM),
        ("Saturated units", "saturated", SATURATED + advice.on_saturated(run)),
    ):
        values = run.numbers("step", key)
        if not np.isfinite(values).any():
            continue
        with figure(parts, title, caption, 2.4) as picture:
            axes = picture.subplots()
            step = run.numbers("step", "step")
            axes.plot(*thin(step, values), color=COLOURS[0], alpha=0.35, linewidth=0.8)
            axes.plot(*smooth(step, values), color=COLOURS[0], marker=marker(step))
            axes.set(xlabel="step", ylim=(0, None))
            plain(axes)
            label_ends(axes, [(float(values[np.isfinite(values)][-1]), f"{values[np.isfinite(values)][-1]:.3g}", INK)])


def distributions(parts: list[str], run: Run) -> None:
    """Histograms of h, dh and dz at some evaluations, the first pale and the last dark."""
    rows = [row for row in run.rows("eval") if row.get("histograms")]
    if not rows:
        return
    chosen = [rows[k] for k in np.unique(np.linspace(0, len(rows) - 1, OUTLINES).astype(int))]
    for name, caption in DISTRIBUTIONS.items():
        drawn = [(row["step"], *density(row, name)) for row in chosen if name in row["histograms"]]
        drawn = [(step, edges, height) for step, edges, height in drawn if len(edges)]
        if not drawn:
            continue
        with figure(parts, f"{name} over time", caption, 2.6) as picture:
            axes = picture.subplots()
            for k, (step, edges, height) in enumerate(drawn):
                strength = (k + 1) / len(drawn)
                axes.stairs(height, edges, color=COLOURS[0], alpha=0.2 + 0.8 * strength, label=f"step {step:,}")
            axes.set(yticks=[], xlabel=name)
            if name != "h":
                widest = max(abs(edges[height > 0.01 * height.max()]).max() for _, edges_, height in drawn
                             for edges in [edges_[:-1]])  # fmt: skip
                axes.set_xlim(-1.1 * widest, 1.1 * widest)
                axes.ticklabel_format(axis="x", style="sci", scilimits=(-2, 3))
            axes.legend(fontsize=8)


def density(row: Row, name: str) -> tuple[Array, Array]:
    """Edges of the bins and the share of numbers in each, by its width; empty where there are none."""
    histogram = row["histograms"][name]
    counts, (low, high) = np.array(histogram["counts"], float), histogram["range"]
    if low is None or high is None or not counts.sum() or not np.isfinite(high - low):
        return np.zeros(0), counts
    if high <= low:
        margin = 1e-12 * max(1, abs(low))
        low, high = low - margin, low + margin
    edges = np.linspace(low, high, len(counts) + 1)
    width = (high - low) / len(counts)  # of two edges the difference may be rounded to nothing
    return edges, counts / counts.sum() / width
