"""The page around the figures: the template, and tables."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

RELOAD = '<meta http-equiv="refresh" content="4">\n'  # seconds


def fill(title: str, body: str, reload: bool = False) -> str:
    """A whole page, one file that needs no other; with `reload` the browser reads it again every few seconds."""
    folder = files("trainer.tools.report")
    style, template = (folder.joinpath(name).read_text("utf-8") for name in ("style.css", "page.html"))
    return Template(template).substitute(title=escape(title), style=style, body=body, refresh=RELOAD * reload)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table that scrolls where it is wider than the page; a narrow screen shows cards, each value beside its head."""
    head, lines = "".join(f"<th>{escape(name)}</th>" for name in heads), ""
    for row in rows:
        cells = zip(heads, row, strict=True)
        inside = "".join(f'<td data-head="{escape(name)}">{escape(str(cell))}</td>' for name, cell in cells)
        lines += f"<tr>{inside}</tr>\n"
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
