"""The figures that the log of a run can draw: losses, errors of checks, ratios, distributions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.core.links import ORDER
from trainer.tools.report.figures import COLOURS, INK, along_steps, curve, heat, legend
from trainer.tools.report.run import Run, looked_at, severity

HIGH = 1.25  # of log V; no loss that matters lies above
LOWEST = 1e-5  # of ratios; smaller ones are not drawn
COLUMNS = 100  # stretches of the checked steps
GOOD, BAD = (42 / 255, 143 / 255, 92 / 255), (208 / 255, 47 / 255, 47 / 255)
OUTLINES = 6  # histograms over each other


def losses(picture: Any, run: Run, levels: dict[str, float]) -> str:
    """Batch loss in grey, training and validation."""
    axes = picture.subplots()
    step, at = run.numbers("step", "step"), run.numbers("eval", "step")
    drawn = [curve(axes, step, run.numbers("step", "loss"), "batch loss", color=INK, alpha=0.3, linewidth=0.8)]
    for name, key, colour in (("training", "train_loss", COLOURS[0]), ("validation", "val_loss", COLOURS[1])):
        drawn.append(curve(axes, at, run.numbers("eval", key), name, ".3f", color=colour))
    values, top = np.concatenate(drawn), HIGH * levels.get("log V", np.inf)
    if not len(values):
        raise ValueError("the log has no loss")
    for name, value in levels.items():
        axes.axhline(value, color=INK, linewidth=0.8, linestyle=":", label=f"{name} {value:.2f}")
    axes.set_ylabel("nats")
    legend(picture)
    along_steps(axes)
    highest, lowest = np.nanmax(values), min(np.nanmin(values), *levels.values(), top)
    if highest <= top:
        return ""
    axes.set_ylim(lowest - 0.04 * (top - lowest), top)
    return f"The axis ends at {top:.2f}; what lies above, up to {highest:.4g}, is cut off."


def errors(picture: Any, run: Run) -> str:
    """A row for each check; as colour the worst of each stretch of steps, in its place on the axis."""
    rows = run.of("check")
    if not rows:
        raise ValueError("the log has no row of a check")
    found = set(map(looked_at, rows))
    names = [f"d{name}" for name in ORDER if f"d{name}" in found]
    names += sorted(found - set(names))
    end = max(row["step"] for row in rows) + 1
    worst = np.full((len(names), min(COLUMNS, end)), np.nan)
    for row in rows:
        place = names.index(looked_at(row)), row["step"] * worst.shape[1] // end
        worst[place] = np.fmax(worst[place], severity(row))
    # A quarter of the colour at a ten-thousandth of the tolerance, most of it at all of it.
    strength = np.where(worst > 1, 1, 0.85 + 0.15 * np.log10(np.clip(worst, 1e-4, 1)))
    colour = np.where(worst[..., None] > 1, BAD, GOOD)
    most = np.nanmax(worst, axis=1)
    marked = [f"{name}  {'✗' if each > 1 else '✓'} {each:<5.1g}" for name, each in zip(names, most, strict=True)]
    picture.set_figheight(0.7 + 0.19 * len(names))
    axes = picture.subplots()
    heat(axes, np.concatenate([colour, np.nan_to_num(strength)[..., None]], axis=-1), marked)
    axes.images[0].set_extent((0, end, len(names) - 0.5, -0.5))
    along_steps(axes)
    axes.set_xlim(0, end)
    return ""


def over_steps(picture: Any, run: Run, keys: Mapping[str, str], ratios: bool = False) -> str:
    """A curve for each name and its key in the rows of steps; ratios by powers of ten."""
    axes = picture.subplots()
    for (name, key), colour in zip(keys.items(), COLOURS, strict=False):
        form = "" if ratios else ".3g"
        curve(axes, run.numbers("step", "step"), run.numbers("step", key), name, form, color=colour)
    if not axes.get_lines():
        raise ValueError(f"the log has no number for {', '.join(keys.values())}")
    if ratios:
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(LOWEST, axes.get_ylim()[0]))
    else:
        axes.set_ylim(0, None)
    legend(picture)
    along_steps(axes)
    return ""


def distribution(picture: Any, run: Run, name: str) -> str:
    """Histograms of h, dh or dz at some evaluations, the first pale and the last dark."""
    rows = [row for row in run.of("eval") if row.get("histograms")]
    if not rows:
        raise ValueError("the log has no histogram")
    axes, widest = picture.subplots(), 0.0
    for k in np.unique(np.linspace(0, len(rows) - 1, OUTLINES).astype(int)):
        counts, (low, high) = np.array(rows[k]["histograms"][name]["counts"]), rows[k]["histograms"][name]["range"]
        edges, share = np.linspace(low, high, len(counts) + 1), counts / counts.sum()
        strength = (1 + 4 * (k + 1) / len(rows)) / 5
        height = share / (edges[1] - edges[0])
        axes.stairs(height, edges, color=COLOURS[0], alpha=strength, label=f"step {rows[k]['step']:,}")
        widest = max(widest, abs(edges[:-1][share > 0.01 * share.max()]).max())
    axes.set(yticks=[], xlabel=name)
    if name != "h":
        axes.set_xlim(-1.1 * widest, 1.1 * widest)
        axes.ticklabel_format(axis="x", style="sci", scilimits=(-2, 3))
    legend(picture)
    return ""
