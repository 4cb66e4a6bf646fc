"""One example walked by hand: every number beside its formula, every derivative beside its numerical one."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from trainer import checks, model, numerical, ops, runs, step, text
from trainer.errors import UserError, printable

FEW = 6  # numbers shown of a long array
FORWARD = ("emb = C[context]", "z = emb · W1 + b1", "h = tanh(z)", "logits = h · W2 + b2")
PRODUCT = "a product hands each factor the other's value"
WORDS = {
    "tanh_backward": "the slope of tanh is 1 where h = 0, and nearly 0 where h is close to 1 or -1",
    "affine_backward_bias": "a sum passes the gradient through",
    "embedding_backward": "a character gathers from all the places where it stands",
}


def explain(run: str | None, context: str | None, target: str, logits: str | None) -> None:
    """Print the walk on a trained model, or on logits alone. Raises UserError for bad input."""
    if logits is not None and run is None and context is None:
        try:
            values = np.array([float(part) for part in logits.split(",")])  # (V,)
        except ValueError:
            values = np.zeros(0)
        if len(values) < 2 or not (abs(values) <= 700).all():  # beyond 700 exp overflows; nan compares false
            raise UserError(f"--logits is {logits!a}, on the command line; give numbers from -700 to 700, as in 2,1,0")
        names = [str(k) for k in range(len(values))]
        if target not in names:
            raise UserError(f"--target is {target!a}, on the command line; with --logits give 0 to {len(values) - 1}")
        return walk_softmax(values, names.index(target), np.arange(len(values)), names)
    if context is None or logits is not None:
        raise UserError("give --context, or --logits without RUN and --context, on the command line; see --help")
    c = runs.load(runs.find_checkpoint(run))
    K, lines = c.sizes.K, c.config.data.mode == "lines"
    target = "\n" if target == "\\n" or (lines and not target) else target
    y = text.to_ids(target, c.vocabulary, "target")  # (1,)
    ids = text.to_ids("\n" * (K * lines) + context, c.vocabulary, "context")  # a line is filled up with boundaries
    if len(y) != 1 or len(ids) < K:
        what, need = f"--target has length {len(y)} and --context {len(context)}", 0 if lines else K
        raise UserError(f"{what}, on the command line; give 1 (the end of a line is \\n) and at least {need}")
    if len(context) > K:
        print(f"the model reads {K} characters: the last {K} of the context are used")
    batch, a, g = model.Batch(ids[None, -K:], y), model.Activations(c.sizes, 1, float), model.zeros(c.sizes, float)
    at = numerical.point(c.parameters, batch, c.sizes)
    model.forward(at.p, batch, a)
    model.backward(at.p, batch, a, g, 1.0)
    by_hand = step.by_hand(at.p, batch, [step.Part(slice(None), a, g)], g)
    with ThreadPoolExecutor(1) as pool:
        found = numerical.numerical(
            at, "all", "central", dict.fromkeys(numerical.ORDER, 1e-5), np.random.default_rng(), pool
        )
    quoted = [f"'{printable(character)}'" for character in c.vocabulary]
    print("context", *(quoted[i] for i in batch.contexts[0]), "  target", quoted[y[0]], "  ('\\n' ends a line)" * lines)
    for formula, row in zip(FORWARD, (at.emb[0], at.z[0], at.h[0], at.logits[0]), strict=True):
        show(formula, row[:FEW], f"... {len(row)} numbers, norm {np.linalg.norm(row):.4g}")
    shown = np.append(y, [i for i in np.argsort(-at.logits[0], kind="stable") if i != y][: FEW - 1])  # (n,)
    print("\nthe target, then the likeliest others:")
    walk_softmax(at.logits[0], int(y[0]), shown, [quoted[i] for i in shown])
    print("\nthe chain downward from dlogits, for B = 1")
    for name in numerical.ORDER[1:]:
        (index, slopes), (_, operation, formula) = found[name], checks.LINKS[name]
        hand = by_hand[name][tuple(index[-by_hand[name].ndim :])]  # (n,)
        print(f"{formula}: {WORDS.get(operation.split()[0].rstrip(','), PRODUCT)}")
        show("  by hand", hand[:FEW], f"... {len(hand)} entries, norm {np.linalg.norm(by_hand[name]):.4g}")
        show("  numerical", slopes[:FEW], f"largest difference {abs(hand - slopes).max():.0e}")


def show(name: str, values: ops.Array, note: str = "") -> None:
    """A line of numbers, rounded here and nowhere before."""
    form = ".3f" if abs(values).max() >= 0.1 else ".1e"
    print((f"{name:<22}" + "".join(f"{float(f'{v:{form}}') + 0.0:>10{form}}" for v in values) + "   " + note).rstrip())


def walk_softmax(logits: ops.Array, target: int, shown: ops.Array, names: list[str]) -> None:
    """Softmax, cross-entropy, p - y and one step along it: (V,), the columns to show (n,) and their names."""
    targets, log_V, steps = np.array([target]), np.log(len(logits)), 1e-5 * np.eye(len(logits))[shown]  # (n, V)
    shifted, exps, total = ops.softmax(logits[None])  # (1, V), (1, V), (1,)
    p, loss = exps[0] / total[0], ops.cross_entropy(shifted, total, targets)[0]
    dlogits = ops.softmax_cross_entropy_backward(exps, total, targets, 1.0)[0]  # (V,)
    up, down = (numerical.row_losses(logits + nudge, targets[[0] * len(shown)]) for nudge in (steps, -steps))
    _, exps, total = ops.softmax((logits - dlogits)[None])
    after, exp, slopes = numerical.row_losses((logits - dlogits)[None], targets)[0], np.exp(logits), (up - down) / 2e-5
    print(f"{'':<22}" + "".join(f"{name:>10}" for name in names))
    show("logits", logits[shown])
    show("exp(logits)", exp[shown], f"sum {exp.sum():.3f}")
    show("p = exp / sum", p[shown], f"sum {p.sum():.3f}")
    print(f"{'loss = -log p[target]':<22}{loss:>10.2f}   {loss:.6f} nats; knowing nothing costs log V = {log_V:.6f}")
    show("y, 1 at the target", (shown == target) * 1.0)
    print("dlogits = p - y: a logit is pushed down by its p, and at the target up by 1")
    show("  by hand", dlogits[shown], f"sum {abs(dlogits.sum()):.3f} ({dlogits.sum():.0e})")
    show("  numerical", slopes, f"largest difference {abs(dlogits[shown] - slopes).max():.0e}")
    print("one step against the gradient, learning rate 1; nothing is rounded before it is printed")
    show("logits - dlogits", (logits - dlogits)[shown])
    show("p after", exps[0, shown] / total[0])
    print(f"{'loss after':<22}{after:>10.2f}   {after:.6f} nats")
