"""The chain as a picture: boxes from left to right, gradients from right to left beneath, parameters under them."""

from collections.abc import Collection
from html import escape

import numpy as np

from trainer.core.links import FORWARD, LINKS
from trainer.core.model import INNER, NAMES
from trainer.core.ops import Array
from trainer.tools.explain import Walk, example, symbol
from trainer.tools.report.heat import cells

LETTERS = 400  # in a box, at most
# On the arrows; the last of FORWARD's formulas is the last two of these.
ALONG = {name: step.formula.partition(" = ")[2] for name, step in FORWARD.items() if name in ("z", "h", "logits")}
ALONG |= {"p": "softmax", "loss": "-log p[target]"}
BACK = {name: LINKS[name].formula.partition(" = ")[2] for name in INNER}
WIDTHS = {"z": 20, "h": 20, "logits": 9, "p": 9}  # cells in a row of a box


def picture(walk: Walk, broken: Collection[str] = ()) -> str:
    """The whole chain, as HTML without script.

    `broken` are the tensors whose gradients were found wrong in the run that is shown.
    """
    parts = []
    for name, values in walk.forward.items():
        arrow = f'<div class="arrow to-{name}">{escape(ALONG[name])}</div>' if name in ALONG else ""
        inside = losses(walk) if name == "loss" else box(walk, name, name, values)
        parts.append(f'{arrow}<div class="box {name}">{inside}</div>')
    for name in INNER:
        inside = box(walk, name, f"d{name}", walk.by_hand[name]) + judged(walk, name, name in broken)
        parts.append(f'<div class="arrow from-{name}">{escape(BACK[name])}</div>')
        parts.append(f'<div class="box d{name}{" broken" * (name in broken)}">{inside}</div>')
    parameters = "".join(parameter(walk, name, name in broken) for name in NAMES)
    return f'<div class="chain">{"".join(parts)}</div><div class="parameters">{parameters}</div>'


def losses(walk: Walk) -> str:
    each = "".join(f"<p>{escape(example(walk, b))}<br><b>{x:.4f}</b></p>" for b, x in enumerate(walk.forward["loss"]))
    return f"<h4>loss</h4>{each}<p>mean<br><b>{walk.forward['loss'].mean():.4f}</b> nats</p>"


def shape(values: Array) -> str:
    return " × ".join(map(str, values.shape))


def box(walk: Walk, tensor: str, title: str, values: Array) -> str:
    """A title with shape and scale, and for each example its numbers as cells, folded into rows."""
    n, scale = values.shape[1], float(abs(values).max())
    width = walk.p.sizes.D if tensor == "emb" else WIDTHS[tensor]
    if n < 9:  # room for the numbers
        width = 2 if tensor in ("logits", "p") else min(n, width)
    if n > LETTERS or width > 40:
        width = int(np.ceil(np.sqrt(n)))
    symbols = [symbol(each) for each in walk.vocabulary] if tensor in ("logits", "p") and n <= LETTERS else [""] * n
    parts = []
    for b, row in enumerate(values):
        folded = np.pad(row, (0, -n % width)).reshape(-1, width)
        caption = f"<small>{escape(example(walk, b))}</small>" if tensor == "emb" else ""
        words = [f"{name} {value:.2f}".strip() for name, value in zip(symbols, row, strict=True)] if n < 9 else symbols
        outlined = {int(walk.batch.targets[b])} if symbols[0] else ()
        parts.append(caption + cells(folded, scale, f"{title} of example {b + 1}", words, outlined))
    return f"<h4>{title} <small>{shape(values)}</small></h4>{''.join(parts)}<small>up to ±{scale:.2g}</small>"


def parameter(walk: Walk, name: str, broken: bool) -> str:
    """A parameter and beneath it its gradient."""
    data, link, parts = getattr(walk.p, name), LINKS[name], []
    for title, values in ((name, data), (f"d{name}", walk.by_hand[name])):
        scale = float(abs(values).max())
        words = [f"{value:.2f}" for value in values.flat] if values.size < 27 else []
        image = cells(np.atleast_2d(values), scale, title, words)
        parts.append(f"<figure>{image}<small>{title}, up to ±{scale:.2g}</small></figure>")
    why = f"<p>{escape(link.formula)}: {escape(link.words)}</p>{judged(walk, name, broken)}"
    inside = f"<h4>{name} <small>{shape(data)}</small></h4>{''.join(parts)}{why}"
    return f'<div class="box under-{name}{" broken" * broken}">{inside}</div>'


def judged(walk: Walk, name: str, broken: bool) -> str:
    """How far the gradient by hand is from the numerical one, and whether the run's own was wrong."""
    words = '<small class="bad-ink">✗ wrong in this run</small>' if broken else ""
    if name in walk.numerical:
        difference = float(abs(walk.by_hand[name] - walk.numerical[name]).max())
        good = difference <= 1e-12 + 1e-9 * abs(walk.numerical[name]).max()  # both round in float64, nothing else
        kind, mark = ("good", "✓") if good else ("bad", "✗ wrong:")
        words += f'<small class="{kind}-ink">{mark} off by {difference:.0e}</small>'
    return words


def caption(walk: Walk) -> str:
    """What to look at, in sentences that hold for any model and batch."""
    B = len(walk.batch.targets)
    ids, counts = np.unique(walk.batch.contexts, return_counts=True)
    return (
        "Orange is above zero, blue below, pale is near zero; each box has its own scale, and the target is outlined."
        f" Every gradient is of the mean loss of {B} examples, so dlogits holds 1/{B}; each of its rows sums to zero."
        " Where |h| is close to 1 the slope 1 − h² is close to 0, and the cell of dz is pale whatever that of dh is."
        f" {symbol(walk.vocabulary[ids[counts.argmax()]])} is read {counts.max()} times, and its row of dC gathers that"
        " many gradients; rows of characters that are not read are zero. Off by: the largest difference from the"
        " numerical gradient. `python -m trainer explain` prints the numbers."
    )
