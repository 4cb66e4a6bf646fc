"""A page as one file, its tables, and figures by matplotlib in the page's own colours, as SVG."""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from trainer.core.ops import Array
from trainer.errors import UserError, printable

RELOAD = '<meta http-equiv="refresh" content="4">\n'  # seconds
STYLE = Path(__file__).with_name("page.mplstyle")
INK = "#010203"  # stands for the page's own text colour in a picture
POINTS = 400  # of a curve, at most
FEW = 25  # points, which are seen as dots


def fill(title: str, body: str, reload: bool = False) -> bytes:
    """A whole page, one file that needs no other; with `reload` the browser reads it again every few seconds."""
    template = Template(Path(__file__).with_name("page.html").read_text("utf-8"))
    page = template.substitute(title=escape(printable(title)), body=body, refresh=RELOAD * reload)
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


def figure(title: str, caption: str, make: Callable[..., str], *data: Any) -> str:
    """A figure of the page: its title, its caption, and what `make(*data)` gives, or what it raises in words."""
    try:
        inside = make(*data)
    except Exception as error:  # rows without what belongs in them: the other figures are right
        inside = f'<p class="undrawn">Not drawn: {escape(str(error))}</p>'
    return f"<figure><figcaption><b>{escape(title)}.</b> {escape(caption)}</figcaption>{inside}</figure>"


def svg(draw: Callable[..., None], *data: Any, size: tuple[float, float] = (5.2, 2.9)) -> str:
    """A picture in inches as SVG, which `draw(picture, *data)` draws."""
    from matplotlib import style
    from matplotlib.figure import Figure

    out = io.StringIO()
    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a character that the font lacks: the browser has other fonts
        picture = Figure(size, layout="constrained")
        draw(picture, *data)
        picture.axes[0].locator_params(axis="x", nbins=5)
        picture.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    found = re.sub(r'(?s)^.*?(?=<svg)|<metadata.*?data>| id="\w+_\d+"', "", out.getvalue())
    return found.replace(INK, "currentColor")


def along_steps(picture: Any, curves: Sequence[tuple[str, Array]], levels: Mapping[str, float] = {}) -> Any:
    """Curves, each a name, and steps and numbers (2, n); dotted levels; and a legend. The axes.

    A curve has at most 400 points, each the mean of a block, and is named by the last one, by "-" where it has none.
    That of the batches is noise, thin and grey.
    """
    if not any(points.size for _, points in curves):
        raise ValueError("the log has no number for it")
    axes, thin = picture.subplots(), {"color": INK, "linewidth": 0.8}
    for name, points in curves:
        blocks = np.array_split(points, min(points.shape[1], POINTS) or 1, axis=1)
        x, y = np.array([block.mean(axis=1) for block in blocks if block.size]).reshape(-1, 2).T
        look = thin | {"alpha": 0.3, "zorder": 1} if name == "batch" else {"marker": "." * (len(x) < FEW)}
        axes.plot(x, y, label=f"{name} {y[-1]:.4g}" if y.size else f"{name} -", **look)
    for name, level in levels.items():
        axes.axhline(level, label=f"{name} {level:.4g}", linestyle=":", **thin)
    axes.set_xlabel("step")
    picture.legend(loc="outside right upper")
    return axes
