"""Bugs in the update, the schedule and the evaluation."""

from collections.abc import Callable
from typing import Any

import numpy as np

from planted.planting import Bug, Wrong, once, rewritten, titled
from trainer.core import optim
from trainer.runs import threads

# The update.


def rule(name: str, change: Wrong, setting: str, words: str) -> Bug:
    return Bug(optim, name, titled(lambda right: change, words), setting, f"the update is not what | {words}")


def update(change: Callable[..., None], setting: str, words: str) -> Bug:
    """The whole update in other words: the right one, train, p, g, state, step."""

    def wrong(right: Any) -> Any:
        return lambda *given: change(right, *given)

    return Bug(optim, "update", titled(wrong, words), setting, f"the update is not what | {words}")


def gone(times: float) -> Callable[..., None]:
    """A move so many times as long."""

    def change(right: Any, train: Any, p: Any, g: Any, state: Any, step: int) -> None:
        before = p.flat.copy()
        right(train, p, g, state, step)
        p.flat[...] = before + np.asarray(times * (p.flat - before), p.flat.dtype)

    return change


def uphill(*names: str) -> Callable[..., None]:
    """Some parameters that go the other way."""

    def change(right: Any, train: Any, p: Any, g: Any, state: Any, step: int) -> None:
        before = {name: getattr(p, name).copy() for name in names}
        right(train, p, g, state, step)
        for name, old in before.items():
            getattr(p, name)[...] = 2 * old - getattr(p, name)

    return change


def last_gradient(right: Any) -> Any:
    kept: dict[str, Any] = {}

    def change(train: Any, p: Any, g: Any, state: Any, step: int) -> None:
        mine = g.flat.copy()
        g.flat[...] = kept.get("g", mine)
        kept["g"] = mine
        right(train, p, g, state, step)

    return change


def odd_steps(right: Any, train: Any, p: Any, g: Any, state: Any, step: int) -> None:
    """Right at step 0 and at every second one after it."""
    gone(2.0 if step % 2 else 1.0)(right, train, p, g, state, step)


def frozen(right: Any, train: Any, p: Any, g: Any, state: Any, step: int) -> None:
    old = p.C.copy()
    right(train, p, g, state, step)
    p.C[...] = old


def adam_text(old: str, new: str, words: str) -> Bug:
    return Bug(optim, "adam", rewritten(old, new), "adamw", f"the update is not what | adam in optim.py | {words}")


def decayed(old: str, new: str, words: str) -> Bug:
    return Bug(optim, "update", rewritten(old, new), "adamw", f"the update is not what | weight decay {words}")


DECAY = "np.multiply(p.matrices, 1 - rate * train.weight_decay, out=p.matrices)"
VELOCITY = "np.multiply(velocity, keep, out=velocity)"
UPDATES = [
    update(lambda right, *given: None, "plain", "never applied"),
    update(gone(0.5), "plain", "sgd | 0.5 times"),
    update(gone(10), "plain", "sgd | 10 times"),
    update(gone(-1), "dropout", "sgd | uphill"),
    update(gone(2), "adamw", "adam | 2 times"),
    update(gone(1 / 16), "plain", "sgd | 0.0625 times"),
    update(uphill("b1", "b2"), "plain", "sgd | b1 moved turned round in sign, b2"),
    update(uphill("C"), "plain", "sgd | C moved turned round in sign"),
    update(frozen, "plain", "sgd | C did not move"),
    update(odd_steps, "every", "sgd | 2 times"),
    rule(
        "sgd",
        lambda p, g, rate: np.subtract(p, np.asarray(rate * np.sign(g), p.dtype), out=p),
        "plain",
        "sgd | sign of the gradient",
    ),
    rule("sgd", lambda p, g, rate: np.add(p, np.asarray(rate * g, p.dtype), out=p), "plain", "sgd | uphill"),
    rule(
        "sgd",
        lambda p, g, rate: np.subtract(p, np.asarray(rate * g / np.linalg.norm(g), p.dtype), out=p),
        "plain",
        "sgd | norm",
    ),
    rule(
        "sgd",
        lambda p, g, rate: np.subtract(p, np.asarray(rate * np.clip(g, -0.001, 0.001), p.dtype), out=p),
        "plain",
        "sgd | cut off at 0.001",
    ),
    rule("sgd", lambda p, g, rate: np.subtract(p, (rate * g).astype("f2").astype(p.dtype), out=p), "plain", "sgd"),
    rule(
        "sgd",
        lambda p, g, rate: np.subtract(p, np.asarray(rate * g[::-1], p.dtype), out=p),
        "plain",
        "sgd | not along this step's gradient",
    ),
    Bug(optim, "update", last_gradient, "plain", "the update is not what | sgd | gradient"),
    Bug(optim, "momentum", rewritten(VELOCITY, "velocity *= -keep"), "momentum", "velocity is wrong | wrong sign"),
    Bug(optim, "momentum", rewritten(VELOCITY, "velocity /= keep"), "momentum", "velocity is wrong | divided"),
    Bug(optim, "momentum", rewritten(VELOCITY, "velocity *= 0"), "momentum", "velocity is wrong | cleared"),
    Bug(optim, "momentum", rewritten(VELOCITY, "pass"), "momentum", "velocity is wrong | does not fade"),
    Bug(
        optim,
        "momentum",
        rewritten("np.add(velocity, g,", "np.add(velocity, (1 - keep) * g,"),
        "momentum",
        "velocity is wrong | averaged",
    ),
    Bug(
        optim,
        "momentum",
        rewritten("np.add(velocity, g,", "np.subtract(velocity, g,"),
        "momentum",
        "velocity is wrong | taken off",
    ),
    Bug(
        optim,
        "momentum",
        rewritten("np.multiply(velocity, rate,", "np.multiply(g, rate,"),
        "momentum",
        "sgd | velocity is not used",
    ),
    Bug(
        optim,
        "momentum",
        rewritten("np.multiply(velocity, rate,", "np.multiply(g + keep * velocity, rate,"),
        "momentum",
        "sgd | Nesterov",
    ),
    Bug(optim, "momentum", rewritten("np.subtract(p, g, out=p)", "np.add(p, g, out=p)"), "momentum", "sgd | uphill"),
    adam_text("(1 - beta1) / (1 - beta1 ** (step + 1))", "(1 - beta1)", "mean has no bias correction"),
    adam_text("(1 - beta2) / (1 - beta2 ** (step + 1))", "(1 - beta2)", "mean square has no bias correction"),
    adam_text("np.divide(m, divisor, out=divisor)", "np.divide(m * 0 + m.mean(), divisor, out=divisor)", ""),
    adam_text("np.multiply(m, beta1, out=m)", "m *= 0", "m is wrong | cleared"),
    adam_text("np.add(m, g, out=m)", "np.subtract(m, g, out=m)", "m is wrong | taken off"),
    adam_text("np.multiply(v, beta2, out=v)", "v *= beta1", "v is wrong | beta1 stands where beta2"),
    adam_text("np.multiply(g, g, out=g)", "np.abs(g, out=g)", "v is wrong | |g| stands"),
    adam_text("np.sqrt(v, out=g)", "np.multiply(v, 1, out=g)", ""),
    adam_text("np.add(divisor, eps / root_factor, out=divisor)", "np.add(divisor, 1e-3, out=divisor)", ""),
    adam_text("np.subtract(p, move, out=p)", "np.add(p, move, out=p)", "uphill"),
    decayed(DECAY, DECAY.replace("1 - rate", "1 + rate"), "has the wrong sign"),
    decayed(DECAY, DECAY.replace("p.matrices", "p.flat"), "reaches the biases too"),
    decayed(DECAY, DECAY.replace("rate * ", ""), "leaves out the rate"),
    decayed(DECAY, "pass", "is missing"),
    decayed(DECAY, f"{DECAY}; {DECAY}", "was applied twice"),
    Bug(
        optim,
        "update",
        rewritten("rate = learning_rate(train, step)", "rate = learning_rate(train, step + 1)"),
        "plain",
        "learning_rate in optim.py | step after",
    ),
    Bug(
        optim,
        "update",
        rewritten("rate = learning_rate(train, step)", "rate = learning_rate(train, max(0, step - 1))"),
        "plain",
        "learning_rate in optim.py | step before",
    ),
    Bug(
        optim,
        "learning_rate",
        rewritten("math.cos(math.pi / 2 * progress) ** 2", "math.sin(math.pi / 2 * progress) ** 2"),
        "plain",
        "the update is not what",
    ),
    Bug(
        optim,
        "learning_rate",
        rewritten("math.cos(math.pi / 2 * progress) ** 2", "math.cos(math.pi / 2 * progress)"),
        "plain",
        "learning_rate in optim.py | not squared",
    ),
    Bug(
        optim,
        "learning_rate",
        rewritten("math.cos(math.pi / 2 * progress) ** 2", "1.0"),
        "plain",
        "learning_rate in optim.py",
    ),
    Bug(
        optim,
        "learning_rate",
        rewritten("(step + 1) / train.warmup", "(step + 2) / train.warmup"),
        "warmup",
        "learning_rate in optim.py | step after",
    ),
    Bug(optim, "learning_rate", rewritten("if step < train.warmup_steps", "if False"), "warmup", "optim.py"),
    Bug(optim, "learning_rate", rewritten("0.1**drops", "0.5**drops"), "steps", "optim.py"),
    Bug(optim, "learning_rate", rewritten("2 * step >= train.steps", "3 * step >= train.steps"), "steps", "optim.py"),
]

# Evaluation, and the start.

SHOWN = "evaluation of the"
EVALUATION = [
    Bug(threads, "example_losses", once(lambda losses: losses * 0.5), "plain", f"{SHOWN} | 0.5 times"),
    Bug(threads, "example_losses", once(lambda losses: losses / np.log(2)), "plain", f"{SHOWN} | bits"),
    Bug(threads, "mean_loss", once(lambda loss: -loss), "plain", f"{SHOWN} | sign"),
    Bug(threads, "mean_loss", once(np.exp), "plain", f"{SHOWN} | perplexity"),
    Bug(
        threads,
        "example_losses",
        lambda right: lambda p, sizes, corpus, at: right(p, sizes, corpus, at - 1),
        "stream",
        SHOWN,
    ),
    Bug(
        threads,
        "example_losses",
        rewritten(
            "sizes.K))",
            "sizes.K), h_mask=np.float32(np.random.default_rng(0).random(("
            "len(positions), sizes.H)) > 0.3) / np.float32(0.7))",
        ),
        "dropout",
        f"{SHOWN} | dropout left on",
    ),
    Bug(
        threads,
        "example_losses",
        rewritten("sizes.K))", "sizes.K)[::-1][::-1], h_mask=np.full((len(positions), sizes.H), 0.7, np.float32))"),
        "dropout",
        SHOWN,
    ),
]
