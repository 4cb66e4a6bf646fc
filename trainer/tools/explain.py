"""Two examples walked by hand: every number beside its formula, every derivative beside its numerical one.

Of a run's model the beginnings are shown, and how the first number of each product comes about. Where there is no run,
the model is so small that all of it is there, in numbers that can be recomputed on paper.
"""

from html import escape
from pathlib import Path
from textwrap import indent
from typing import NamedTuple

import numpy as np

from trainer import config
from trainer.core import model, numerical, ops
from trainer.core.links import FORWARD, LINKS, ORDER
from trainer.core.model import INNER, NAMES, Batch, Parameters, Sizes
from trainer.core.ops import Array
from trainer.errors import UserError, printable, say
from trainer.files import write_whole
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.folder import RUNS, open_run, say_which
from trainer.text.corpus import to_ids

FEW = 6  # terms of a long sum, and logits
NUDGE = 1e-5  # of a logit, to find its derivative by a central difference
ROUNDED = "numbers are rounded where they are printed, and nowhere before"


class Walk(NamedTuple):
    """The numbers of a batch, in float64."""

    vocabulary: str
    batch: Batch
    p: Parameters
    forward: dict[str, Array]  # emb, z, h, logits, p: (B, width); loss: (B,)
    by_hand: dict[str, Array]  # the nine gradients of the mean loss
    numerical: dict[str, Array]  # the same by complex steps; empty if that was not asked for


def walk(p: Parameters, vocabulary: str, batch: Batch, cross_check: bool = True) -> Walk:
    """Forward and backward through the operations that training uses."""
    at = numerical.point(p, batch)
    forward = {name: at.tensor(name) for name in reversed(INNER)} | {"p": ops.softmax(at.a.logits)}
    forward["loss"] = ops.cross_entropy(at.a.logits, batch.targets)  # (B,)
    g = model.zeros(p.sizes, np.float64)
    inner = model.backward(at.p, at.batch, at.a, g, 1 / len(batch.targets))
    by_hand = dict(zip(INNER, inner, strict=True)) | {name: getattr(g, name) for name in NAMES}
    eps = dict.fromkeys(ORDER, 1e-20)  # a complex step subtracts nothing, and so none is too small
    found = numerical.gradients(at, "complex-step", eps) if cross_check else {}
    return Walk(vocabulary, batch, at.p, forward, by_hand, found)


def symbol(character: str) -> str:
    """A character that can be seen, on one line."""
    return {"\n": "↵", " ": "␣"}.get(character) or printable(character)


def example(walk: Walk, b: int) -> str:
    """'↵em → m', with at most ten characters of the context."""
    context = "".join(symbol(walk.vocabulary[i]) for i in walk.batch.contexts[b, -10:])
    return f"{context} → {symbol(walk.vocabulary[walk.batch.targets[b]])}"


def explain(run: str | None, context: str | None, target: str, logits: str | None, html: str | None = None) -> None:
    """Print the walk through a model, or through logits alone; with `html` draw it into that file.

    Without a run the newest is meant, and before there is one, a very small model. Raises UserError for bad input.
    """
    if logits is not None and run is context is html is None:
        explain_logits(logits, target)
        return
    if context is None or logits is not None:
        what = "give --context, or --logits without RUN, --context and --html"
        raise UserError(f"{what}, on the command line; see `python -m trainer explain --help`")
    target = "\n" if target == "\\n" else target
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
        checkpoint, path = open_run(run)
        say_which(run, checkpoint, path)
        return checkpoint, f"the model of {printable(str(path))}, at step {checkpoint.step:,}"
    vocabulary = "\n" + "".join(sorted({*context[-3:], *target} - {"\n"}))
    p = model.zeros(Sizes(len(vocabulary), K=3, D=2, H=3), np.float64)
    p.flat[...] = np.random.default_rng(0).normal(0, 0.5, p.flat.shape).round(1)
    settings = config.read({"data": {"path": "-"}})
    return Checkpoint(settings, vocabulary, p), "an untrained model, small enough for paper: there is no run yet"


def two_examples(checkpoint: Checkpoint, context: str, target: str) -> Batch:
    """The example that is asked for, and the one that follows it in a text, with the target that the model expects."""
    K, lines, vocabulary = checkpoint.sizes.K, checkpoint.config.data.mode == "lines", checkpoint.vocabulary
    y = to_ids(target or "\n" * lines, vocabulary, "target")  # (1,)
    ids = to_ids("\n" * K * lines + context, vocabulary, "context")  # a line is filled up with boundaries
    if len(y) != 1 or len(ids) < K:
        what, need = f"--target has length {len(y)} and --context {len(context)}", 0 if lines else K
        raise UserError(f"{what}, on the command line; give 1 (the end of a line is \\n) and at least {need}")
    if len(context) > K:
        say(f"the model reads {K} characters: the last {K} of the context are used")
    first = ids[-K:]  # (K,)
    second = np.append(first[1:], y)  # (K,)
    if lines and y[0] == 0:
        second = np.zeros_like(first)  # the next line begins
    likeliest = model.forward(checkpoint.parameters, Batch(second[None], y)).logits.argmax()
    return Batch(np.stack([first, second]), np.append(y, likeliest))


def origin(walk: Walk, name: str) -> str:
    """How the first number of a tensor comes about, 'z[0, 0] = 0.5 · -1.2 + ... = 0.25'; nothing for no product."""
    p, f, g, none = walk.p, walk.forward, walk.by_hand, np.zeros(0)
    products = {  # in words, a row, a column, and what is added
        "z": ("emb[0] · W1[:, 0] + b1[0]", f["emb"][0], p.W1[:, 0], p.b1[:1]),
        "logits": ("h[0] · W2[:, 0] + b2[0]", f["h"][0], p.W2[:, 0], p.b2[:1]),
        "dh": ("dlogits[0] · W2[0]", g["logits"][0], p.W2[0], none),
        "dz": ("dh[0, 0] · (1 - h[0, 0]²)", g["h"][0, :1], 1 - f["h"][0, :1] ** 2, none),
        "demb": ("dz[0] · W1[0]", g["z"][0], p.W1[0], none),
        "dW2": ("h[:, 0] · dlogits[:, 0]", f["h"][:, 0], g["logits"][:, 0], none),
        "dW1": ("emb[:, 0] · dz[:, 0]", f["emb"][:, 0], g["z"][:, 0], none),
    }
    if name not in products:
        return ""
    words, row, column, added = products[name]
    terms = [f"{a:.4g} · {b:.4g}" for a, b in zip(row[:FEW], column[:FEW], strict=True)]
    if len(row) > FEW:
        terms.append(f"{len(row) - FEW} more that make {row[FEW:] @ column[FEW:]:.4g}")
    terms += [f"{b:.4g}" for b in added]
    return f"{name}[0, 0] = {words} = {' + '.join(terms)} = {row @ column + sum(added):.4g}\n"


def draw(numbers: Walk, which: str, path: Path) -> None:
    """The chain as a picture."""
    from trainer.tools.report import chain
    from trainer.tools.report.markup import fill

    first, second = example(numbers, 0), example(numbers, 1)
    follows = f"The second example, {second}, is the one that follows, with the target that the model expects most."
    body = f"<h1>{escape(first)}, forward and back</h1><p>{escape(f'With {which}. {follows}')}</p>"
    body += f"<p>{escape(chain.caption(numbers))}</p>{chain.picture(numbers)}"
    write_whole(path, fill(f"{first}, explained", body).encode(errors="replace"))
    print(f"written to {printable(str(path))}")


# As text.


def show_walk(walk: Walk, which: str) -> None:
    """Parameters, forward, then backward."""
    V, K, D, H = walk.p.sizes
    print(f"{which}; B = 2, K = {K}, D = {D}, H = {H}, V = {V}; {ROUNDED}")
    quoted = [f"'{printable(character)}'" for character in walk.vocabulary]
    for b, row in enumerate(walk.batch.contexts):
        said = "   which follows, with the likeliest target" if b else ""
        print(f"example {b + 1}:", *(quoted[i] for i in row), "->", quoted[walk.batch.targets[b]] + said)
    print("\nparameters; the rows of C are", *quoted)
    for name in NAMES:
        show(name, getattr(walk.p, name))
    print("\nforward; a row for each example")
    for name in reversed(INNER):
        show(FORWARD[name].formula, walk.forward[name], origin(walk, name))
    logits, y = walk.forward["logits"][0], int(walk.batch.targets[0])
    others = [i for i in np.argsort(-logits, kind="stable") if i != y]
    shown = np.array([y, *others[: FEW - 1]])  # (n,)
    print("\nexample 1: the target, then the likeliest others")
    show_softmax(logits, y, shown, [quoted[i] for i in shown])
    losses = walk.forward["loss"]
    print(f"\nloss of the batch = mean of {losses[0]:.6f} and {losses[1]:.6f} = {losses.mean():.6f} nats")
    print("\nbackward, from the mean loss; numerical values by complex steps")
    for name in ORDER:
        by_hand, expected = walk.by_hand[name], walk.numerical[name]
        show(f"{LINKS[name].formula}: {LINKS[name].words}", by_hand, origin(walk, f"d{name}"))
        show("numerical", expected)
        difference = abs(by_hand - expected).max()
        print(f"{by_hand.size} numbers, norm {np.linalg.norm(by_hand):.4g}, largest difference {difference:.0e}\n")


def show(title: str, values: Array, comes_about: str = "") -> None:
    """A tensor, a long one without its middle."""
    print(f"{title}   {values.shape}")
    print(indent(np.array2string(values, 120, 4, threshold=30) + f"\n{comes_about}", "  "), end="")


def explain_logits(logits: str, target: str) -> None:
    """The softmax alone, on numbers from the command line. Raises UserError for bad ones."""
    try:
        values = np.array([float(part) for part in logits.split(",")])  # (V,)
    except ValueError:
        values = np.zeros(0)
    if len(values) < 2 or not (abs(values) <= 700).all():  # beyond 700 exp overflows; nan compares false
        raise UserError(f"--logits is {logits!a}, on the command line; give numbers from -700 to 700, as in 2,1,0")
    names = [str(k) for k in range(len(values))]
    if target not in names:
        raise UserError(f"--target is {target!a}, on the command line; with --logits give 0 to {len(values) - 1}")
    print(ROUNDED)
    show_softmax(values, names.index(target), np.arange(len(values)), names)


def show_softmax(logits: Array, target: int, shown: Array, names: list[str]) -> None:
    """Softmax, cross-entropy, p - y and one step along it: (V,), the columns to show (n,) and their names."""
    V, y, p = len(logits), np.arange(len(logits)) == target, ops.softmax(logits)  # (V,)

    def line(title: str, values: Array, note: str = "") -> None:
        print(f"{title:<22}" + "".join(f"{value + 0.0:>11.5g}" for value in values) + note)

    def losses(logits: Array) -> Array:  # (n, V) -> (n,)
        return ops.cross_entropy(logits, np.full(len(logits), target))

    nudged, after = np.eye(V)[shown], logits - (p - y)  # (n, V), (V,)
    slopes = numerical.quotient("central", NUDGE, lambda nudge: losses(logits + nudge * nudged))  # (n,)
    loss, loss_after = losses(np.stack([logits, after])).tolist()
    print(f"{'':<22}" + "".join(f"{name:>11}" for name in names))
    line("logits", logits[shown])
    line("exp(logits)", np.exp(logits)[shown], f"   sum {np.exp(logits).sum():.6g}")
    line("p = exp / sum", p[shown], f"   sum {p.sum():.4f}")
    print(f"loss = -log p[target] = {loss:.6f} nats; knowing nothing costs log V = {np.log(V):.6f}")
    line("y, 1 at the target", y[shown])
    print("p - y, the gradient of this loss: a logit is pushed down by its p, and at the target up by 1")
    line("  by hand", (p - y)[shown], f"   sum {abs((p - y).sum()):.4f}")
    line("  numerical", slopes, f"   largest difference {abs((p - y)[shown] - slopes).max():.0e}")
    print("one step against it, learning rate 1")
    line("logits - (p - y)", after[shown])
    line("p after", ops.softmax(after)[shown])
    print(f"loss after = {loss_after:.6f} nats")
