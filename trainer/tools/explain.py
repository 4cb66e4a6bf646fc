"""Two examples walked by hand: every number beside its formula, every derivative beside its numerical one."""

import sys
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np

from trainer import config
from trainer.core import ops
from trainer.core.links import LINKS
from trainer.core.model import INNER, Batch
from trainer.core.numerical import ORDER
from trainer.core.ops import Array
from trainer.errors import UserError, printable
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.files import write_whole
from trainer.runs.folder import RUNS, holding
from trainer.runs.opening import open_run, tell
from trainer.runs.starting import begin
from trainer.text import corpus as text
from trainer.tools.walk import Walk, walk

FEW = 6  # numbers shown of a long array
NUDGE = 1e-5  # of a logit, to find its derivative by a central difference
LIST = "data/names.txt"  # the text of a model that has not been trained
FORWARD = {
    "emb": "emb = C[context]",
    "z": "z = emb · W1 + b1",
    "h": "h = tanh(z)",
    "logits": "logits = h · W2 + b2",
}
ROUNDED = "numbers are rounded where they are printed, and nowhere before"


def explain(run: str | None, context: str | None, target: str, logits: str | None, html: str | None = None) -> None:
    """Print the walk through a model, or through logits alone; with `html` draw it into that file.

    Without a run the newest is meant, and before there is one, an untrained model. Raises UserError for bad input.
    """
    if logits is not None and run is None and context is None:
        if html is not None:
            raise UserError("--html draws a model, not --logits, on the command line; give --context")
        explain_logits(logits, target)
        return
    if context is None or logits is not None:
        raise UserError("give --context, or --logits without RUN and --context, on the command line; see --help")
    checkpoint, which, path = open_model(run)
    batch = two_examples(checkpoint, context, target)
    if path:
        tell(run, checkpoint, path)
    numbers = walk(checkpoint.parameters, checkpoint.vocabulary, batch, checkpoint.sizes)
    if html is None:
        show_walk(numbers, which, checkpoint.config.data.mode == "lines")
    else:
        draw(numbers, which, Path(html))


def open_model(run: str | None) -> tuple[Checkpoint, str, Path | None]:
    """The model of a run, or where there is no run yet, one that has not been trained; words for it; and its file."""
    if run is None and not holding("checkpoint.npz", RUNS):
        settings = config.build({"data": {"path": LIST}}, "the defaults")
        corpus = text.load(settings.data, settings.model.context)
        return begin(settings, corpus), f"an untrained model, for {LIST}: there is no run yet", None
    checkpoint, path = open_run(run)
    return checkpoint, f"the model of {printable(str(path))}, at step {checkpoint.step:,}", path


def two_examples(checkpoint: Checkpoint, context: str, target: str) -> Batch:
    """The example that is asked for, and the one that follows it in a text, with the target that the model expects."""
    K, lines, vocabulary = checkpoint.sizes.K, checkpoint.config.data.mode == "lines", checkpoint.vocabulary
    target = "\n" if target == "\\n" or (lines and not target) else target
    y = text.to_ids(target, vocabulary, "target")  # (1,)
    before = "\n" * K if lines else ""
    ids = text.to_ids(before + context, vocabulary, "context")  # a line is filled up with boundaries
    if len(y) != 1 or len(ids) < K:
        what, need = f"--target has length {len(y)} and --context {len(context)}", 0 if lines else K
        raise UserError(f"{what}, on the command line; give 1 (the end of a line is \\n) and at least {need}")
    if len(context) > K:
        print(f"the model reads {K} characters: the last {K} of the context are used", file=sys.stderr)
    first = ids[-K:]  # (K,)
    second = np.append(first[1:], y)  # (K,)
    if lines and y[0] == 0:
        second = np.zeros_like(first)  # the next line begins
    following = Batch(second[None], y)
    probe = walk(checkpoint.parameters, vocabulary, following, checkpoint.sizes, cross_check=False)
    likeliest = probe.forward["p"][0].argmax()
    return Batch(np.stack([first, second]), np.append(y, likeliest))


# On a page.


def draw(numbers: Walk, which: str, path: Path) -> None:
    """The chain as a picture."""
    from trainer.tools.report import chain
    from trainer.tools.report.page import fill

    examples = [chain.example(numbers, b) for b in range(len(numbers.batch.targets))]
    body = (
        f"<h1>{escape(examples[0])}, forward and back</h1><p>With {escape(which)}."
        f" The second example, {escape(examples[1])}, is the one that follows, with"
        " the target that the model expects most.</p>"
        f"<p>{escape(' '.join(chain.caption(numbers)))}</p>{chain.picture(numbers)}"
    )
    write_whole(path, fill(f"{examples[0]}, explained", body).encode(errors="replace"))
    print(f"written to {printable(str(path))}")


# As text.


def show_walk(numbers: Walk, which: str, lines: bool) -> None:
    """Forward, then backward."""
    B, (V, K, D, H) = len(numbers.batch.targets), numbers.sizes
    print(f"{which}; B = {B}, K = {K}, D = {D}, H = {H}, V = {V}; {ROUNDED}")
    quoted = [f"'{printable(character)}'" for character in numbers.vocabulary]
    for b, row in enumerate(numbers.batch.contexts):
        said = "which follows, with the likeliest target" if b else "'\\n' ends a line" if lines else ""
        print(
            f"example {b + 1}:", *(quoted[i] for i in row), "->", quoted[numbers.batch.targets[b]], f"  {said}".rstrip()
        )
    print(f"\nforward; of each example the first {FEW} numbers")
    for name, formula in FORWARD.items():
        values = numbers.forward[name]
        print(f"{formula}   {values.shape}")
        show_block([(f"  example {b + 1}", row[:FEW]) for b, row in enumerate(values)])
    logits, y = numbers.forward["logits"][0], int(numbers.batch.targets[0])
    others = [i for i in np.argsort(-logits, kind="stable") if i != y]
    shown = np.array([y, *others[: FEW - 1]])  # (n,)
    print("\nexample 1: the target, then the likeliest others")
    show_softmax(logits, y, shown, [quoted[i] for i in shown], B)
    losses = numbers.forward["loss"]
    each = " and ".join(f"{loss:.6f}" for loss in losses)
    print(f"\nloss of the batch = mean of {each} = {losses.mean():.6f} nats")
    print(f"\nbackward, from the mean loss; numerical values by complex steps; the first {FEW} of each row")
    for name in ORDER:
        show_link(numbers, name)


def show_link(numbers: Walk, name: str) -> None:
    """A gradient by hand, and beneath each of its rows the numerical one."""
    link, by_hand, numerical = LINKS[name], numbers.by_hand[name], numbers.numerical[name]
    print(f"{link.formula}   {by_hand.shape}: {link.words}")
    rows = []
    for k, what in rows_to_show(numbers, name).items():
        for title, values in (("by hand", by_hand), ("numerical", numerical)):
            rows.append((f"  {what}{title}", np.atleast_2d(values)[k, :FEW]))
    show_block(rows)
    difference = abs(by_hand - numerical).max()
    print(f"  {by_hand.size} numbers, norm {np.linalg.norm(by_hand):.4g}, largest difference {difference:.0e}")


def rows_to_show(numbers: Walk, name: str) -> dict[int, str]:
    """Each example of an inner tensor; of C the character that is read most often; of another matrix the first row."""
    if name in INNER:
        return {b: f"example {b + 1} " for b in range(len(numbers.batch.targets))}
    if name == "C":
        character = int(np.bincount(numbers.batch.contexts.reshape(-1)).argmax())
        return {character: f"'{printable(numbers.vocabulary[character])}' "}
    return {0: "" if name in ("b1", "b2") else "row 0 "}


def show_block(rows: Sequence[tuple[str, Array]], notes: Sequence[str] = ()) -> None:
    """Lines of numbers, all in one format."""
    form = format_of(values for _, values in rows)
    for k, (name, values) in enumerate(rows):
        # Zero is added to what has been rounded: it turns -0 into 0.
        numbers = "".join(f"{float(format(value, form)) + 0.0:>11{form}}" for value in values)
        note = f"   {notes[k]}" if notes else ""
        print(f"{name:<22}{numbers}{note}".rstrip())


def format_of(rows: Iterable[Array]) -> str:
    """Four decimals, or powers of ten where those would show too little or too much."""
    largest = max(float(abs(row).max()) for row in rows)
    return ".4f" if 0.01 <= largest < 1e5 or largest == 0 else ".3e"


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
    show_softmax(values, names.index(target), np.arange(len(values)), names, 1)


def show_softmax(logits: Array, target: int, shown: Array, names: list[str], B: int) -> None:
    """Softmax, cross-entropy, p - y and one step along it: (V,), the columns to show (n,) and their names."""
    y = np.arange(len(logits)) == target  # (V,)
    p, loss = one_example(logits, target)
    exp, difference = np.exp(logits), p - y  # (V,)
    slopes = np.array([slope(logits, target, k) for k in shown])  # (n,)
    after, loss_after = one_example(logits - difference, target)
    print(f"{'':<22}" + "".join(f"{name:>11}" for name in names))
    show_block([("logits", logits[shown])])
    show_block([("exp(logits)", exp[shown])], [f"sum {exp.sum():.6g}"])
    show_block([("p = exp / sum", p[shown])], [f"sum {p.sum():.4f}"])
    known = np.log(len(logits))
    print(f"{'loss = -log p[target]':<22}{loss:>11.4f}   {loss:.6f} nats; knowing nothing costs log V = {known:.6f}")
    show_block([("y, 1 at the target", y[shown].astype(float))])
    print("p - y, the gradient of this loss: a logit is pushed down by its p, and at the target up by 1")
    largest = abs(difference[shown] - slopes).max()
    notes = [f"sum {abs(difference.sum()):.4f}", f"largest difference {largest:.0e}"]
    show_block([("  by hand", difference[shown]), ("  numerical", slopes)], notes)
    if B > 1:
        show_block([(f"dlogits = (p - y) / {B}", difference[shown] / B)])
    print("one step against it, learning rate 1")
    show_block([("logits - (p - y)", (logits - difference)[shown])])
    show_block([("p after", after[shown])])
    print(f"{'loss after':<22}{loss_after:>11.4f}   {loss_after:.6f} nats")


def one_example(logits: Array, target: int) -> tuple[Array, float]:
    """Probabilities (V,) and the loss in nats."""
    return ops.softmax(logits), float(ops.cross_entropy(logits, np.array(target)))


def slope(logits: Array, target: int, k: int) -> float:
    """The derivative of the loss by logit k: nudge it up, nudge it down, divide."""
    nudge = NUDGE * (np.arange(len(logits)) == k)
    up, down = one_example(logits + nudge, target)[1], one_example(logits - nudge, target)[1]
    return (up - down) / (2 * NUDGE)
