"""Two examples walked by hand: every number beside its formula, every derivative beside its numerical one.

Of a run's model the beginnings are shown, and how the first number of each product comes about. Where there is no run,
the model is so small that all of it is there, in numbers that can be recomputed on paper.
"""

import re
from functools import partial
from html import escape
from pathlib import Path
from textwrap import indent
from typing import NamedTuple

import numpy as np

from trainer import config
from trainer.core import checks, model, numerical, ops
from trainer.core.links import FORWARD, LINKS
from trainer.core.model import NAMES, Batch, Sizes
from trainer.core.numerical import TINY
from trainer.core.ops import Array
from trainer.core.step import by_name
from trainer.core.verdict import Verdict
from trainer.errors import UserError, aligned, printable
from trainer.files import write_whole
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.folder import RUNS, open_run, say_which
from trainer.text.corpus import to_ids

LARGE = 100_000  # parameters: a check of each takes more than a moment, and one slope through a tensor stands for it
FEW = 6  # terms of a long sum
ROUNDED = "numbers are rounded where they are printed, and nowhere before"
# The stations of the walk: what comes about, and how.
FORMULAS = {name: FORWARD[name].formula for name in ("emb", "z", "h", "logits")}
FORMULAS |= {"p": "p = softmax of logits", "loss": "loss = -log p[target]"}
FORMULAS |= {f"d{name}": link.formula for name, link in LINKS.items()}
PRODUCT = re.compile(r"(\w+) = (\w+) · (\w+)(?: \+ (\w+))?")  # a formula, as dh = dlogits · W2ᵀ


class Walk(NamedTuple):
    """The numbers of a batch, in float64, under the names of the formulas."""

    vocabulary: str
    batch: Batch
    arrays: dict[str, Array]  # parameters; emb, z, h, logits, p (B, width); loss (B,); dlogits and the other gradients
    verdicts: dict[str, Verdict]  # on the gradients, held against complex steps


def walk(checkpoint: Checkpoint, batch: Batch) -> Walk:
    """Forward and backward through the operations that training uses, and a check of every gradient."""
    at, g = numerical.point(checkpoint.parameters, batch), model.zeros(checkpoint.sizes, np.float64)
    gradients = by_name([model.backward(at.p, batch, at.a, g, 1 / len(batch.targets))], g)
    arrays = at.tensors | {f"d{name}": each for name, each in gradients.items()}
    arrays |= {"p": ops.softmax(at.a.logits), "loss": ops.cross_entropy(at.a.logits, batch.targets)}
    check = config.Check(method="complex-step", coordinates="all" if g.flat.size < LARGE else "directions")
    verdicts = checks.check_gradients(at, gradients, check, "float64", np.random.default_rng(0))
    return Walk(checkpoint.vocabulary, batch, arrays, {f"d{verdict.of}": verdict for verdict in verdicts})


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
    numbers = walk(checkpoint, two_examples(checkpoint, context, target))
    if html is None:
        print_walk(numbers, which)
    else:
        draw(numbers, which, Path(html))


def open_model(run: str | None, context: str, target: str) -> tuple[Checkpoint, str]:
    """The model of a run, or where there is none yet a small one, its parameters of one decimal; and words for it."""
    if run is not None or any(RUNS.rglob("best.npz")):
        checkpoint = open_run(run)
        say_which(run, checkpoint)
        return checkpoint, f"the model of {printable(str(checkpoint.path))}, at step {checkpoint.step:,}"
    vocabulary = "\n" + ("".join(sorted({*context[-3:], *target} - {"\n"})) or "a")
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
    body = f"<p>{escape(f'With {which}. {follows}')}</p><p>{chain.CAPTION}</p>{chain.picture(numbers)}"
    write_whole(path, fill(f"{first}, forward and back", body))
    print(f"written to {printable(str(path))}")


# As text.


def print_walk(walk: Walk, which: str) -> None:
    """Parameters, forward, then backward."""
    (V, D), H = walk.arrays["C"].shape, len(walk.arrays["W2"])
    print(f"{which}; B = 2, K = {walk.batch.contexts.shape[1]}, D = {D}, H = {H}, V = {V}; {ROUNDED}")
    print(f"example 1: {example(walk, 0)}\nexample 2: {example(walk, 1)}, which follows, with the likeliest target")
    heads = {
        "C": "parameters; the rows of C are " + " ".join(map(symbol, walk.vocabulary)),
        "emb": "forward; a row for each example",
        "dlogits": f"backward, from the mean loss, {walk.arrays['loss'].mean():.6f} nats; expected is numerical",
    }
    for name in (*NAMES, *FORMULAS):
        if name in heads:
            print(f"\n{heads[name]}\n")
        show(walk, name)


def show(walk: Walk, name: str) -> None:
    """A tensor: its formula, its numbers, a long one without its middle, how the first comes about; and a verdict."""
    values, formula = walk.arrays[name], FORMULAS.get(name, name)
    print(f"{formula}   {values.shape}")
    print(indent(np.array2string(values, 120, 4, threshold=30), "  "))
    if product := PRODUCT.fullmatch(formula):
        print("  " + origin(walk.arrays, *product.groups()))
    if name in walk.verdicts:
        print(f"  {LINKS[name[1:]].words}\n  {walk.verdicts[name]}\n")


def origin(arrays: dict[str, Array], name: str, left: str, right: str, bias: str | None) -> str:
    """How the first number of a product comes about, 'z[0, 0] = emb[0] · W1[:, 0] = 0.5 · -1.2 + ... = 0.25'."""
    arrays = arrays | {f"{each}ᵀ": arrays[each].T for each in ("emb", "h", "W1", "W2")}
    row, column = arrays[left][0], arrays[right][:, 0]
    words, terms = f"{left}[0] · {right}[:, 0]", [f"{a:.4g} · {b:.4g}" for a, b in zip(row, column, strict=True)]
    if len(terms) > FEW:
        terms[FEW:] = [f"{len(terms) - FEW} more that make {row[FEW:] @ column[FEW:]:.4g}"]
    if bias:
        words += f" + {bias}[0]"
        terms.append(f"{arrays[bias][0]:.4g}")
    return f"{name}[0, 0] = {words} = {' + '.join(terms)} = {arrays[name][0, 0]:.4g}"


def explain_logits(logits: str, target: str) -> None:
    """Softmax, cross-entropy, p - y and one step along it, on numbers from the command line. Raises UserError."""
    try:
        values = np.array(logits.split(","), np.float64)  # (V,)
    except ValueError:
        values = np.zeros(0)
    V = len(values)
    if V < 2 or not (abs(values) <= 700).all():  # beyond 700 exp overflows; nan compares false
        need = "two or more numbers from -700 to 700, as in 2,1,0"
        raise UserError(f"--logits is {logits!a}, on the command line; give {need}")
    names = list(map(str, range(V)))
    if target not in names:
        raise UserError(f"--target is {target!a}, on the command line; with --logits give 0 to {V - 1}")
    y, p = np.eye(V)[int(target)], ops.softmax(values)  # (V,)
    after = values - (p - y)  # (V,)
    losses = partial(ops.cross_entropy, targets=np.array([int(target)]))  # (n, V) -> (n,)
    table = {
        "logits": values,
        "exp(logits)": np.exp(values),
        "p = exp / sum": p,
        "y, 1 at the target": y,
        "p - y": p - y,
        "numerical": numerical.quotient("complex-step", TINY, lambda nudge: losses(values + nudge * np.eye(V))),
        "logits - (p - y)": after,
        "p after": ops.softmax(after),
    }
    rows = [["", *names, "sum"]]
    for title, row in table.items():
        rows.append([title, *(f"{value + 0.0:.5g}" for value in (*row, round(float(row.sum()), 9)))])
    loss, loss_after = losses(np.stack([values, after]))
    print(ROUNDED, *aligned(rows), sep="\n")
    print(f"loss = -log p[target] = {loss:.6f} nats; knowing nothing costs log V = {np.log(V):.6f}")
    print("p - y is its gradient: a logit is pushed down by its p, and at the target up by 1")
    print(f"one step against it, learning rate 1: loss after = {loss_after:.6f} nats")
