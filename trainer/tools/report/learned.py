"""The figures that parameters can draw: the chain, p - y, gradients, saturated units, embeddings."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from trainer.core.model import NAMES, Batch
from trainer.core.ops import Array
from trainer.errors import UserError
from trainer.runs.checkpoint import Checkpoint, load
from trainer.runs.folder import find_checkpoint
from trainer.runs.resuming import same_text
from trainer.text import corpus as text
from trainer.text.corpus import Corpus
from trainer.tools.report import chain, heat
from trainer.tools.report.figures import BY_NAME, INK, figure, framed, plain
from trainer.tools.report.run import Run
from trainer.tools.walk import Walk, walk

SHOWN, SHOWN_WIDE = 32, 20  # characters that can be read side by side, wide ones of East Asia
ROWS = 16  # examples of p - y
EXAMPLES = 32  # of the validation text, for gradients and saturated units
P_MINUS_Y = (
    "What each example of the validation text asks of each logit; blue is to rise, orange to fall, and the target is"
    " outlined. Look for blue at the target alone, the stronger the less the model expected it; each row sums to zero."
)
COSINES = (
    "The cosine of each two embeddings, sorted so that each character is followed by the one most like it. Look for"
    " square orange blocks: characters that the model treats alike. A thin band along the diagonal comes from the"
    " sorting alone, without any training."
)
PLANE = (
    "The two directions in which the embeddings differ most. Look for characters apart from the cloud; near each other"
    " in two of many directions need not be alike: the cosines tell."
)
HISTOGRAMS = (
    "The gradient of each parameter on 32 examples of the validation text, in units of its own spread. Look for hills"
    " of like shape; a bare peak at zero with far tails is a tensor of which few numbers learn."
)


class Learned(NamedTuple):
    """What is read of a run besides its log."""

    checkpoint: Checkpoint
    corpus: Corpus | None
    levels: dict[str, float]  # losses to compare with, in nats


def read(run: Run) -> Learned | None:
    """The best parameters and their text; what is missing becomes a problem of the run."""
    try:
        checkpoint = load(find_checkpoint(str(run.folder)))
    except UserError as error:
        run.problems.append(str(error))
        return None
    levels = {"log V": float(np.log(checkpoint.sizes.V))}
    if not np.isfinite(checkpoint.parameters.flat).all():
        run.problems.append(f"no figure of the parameters: {unfit(checkpoint)} not finite")
        return None
    try:
        corpus = same_text(checkpoint, run.folder)
    except UserError as error:
        run.problems.append(str(error))
        return Learned(checkpoint, None, levels)
    return Learned(checkpoint, corpus, levels | entropies(corpus))


def unfit(checkpoint: Checkpoint) -> str:
    """'C, W1 are' or 'C is'."""
    names = [name for name in NAMES if not np.isfinite(getattr(checkpoint.parameters, name)).all()]
    return f"{', '.join(names)} {'are' if len(names) > 1 else 'is'}"


def entropies(corpus: Corpus) -> dict[str, float]:
    """What counting reaches on the training text: H(next), and H(next | previous) = H(both) - H(previous)."""
    start, end = corpus.splits["train"]
    after, before = (corpus.ids[start - k : end - k].astype(np.int64) for k in (0, 1))
    pairs = before * len(corpus.vocabulary) + after
    both, previous = entropy(pairs), entropy(before)
    return {"unigram": entropy(after), "bigram": both - previous}


def entropy(ids: Array) -> float:
    """Of the shares of each id, in nats."""
    counts = np.unique(ids, return_counts=True)[1]
    shares = counts / counts.sum()
    return -float(shares @ np.log(shares))


def batch_of(learned: Learned, n: int) -> Batch | None:
    """Examples of the validation text, or of the training text where there is no other, evenly spaced."""
    if learned.corpus is None:
        return None
    splits = learned.corpus.splits
    split = "val" if "val" in splits and splits["val"][1] > splits["val"][0] else "train"
    places = text.evenly(learned.corpus, split, n)
    return Batch(*text.windows(learned.corpus, places, learned.checkpoint.sizes.K))


def pair_of(learned: Learned) -> Batch | None:
    """Two neighbouring examples of the validation text, whose contexts share characters."""
    if learned.corpus is None:
        return None
    splits = learned.corpus.splits
    start, end = splits["val"] if "val" in splits and splits["val"][1] > splits["val"][0] else splits["train"]
    first = min(start + 2, max(start, end - 2))  # not the very beginning of a line, whose context is all boundaries
    return Batch(*text.windows(learned.corpus, np.arange(first, min(first + 2, end)), learned.checkpoint.sizes.K))


def chain_figure(parts: list[str], learned: Learned, broken: Collection[str]) -> None:
    """Two examples, forward and back."""
    batch, checkpoint = pair_of(learned), learned.checkpoint
    if batch is None:
        return
    numbers = walk(checkpoint.parameters, checkpoint.vocabulary, batch, checkpoint.sizes, is_small(checkpoint))
    title = f"The chain, at step {checkpoint.step:,}, by the derivatives of this program as it is today"
    parts.append(framed(title, " ".join(chain.caption(numbers)), chain.picture(numbers, broken), "wide"))


def is_small(checkpoint: Checkpoint) -> bool:
    """Whether the numerical gradients of two examples take a moment and not a minute."""
    return checkpoint.sizes.parameters() < 100_000


def frequent(learned: Learned, ids: Array) -> Array:
    """Ids to show of a large vocabulary: those of `ids` (n,) first, then the most frequent, in ascending order."""
    V, vocabulary = learned.checkpoint.sizes.V, learned.checkpoint.vocabulary
    most = SHOWN_WIDE if any(heat.text_width(character) > 1 for character in vocabulary) else SHOWN
    if most >= V:
        return np.arange(V)
    wanted = list(dict.fromkeys(ids.tolist()))[:most]
    if learned.corpus is not None:
        counts = np.bincount(learned.corpus.ids, minlength=V)
        wanted += [k for k in np.argsort(-counts, kind="stable").tolist() if k not in wanted]
    return np.sort(np.array((wanted + list(range(V)))[:most]))


def difference(parts: list[str], learned: Learned, numbers: Walk) -> None:
    """p - y of some examples."""
    y = numbers.batch.targets[:ROWS]
    dlogits = numbers.forward["p"][:ROWS].copy()  # (ROWS, V)
    dlogits[np.arange(len(y)), y] -= 1
    shown = frequent(learned, y)
    values = dlogits[:, shown]
    symbols = [chain.symbol(learned.checkpoint.vocabulary[k]) for k in shown]
    names = [chain.example(numbers, b, 5) for b in range(len(y))]

    def tip(i: int, j: int) -> str:
        return f"{names[i]}: {symbols[j]} {values[i, j]:+.4f}"

    outlined = {(i, int(np.flatnonzero(shown == target)[0])) for i, target in enumerate(y)}
    left_out = learned.checkpoint.sizes.V - len(shown)
    caption = P_MINUS_Y + (f" {left_out:,} characters are not shown." if left_out else "")
    picture = heat.grid(heat.signed(values, 1.0), tip, names, symbols, outlined)
    parts.append(framed("p − y", caption, picture))


def gradients(parts: list[str], numbers: Walk) -> None:
    """A histogram for each parameter's gradient."""
    with figure(parts, "Gradients of the parameters", HISTOGRAMS, 2.9) as picture:
        axes = picture.subplots()
        for name in NAMES:
            values, data = numbers.by_hand[name].ravel(), getattr(numbers.p, name)
            spread = float(values.std())
            if spread == 0:
                continue
            ratio = float(np.linalg.norm(values) / (np.linalg.norm(data) or np.inf))
            counts, edges = np.histogram(np.clip(values / spread, -5, 5), 25, (-5, 5))
            label = f"d{name}  spread {spread:.1e}, gradient : data {ratio:.1e}"
            axes.stairs(counts / counts.sum(), edges, color=BY_NAME[name], label=label, linewidth=1.2)
        axes.set(xlabel="in units of its own spread, ends gathered at ±5", ylabel="share", yscale="log")
        plain(axes)
        picture.legend(loc="outside lower center", fontsize=8, ncols=1)


def saturated(parts: list[str], numbers: Walk) -> None:
    """A map of |h| > 0.99, a row for each example, a column for each unit."""
    h = abs(numbers.forward["h"]) > 0.99  # (B, H)
    B, H = h.shape
    dead, share = int(h.all(axis=0).sum()), float(h.mean())
    count = "is 1" if dead == 1 else f"are {dead or 'none'}"
    caption = (
        f"{B} examples of the validation text downward, {H} hidden units across, orange where |h| > 0.99:"
        f" {share:.0%} of all. Look for columns that are orange throughout: such a unit is dead for the whole batch and"
        f" passes no gradient. Here there {count}."
    )
    picture = heat.image(h.astype(float), 1.0, f"{share:.1%} saturated, {dead} dead units", most=1000)
    parts.append(framed("Where units saturate", caption, f'<div class="map">{picture}</div>'))


def embeddings(parts: list[str], learned: Learned) -> None:
    """The matrix of cosines, and the plane of the two largest principal components."""
    checkpoint = learned.checkpoint
    C = checkpoint.parameters.C.astype(float)  # (V, D)
    shown = frequent(learned, np.zeros(0, int))
    rows = C[shown]
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    cosines = unit @ unit.T  # (shown, shown)
    order = by_similarity(cosines)
    symbols = [chain.symbol(checkpoint.vocabulary[k]) for k in shown[order]]
    values = cosines[order][:, order]

    def tip(i: int, j: int) -> str:
        return f"{symbols[i]} and {symbols[j]}: {values[i, j]:+.2f}"

    parts.append(framed("Embeddings, by cosine", COSINES, heat.grid(heat.signed(values, 1.0), tip, symbols, symbols)))
    U, S, _ = np.linalg.svd(C - C.mean(axis=0), full_matrices=False)
    plane = np.pad(U * S, ((0, 0), (0, 1)))[:, :2]  # (V, 2)
    share = S**2 / (S @ S or 1)
    with figure(parts, "Embeddings, in their plane", PLANE, 4.2) as picture:
        axes = picture.subplots()
        axes.scatter(*plane[shown].T, s=0)  # sets the limits
        for k in shown:
            symbol = chain.symbol(checkpoint.vocabulary[k])
            axes.text(*plane[k], symbol, ha="center", va="center", color=INK, parse_math=False)
        axes.set(xlabel=f"{share[0]:.0%} of the variance", ylabel=f"{share[1:2].sum():.0%}")


def by_similarity(cosines: Array) -> list[int]:
    """An order in which each is followed by the one most like it among those that are left."""
    left = list(range(1, len(cosines)))
    order = [0]
    while left:
        last = order[-1]
        order.append(max(left, key=lambda k: cosines[last, k]))
        left.remove(order[-1])
    return order
