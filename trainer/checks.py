"""How we know it is right: gradients against numerical ones, and what someone who knows backprop by heart would check.

A check gives a row: its name, whether it passed, its numbers.
"""

import math
from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np

from trainer import model
from trainer.config import Check, Config
from trainer.model import NAMES, Parameters, Sizes
from trainer.numerical import ORDER, Point, loss_at, numerical
from trainer.ops import Array

Row = dict[str, Any]
ROUNDING = float(np.finfo(np.float64).eps)

# Each link of the chain: what must be right before it, its operation, its local derivative.
LINKS = {
    "logits": (
        (),
        "softmax_cross_entropy_backward (forward: softmax, cross_entropy), or model.forward or gradients before it",
        "dlogits = (p - y) / B",
    ),
    "h": (("logits",), "affine_backward_input (forward: affine)", "dh = dlogits · W2ᵀ"),
    "z": (("logits", "h"), "tanh_backward (forward: tanh)", "dz = dh · (1 - h²)"),
    "emb": (("h", "z"), "affine_backward_input (forward: affine)", "demb = dz · W1ᵀ"),
    "W2": (("logits",), "affine_backward_weight (forward: affine)", "dW2 = hᵀ · dlogits"),
    "b2": (("logits",), "affine_backward_bias (forward: affine)", "db2 = sum of dlogits over the batch"),
    "W1": (
        ("z",),
        "affine_backward_weight, or embedded_affine_backward where V is small (forward: affine, embedding)",
        "dW1 = embᵀ · dz",
    ),
    "b1": (("z",), "affine_backward_bias (forward: affine)", "db1 = sum of dz over the batch"),
    "C": (
        ("z", "emb"),
        "embedding_backward, or embedded_affine_backward where V is small (forward: embedding)",
        "dC[v] = sum of demb where v stands",
    ),
}
WITH_DROPOUT = {
    "z": " or dropout_backward (forward: dropout), dz = dh · mask · (1 - tanh²)",
    "C": " or dropout_backward (forward: dropout), demb · mask before the sum",
}
MESSAGES = {  # of the failures that name no tensor
    "update": "every gradient is right, but the update went uphill: look at {optimizer} in optim.py;"
    " predicted {predicted:+.3e}, loss {loss_before:.6f} -> {loss_after:.6f}",
    "sum_to_zero": "p - y does not sum to zero: look at softmax and softmax_cross_entropy_backward,"
    " dlogits = (p - y) / B; largest sum {value:.3e}, at most {atol:.3e} by rounding",
    "direction": "the gradient is wrong in an entry that was not drawn: run with check.coordinates=all;"
    " along a random direction by hand {by_hand:.6e}, numerical {numerical:.6e}",
    "descent": "a small step against the gradient does not lower the loss as predicted: look at the gradients of the"
    " parameters; predicted {predicted:.3e}, actual {actual:.3e}",
}


class Tolerances(NamedTuple):
    """For each tensor the step of the difference quotient, and what may separate the two gradients."""

    eps: dict[str, float]
    rtol: dict[str, float]
    atol: dict[str, float]
    loss: float  # what rounding does to the loss in float64


def tolerances(at: Point, check: Check, dtype: str) -> Tolerances:
    """Bounds on rounding and truncation, from the sizes of the numbers at hand.

    s: how far the logits move when an entry moves by 1 (by Cauchy-Schwarz, with tanh' <= 1).
    t: the same, or how far z moves, if that is more; the quotient is taken over eps = eps0 / t.
    A: the sum of the magnitudes that go into a logit, through both layers; a rounding unit u makes an
    error of u A in the logits, hence in the logarithm of p, and of at most u A / B in an example's dlogits.

    By hand, the error is u_dtype A s / B for each example. The central difference rounds by
    u_float64 A / eps and truncates by (eps t)^2 t; their sum is least near eps0 = u^(1/3). A complex step does
    neither. Errors of the examples that an entry touches are independent: they add up as their root.
    The factor 8 is for the length of the chain.
    """
    B, K = at.batch.contexts.shape
    p, u = at.p, float(np.finfo(dtype).eps)
    kept_emb, kept_h = (1.0 if mask is None else max(1.0, float(mask.max())) for mask in at.batch[2:])
    h, emb = float(abs(at.h).max()), float(abs(at.emb).max())
    out_of_unit, into_logit = np.linalg.norm(p.W2, axis=1).max(), np.linalg.norm(p.W2, axis=0).max()
    out_of_emb = np.linalg.norm(p.W1, axis=1).max()
    z_sum = float((abs(at.emb) @ abs(p.W1) + abs(p.b1)).max())
    A = 1 + float((abs(at.h) @ abs(p.W2) + abs(p.b2)).max()) + z_sum * max(1.0, kept_h * into_logit)

    s = {"logits": 1.0, "h": out_of_unit, "z": out_of_unit * kept_h, "W2": h, "b2": 1.0}
    s |= {"emb": out_of_emb * kept_h * into_logit, "W1": emb * s["z"], "b1": s["z"]}
    s["C"] = s["emb"] * kept_emb * K
    t = {name: max(1.0, s[name]) for name in ORDER}
    t |= {"emb": max(t["emb"], out_of_emb), "W1": max(t["W1"], emb), "C": max(t["C"], out_of_emb * kept_emb * K)}
    touched = {name: B if name in NAMES else 1 for name in ORDER}

    complex_step = check.method == "complex-step"
    eps, rtol, atol = {}, {}, {}
    for name in ORDER:
        auto = 1e-20 if complex_step else ROUNDING ** (1 / 3) / t[name]
        eps[name] = e = auto if check.eps == "auto" else float(check.eps)
        quotient = ROUNDING * A * s[name] if complex_step else ROUNDING * A / e + (e * t[name]) ** 2 * t[name]
        rtol[name] = 8 * (u * A + (0 if complex_step else (e * t[name]) ** 2))
        atol[name] = 8 * (u * A * s[name] + quotient) * math.sqrt(touched[name]) / B
    if check.rtol != "auto":
        rtol = dict.fromkeys(ORDER, float(check.rtol))
    if check.atol != "auto":
        atol = dict.fromkeys(ORDER, float(check.atol))
    return Tolerances(eps, rtol, atol, 8 * ROUNDING * A)


def compare(name: str, by_hand: Array, index: Array, values: Array, at: Point, tol: Tolerances, check: Check) -> Row:
    """The `gradient` row of one tensor, entry by entry against its numerical values."""
    index = index[-by_hand.ndim :]  # a bias has no rows
    hand = by_hand[tuple(index)].astype(np.float64)  # (n,)
    error = abs(hand - values)
    bound = tol.atol[name] + tol.rtol[name] * np.maximum(abs(hand), abs(values))
    bound = np.maximum(bound, np.finfo(np.float64).tiny)  # zero where a dropped layer leaves nothing to round
    excess = np.where(np.isfinite(hand), error / bound, np.inf)  # (n,); above 1 is wrong
    worst = int(excess.argmax())
    where, pair = [int(i) for i in index[:, worst]], (float(hand[worst]), float(values[worst]))
    passed = bool(excess[worst] <= 1)
    if name == "C" and passed:  # characters that are not in the batch: exactly zero
        absent = np.setdiff1d(np.arange(at.sizes.V), at.batch.contexts)
        wrong = np.argwhere(by_hand[absent] != 0)
        if len(wrong):
            passed, where = False, [int(absent[wrong[0, 0]]), int(wrong[0, 1])]
            pair = float(by_hand[tuple(where)]), 0.0
    largest = float(abs(values).max())
    return {
        "name": "gradient", "passed": passed, "tensor": name, "method": check.method, "coordinates": len(values),
        "max_abs_error": float(error.max()), "max_rel_error": float(error.max()) / (largest or 1),
        "rtol": tol.rtol[name], "atol": tol.atol[name], "worst": where, "by_hand": pair[0], "numerical": pair[1],
    }  # fmt: skip


def flat(sizes: Sizes, by_hand: Mapping[str, Array | float]) -> Array:
    """The parameters' gradients as one vector, in float64."""
    g = model.zeros(sizes, np.float64)
    for name in NAMES:
        getattr(g, name)[...] = by_hand[name]
    return g.flat


def direction(at: Point, g: Array, tol: Tolerances, check: Check, rng: np.random.Generator) -> Row:
    """The slope along one random unit vector through all parameters: none stays out of reach."""
    v = rng.standard_normal(len(g))
    v /= np.linalg.norm(v)
    eps = min(tol.eps.values())
    if check.method == "complex-step":
        value = float(loss_at(at, at.p.flat + 1j * eps * v).imag / eps)
    else:
        value = float((loss_at(at, at.p.flat + eps * v) - loss_at(at, at.p.flat - eps * v)) / (2 * eps))
    hand = float(g @ v)
    atol, rtol = max(tol.atol.values()), max(tol.rtol.values())
    passed = bool(abs(hand - value) <= atol + rtol * max(abs(hand), abs(value)))
    return {"name": "direction", "passed": passed, "by_hand": hand, "numerical": value, "rtol": rtol, "atol": atol}


def descent(at: Point, g: Array, tol: Tolerances) -> Row:
    """A step against the gradient, small enough that first order holds, lowers the loss as predicted.

    To 5 %, and to what rounding does to the loss and an error within the tolerances does to the slope. Where the
    model is so certain of its batch that such errors are all there is to the slope, there is nothing to predict.
    """
    slope, loss, tried = float(g @ g), float(loss_at(at, at.p.flat)), []
    doubt = float(abs(g) @ flat(at.sizes, tol.atol)) / (slope or 1) + max(tol.rtol.values())
    if slope == 0 or doubt > 1:
        return {"name": "descent", "passed": True, "predicted": 0.0, "actual": 0.0, "ratio": 1.0}
    # Curvature spoils the ratio in proportion to the step, rounding in proportion to its inverse.
    for decrease in 10.0 ** np.arange(-2, -10, -1) * max(loss, 100 * tol.loss):
        actual = float(loss - loss_at(at, at.p.flat - decrease / slope * g))
        passed = bool(abs(actual - decrease) <= (0.05 + doubt) * decrease + tol.loss)
        row = {"passed": passed, "predicted": float(decrease), "actual": actual, "ratio": actual / float(decrease)}
        tried.append({"name": "descent", **row})
        if passed:
            break
    return min(tried, key=lambda row: (not row["passed"], math.isnan(row["ratio"]), abs(row["ratio"] - 1)))


def update(config: Config, at: Point, by_hand: dict[str, Array], after: Parameters) -> Row:
    """The real update beside its first-order prediction, on the batch it was made from."""
    g = flat(at.sizes, by_hand)
    move = after.flat - at.p.flat
    predicted, before, later = float(g @ move), float(loss_at(at, at.p.flat)), float(loss_at(at, at.p.flat + move))
    t = config.train
    plain = t.optimizer == "sgd" and not t.momentum and not t.weight_decay
    wrong = plain and (predicted > 0 or (predicted == 0 and later > before))
    return {"name": "update", "passed": not wrong, "predicted": predicted, "loss_before": before, "loss_after": later}


def sum_to_zero(dlogits: list[Array], B: int) -> Row:
    """Each row of p - y sums to zero: probabilities sum to one, and so does y."""
    V, u = dlogits[0].shape[1], float(np.finfo(dlogits[0].dtype).eps)
    value = max(float(abs(part.sum(axis=1)).max()) for part in dlogits)
    atol = 2 * u * (V + 4) / B  # each p is rounded, and so is each of V additions, twice
    return {"name": "sum_to_zero", "passed": value <= atol, "value": value, "atol": atol}


def initial_loss(value: float, V: int, atol: float) -> Row:
    """Before training nothing is known: the loss is that of V equally likely characters, log V."""
    return {
        "name": "initial_loss",
        "passed": abs(value - math.log(V)) <= atol,
        "value": value,
        "expected": math.log(V),
        "atol": atol,
    }


def gradient_rows(
    at: Point, by_hand: dict[str, Array], check: Check, dtype: str, rng: np.random.Generator, pool: Executor
) -> list[Row]:
    """The rows of one checked step: `gradient` for each tensor, `direction` with sampled coordinates, `descent`."""
    tol = tolerances(at, check, dtype)
    found = numerical(at, check.coordinates, check.method, tol.eps, rng, pool)
    rows = [compare(name, by_hand[name], *found[name], at, tol, check) for name in ORDER]
    g = flat(at.sizes, by_hand)
    if check.coordinates != "all":
        rows.append(direction(at, g, tol, check, rng))
    return [*rows, descent(at, g, tol)]


def severity(row: Row) -> tuple[float, str]:
    """How bad a row is, for the summary's worst one, and where in the step."""
    match row["name"]:
        case "gradient":
            return row["max_rel_error"], f", {row['tensor']}"
        case "direction":
            hand, found = row["by_hand"], row["numerical"]
            return abs(hand - found) / (max(abs(hand), abs(found)) or 1), ""
        case "descent":
            return abs(row["ratio"] - 1), ""
        case "update":
            return row["loss_after"] - row["loss_before"], ""
        case "initial_loss":
            return abs(row["value"] - row["expected"]), ""
    return row["value"], ""  # sum_to_zero


def warning(rows: list[Row], config: Config) -> str | None:
    """What is no failure but worth a word, with its likely cause."""
    for row in rows:
        if row["name"] == "initial_loss" and not row["passed"]:
            return "the first loss is not close to log V: the output weights are too large at the start"
        if row["name"] == "update" and row["passed"] and row["loss_after"] > row["loss_before"]:
            against = row["predicted"] < 0
            cause = "the learning rate is too high" if against else f"{config.train.optimizer} moved with the gradient"
            return f"the update went uphill, {row['loss_before']:.4f} -> {row['loss_after']:.4f}: {cause}"
    return None


def blame(rows: list[Row], config: Config) -> str | None:
    """Which link is broken, for people; None if every row passed."""
    failed = [row for row in rows if not row["passed"] and row["name"] != "initial_loss"]
    if not failed:
        return None
    row = failed[0]
    if {other["tensor"] for other in failed if other["name"] == "gradient"} == set(NAMES):
        return (
            "every inner gradient is right and every parameter's is wrong: look at gradients, which adds up the parts"
        )
    if row["name"] == "gradient":
        before, operation, formula = LINKS[row["tensor"]]
        right = "".join(f"d{name} is right, " for name in before)
        t = config.train
        rate = {"z": t.dropout, "C": t.embedding_dropout or t.context_dropout}.get(row["tensor"], 0)
        also = WITH_DROPOUT[row["tensor"]] if rate else ""
        return (
            f"{right}d{row['tensor']} is wrong: look at {operation}, {formula}{also}; worst at {row['worst']}:"
            f" by hand {row['by_hand']:.4e}, numerical {row['numerical']:.4e}"
        )
    return MESSAGES[row["name"]].format(optimizer=config.train.optimizer, **row)
