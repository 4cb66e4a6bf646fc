"""Numbers as colour, without matplotlib: grids of cells that tell their number, and images where there are too many."""

import struct
import zlib
from base64 import b64encode
from collections.abc import Callable, Collection, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from trainer.core.ops import Array

BLUE, ORANGE = (47, 128, 237), (233, 119, 38)  # below and above zero, as in style.css
WIDTH = 420  # of a grid with its names, in the units of its letters, which are 10 high
MOST_CELLS = 400  # more than that become an image


Places = Collection[tuple[int, int]]  # row and column of some cells


class Look(NamedTuple):
    """How the cells of a grid look."""

    kinds: Array  # (rows, columns) of text: the class that gives a cell its colour, in style.css
    strength: Array  # (rows, columns): from 0, nothing, to 1, the full colour


def signed(values: Array, largest: float) -> Look:
    """Orange above zero, blue below, the paler the smaller, full colour at `largest`; what is not finite is red."""
    finite = np.isfinite(values)
    kinds = np.where(finite, np.where(values < 0, "neg", "pos"), "bad")
    share = np.where(finite, abs(values), np.inf) / (largest or 1)
    return Look(kinds, np.minimum(share, 1) ** 0.6)  # the power lets small numbers be seen


def largest(values: Array) -> float:
    """The largest magnitude among the finite ones."""
    finite = values[np.isfinite(values)]
    return float(abs(finite).max()) if finite.size else 0.0


def rectangles(look: Look, tip: Callable[[int, int], str], outlined: Places = ()) -> str:
    """Cells of size 1; each one shows its tip when pointed at."""
    parts = []
    rows, columns = look.kinds.shape
    for i in range(rows):
        for j in range(columns):
            opacity = f"{look.strength[i, j]:.2f}".lstrip("0")
            place = f'x="{j}" y="{i}" width="1" height="1"'
            colour = f'class="{look.kinds[i, j]}" fill-opacity="{opacity}"'
            parts.append(f"<rect {place} {colour}><title>{escape(tip(i, j))}</title></rect>")
    for i, j in outlined:
        parts.append(f'<rect x="{j}.06" y="{i}.06" width=".88" height=".88" class="outline"/>')
    return "".join(parts)


def grid(
    look: Look,
    tip: Callable[[int, int], str],
    row_names: Sequence[str],
    column_names: Sequence[str],
    outlined: Places = (),
    marks: Sequence[str] = (),
) -> str:
    """A grid with names on the left and below, and a word at the right of each row, if given."""
    rows, columns = look.kinds.shape
    left = 8 + 6.4 * max(map(text_width, row_names), default=0)
    right = 4 + 6.4 * max(map(text_width, marks), default=0)
    cell = (WIDTH - left - right) / columns
    high = min(22.0, max(cell, 15.0))
    parts = [
        f'<g transform="translate({left:.1f} 4) scale({cell:.3f} {high:.3f})">{rectangles(look, tip, outlined)}</g>'
    ]
    for i, name in enumerate(row_names):
        parts.append(label(left - 6, 4 + high * (i + 0.5), name, "end"))
    for i, mark in enumerate(marks):
        parts.append(label(WIDTH - right + 6, 4 + high * (i + 0.5), mark, "start"))
    for j, name in enumerate(column_names):
        parts.append(label(left + cell * (j + 0.5), 14 + high * rows, name, "middle"))
    height = high * rows + (24 if any(column_names) else 8)
    return f'<svg class="heat" viewBox="0 0 {WIDTH} {height:.0f}" role="img">{"".join(parts)}</svg>'


def text_width(text: str) -> int:
    """Columns of a monospaced font; characters of East Asia take two."""
    return sum(2 if ord(character) > 0x1100 else 1 for character in text)


def label(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" dominant-baseline="central">{escape(text)}</text>'


def png(rgba: Array) -> str:
    """An image (height, width, 4) of bytes as an address that holds it all."""
    height, width, _ = rgba.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), rgba.reshape(height, -1)], axis=1)  # filter 0 before each
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)  # 8 bits, red green blue alpha
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return "data:image/png;base64," + b64encode(data).decode()


def image(values: Array, scale: float, title: str, most: int = 200) -> str:
    """A matrix as a small image, a pixel for a number, or for the largest of some neighbours where there are many."""
    values = shrink(values, most)
    look = signed(values, scale)
    rgba = np.empty((*values.shape, 4), np.uint8)
    rgba[..., :3] = np.where((look.kinds == "neg")[..., None], BLUE, ORANGE)
    rgba[..., 3] = 255 * look.strength
    return f'<img class="heat" src="{png(rgba)}" alt="{escape(title)}" title="{escape(title)}">'


def shrink(values: Array, most: int) -> Array:
    """At most `most` rows and columns: each block shows its number of largest magnitude."""
    for axis in (0, 1):
        size = values.shape[axis]
        if size <= most:
            continue
        starts = np.unique(np.linspace(0, size, most, endpoint=False).astype(int))
        high, low = (extreme.reduceat(values, starts, axis=axis) for extreme in (np.maximum, np.minimum))
        values = np.where(high >= -low, high, low)
    return values
