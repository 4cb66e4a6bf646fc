"""Known mistakes of the update: in words, with where to look, and what each of them gives."""

import math
from collections.abc import Iterator

import numpy as np

from trainer.config import Train
from trainer.core import model
from trainer.core.model import NAMES
from trainer.core.ops import Array
from trainer.referee.instead import Mistake, mistake, ratio, times
from trainer.referee.rule import BETA1, BETA2, EPS, Move, direction, learning_rate, moved


def function(move: Move) -> str:
    """The function that moves the parameters."""
    if move.train.optimizer == "adamw":
        return "adam"
    return "momentum" if move.train.momentum else "sgd"


# What the rule remembers.


def of_memory(move: Move, tensor: str, right: Array, bound: Array, u: float) -> str:
    """What is wrong with the velocity, m or v, and where to look."""
    words = mistake(move.after[tensor], u, known_memory(move, tensor)) or by_tensor(
        move, move.after[tensor], right, bound, "is"
    )
    return f"its {tensor} is wrong: look at {function(move)} in optim.py: {words}"


def known_memory(move: Move, tensor: str) -> Iterator[Mistake]:
    g, old = move.g, move.before[tensor]
    g, factor = (g * g, BETA2) if tensor == "v" else (g, BETA1 if tensor == "m" else move.train.momentum)
    yield "it was not touched", lambda: old
    yield "what it held before was cleared", lambda: g
    yield "the gradient was not added", lambda: factor * old
    yield "what it held before has the wrong sign", lambda: g - factor * old
    yield "the gradient was taken off where it should be added", lambda: factor * old - g
    yield "both have the wrong sign", lambda: -factor * old - g
    yield "what it held before does not fade", lambda: old + g
    yield "what it held before is divided by its factor", lambda: old / factor + g
    yield "what it held before fades by 1 - factor", lambda: (1 - factor) * old + g
    yield "the gradient is averaged in, times 1 - factor", lambda: factor * old + (1 - factor) * g
    yield "the gradient was added twice", lambda: factor * old + 2 * g
    yield "the gradient is inside the bracket", lambda: factor * (old + g)
    yield "the sign of the gradient was added", lambda: factor * old + np.sign(move.g)
    yield (
        "weight decay was added to the gradient",
        lambda: (
            factor * old + (move.g + move.train.weight_decay * move.decayed * move.p) ** (2 if tensor == "v" else 1)
        ),
    )
    if tensor == "v":
        yield "the gradient was not squared", lambda: BETA2 * old + move.g
        yield "|g| stands where g² belongs", lambda: BETA2 * old + np.abs(move.g)
        yield "beta1 stands where beta2 belongs", lambda: BETA1 * old + g
        yield "the largest was kept", lambda: np.maximum(BETA2 * old, g)
        yield "m was squared, not g", lambda: BETA2 * old + move.after["m"] ** 2
        yield "m was squared, not g", lambda: BETA2 * old + ((1 - BETA1) * move.after["m"]) ** 2
    if tensor == "m":
        yield "beta2 stands where beta1 belongs", lambda: BETA2 * old + g
        yield "the gradient was squared", lambda: BETA1 * old + g * g


# The parameters.


def of_parameters(move: Move, after: Array, bound: Array, u: float) -> str:
    """What is wrong with the move, and where to look."""
    train, along = move.train, direction(move)
    rate = learning_rate(train, move.step)
    if np.array_equal(after, move.p):
        return f"look at optim.py: {function(move)} was never applied, no parameter moved"
    for words, place, made in known_moves(move, after):
        if same_move(move, after, made, bound, u):
            return f"look at {place} in optim.py: {words}"
    for words, other in known_rates(train, move.step):
        if same_move(move, after, moved(move, along, other, train.weight_decay), bound, u):
            return f"look at learning_rate in optim.py: {words}"
    still = moved(move, 0 * along, rate, train.weight_decay)
    factor = ratio(after - still, -rate * along, bound)
    if factor is not None:
        return f"look at {function(move)} in optim.py: {move_times(factor)}"
    return f"look at {function(move)} in optim.py: {elsewhere(move, after, still, rate * along, bound)}"


def same_move(move: Move, after: Array, made: Array, bound: Array, u: float) -> bool:
    """Whether a mistake gives the parameters that were found, but for its own rounding."""
    own = 4 * u * np.abs(made) + 16 * u * np.abs(made - move.p)
    return bool((np.abs(after - made) <= 2 * bound + own).all())


def known_moves(move: Move, after: Array) -> Iterator[tuple[str, str, Array]]:
    """Mistakes in words, the function they are in, and the parameters they give."""
    train, along, g = move.train, direction(move), move.g
    rate, decay, rule = learning_rate(train, move.step), train.weight_decay, function(move)

    def to(other: Array) -> Array:
        return moved(move, other, rate, decay)

    yield "the move went with the gradient, uphill", rule, to(-along)
    yield "the sign of the gradient was taken, not the gradient", rule, to(np.sign(g))
    length = np.abs(after - to(0 * along)) / rate
    most = float(np.median(length[length > 0.99 * length.max()]))
    yield f"it was cut off at {most:.3g}", rule, to(np.clip(along, -most, most))
    yield "the gradient was divided by its norm", rule, to(g / (np.linalg.norm(g) or 1))
    if train.optimizer == "sgd" and train.momentum:
        yield "the velocity of the step before was taken", rule, to(move.before["velocity"])
        yield "the velocity is not used: the gradient was taken", rule, to(g)
        yield "momentum was applied once more (Nesterov)", rule, to(g + train.momentum * along)
        yield "the velocity was averaged, times 1 - momentum", rule, to((1 - train.momentum) * along)
        yield "the gradient was added to the velocity once more", rule, to(along + g)
    if train.optimizer == "adamw":
        for words, other in known_adam(move):
            yield words, rule, to(other)
    if decay:
        yield "weight decay is missing", "update", moved(move, along, rate, 0)
        yield "weight decay has the wrong sign", "update", moved(move, along, rate, -decay)
        again = move.p * (1 - rate * decay * move.decayed) ** 2
        yield "weight decay was applied twice", "update", again - rate * along
        yield "weight decay reaches the biases too", "update", move.p - rate * (along + decay * move.p)
        yield "weight decay leaves out the rate", "update", moved(move, along, rate, decay / rate)
        yield (
            "weight decay takes the rate squared",
            "update",
            moved(move, along, rate, decay * rate),
        )
        yield (
            "weight decay takes the rate at the start, not this step's",
            "update",
            moved(move, along, rate, decay * train.learning_rate / rate),
        )
        yield (
            "weight decay reaches the biases and not the matrices",
            "update",
            move.p - rate * (along + decay * (1 - move.decayed) * move.p),
        )


def known_adam(move: Move) -> Iterator[tuple[str, Array]]:
    """Mistakes of AdamW's direction."""
    t, g = move.step + 1, move.g
    m, v = (1 - BETA1) * move.after["m"], (1 - BETA2) * move.after["v"]
    mean, square = m / (1 - BETA1**t), v / (1 - BETA2**t)
    early1, early2 = (1 - BETA1 ** max(1, t - 1)), (1 - BETA2 ** max(1, t - 1))
    late1, late2 = (1 - BETA1 ** (t + 1)), (1 - BETA2 ** (t + 1))
    yield "there is no bias correction", m / (np.sqrt(v) + EPS)
    yield "the mean has no bias correction", m / (np.sqrt(square) + EPS)
    yield "the mean square has no bias correction", mean / (np.sqrt(v) + EPS)
    yield "the gradient stands where its mean belongs", g / (np.sqrt(square) + EPS)
    yield "the root is missing", mean / (square + EPS)
    yield "the root was taken twice", mean / (np.sqrt(np.sqrt(square)) + EPS)
    yield "eps is inside the root", mean / np.sqrt(square + EPS)
    yield "there is no division by the root", mean
    yield "the move was multiplied by the root", mean * (np.sqrt(square) + EPS)
    yield "the bias corrections are a step behind", m / early1 / (np.sqrt(v / early2) + EPS)
    yield "the bias corrections are a step ahead", m / late1 / (np.sqrt(v / late2) + EPS)
    yield "the bias corrections multiply", m * (1 - BETA1**t) / (np.sqrt(v * (1 - BETA2**t)) + EPS)
    yield "the factors 1 - beta are missing", move.after["m"] / (np.sqrt(move.after["v"]) + EPS)
    yield (
        "the mean of the step before was taken",
        ((1 - BETA1) * move.before["m"] / (1 - BETA1**t) / (np.sqrt(square) + EPS)),
    )
    yield (
        "the mean square of the step before was taken",
        (mean / (np.sqrt((1 - BETA2) * move.before["v"] / (1 - BETA2**t)) + EPS)),
    )
    yield "the betas are exchanged in the bias corrections", m / (1 - BETA2**t) / (np.sqrt(v / (1 - BETA1**t)) + EPS)
    yield "eps is missing", np.divide(mean, np.sqrt(square), out=np.zeros_like(mean), where=square > 0)


def known_rates(train: Train, step: int) -> Iterator[tuple[str, float]]:
    """Learning rates that another schedule, or another step, gives."""
    lr, last = train.learning_rate, train.steps - 1
    if step < last:
        yield "the rate is that of the step after", learning_rate(train, step + 1)
    if step > 0:
        yield "the rate is that of the step before", learning_rate(train, step - 1)
    if train.warmup_steps:
        yield "the warm-up begins at zero", lr * step / train.warmup_steps
        yield "there is no warm-up", lr
    if train.schedule == "cosine" and step >= train.warmup_steps:
        share = (step - train.warmup_steps) / (train.steps - train.warmup_steps)
        yield "the cosine rises", lr * (1 - math.cos(math.pi * share)) / 2
        yield "the cosine is not squared", lr * math.cos(math.pi / 2 * share)
        yield "the cosine falls to -1", lr * math.cos(math.pi * share)
        yield "the schedule leaves out the warm-up", lr * (1 + math.cos(math.pi * step / train.steps)) / 2
        yield "the rate falls along a straight line", lr * (1 - share)
        yield "the cosine falls a second time", lr * (1 + math.cos(2 * math.pi * share)) / 2
    yield "the rate is that of the start: the schedule is not applied", lr
    if train.schedule == "step":
        for factor in (0.1, 0.01, 10, 100, 0.5, 2):
            yield "the schedule drops at another time or by another factor", factor * learning_rate(train, step)


def move_times(factor: float) -> str:
    """A constant factor of the whole move in words."""
    if abs(factor) < 1e-6:
        return "the gradient has no part in the move"
    if factor < 0 and abs(factor + 1) > 1e-3:
        return f"the move went uphill, and is {-factor:.4g} times too long"
    return f"the move is {times(factor)}"


def elsewhere(move: Move, after: Array, still: Array, step: Array, bound: Array) -> str:
    """Which parameters moved wrongly and how; or that the move has nothing to do with this step's gradient."""
    went = after - still
    square = float(np.linalg.norm(went) * np.linalg.norm(step))
    alike = float(-went @ step) / square if square else 0.0
    words = by_tensor(move, went, -step, bound, "moved")
    if abs(alike) < 0.9 and words.count(",") >= len(NAMES) - 1:
        return f"the move is not along this step's gradient (cosine {alike:.2f}): another step's, or another formula"
    return words


def by_tensor(move: Move, found: Array, right: Array, bound: Array, verb: str) -> str:
    """Which parameters are wrong, and by which factor where there is one."""
    parts = []
    views = [model.zeros(move.sizes, np.float64) for _ in range(3)]
    for view, flat in zip(views, (found, right, bound), strict=True):
        view.flat[...] = flat
    for name in NAMES:
        mine, wanted, limit = (getattr(view, name) for view in views)
        outside = ~(np.abs(mine - wanted) <= limit)
        if not outside.any():
            continue
        factor = ratio(mine, wanted, limit)
        if factor is None:
            parts.append(f"{name} {verb} wrongly in {int(outside.sum())} of {outside.size} entries")
        elif abs(factor) < 1e-6:
            parts.append(f"{name} {verb} not moved at all" if verb == "is" else f"{name} did not move")
        else:
            parts.append(f"{name} {verb} {times(factor)}")
    return ", ".join(parts)
