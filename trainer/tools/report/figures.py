"""A page as one file, its tables, and figures by matplotlib in the page's own colours, as SVG."""

import io
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from trainer.core.ops import Array
from trainer.errors import UserError

RELOAD = '<meta http-equiv="refresh" content="4">\n'  # seconds
INK = "#010203"  # stands for the page's own text colour in a picture
# Four styles of Okabe and Ito's six colours, which the colour-blind can tell apart.
LOOKS = (
    "cycler(linestyle=['-', '--', ':', '-.'])"
    " * cycler(color=['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'])"
)
STYLE: dict[str, Any] = {
    "svg.fonttype": "none", "svg.hashsalt": "page", "font.size": 9.5, "legend.fontsize": 8.5, "legend.frameon": False,
    "legend.handlelength": 1.6, "lines.linewidth": 1.4, "axes.grid": True, "grid.alpha": 0.14, "axes.spines.top": False,
    "axes.spines.right": False, "axes.prop_cycle": LOOKS, "text.parse_math": False, "savefig.dpi": 200,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "grid.color": INK, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK,
}  # fmt: skip
POINTS = 400  # of a curve, at most
FEW = 25  # points, which are seen as dots

Curve = tuple[str, Array]  # its name, and its steps and numbers (2, n)


def fill(title: str, body: str, reload: bool = False) -> bytes:
    """A whole page, one file that needs no other; with `reload` the browser reads it again every few seconds."""
    template = Template(Path(__file__).with_name("page.html").read_text("utf-8"))
    page = template.substitute(title=escape(title), body=body, refresh=RELOAD * reload)
    return page.encode(errors="replace")


def table(heads: Sequence[str], *rows: Sequence[str]) -> str:
    """A table that scrolls where it is wider than the page; a narrow screen shows cards, each value beside its head."""
    head, lines = "".join(f"<th>{escape(name)}</th>" for name in heads), ""
    for row in rows:
        cells = zip(heads, row, strict=True)
        inside = "".join(f'<td data-head="{escape(name)}">{escape(cell)}</td>' for name, cell in cells)
        lines += f"<tr>{inside}</tr>\n"
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def require_matplotlib(what: str) -> None:
    """Raise UserError where it is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise UserError(f"{what} needs matplotlib; pip install 'handmade-char-lm[report]'") from None


def figure(title: str, caption: str, draw: Callable[..., None], *data: Any, height: float = 3.1) -> str:
    """A figure of the page: its title, its caption, and the picture that `draw(picture, *data)` makes.

    What it raises stands in the place of the picture.
    """
    try:
        inside = svg(draw, *data, size=(5.2, height))
    except Exception as error:  # rows without what belongs in them: the other figures are right
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}, {error}"
        inside = f'<p class="undrawn">Not drawn: {escape(reason)}</p>'
    return framed(title, caption, inside)


def framed(title: str, caption: str, inside: str, kind: str = "") -> str:
    """What belongs around a picture."""
    return f'<figure class="{kind}"><figcaption><b>{escape(title)}.</b> {escape(caption)}</figcaption>{inside}</figure>'


def svg(draw: Callable[..., None], *data: Any, size: tuple[float, float]) -> str:
    """A picture in inches as SVG, which `draw(picture, *data)` draws."""
    from matplotlib import style
    from matplotlib.figure import Figure

    out = io.StringIO()
    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a character that the font lacks: the browser has other fonts
        picture = Figure(size, layout="constrained")
        draw(picture, *data)
        picture.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    found = re.sub(r'(?s)^.*?(?=<svg)|<metadata.*?data>| id="\w+_\d+"', "", out.getvalue())
    return found.replace(INK, "currentColor")


def along_steps(
    picture: Any, curves: Iterable[Curve], looks: Mapping[str, Any] | None = None, title: str | None = None
) -> tuple[Any, list[Array]]:
    """Curves of at most 400 points, each the mean of a block, and named by the last one.

    Returns the axes, and of each curve that has numbers its points (2, points).
    """
    axes, drawn = picture.subplots(), []
    for name, points in curves:
        if points.size:
            blocks = np.array_split(points, min(points.shape[1], POINTS), axis=1)
            x, y = means = np.stack([block.mean(axis=1) for block in blocks], axis=1)
            look = {"marker": "." if len(x) < FEW else None} | (looks or {}).get(name, {})
            axes.plot(x, y, label=f"{name} {y[-1]:.4g}", **look)
            drawn.append(means)
    if not drawn:
        raise ValueError("the log has no number for it")
    axes.set_xlabel("step")
    axes.locator_params(axis="x", nbins=5, integer=True)
    picture.legend(loc="outside right upper", title=title)
    return axes, drawn
