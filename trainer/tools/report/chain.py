"""The chain as a picture: boxes from left to right, gradients from right to left beneath, parameters under them.

Numbers are colours, orange above zero, blue below, pale near zero, in images that the page lays into its own grid.
"""

import io
from base64 import b64encode
from collections.abc import Sequence
from html import escape

import numpy as np

from trainer.core.links import FORWARD, LINKS
from trainer.core.model import INNER, NAMES
from trainer.core.ops import Array
from trainer.tools.explain import Walk, example, symbol

LETTERS = 400  # in a box, at most
MOST = 200  # rows or columns of an image
COLOURS = ((0, "#2f80ed"), (0.5, "#2f80ed00"), (0.5, "#e9772600"), (1, "#e97726"))  # blue, clear, orange
CAPTION = (
    "Orange is above zero, blue below, pale is near zero; each box has its own scale, and the target is outlined. Every"
    " gradient is of the mean loss of the examples. Off by: the largest difference from the numerical gradient. Where"
    " all is right, each row of dlogits sums to zero; where |h| is close to 1 the cell of dz is pale whatever that of"
    " dh is, because the slope 1 - h² is close to 0; the row of a character in dC gathers a gradient from each place"
    " where it is read, and the other rows are zero."
)
# The boxes, and what stands on the arrow to each; the last of FORWARD's formulas is p and loss.
FORMULAS = {
    "emb": "", **{name: FORWARD[name].formula for name in ("z", "h", "logits")}, "p": "p = softmax",
    "loss": "loss = -log p[target]", **{f"d{name}": LINKS[name].formula for name in INNER},
}  # fmt: skip


def picture(walk: Walk) -> str:
    """The whole chain, as HTML without script."""
    parts = []
    for name, formula in FORMULAS.items():
        if formula:
            parts.append(f'<div class="arrow to-{name}">{escape(formula.partition(" = ")[2])}</div>')
        parts.append(box(walk, name, losses(walk) if name == "loss" else examples(walk, name)))
    parameters = "".join(box(walk, f"d{name}", parameter(walk, name)) for name in NAMES)
    return f'<div class="chain">{"".join(parts)}</div><div class="parameters">{parameters}</div>'


def box(walk: Walk, name: str, inside: str) -> str:
    """A tensor; a gradient with how far it is from the numerical one."""
    kind = f"box {name}"
    if name in walk.numerical:
        difference = float(abs(walk.arrays[name] - walk.numerical[name]).max())
        good = np.allclose(walk.arrays[name], walk.numerical[name], 1e-9, 1e-12)  # both round in float64, nothing else
        ink, mark = ("good", "✓") if good else ("bad", "✗ wrong:")
        kind += "" if good else " broken"
        inside += f'<small class="{ink}-ink">{mark} off by {difference:.0e}</small>'
    return f'<div class="{kind}">{inside}</div>'


def losses(walk: Walk) -> str:
    """The loss of each example, and their mean."""
    each = "".join(f"<p>{escape(example(walk, b))}<br><b>{x:.4f}</b></p>" for b, x in enumerate(walk.arrays["loss"]))
    return f"<h4>loss</h4>{each}<p>mean<br><b>{walk.arrays['loss'].mean():.4f}</b> nats</p>"


def examples(walk: Walk, name: str) -> str:
    """A title with shape and scale, and for each example its numbers as cells, folded into rows."""
    values, tensor = walk.arrays[name], name.removeprefix("d")
    B, n = values.shape
    width = walk.arrays["C"].shape[1]
    if tensor != "emb" or width > 40:
        width = int(np.ceil(np.sqrt(2 * n)))
    lettered = tensor in ("logits", "p") and n <= LETTERS
    if lettered and n < 9:
        width = 2  # room for letter and number
    words = [symbol(each) for each in walk.vocabulary] if lettered else [""] * n
    scale, parts = float(abs(values).max()), []
    for b, row in enumerate(values):
        if tensor == "emb":
            parts.append(f"<small>{escape(example(walk, b))}</small>")
        said = [f"{word} {value:.2f}".strip() for word, value in zip(words, row, strict=True)] if n < 9 else words
        folded = np.pad(row, (0, -n % width)).reshape(-1, width)
        title = f"{name} of example {b + 1}"
        parts.append(cells(folded, scale, title, said, int(walk.batch.targets[b]) if lettered else None))
    return f"<h4>{name} <small>{B} × {n}</small></h4>{''.join(parts)}<small>up to ±{scale:.2g}</small>"


def parameter(walk: Walk, name: str) -> str:
    """A parameter and beneath it its gradient."""
    shape, parts = " × ".join(map(str, walk.arrays[name].shape)), []
    for title in (name, f"d{name}"):
        values = walk.arrays[title]
        scale = float(abs(values).max())
        words = [f"{value:.2f}" for value in values.flat] if values.size < 27 else []
        image = cells(np.atleast_2d(values), scale, title, words)
        parts.append(f"<figure>{image}<small>{title}, up to ±{scale:.2g}</small></figure>")
    why = escape(f"{LINKS[name].formula}: {LINKS[name].words}")
    return f"<h4>{name} <small>{shape}</small></h4>{''.join(parts)}<p>{why}</p>"


def cells(values: Array, scale: float, title: str, words: Sequence[str], outlined: int | None = None) -> str:
    """A matrix as cells, in full colour at `scale`, with words in them; one is outlined, by its place in the matrix."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.image import imsave

    (rows, columns), out, image = values.shape, io.BytesIO(), shrunk(values) / (scale or 1)
    seen = np.sign(image) * abs(image) ** 0.6  # the power lets small numbers be seen
    imsave(out, seen, vmin=-1, vmax=1, cmap=LinearSegmentedColormap.from_list("", COLOURS), format="png")
    address = f"data:image/png;base64,{b64encode(out.getvalue()).decode()}"
    inside = "".join(f"<i{' class=outlined' * (k == outlined)}>{escape(word)}</i>" for k, word in enumerate(words))
    kind = "cells lines" if max(rows, columns) <= 40 else "cells"
    style = f"--rows:{rows};--columns:{columns};--image:url({address})"
    return f'<div class="{kind}" role="img" aria-label="{escape(title)}" style="{style}">{inside}</div>'


def shrunk(values: Array) -> Array:
    """At most 200 rows and columns: each block shows its number of largest magnitude."""
    for axis in (0, 1):
        starts = np.arange(0, values.shape[axis], -(-values.shape[axis] // MOST))
        high, low = np.maximum.reduceat(values, starts, axis), np.minimum.reduceat(values, starts, axis)
        values = np.where(high >= -low, high, low)
    return values
