"""The figures that the log of a run can draw: losses, errors of checks, ratios, distributions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.core.model import NAMES
from trainer.tools.report.figures import INK, along_steps
from trainer.tools.report.run import Run, looked_at, severity

HIGH = 1.25  # of log V; no loss that matters lies above
LOWEST = 1e-5  # of ratios; smaller ones are not drawn
FAR = 1e-4  # of the tolerance; below it the colour stays the same
GREENS, RED = ("#9fd8b9", "#1f7a4c"), "#d02f2f"
OUTLINES = 6  # histograms over each other


def losses(picture: Any, run: Run, levels: Mapping[str, float]) -> None:
    """Training and validation, the batch loss in grey, and losses to compare with as dotted lines."""
    curves = [(name, run.column("eval", f"{name}_loss")) for name in ("train", "val")]
    curves.append(("batch", run.column("step", "loss")))
    if not run.steps_done:
        raise ValueError("the log has no loss yet")
    curves += [(name, np.array([[0, run.steps_done], [level, level]])) for name, level in levels.items()]
    thin: dict[str, Any] = {"color": INK, "linewidth": 0.8, "marker": None}
    looks = {name: {**thin, "linestyle": ":"} for name in levels} | {"batch": {**thin, "alpha": 0.3, "zorder": 1}}
    axes, drawn = along_steps(picture, curves, looks)
    axes.set_ylabel("nats")
    values, top = np.concatenate(drawn, axis=1)[1], HIGH * levels.get("log V", np.inf)
    if values.max() > top:
        axes.set_ylim(0.97 * min(values.min(), top), top)


def errors(picture: Any, run: Run) -> None:
    """A row for each check, and in it a line at each step that the log has of it; the worst is drawn last."""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm

    rows = sorted(run.of("check"), key=severity)
    worst = {looked_at(row): severity(row) for row in rows}
    names = list(dict.fromkeys(map(looked_at, run.of("check"))))
    picture.set_figheight(0.7 + 0.19 * len(names))
    axes = picture.subplots()
    axes.scatter(
        [row["step"] for row in rows], [names.index(looked_at(row)) for row in rows], 70, marker="|", linewidths=2,
        rasterized=True, c=[max(severity(row), FAR) for row in rows], norm=LogNorm(FAR, 1),
        cmap=LinearSegmentedColormap.from_list("", GREENS).with_extremes(over=RED),
    )  # fmt: skip
    labels = [f"{name}  {'✗' if worst[name] > 1 else '✓'} {worst[name]:<5.1g}" for name in names]
    axes.set_yticks(range(len(names)), labels, family="monospace")
    end = run.steps_done
    axes.set(xlabel="step", xlim=(-1 - 0.02 * end, 1 + 1.02 * end), ylim=(len(names) - 0.5, -0.5))
    axes.locator_params(axis="x", nbins=5, integer=True)


def ratios(picture: Any, run: Run, key: str) -> None:
    """A curve for each parameter, by powers of ten."""
    axes, _ = along_steps(picture, [(name, run.column("step", f"{key}.{name}")) for name in NAMES])
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(bottom=max(LOWEST, axes.get_ylim()[0]))


def level(picture: Any, run: Run, key: str) -> None:
    """One number along the steps, from zero on."""
    along_steps(picture, [("last", run.column("step", key))])[0].set_ylim(0)


def distribution(picture: Any, run: Run, name: str) -> None:
    """Histograms of h, dh or dz at some evaluations, the first pale and the last dark."""
    rows, axes = run.of("eval"), picture.subplots()
    for k in np.unique(np.linspace(0, len(rows) - 1, OUTLINES).astype(int)):
        counts, (low, high) = (rows[k]["histograms"][name][key] for key in ("counts", "range"))
        edges = np.linspace(low, high, len(counts) + 1)
        density, strength = np.array(counts) / sum(counts) / np.diff(edges), (1 + 4 * (k + 1) / len(rows)) / 5
        axes.stairs(density, edges, color="C0", alpha=strength, label=f"step {rows[k]['step']:,}")
    axes.set(yscale="log", xlabel=name)
    axes.yaxis.set_visible(False)
    axes.locator_params(axis="x", nbins=5)
    picture.legend(loc="outside right upper")
