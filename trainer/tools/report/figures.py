"""Figures by matplotlib, as SVG in the page's own text colour and font, whatever the user's matplotlib is set to."""

import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import numpy as np

from trainer.core.ops import Array
from trainer.tools.report.table import short

INK = "#010203"  # stands for the page's own text colour in a figure
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
)  # Okabe and Ito's, fit for the colour-blind
BY_NAME = dict(zip(("C", "W1", "b1", "W2", "b2"), COLOURS, strict=False))
STYLE: dict[str, Any] = {
    "text.usetex": False, "svg.fonttype": "none", "font.size": 9.5, "axes.grid": True, "grid.alpha": 0.14,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": INK, "axes.labelcolor": INK,
    "grid.color": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK, "legend.frameon": False,
    "path.simplify": True, "lines.linewidth": 1.4,
}  # fmt: skip
MOST_POINTS = 400  # of a curve
FEW_POINTS = 25


def matplotlib() -> Any:
    """The package; a backend named in the environment is none of ours, and a wrong one would keep it from loading."""
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
        import matplotlib.figure
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    return matplotlib


@contextmanager
def figure(parts: list[str], title: str, caption: str, height: float = 3.1, width: float = 5.2) -> Iterator[Any]:
    """A matplotlib Figure to draw on, in inches; then its SVG joins the parts of the page, with title and caption."""
    mpl, out = matplotlib(), io.StringIO()
    defaults = {key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith(("backend", "toolbar"))}
    with mpl.rc_context({**defaults, **STYLE}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a character that the font lacks: the browser has other fonts
        picture = mpl.figure.Figure((width, height), layout="constrained")
        yield picture
        picture.savefig(out, format="svg", transparent=True)
    parts.append(framed(title, caption, clean(out.getvalue())))


def clean(svg: str) -> str:
    """What a page needs of an SVG file."""
    svg = re.sub(r'(?s)^.*?(?=<svg)|<metadata.*?data>| id="\w+_\d+"', "", svg)
    return svg.replace(INK, "currentColor")


def framed(title: str, caption: str, inside: str, kind: str = "") -> str:
    """A figure of the page: what it is, what to look for, and the picture."""
    return f'<figure class="{kind}"><figcaption><b>{escape(title)}.</b> {escape(caption)}</figcaption>{inside}</figure>'


def plain(axes: Any) -> None:
    """A few ticks with thousands told apart, and powers of ten as they are typed."""
    together = axes.get_shared_x_axes().get_siblings(axes)
    ends = {float(x) for each in together for x in each.dataLim.intervalx if np.isfinite(x)}
    if len(ends) == 1:  # all that is drawn stands at one step
        axes.set_xticks(list(ends))
    else:
        axes.locator_params(axis="x", nbins=5, integer=True)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.margins(x=0.02)
    if axes.get_yscale() == "log":
        axes.yaxis.set_major_formatter(lambda value, _: short(value))
        axes.yaxis.set_minor_formatter(lambda value, _: "")


def marker(x: Array) -> str:
    """A dot at each point where they are few: a line through one point is not seen."""
    return "." if len(x) < FEW_POINTS else ""


def thin(x: Array, y: Array) -> tuple[Array, Array]:
    """At most 400 points, each the mean of a block."""
    return means(x, y, MOST_POINTS)


def thin_to_largest(x: Array, y: Array) -> tuple[Array, Array]:
    """At most 400 points, each the largest of a block, so that no spike is lost."""
    starts = block_starts(len(x), MOST_POINTS)
    return x[starts], np.fmax.reduceat(y, starts) if len(y) else y


def smooth(x: Array, y: Array) -> tuple[Array, Array]:
    """The mean of each thirtieth."""
    return means(x, y, 30)


def means(x: Array, y: Array, parts: int) -> tuple[Array, Array]:
    """The mean of each of so many blocks."""
    starts = block_starts(len(x), parts)
    if not len(starts):
        return x, y
    sizes = np.diff(starts, append=len(x))
    return np.add.reduceat(x, starts) / sizes, np.add.reduceat(y, starts) / sizes


def block_starts(n: int, parts: int) -> Array:
    """Where each of at most so many blocks of n numbers begins."""
    return np.unique(np.linspace(0, n, min(n, parts), endpoint=False).astype(int))


def label_ends(axes: Any, labels: Sequence[tuple[float, str, str]], gap: float = 0.06) -> None:
    """Words at the right of the axes, each at its height (value, text, colour), moved apart where they would meet."""
    heights = [height_of(axes, value) for value, _, _ in labels]
    order = sorted(range(len(labels)), key=heights.__getitem__)
    placed = spread([heights[k] for k in order], gap)
    for k, height in zip(order, placed, strict=True):
        _, text, colour = labels[k]
        line = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0}
        axes.annotate(
            text, (1.0, heights[k]), (1.05, height), xycoords="axes fraction", va="center", fontsize=8.5, color=colour,
            parse_math=False, arrowprops=line | {"relpos": (0, 0.5)},
        )  # fmt: skip


def height_of(axes: Any, value: float) -> float:
    """Where a value stands in the axes, from 0 below to 1 above; what lies outside stands at the edge."""
    bottom, top = axes.get_ylim()
    if axes.get_yscale() == "log":
        value, bottom, top = np.log([max(value, 1e-300), bottom, top])
    return float(min(1.0, max(0.0, (value - bottom) / (top - bottom))))


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Ascending heights moved apart to stand at least `gap` from each other, around where they were."""
    placed: list[float] = []
    for height in heights:  # up, away from the one below
        lowest = placed[-1] + gap if placed else height
        placed.append(max(height, lowest))
    highest = 1.0
    for k in reversed(range(len(placed))):  # down, where that went over the top
        placed[k] = min(placed[k], highest)
        highest = placed[k] - gap
    return placed
