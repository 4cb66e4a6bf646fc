"""How we know it is right: numerical gradients, and the checks of someone who knows backprop by heart.

The numerical side calls forward operations only, in float64 or complex128, and holds no
derivative. It re-evaluates what an entry can change and nothing else: rows of a batch do not
touch each other, an entry of W1 changes one hidden unit, an entry of W2 one logit.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np

from trainer import model, ops
from trainer.config import Check, Config
from trainer.model import NAMES, Batch, Parameters, Sizes
from trainer.ops import Array

Row = dict[str, Any]
ORDER = ("logits", "h", "z", "emb", "W2", "b2", "W1", "b1", "C")  # of the backward pass
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
        "affine_backward_weight, or embedded_affine_backward where V < 2 D (forward: affine, embedding)",
        "dW1 = embᵀ · dz",
    ),
    "b1": (("z",), "affine_backward_bias (forward: affine)", "db1 = sum of dz over the batch"),
    "C": (
        ("z", "emb"),
        "embedding_backward, or embedded_affine_backward where V < 2 D (forward: embedding)",
        "dC[v] = sum of demb where v stands",
    ),
}
WITH_DROPOUT = {
    "z": " or dropout_backward (forward: dropout), dz = dh · mask · (1 - tanh²)",
    "C": " or dropout_backward (forward: dropout), demb · mask before the sum",
}


class Point(NamedTuple):
    """Where a step stands, in float64 whatever the training type: parameters, batch, activations."""

    p: Parameters
    batch: Batch
    sizes: Sizes
    emb: Array  # (B, K*D)
    z: Array  # (B, H)
    h: Array  # (B, H)
    logits: Array  # (B, V)

    def activate(self, z: Array, part: tuple[Any, ...]) -> Array:
        """h from z, with this part of the dropout mask (B, H)."""
        mask = self.batch.h_mask
        return model.activate(z, None if mask is None else mask[part])[1]


def point(p: Parameters, batch: Batch, sizes: Sizes) -> Point:
    """The forward pass of a step in float64, with the same batch and the same dropout masks."""
    p64 = model.zeros(sizes, np.float64)
    p64.flat[...] = p.flat
    masks = (None if mask is None else mask.astype(np.float64) for mask in batch[2:])
    batch = Batch(batch.contexts, batch.targets, *masks)
    emb = model.embed(p64.C, batch.contexts, batch.emb_mask)
    z = ops.affine(emb, p64.W1, p64.b1)
    h = model.activate(z, batch.h_mask)[1]
    return Point(p64, batch, sizes, emb, z, h, ops.affine(h, p64.W2, p64.b2))


# The loss of perturbed copies. `step` (n,) is added to one entry in each of n copies, whose places
# stand in `index` (2, n); losses come back one for each copy (n,), or for each example and
# copy (B, n) where an entry touches many examples.


def row_losses(logits: Array, targets: Array) -> Array:
    """The losses of single examples: (n, V), (n,) -> (n,)."""
    shifted, _, total = ops.softmax(logits)
    return ops.cross_entropy(shifted, total, targets)


def output(h: Array, W2: Array, b2: Array) -> Array:
    """The output layer, as (V, n) in memory, for softmax reduces faster so: (n, H) -> (n, V)."""
    logits = np.empty((W2.shape[1], len(h)), np.result_type(h, W2, b2)).T  # (n, V)
    h, W2 = h.astype(logits.dtype, copy=False), W2.astype(logits.dtype, copy=False)
    return ops.affine(h, W2, b2, logits)


def from_h(at: Point, h: Array, b: Array) -> Array:
    """The rest of the way from the hidden units (n, H) of the examples b (n,) -> (n,)."""
    return row_losses(output(h, at.p.W2, at.p.b2), at.batch.targets[b])


def from_emb(at: Point, emb: Array, b: Array) -> Array:
    """The rest of the way from the embeddings (n, K*D) of the examples b (n,) -> (n,)."""
    return from_h(at, at.activate(ops.affine(emb, at.p.W1, at.p.b1), (b,)), b)


def copies(of: Array, index: Array, step: Array) -> Array:
    """Rows of an activation (B, I), each with a step at one entry: (n, I)."""
    rows: Array = of[index[0]].astype(step.dtype)  # (n, I)
    rows[np.arange(len(step)), index[1]] += step
    return rows


def perturb_logits(at: Point, index: Array, step: Array) -> Array:
    return row_losses(copies(at.logits, index, step), at.batch.targets[index[0]])


def perturb_h(at: Point, index: Array, step: Array) -> Array:
    return from_h(at, copies(at.h, index, step), index[0])


def perturb_z(at: Point, index: Array, step: Array) -> Array:
    b, j = index
    h = at.h[b].astype(step.dtype)  # (n, H)
    h[np.arange(len(b)), j] = at.activate(at.z[b, j] + step, (b, j))
    return from_h(at, h, b)


def perturb_emb(at: Point, index: Array, step: Array) -> Array:
    return from_emb(at, copies(at.emb, index, step), index[0])


def perturb_C(at: Point, index: Array, step: Array) -> Array:
    v, d = index
    present, contexts = np.unique(at.batch.contexts, return_inverse=True)
    C = np.repeat(at.p.C[None, present].astype(step.dtype), len(v), axis=0)  # (n, present, D)
    C[np.arange(len(v)), np.searchsorted(present, v), d] += step
    emb = model.embed(C, contexts.reshape(at.batch.contexts.shape), at.batch.emb_mask)  # (n, B, K*D)
    k, b = np.nonzero((at.batch.contexts == v[:, None, None]).any(axis=-1))  # the examples that read the character
    losses = np.zeros((len(at.emb), len(v)), step.dtype)  # (B, n); the others do not move
    losses[b, k] = from_emb(at, emb[k, b], b)
    return losses


def perturb_hidden_layer(at: Point, index: Array, step: Array) -> Array:
    """Entries (i, j) of W1 or, where i = K*D, of b1, all of one unit j."""
    i, j, n = index[0], index[1, 0], index.shape[1]
    column = np.append(at.p.W1[:, j], at.p.b1[j]).astype(step.dtype)  # (K*D + 1,)
    columns = np.repeat(column[:, None], n, axis=1)  # (K*D + 1, n)
    columns[i, np.arange(n)] += step
    h = at.activate(ops.affine(at.emb, columns[:-1], columns[-1]), (slice(None), j, None))  # (B, n)
    others = at.h.copy()
    others[:, j] = 0
    still = output(others, at.p.W2, at.p.b2)  # (B, V): the logits without unit j
    logits = output(h.reshape(-1, 1), at.p.W2[j, None], np.repeat(still.T, n, axis=1).T)  # (B*n, V)
    return row_losses(logits, np.repeat(at.batch.targets, n)).reshape(-1, n)


def perturb_output_layer(at: Point, index: Array, step: Array) -> Array:
    """Entries (j, v) of W2 or, where j = H, of b2, all of one logit v.

    To logit v all other characters are one class, whose logit is their log-sum-exp. It stands
    still, and so does each one's share of that class, which is a constant of the loss.
    """
    j, v, n, targets = index[0], index[1, 0], index.shape[1], at.batch.targets
    column = np.append(at.p.W2[:, v], at.p.b2[v]).astype(step.dtype)  # (H + 1,)
    columns = np.repeat(column[:, None], n, axis=1)  # (H + 1, n)
    columns[j, np.arange(n)] += step
    others = np.delete(at.logits, v, axis=1)  # (B, V - 1)
    two = np.empty((2, len(targets), n), step.dtype)
    two[0] = (row_losses(others, np.zeros_like(targets)) + others[:, 0])[:, None]  # log-sum-exp
    two[1] = ops.affine(at.h, columns[:-1], columns[-1])
    return row_losses(two.reshape(2, -1).T, np.repeat((targets == v).astype(np.intp), n)).reshape(-1, n)


# Which tensors are perturbed together: by which function, and whether a call takes one unit at a time.
Perturb = Callable[[Point, Array, Array], Array]
GROUPS: list[tuple[tuple[str, ...], Perturb, bool]] = [
    (("logits",), perturb_logits, False),
    (("h",), perturb_h, False),
    (("z",), perturb_z, False),
    (("emb",), perturb_emb, False),
    (("W2", "b2"), perturb_output_layer, True),
    (("W1", "b1"), perturb_hidden_layer, True),
    (("C",), perturb_C, False),
]


def coordinates(at: Point, name: str, wanted: int | str, rng: np.random.Generator) -> Array:
    """Places (2, n) to check in a tensor: all, or so many random ones. A bias is one more row of its matrix."""
    V, K, D, H = at.sizes
    B, present = len(at.emb), np.unique(at.batch.contexts)
    rows, columns, first = {
        "logits": (B, V, 0), "h": (B, H, 0), "z": (B, H, 0), "emb": (B, K * D, 0), "W2": (H, V, 0), "b2": (1, V, H),
        "W1": (K * D, H, 0), "b1": (1, H, K * D), "C": (len(present), D, 0),
    }[name]  # fmt: skip
    size = rows * columns
    places = np.arange(size) if wanted == "all" or int(wanted) >= size else rng.choice(size, int(wanted), replace=False)
    index = np.stack(np.divmod(places, columns))  # (2, n)
    index[0] = present[index[0]] if name == "C" else index[0] + first
    return index


def blocks(index: Array, one_unit: bool, width: int) -> Iterator[Array]:
    """The columns of index in runs of at most `width`, each of one unit where that is asked for."""
    order = np.argsort(index[1], kind="stable") if one_unit else np.arange(index.shape[1])
    units = np.split(order, np.flatnonzero(np.diff(index[1, order])) + 1) if one_unit else [order]
    for unit in units:
        for first in range(0, len(unit), width):
            yield unit[first : first + width]


def numerical(
    at: Point, wanted: int | str, method: str, steps: dict[str, float], rng: np.random.Generator, pool: Executor
) -> dict[str, tuple[Array, Array]]:
    """The numerical gradient of each tensor: its places (2, n) and the values there (n,).

    central: (L(x + eps) - L(x - eps)) / 2 eps. complex-step: Im L(x + i eps) / eps, which
    subtracts nothing and so loses nothing (Squire and Trapp 1998, doi:10.1137/S003614459631241X).
    """
    V, K, D, H = at.sizes
    B = len(at.emb)
    result = {}
    for names, perturb, one_unit in GROUPS:
        places = [coordinates(at, name, wanted, rng) for name in names]
        index = np.concatenate(places, axis=1)
        eps = np.concatenate([np.full(place.shape[1], steps[name]) for name, place in zip(names, places, strict=True)])
        room = {"C": B * K * D}.get(names[0], B * V if one_unit else V + H) + (H + K * D if one_unit else 0)

        def quotient(block: Array, perturb: Perturb = perturb, index: Array = index, eps: Array = eps) -> Array:
            e = eps[block]
            if method == "complex-step":
                slopes = perturb(at, index[:, block], 1j * e).imag / e
            else:
                slopes = (perturb(at, index[:, block], e) - perturb(at, index[:, block], -e)) / (2 * e)
            return np.asarray(slopes.reshape(-1, len(block)).sum(axis=0) / B)

        values = np.empty(index.shape[1])
        cut = list(blocks(index, one_unit, max(1, (1 << 17) // room)))
        for block, value in zip(cut, pool.map(quotient, cut), strict=True):
            values[block] = value
        for name, place in zip(names, places, strict=True):
            result[name], values = (place, values[: place.shape[1]]), values[place.shape[1] :]
    return result


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
    kept_h = 1.0 if at.batch.h_mask is None else max(1.0, float(at.batch.h_mask.max()))
    kept_emb = 1.0 if at.batch.emb_mask is None else max(1.0, float(at.batch.emb_mask.max()))
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
    if name in ("b1", "b2"):
        index = index[1:]
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


def loss_at(at: Point, vector: Array) -> Any:
    """The mean loss of the batch for a flat vector of parameters, float64 or complex."""
    p = model.zeros(at.sizes, vector.dtype)
    p.flat[...] = vector
    emb = model.embed(p.C, at.batch.contexts, at.batch.emb_mask)
    h = model.activate(ops.affine(emb, p.W1, p.b1), at.batch.h_mask)[1]
    return row_losses(output(h, p.W2, p.b2), at.batch.targets).mean()


def direction(at: Point, g: Array, tol: Tolerances, check: Check, rng: np.random.Generator) -> Row:
    """The slope along one random unit vector through all parameters: none stays out of reach."""
    v = rng.standard_normal(len(g)) * (at.p.flat != 0)
    v /= np.linalg.norm(v) or 1
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
    name = row["name"]
    if name == "gradient":
        return row["max_rel_error"], f", {row['tensor']}"
    if name == "direction":
        return abs(row["by_hand"] - row["numerical"]) / (max(abs(row["by_hand"]), abs(row["numerical"])) or 1), ""
    if name == "update":
        return row["loss_after"] - row["loss_before"], ""
    return {
        "descent": lambda: abs(row["ratio"] - 1),
        "initial_loss": lambda: abs(row["value"] - row["expected"]),
        "sum_to_zero": lambda: row["value"],
    }[name](), ""


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
        rate = {"z": config.train.dropout, "C": config.train.embedding_dropout}.get(row["tensor"], 0)
        also = WITH_DROPOUT[row["tensor"]] if rate else ""
        return (
            f"{right}d{row['tensor']} is wrong: look at {operation}, {formula}{also}; worst at {row['worst']}:"
            f" by hand {row['by_hand']:.4e}, numerical {row['numerical']:.4e}"
        )
    if row["name"] == "update":
        return (
            f"every gradient is right, but the update went uphill: look at {config.train.optimizer} in optim.py;"
            f" predicted {row['predicted']:+.3e}, loss {row['loss_before']:.6f} -> {row['loss_after']:.6f}"
        )
    if row["name"] == "sum_to_zero":
        return (
            "p - y does not sum to zero: look at softmax and softmax_cross_entropy_backward, dlogits = (p - y) / B;"
            f" largest sum {row['value']:.3e}, at most {row['atol']:.3e} by rounding"
        )
    if row["name"] == "direction":
        return (
            "the gradient is wrong in an entry that was not drawn: run with check.coordinates=all;"
            f" along a random direction by hand {row['by_hand']:.6e}, numerical {row['numerical']:.6e}"
        )
    return (
        "a small step against the gradient does not lower the loss as predicted: look at the gradients of the"
        f" parameters; predicted {row['predicted']:.3e}, actual {row['actual']:.3e}"
    )
