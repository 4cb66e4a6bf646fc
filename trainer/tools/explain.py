"""Two examples walked by hand: every number beside its formula, every derivative beside its numerical one.

Of a run's model the beginnings are shown, and how the first number of each product comes about. Where there is no run,
the model is so small that all of it is there, in numbers that can be recomputed on paper.
"""

import re
from html import escape
from pathlib import Path
from textwrap import indent
from typing import NamedTuple

import numpy as np

from trainer import config
from trainer.core import model, numerical, ops
from trainer.core.links import FORWARD, LINKS, ORDER
from trainer.core.model import NAMES, Batch, Parameters, Sizes
from trainer.core.ops import Array
from trainer.errors import UserError, printable, say
from trainer.files import write_whole
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.folder import RUNS, open_run, say_which
from trainer.text.corpus import to_ids

FEW = 6  # terms of a long sum
NUDGE = 1e-5  # of a logit, to find its derivative by a central difference
ROUNDED = "numbers are rounded where they are printed, and nowhere before"
PRODUCT = re.compile(r"(\w+) = (\w+) · (\w+)(?: \+ (\w+))?")  # a formula of LINKS or FORWARD, as dh = dlogits · W2ᵀ


class Walk(NamedTuple):
    """The numbers of a batch, in float64, under the names of the formulas."""

    vocabulary: str
    batch: Batch
    arrays: dict[str, Array]  # parameters; emb, z, h, logits, p (B, width); loss (B,); dlogits and the other gradients
    numerical: dict[str, Array]  # the gradients by complex steps; empty if that was not asked for


def walk(p: Parameters, vocabulary: str, batch: Batch, cross_check: bool = True) -> Walk:
    """Forward and backward through the operations that training uses."""
    at, g = numerical.point(p, batch), model.zeros(p.sizes, np.float64)
    inner = model.backward(at.p, at.batch, at.a, g, 1 / len(batch.targets))
    arrays = {name: at.tensor(name) for name in ORDER} | inner._asdict()
    arrays |= {f"d{name}": getattr(g, name) for name in NAMES}
    arrays |= {"p": ops.softmax(at.a.logits), "loss": ops.cross_entropy(at.a.logits, batch.targets)}
    found = numerical.gradients(at, "complex-step", dict.fromkeys(ORDER, numerical.TINY)) if cross_check else {}
    return Walk(vocabulary, batch, arrays, {f"d{name}": gradient for name, gradient in found.items()})


def symbol(character: str) -> str:
    """A character that can be seen, on one line."""
    return {"\n": "↵", " ": "␣"}.get(character) or printable(character)


def example(walk: Walk, b: int) -> str:
    """'↵em → m', with at most ten characters of the context."""
    context = "".join(symbol(walk.vocabulary[i]) for i in walk.batch.contexts[b, -10:])
    return f"{context} → {symbol(walk.vocabulary[walk.batch.targets[b]])}"


def explain(
    run: str | None = None, context: str | None = None, target: str = "", logits: str | None = None,
    html: str | None = None,
) -> None:  # fmt: skip
    """Print the walk through a model, or through logits alone; with `html` draw it into that file.

    Without a run the newest is meant, and before there is one, a very small model. Raises UserError for bad input.
    """
    if logits is not None:
        if any(option is not None for option in (run, context, html)):
            raise UserError("--logits goes with --target alone, on the command line; leave RUN, --context, --html out")
        explain_logits(logits, target)
        return
    if context is None:
        raise UserError("no --context, on the command line; give --context or --logits")
    checkpoint, which = open_model(run, context, target)
    batch = two_examples(checkpoint, context, target)
    numbers = walk(checkpoint.parameters, checkpoint.vocabulary, batch)
    if html is None:
        show_walk(numbers, which)
    else:
        draw(numbers, which, Path(html))


def open_model(run: str | None, context: str, target: str) -> tuple[Checkpoint, str]:
    """The model of a run, or where there is none yet a small one, its parameters of one decimal; and words for it."""
    if run is not None or any(RUNS.rglob("best.npz")):
        checkpoint = open_run(run)
        say_which(run, checkpoint)
        return checkpoint, f"the model of {printable(str(checkpoint.path))}, at step {checkpoint.step:,}"
    vocabulary = "\n" + "".join(sorted({*context[-3:], *target} - {"\n"}))
    p = model.zeros(Sizes(len(vocabulary), K=3, D=2, H=3), np.float64)
    p.flat[...] = np.random.default_rng(0).normal(0, 0.5, p.flat.shape).round(1)
    settings = config.read({"data": {"path": "-"}})
    return Checkpoint(settings, vocabulary, p), "an untrained model, small enough for paper: there is no run yet"


def two_examples(checkpoint: Checkpoint, context: str, target: str) -> Batch:
    """The example that is asked for, and the one that follows it in a text, with the target that the model expects."""
    K, vocabulary = checkpoint.sizes.K, checkpoint.vocabulary
    boundary = "\n" if checkpoint.config.data.mode == "lines" else ""
    y = to_ids(target or boundary, vocabulary, "target")  # (1,)
    ids = to_ids(boundary * K + context, vocabulary, "context")  # a line is filled up with boundaries
    if len(y) != 1:
        raise UserError(f"--target has length {len(y)}, on the command line; give 1 (the end of a line is \\n)")
    if len(ids) < K:
        what = f"--context has length {len(ids)}"
        raise UserError(f"{what}, on the command line; give at least {K}, which the model reads")
    if len(context) > K:
        say(f"the model reads {K} characters: the last {K} of the context are used")
    first = ids[-K:]  # (K,)
    second = np.append(first[1:], y)  # (K,)
    if boundary and y[0] == 0:
        second = np.zeros_like(first)  # the next line begins
    likeliest = model.forward(checkpoint.parameters, Batch(second[None], y)).logits.argmax()
    return Batch(np.stack([first, second]), np.append(y, likeliest))


def draw(numbers: Walk, which: str, path: Path) -> None:
    """The chain as a picture."""
    from trainer.tools.report import chain
    from trainer.tools.report.figures import fill, require_matplotlib

    require_matplotlib("--html")
    first, second = example(numbers, 0), example(numbers, 1)
    follows = f"The second example, {second}, is the one that follows, with the target that the model expects most."
    body = f"<p>{escape(f'With {which}. {follows}')}</p>"
    body += f"<p>{chain.CAPTION}</p>{chain.picture(numbers)}"
    write_whole(path, fill(f"{first}, forward and back", body))
    print(f"written to {printable(str(path))}")


# As text.


def show_walk(walk: Walk, which: str) -> None:
    """Parameters, forward, then backward."""
    arrays, (V, D), H = walk.arrays, walk.arrays["C"].shape, len(walk.arrays["W2"])
    print(f"{which}; B = 2, K = {walk.batch.contexts.shape[1]}, D = {D}, H = {H}, V = {V}; {ROUNDED}")
    print(f"example 1: {example(walk, 0)}\nexample 2: {example(walk, 1)}, which follows, with the likeliest target")
    print("\nparameters; the rows of C are", *map(symbol, walk.vocabulary))
    for name in NAMES:
        show(name, arrays[name])
    print("\nforward; a row for each example")
    for name in ("emb", "z", "h", "logits"):
        show(FORWARD[name].formula, arrays[name], origin(arrays, FORWARD[name].formula))
    show("p = softmax(logits), as explain --logits shows it", arrays["p"])
    first, second = arrays["loss"]
    print(f"loss = mean of -log p[target] = mean of {first:.6f} and {second:.6f} = {arrays['loss'].mean():.6f} nats")
    print("\nbackward, from the mean loss; numerical values by complex steps\n")
    for name, link in LINKS.items():
        by_hand, expected = arrays[f"d{name}"], walk.numerical[f"d{name}"]
        show(f"{link.formula}: {link.words}", by_hand, origin(arrays, link.formula))
        size = f"{by_hand.size} numbers, norm {np.linalg.norm(by_hand):.4g}"
        first, difference = expected.flat[0], abs(by_hand - expected).max()
        print(f"  {size}; numerical: the first {first:.4g}, largest difference {difference:.0e}\n")


def show(title: str, values: Array, comes_about: str = "") -> None:
    """A tensor, a long one without its middle."""
    print(f"{title}   {values.shape}")
    print(indent(np.array2string(values, 120, 4, threshold=30) + f"\n{comes_about}", "  "), end="")


def origin(arrays: dict[str, Array], formula: str) -> str:
    """How the first number of a product comes about, 'z[0, 0] = 0.5 · -1.2 + ... = 0.25'; nothing for what is none."""
    if not (product := PRODUCT.fullmatch(formula)):
        return ""
    name, left, right, bias = product.groups()
    arrays = arrays | {f"{each}ᵀ": arrays[each].T for each in ("emb", "h", "W1", "W2")}
    row, column, added = arrays[left][0], arrays[right][:, 0], arrays[bias][:1] if bias else np.zeros(0)
    terms = [f"{a:.4g} · {b:.4g}" for a, b in zip(row[:FEW], column[:FEW], strict=True)]
    if len(row) > FEW:
        terms.append(f"{len(row) - FEW} more that make {row[FEW:] @ column[FEW:]:.4g}")
    terms += [f"{b:.4g}" for b in added]
    words = f"{left}[0] · {right}[:, 0]" + (f" + {bias}[0]" if bias else "")
    return f"{name}[0, 0] = {words} = {' + '.join(terms)} = {row @ column + sum(added):.4g}\n"


def explain_logits(logits: str, target: str) -> None:
    """Softmax, cross-entropy, p - y and one step along it, on numbers from the command line. Raises UserError."""
    try:
        values = np.array([float(part) for part in logits.split(",")])  # (V,)
    except ValueError:
        values = np.zeros(0)
    V = len(values)
    if V < 2 or not (abs(values) <= 700).all():  # beyond 700 exp overflows; nan compares false
        need = "two or more numbers from -700 to 700, as in 2,1,0"
        raise UserError(f"--logits is {logits!a}, on the command line; give {need}")
    names = [str(k) for k in range(V)]
    if target not in names:
        raise UserError(f"--target is {target!a}, on the command line; with --logits give 0 to {V - 1}")
    y, p = np.eye(V)[int(target)], ops.softmax(values)  # (V,)
    after = values - (p - y)  # (V,)

    def losses(logits: Array) -> Array:  # (n, V) -> (n,)
        return ops.cross_entropy(logits, np.full(len(logits), int(target)))

    slopes = numerical.quotient("central", NUDGE, lambda nudge: losses(values + nudge * np.eye(V)))  # (V,)
    loss, loss_after = losses(np.stack([values, after]))
    table = {
        "logits": values,
        "exp(logits)": np.exp(values),
        "p = exp / sum": p,
        "y, 1 at the target": y,
        "p - y": p - y,
        "numerical": slopes,
        "logits - (p - y)": after,
        "p after": ops.softmax(after),
    }
    print(ROUNDED)
    print(f"{'':<18}" + "".join(f"{name:>11}" for name in names) + f"{'sum':>11}")
    for title, row in table.items():
        print(f"{title:<18}" + "".join(f" {value + 0.0:>10.5g}" for value in [*row, round(float(row.sum()), 9)]))
    print(f"loss = -log p[target] = {loss:.6f} nats; knowing nothing costs log V = {np.log(V):.6f}")
    print("p - y is its gradient: a logit is pushed down by its p, and at the target up by 1")
    print(f"one step against it, learning rate 1: loss after = {loss_after:.6f} nats")
