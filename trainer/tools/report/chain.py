"""The chain as a picture: boxes from left to right, gradients from right to left beneath, parameters under them.

Numbers are colours, orange above zero, blue below, pale near zero, in images that the page lays into its own grid.
"""

import io
from base64 import b64encode
from collections.abc import Sequence
from html import escape

import numpy as np

from trainer.core.links import LINKS
from trainer.core.model import NAMES
from trainer.core.ops import Array
from trainer.tools.explain import FORMULAS, Walk, example, symbol

MOST = 200  # rows or columns of an image
ORANGE, BLUE = np.array([233, 119, 38]) / 255, np.array([47, 128, 237]) / 255
CAPTION = (
    "Orange is above zero, blue below, pale is near zero; each box has its own scale, and the target is outlined. Every"
    " gradient is of the mean loss of the examples. Off by: the largest difference from the numerical gradient. Where"
    " all is right, each row of dlogits sums to zero; where |h| is close to 1 the cell of dz is pale whatever that of"
    " dh is, because the slope 1 - h² is close to 0; the row of a character in dC gathers a gradient from each place"
    " where it is read, and the other rows are zero."
)


def picture(walk: Walk) -> str:
    """The whole chain, as HTML without script."""
    parts = ""
    for name, formula in FORMULAS.items():
        if name[1:] not in NAMES:
            parts += f'<div class="arrow to-{name}">{escape(formula.partition(" = ")[2])}</div>' * (name != "emb")
            parts += box(walk, name, losses(walk) if name == "loss" else examples(walk, name))
    parameters = "".join(box(walk, f"d{name}", parameter(walk, name)) for name in NAMES)
    return f'<div class="chain">{parts}</div><div class="parameters">{parameters}</div>'


def box(walk: Walk, name: str, inside: str) -> str:
    """A tensor; a gradient with how far it is from the numerical one."""
    kind = f"box {name}"
    if verdict := walk.verdicts.get(name):
        ink, mark = ("good", "✓") if verdict.passed else ("bad", "✗ wrong:")
        kind += " broken" * (not verdict.passed)
        inside += f'<small class="{ink}-ink">{mark} off by {verdict.error:.0e}</small>'
    return f'<div class="{kind}">{inside}</div>'


def losses(walk: Walk) -> str:
    """The loss of each example, and their mean."""
    each = "".join(f"<p>{escape(example(walk, b))}<br><b>{x:.4f}</b></p>" for b, x in enumerate(walk.arrays["loss"]))
    return f"<h4>loss</h4>{each}<p>mean<br><b>{walk.arrays['loss'].mean():.4f}</b> nats</p>"


def examples(walk: Walk, name: str) -> str:
    """A title with shape and scale, and for each example its numbers as cells, folded into rows."""
    values, lettered, is_emb = walk.arrays[name], name in ("logits", "p", "dlogits"), name in ("emb", "demb")
    (B, n), scale = values.shape, float(abs(values).max())
    letters = list(map(symbol, walk.vocabulary)) if lettered else [""] * n
    columns = 2 if lettered and n < 9 else int(np.ceil(np.sqrt(2 * n)))
    if is_emb:
        columns = walk.arrays["C"].shape[1]
    parts = ""
    for b, row in enumerate(values):
        words = [f"{letter} {x:.2f}" for letter, x in zip(letters, row, strict=True)] if n < 9 else letters
        folded = np.pad(row, (0, -n % columns)).reshape(-1, columns)
        outlined = int(walk.batch.targets[b]) if lettered else None
        parts += f"<small>{escape(example(walk, b))}</small>" * is_emb
        parts += cells(folded, scale, f"{name} of example {b + 1}", words, outlined)
    return f"<h4>{name} <small>{B} × {n}</small></h4>{parts}<small>up to ±{scale:.2g}</small>"


def parameter(walk: Walk, name: str) -> str:
    """A parameter and beneath it its gradient."""
    shape, parts = " × ".join(map(str, walk.arrays[name].shape)), ""
    for title in (name, f"d{name}"):
        values = walk.arrays[title]
        scale = float(abs(values).max())
        words = [f"{x:.2f}" for x in values.flat] if values.size < 27 else []
        image = cells(np.atleast_2d(values), scale, title, words)
        parts += f"<figure>{image}<small>{title}, up to ±{scale:.2g}</small></figure>"
    why = escape(f"{LINKS[name].formula}: {LINKS[name].words}")
    return f"<h4>{name} <small>{shape}</small></h4>{parts}<p>{why}</p>"


def cells(values: Array, scale: float, title: str, words: Sequence[str], outlined: int | None = None) -> str:
    """A matrix as cells, in full colour at `scale`, with words in them; one is outlined, by its place in the matrix."""
    from matplotlib.image import imsave

    (rows, columns), out, seen = values.shape, io.BytesIO(), shrunk(values)[:, :, None] / (scale or 1)
    strength = abs(seen) ** 0.6  # the power lets small numbers be seen
    imsave(out, np.dstack([np.where(seen > 0, ORANGE, BLUE), strength]), format="png")
    address = f"data:image/png;base64,{b64encode(out.getvalue()).decode()}"
    inside = "".join(f"<i{' class=outlined' * (k == outlined)}>{escape(word)}</i>" for k, word in enumerate(words))
    kind = "cells lines" if max(rows, columns) <= 40 else "cells"
    style = f"--rows:{rows};--columns:{columns};--image:url({address})"
    return f'<div class="{kind}" role="img" aria-label="{escape(title)}" style="{style}">{inside}</div>'


def shrunk(values: Array) -> Array:
    """At most 200 rows and columns: each block shows its number of largest magnitude."""
    for axis, length in enumerate(values.shape):
        starts = np.arange(0, length, -(-length // MOST))
        high, low = np.maximum.reduceat(values, starts, axis), np.minimum.reduceat(values, starts, axis)
        values = np.where(high >= -low, high, low)
    return values
