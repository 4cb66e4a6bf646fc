"""Numbers as colour: orange above zero, blue below, pale near zero, as images that the page lays into its own grid."""

import io
from base64 import b64encode
from collections.abc import Collection, Sequence
from html import escape

import numpy as np

from trainer.core.ops import Array

BLUE, ORANGE = (47 / 255, 128 / 255, 237 / 255), (233 / 255, 119 / 255, 38 / 255)
MOST = 200  # rows or columns of an image


def colours(values: Array, scale: float) -> Array:
    """Red, green, blue and opacity, from 0 to 1; full colour at `scale`: (rows, columns) -> (rows, columns, 4)."""
    strength = np.minimum(abs(values) / (scale or 1), 1) ** 0.6  # the power lets small numbers be seen
    return np.concatenate([np.where(values[..., None] < 0, BLUE, ORANGE), strength[..., None]], axis=-1)


def cells(values: Array, scale: float, title: str, words: Sequence[str] = (), outlined: Collection[int] = ()) -> str:
    """A matrix as cells, with a word in each if given; those are outlined whose places in the flat matrix are named."""
    from matplotlib.image import imsave

    (rows, columns), out = values.shape, io.BytesIO()
    imsave(out, colours(shrunk(values), scale), format="png")
    address = f"data:image/png;base64,{b64encode(out.getvalue()).decode()}"
    inside = "".join(f"<i{' class=outlined' * (k in outlined)}>{escape(word)}</i>" for k, word in enumerate(words))
    kind = "cells lines" if max(rows, columns) <= 40 else "cells"
    style = f"--rows:{rows};--columns:{columns};--image:url({address})"
    return f'<div class="{kind}" role="img" aria-label="{escape(title)}" style="{style}">{inside}</div>'


def shrunk(values: Array) -> Array:
    """At most 200 rows and columns: each block shows its number of largest magnitude."""
    for axis in (0, 1):
        size = values.shape[axis]
        starts = np.unique(np.linspace(0, size, min(size, MOST), endpoint=False).astype(int))
        high, low = np.maximum.reduceat(values, starts, axis), np.minimum.reduceat(values, starts, axis)
        values = np.where(high >= -low, high, low)
    return values
