"""A page as one file, its tables, and figures by matplotlib in the page's own colours, as SVG."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from trainer.core.ops import Array
from trainer.errors import UserError, printable

STYLE = Path(__file__).with_name("page.mplstyle")
RELOAD = '<meta http-equiv="refresh" content="4">\n'  # seconds
INK = "#010203"  # stands for the page's own text colour in a picture
PALE: Any = {"color": INK, "linewidth": 0.8, "alpha": 0.6, "marker": "", "zorder": 1}  # the look of what stands behind
POINTS = 400  # of a curve, at most
FEW = 25  # points, which are seen as dots


def fill(title: str, body: str, reload: bool = False) -> bytes:
    """A whole page, one file that needs no other; with `reload` the browser reads it again every few seconds."""
    template = Template(STYLE.with_name("page.html").read_text("utf-8"))
    filled = template.substitute(title=escape(printable(title)), body=body, refresh=RELOAD * reload)
    return filled.encode(errors="replace")


def table(heads: Sequence[str], *rows: Sequence[str]) -> str:
    """A table that scrolls where it is wider than the page; a narrow screen shows cards, each value beside its head."""
    lines = "<tr>" + "".join(f"<th>{escape(name)}</th>" for name in heads)
    for row in rows:
        cells = zip(map(escape, heads), map(escape, row), strict=True)
        lines += "\n<tr>" + "".join(f'<td data-head="{name}">{cell}</td>' for name, cell in cells)
    return f'<div class="scroll"><table>{lines}</table></div>'


def require_matplotlib(what: str) -> None:
    """Raise UserError where it is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise UserError(f"{what} needs matplotlib; pip install 'handmade-char-lm[report]'") from None


def figure(title: str, caption: str, make: Callable[..., str], *data: Any) -> str:
    """A figure of the page: its title, its caption, and what `make(*data)` gives, or what it raises in words."""
    try:
        inside = make(*data)
    except Exception as error:  # rows without what belongs in them: the other figures are right
        inside = f'<p class="undrawn">Not drawn: {escape(str(error))}</p>'
    return f"<figure><figcaption><b>{escape(title)}.</b> {escape(caption)}</figcaption>{inside}</figure>"


def svg(draw: Callable[..., None], *data: Any) -> str:
    """A picture as SVG, which `draw(picture, *data)` draws; beside it the names of its curves."""
    from matplotlib import style
    from matplotlib.figure import Figure

    out = io.StringIO()
    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a character that the font lacks: the browser has other fonts
        picture = Figure((5.2, 2.9), layout="constrained")  # inches
        draw(picture, *data)
        if picture.axes[0].get_legend_handles_labels()[0]:
            picture.legend(loc="outside right upper")
        picture.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    found = re.sub(r'(?s)^.*?(?=<svg)|<metadata.*?data>| id="\w+_\d+"', "", out.getvalue())
    return found.replace(INK, "currentColor")


def along_steps(picture: Any, curves: Sequence[tuple[str, Array]]) -> Any:
    """Curves, each a name, and steps and numbers (2, n). The axes.

    Of a long curve some points are drawn, from the last one back. It is named by the last number, by "-" without one.
    """
    if not any(points.size for _, points in curves):
        raise ValueError("the log has no number for it")
    axes = picture.subplots()
    for name, points in curves:
        x, y = points[:, :: -1 - points.shape[1] // POINTS]
        axes.plot(x, y, marker="." * (len(x) < FEW), label=f"{name} {y[0]:.4g}" if y.size else f"{name} -")
    steps_below(axes, axes.dataLim.x1)
    return axes


def steps_below(axes: Any, last: float) -> None:
    """The lower axis, from step 0 on; 50 k stands for 50,000."""
    from matplotlib.ticker import EngFormatter

    axes.set(xlabel="step", xlim=np.array([-0.02, 1.02]) * (last or 1))
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.xaxis.set_major_formatter(EngFormatter())
