"""The chain as a picture: boxes from left to right, gradients from right to left beneath, parameters under them."""

from collections.abc import Collection, Iterator, Sequence
from html import escape

import numpy as np

from trainer.core.links import LINKS
from trainer.core.model import NAMES
from trainer.core.ops import Array
from trainer.errors import printable
from trainer.tools.report import heat
from trainer.tools.walk import Walk

CELLS = 8000  # numbers of a tensor that are written out
STATIONS = ("emb", "z", "h", "logits", "p", "loss")
FORWARD = {  # on the arrow to a station
    "z": "· W1 + b1",
    "h": "tanh",
    "logits": "· W2 + b2",
    "p": "softmax",
    "loss": "−log p[target]",
}
BACKWARD = {"logits": "(p − y) / B", "h": "· W2ᵀ", "z": "· (1 − h²)", "emb": "· W1ᵀ"}  # on the arrow to a gradient
UNDER = {"emb": ("C",), "z": ("W1", "b1"), "logits": ("W2", "b2")}  # the parameters that stand beneath a station
FOLDED = {"z": 20, "h": 20, "logits": 9, "p": 9}  # numbers in a row of a box


def symbol(character: str) -> str:
    """A character that can be seen, on one line."""
    return {"\n": "↵", " ": "␣"}.get(character) or printable(character)


def picture(walk: Walk, broken: Collection[str] = ()) -> str:
    """The whole chain, as HTML without script. Each number is shown when it is pointed at, and stands in a table.

    `broken` are the tensors whose gradients were found wrong in the run that is shown.
    """
    forward = "".join(forward_part(walk, name) for name in STATIONS)
    backward = "".join(backward_part(walk, name, name in broken) for name in ("logits", "h", "z", "emb"))
    parameters = "".join(parameter(walk, name, name in broken) for names in UNDER.values() for name in names)
    return (
        f'<div class="chain">{forward}{backward}</div><div class="parameters">{parameters}</div>'
        f"<details><summary>Every number</summary>{tables(walk)}</details>"
    )


def example(walk: Walk, b: int, most: int = 10) -> str:
    """'↵em → m', with at most so many characters of the context."""
    context = "".join(symbol(walk.vocabulary[i]) for i in walk.batch.contexts[b, -most:])
    return f"{context} → {symbol(walk.vocabulary[walk.batch.targets[b]])}"


def forward_part(walk: Walk, name: str) -> str:
    """The arrow to a station, and its box."""
    arrow = f'<div class="arrow to-{name}"><span>{escape(FORWARD[name])}</span></div>' if name in FORWARD else ""
    values = walk.forward[name]
    if name == "loss":
        numbers = "".join(f"<p>{escape(example(walk, b))}<br><b>{loss:.4f}</b></p>" for b, loss in enumerate(values))
        inside = f"{numbers}<p>mean<br><b>{values.mean():.4f}</b> nats</p>"
        return f'{arrow}<div class="box loss"><h4>loss</h4>{inside}</div>'
    return f'{arrow}<div class="box {name}">{box(walk, name, name, values)}</div>'


def backward_part(walk: Walk, name: str, broken: bool) -> str:
    """A gradient's box and the arrow that leads to it."""
    values = walk.by_hand[name]
    arrow = f'<div class="arrow from-{name}"><span>{escape(BACKWARD[name])}</span></div>'
    inside = box(walk, name, "d" + name, values) + judged(walk, name, broken)
    return f'{arrow}<div class="box d{name}{" broken" if broken else ""}">{inside}</div>'


def box(walk: Walk, tensor: str, title: str, values: Array) -> str:
    """A title with shape and scale, and a block of cells for each example."""
    scale = heat.largest(values)
    strips = []
    for b, row in enumerate(values):
        caption = f"<small>{escape(example(walk, b))}</small>" if tensor == "emb" else ""
        strips.append(caption + strip(walk, tensor, title, b, row, scale))
    shape = " × ".join(map(str, values.shape))
    return f"<h4>{title} <small>{shape}</small></h4>{''.join(strips)}<small>up to ±{scale:.2g}</small>"


def strip(walk: Walk, tensor: str, title: str, b: int, row: Array, scale: float) -> str:
    """The numbers of one example, folded into rows."""
    width = walk.sizes.D if tensor == "emb" else FOLDED[tensor]
    n = len(row)
    if n > heat.MOST_CELLS or width > 40:
        side = int(np.ceil(np.sqrt(n)))
        folded = np.pad(row, (0, -n % side)).reshape(-1, side)
        return heat.image(folded, scale, f"{title} of example {b + 1}")
    folded = np.pad(row, (0, -n % width), constant_values=0).reshape(-1, width)
    names = [symbol(character) for character in walk.vocabulary] if tensor in ("logits", "p") else []

    def tip(i: int, j: int) -> str:
        k = i * width + j
        if k >= n:
            return "no number"
        what = f" ({names[k]})" if names else ""
        return f"{title}[{b}, {k}]{what} = {row[k]:.6g}"

    y = int(walk.batch.targets[b])
    outlined = {divmod(y, width)} if names else set()
    cells = heat.rectangles(heat.signed(folded, scale), tip, outlined)
    letters = "".join(
        f'<text x="{k % width + 0.5}" y="{k // width + 0.55}">{escape(name)}</text>' for k, name in enumerate(names)
    )
    return f'<svg class="strip" viewBox="0 0 {width} {len(folded)}" role="img">{cells}{letters}</svg>'


def judged(walk: Walk, name: str, broken: bool) -> str:
    """How far the gradient by hand is from the numerical one, and whether the run's own was wrong."""
    before = '<small class="bad-ink">✗ wrong in this run</small>' if broken else ""
    if name not in walk.numerical:
        return before
    difference = float(abs(walk.by_hand[name] - walk.numerical[name]).max())
    good = difference <= 1e-12 + 1e-9 * heat.largest(walk.numerical[name])  # both are rounded in float64, nothing else
    words = f"{'✓' if good else '✗ wrong:'} off by {difference:.0e}"
    return f'{before}<small class="{"good" if good else "bad"}-ink">{words}</small>'


def parameter(walk: Walk, name: str, broken: bool) -> str:
    """A parameter and beneath it its gradient."""
    data, gradient = np.atleast_2d(getattr(walk.p, name)), np.atleast_2d(walk.by_hand[name])
    shape = " × ".join(map(str, getattr(walk.p, name).shape))
    parts = [f"<h4>{name} <small>{shape}</small></h4>"]
    for title, values in ((name, data), ("d" + name, gradient)):
        scale = heat.largest(values)
        parts.append(f"<figure>{heat.image(values, scale, title)}<small>{title}, up to ±{scale:.2g}</small></figure>")
    link = LINKS[name]
    words = f"<p>{escape(link.formula)}: {escape(link.words)}</p>"
    inside = "".join(parts) + words + judged(walk, name, broken)
    return f'<div class="box under-{name}{" broken" if broken else ""}">{inside}</div>'


def tables(walk: Walk) -> str:
    """Every number of the picture, to six digits."""
    parts = []
    for name in STATIONS:
        parts.append(table(name, np.atleast_2d(walk.forward[name])))
    for name in ("logits", "h", "z", "emb"):
        parts.append(table("d" + name, walk.by_hand[name]))
    for name in NAMES:
        parts.append(table(name, np.atleast_2d(getattr(walk.p, name))))
        parts.append(table("d" + name, np.atleast_2d(walk.by_hand[name])))
    return "".join(parts)


def table(title: str, values: Array) -> str:
    """A tensor as rows of text; where it is too long, its beginning and a word on that."""
    lines = list(written(values))
    shape = " × ".join(map(str, values.shape))
    left = values.size - CELLS
    note = f"<p>{left:,} more are left out here: the page would be too long.</p>" if left > 0 else ""
    text = escape("\n".join(lines))
    return f"<details><summary>{title} <small>{shape}</small></summary><pre>{text}</pre>{note}</details>"


def written(values: Array) -> Iterator[str]:
    room = CELLS
    for i, row in enumerate(values):
        if room <= 0:
            return
        yield f"[{i}] " + " ".join(f"{value:.5g}" for value in row[:room])
        room -= len(row)


def caption(walk: Walk) -> Sequence[str]:
    """What to look at, in sentences that hold for any model and batch."""
    B = len(walk.batch.targets)
    read = walk.batch.contexts.reshape(-1)
    ids, counts = np.unique(read, return_counts=True)
    twice = symbol(walk.vocabulary[ids[counts.argmax()]])
    return (
        "Orange is above zero, blue below, pale is near zero; each box has its own scale, and the target is outlined.",
        f"Every gradient is of the mean loss of {B} examples, so dlogits holds 1/{B}; each of its rows sums to zero.",
        "Where |h| is close to 1 the slope 1 − h² is close to 0, and the cell of dz is pale whatever that of dh is.",
        f"{twice} is read {counts.max()} times, and its row of dC gathers that many gradients; rows of characters"
        " that are not read are zero.",
        "Off by: the largest difference from the numerical gradient." if walk.numerical else "",
    )
