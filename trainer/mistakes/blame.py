"""What verdicts mean, in words for people: which link is broken, and what is worth a warning.

How a wrong dW1 gets its name: `checks.compare` gives a verdict on each tensor, in the order of `numerical.ORDER`; the
first that failed is named, with its operation and formula from links.py; `diagnosis.what_was_done` holds the gradient
against the table of mistakes.py; and `Inspector.judge` in runs/inspection.py stops the run with what was said.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.config import Config
from trainer.core import numerical, ops
from trainer.core.links import LINKS
from trainer.core.model import INNER, NAMES
from trainer.core.numerical import Mapper, Point
from trainer.core.verdicts import Descent, Direction, Gradient, InitialLoss, SumToZero, Verdict
from trainer.core.witness import Witness
from trainer.mistakes import diagnosis


def blame(
    verdicts: Sequence[Verdict], config: Config, remarks: Sequence[str] = (), instead: str = "",
    own: Mapping[str, str] | None = None,
) -> str | None:  # fmt: skip
    """Which link is broken; None if every verdict that can fail has passed and there is no remark.

    `remarks` are sentences that explain a failure better than the operation it is found in; `instead` says what stands
    in place of the first wrong gradient; `own` says where each link is written, if not in the model.
    """
    failed = [verdict for verdict in verdicts if not verdict.passed and not isinstance(verdict, InitialLoss)]
    if not failed and not remarks:
        return None
    told = describe(failed[0], config, own or {}) if failed else ""
    if failed and isinstance(failed[0], Gradient) and instead:
        told = f"{told}; {instead}"
    return "; ".join([*remarks, *filter(None, [told])])


def describe(verdict: Verdict, config: Config, own: Mapping[str, str]) -> str:
    """What is wrong, and where to look."""
    match verdict:
        case Gradient():
            return describe_gradient(verdict, config, own)
        case SumToZero(value=value, atol=atol):
            return (
                "p - y does not sum to zero: look at softmax and softmax_cross_entropy_backward, dlogits = (p - y) / B;"
                f" largest sum {value:.3e}, at most {atol:.3e} by rounding"
            )
        case Direction():
            return (
                "the gradient is wrong in an entry that was not drawn: run with check.coordinates=all;"
                f" along a random direction by hand {verdict.by_hand:.6e}, numerical {verdict.numerical:.6e}"
            )
        case Descent(predicted=predicted, actual=actual):
            return (
                "a small step against the gradient does not lower the loss as predicted: look at the gradients of the"
                f" parameters; predicted {predicted:.3e}, actual {actual:.3e}"
            )
    return str(verdict.row().get("found") or verdict)  # the referee's verdicts say it themselves


def describe_gradient(verdict: Gradient, config: Config, own: Mapping[str, str]) -> str:
    """What was right before it, the operation, its formula, and the worst entry."""
    link, train = LINKS[verdict.tensor], config.train
    right = "".join(f"d{name} is right, " for name in link.needs)
    operation, formula = link.backward, link.formula
    if verdict.tensor == "z" and train.dropout:
        operation, formula = f"{operation} or dropout_backward", "dz = dh · mask · (1 - tanh²)"
    if verdict.tensor == "C" and (train.embedding_dropout or train.context_dropout):
        operation, formula = f"{operation} or dropout_backward", "dC[v] = sum of demb · mask where v stands"
    place = f"{operation} (forward: {link.forward}), {formula}"
    if verdict.tensor in own:
        place = f"{own[verdict.tensor]}; it should be {link.formula}"
    return (
        f"{right}d{verdict.tensor} is wrong: look at {place};"
        f" worst at {verdict.worst}: by hand {verdict.by_hand:.4e}, numerical {verdict.numerical:.4e}"
    )


def warning(verdicts: Sequence[Verdict], config: Config) -> str | None:
    """What is no failure but worth a word, with its likely cause."""
    for verdict in verdicts:
        row = verdict.row()
        if verdict.name == "initial_loss" and not verdict.passed:
            return "the first loss is not close to log V: the output weights are too large at the start"
        if verdict.name == "update" and verdict.passed and row["loss_after"] > row["loss_before"]:
            against = row["predicted"] < 0
            cause = "the learning rate is too high" if against else f"{config.train.optimizer} moved with the gradient"
            return f"the update went uphill, {row['loss_before']:.4f} -> {row['loss_after']:.4f}: {cause}"
    return None


def what_was_done(verdicts: Sequence[Verdict], witness: Witness, mapper: Mapper) -> str:
    """What stands in place of the first wrong gradient, where it can be told; else empty."""
    wrong = next((verdict for verdict in verdicts if isinstance(verdict, Gradient) and not verdict.passed), None)
    if wrong is None:
        return ""
    name, at = wrong.tensor, numerical.point(witness.before, witness.batch, witness.sizes)
    rng, eps = np.random.default_rng(0), dict.fromkeys(numerical.ORDER, 1e-20)
    right = numerical.gradients(at, "complex-step", eps, "all", rng, mapper, [name])[name]
    point = arrays(at, witness)
    if name == "z" and at.batch.h_mask is not None:  # tanh is taken before dropout, which is undone first
        point |= {"h": np.tanh(at.z), "dh": point["dh"] * at.batch.h_mask}
    if name == "C" and at.batch.emb_mask is not None:
        point["demb"] = point["demb"] * at.batch.emb_mask
    told = diagnosis.what_was_done(name, witness.gradients[name], right, point)
    return told or ""


def arrays(at: Point, witness: Witness) -> dict[str, Any]:
    """The step under the names of the table of mistakes."""
    V, K, D, H = at.sizes
    batch, B = at.batch, len(at.emb)
    y = np.eye(V)[batch.targets]  # (B, V)
    found: dict[str, Any] = {"B": B, "K": K, "D": D, "H": H, "V": V, "X": batch.contexts, "Y": batch.targets, "y": y}
    found |= {name: getattr(at.p, name) for name in NAMES} | {name: getattr(at, name) for name in INNER}
    found |= {"d" + name: gradient.astype(np.float64) for name, gradient in witness.gradients.items()}
    return found | {"p": ops.softmax(at.logits)}
