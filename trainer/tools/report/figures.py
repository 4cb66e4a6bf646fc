"""Figures by matplotlib, as SVG in the page's own text colour and font, whatever the user's matplotlib is set to."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np

from trainer.core.ops import Array
from trainer.tools.report.captions import CAPTIONS

INK = "#010203"  # stands for the page's own text colour in a picture
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's, for the colour-blind
STYLE: dict[str, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "page", "font.size": 9.5, "legend.fontsize": 8.5, "legend.frameon": False,
    "legend.handlelength": 1.6, "lines.linewidth": 1.4, "axes.grid": True, "grid.alpha": 0.14, "axes.spines.top": False,
    "axes.spines.right": False, **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "grid.color", "text.color"), INK),
    "xtick.color": INK, "ytick.color": INK,
}  # fmt: skip
POINTS = 400  # of a curve, at most
FEW = 25  # points, which are seen as dots


def figure(title: str, draw: Callable[..., str], *data: Any, height: float = 3.1) -> str:
    """A figure of the page: its title, its caption, and the picture that `draw(picture, *data)` makes.

    What `draw` returns joins the caption. What it raises stands in the place of the picture.
    """
    try:
        inside, words = svg(draw, *data, size=(5.2, height))
    except Exception as error:  # rows without what belongs in them: the other figures are right
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}, {error}"
        inside, words = f'<p class="undrawn">Not drawn: {escape(reason)}</p>', ""
    return framed(title, f"{CAPTIONS[title]} {words}", inside)


def svg(draw: Callable[..., str], *data: Any, size: tuple[float, float]) -> tuple[str, str]:
    """A picture in inches as SVG, and what was returned by `draw(picture, *data)`, which drew it."""
    from matplotlib import style
    from matplotlib.figure import Figure

    out = io.StringIO()
    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a character that the font lacks: the browser has other fonts
        picture = Figure(size, layout="constrained")
        words = draw(picture, *data)
        picture.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    found = re.sub(r'(?s)^.*?(?=<svg)|<metadata.*?data>| id="\w+_\d+"', "", out.getvalue())
    return found.replace(INK, "currentColor"), words


def framed(title: str, caption: str, inside: str, kind: str = "") -> str:
    """What belongs around a picture."""
    return f'<figure class="{kind}"><figcaption><b>{escape(title)}.</b> {escape(caption)}</figcaption>{inside}</figure>'


def along_steps(axes: Any) -> None:
    """Steps across, at a few ticks."""
    axes.set_xlabel("step")
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")


def curve(axes: Any, x: Array, y: Array, name: str, form: str = "", **look: Any) -> Array:
    """A curve of at most 400 points, each the mean of a block; with a form its name has the last one. Gives them.

    None where y has no number.
    """
    if not np.isfinite(y).any():
        return np.zeros(0)
    starts = np.unique(np.linspace(0, len(x), min(len(x), POINTS), endpoint=False).astype(int))
    sizes = np.diff(starts, append=len(x))
    drawn: Array = np.add.reduceat(y, starts) / sizes
    last = f" {drawn[np.isfinite(drawn)][-1]:{form}}" if form else ""
    marker = "." if len(drawn) < FEW else ""
    axes.plot(np.add.reduceat(x, starts) / sizes, drawn, label=name + last, marker=marker, **look)
    return drawn


def legend(picture: Any, title: str | None = None) -> None:
    """The names of the curves beside them."""
    for text in picture.legend(loc="outside right upper", title=title).get_texts():
        text.set_parse_math(False)


def heat(axes: Any, image: Array, rows: Sequence[str], columns: Sequence[str] = ()) -> None:
    """An image of (rows, columns) cells with the names of rows, and of columns where they have any."""
    axes.imshow(image, aspect="auto", interpolation="none")
    axes.set_yticks(range(len(rows)), rows, family="monospace", parse_math=False)
    if columns:
        axes.set_xticks(range(len(columns)), columns, family="monospace", parse_math=False)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
