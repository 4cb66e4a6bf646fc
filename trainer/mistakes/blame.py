"""How a wrong dW1 gets its name: the sentence that a failed check on gradients is told in.

`core.checks` compares nine gradients with numerical ones, in the order of `core.links`; the first that is wrong is the
broken link. Whose fault that is shows when what is suspected is run once more on its own: the operation, on what it was
given; then `backward`; and if both are right, the parts of the batch were put together wrongly. `mistakes.diagnosis`
adds what was done instead, and runs/inspection.py ends the run with the sentence.
"""

import re
import traceback
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainer.core import model, ops
from trainer.core.links import LINKS
from trainer.core.model import NAMES
from trainer.core.ops import Array
from trainer.core.step import Step, by_name, masks
from trainer.core.verdict import Verdict
from trainer.mistakes.diagnosis import near, rounding, what_was_done


def wrote_into(error: ValueError) -> str | None:
    """Which operation wrote into what it was given, from NumPy's error for that; None for another error."""
    if "read-only" not in str(error):
        return None
    frames = traceback.extract_tb(error.__traceback__)
    called = [name for frame in frames for name in re.findall(r"\bops\.(\w+)\(", frame.line or "")]
    last = frames[-1]
    place = f"line {last.lineno} of {Path(last.filename).name}: {last.line}"
    return f"{called[-1] if called else last.name} wrote into what it was given: look at {place}; return a new array"


def of_descent(verdict: Verdict) -> str:
    """What a failed check of a small step says."""
    numbers = f"predicted {verdict.expected:.3e}, actual {verdict.found:.3e}"
    where = "look at the gradients of the parameters"
    return f"a small step against the gradient does not lower the loss as predicted: {where}; {numbers}"


def of_sum(verdict: Verdict, step: Step) -> str:
    """What is said where p - y does not sum to zero."""

    def is_right(dlogits: Array) -> bool:
        return bool((np.abs(dlogits.sum(axis=1)) <= verdict.tolerance).all())

    place = step.own.get("logits") or suspect("logits", step, arrays("logits", step), is_right)
    numbers = f"largest sum {verdict.error:.3e}, at most {verdict.tolerance:.3e} by rounding"
    return f"p - y does not sum to zero: look at {place}, {LINKS['logits'].formula}; {numbers}"


def of_gradient(verdict: Verdict, step: Step, wrong: Collection[str]) -> str:
    """What is right before it, where to look, the worst entry, what was done instead; `wrong` are all that failed."""
    tensor, link = str(verdict.of), LINKS[str(verdict.of)]
    worst = f"worst at {verdict.worst}: by hand {verdict.found:.4e}, numerical {verdict.expected:.4e}"
    if before := [name for name in link.needs if name in wrong]:
        return f"d{tensor} is wrong, as d{before[-1]} before it is; {worst}"
    given, by_hand = arrays(tensor, step), step.gradients[tensor]
    right = link.right(**{name: given[name] for name in link.takes})
    formula = link.formula if mask_of(tensor, step) is None else link.dropout
    is_right = partial(holds, verdict)
    if tensor in step.own:
        where = f"{step.own[tensor]}; it should be {formula}"
    elif near(by_hand, right, rounding(by_hand.dtype)) and not is_right(right):
        where = f"{link.forward}: {formula} is the derivative of something else"
    else:
        where = f"{suspect(tensor, step, given, is_right)}, {formula}"
    done = what_was_done(tensor, by_hand, right, given)
    known = "".join(f"d{name} is right, " for name in link.needs)
    return f"{known}d{tensor} is wrong: look at {where}; {worst}" + (f"; {done}" if done else "")


def holds(verdict: Verdict, again: Array) -> bool:
    """Whether what was wrong is right where it was worst when it is computed again."""
    return bool(abs(float(again[tuple(verdict.worst or ())]) - verdict.expected) <= verdict.tolerance)


def mask_of(tensor: str, step: Step) -> Array | None:
    """The mask of dropout that stands before the gradient by a tensor, if one does."""
    return masks(step.batch).get({"z": "h", "C": "emb"}.get(tensor, ""))


def arrays(tensor: str, step: Step) -> dict[str, Any]:
    """The step in float64, under the names of the table of mistakes, as the link of a tensor takes it."""
    (V, K, D, H), batch, mask = step.g.sizes, step.batch, mask_of(tensor, step)
    named = {name: getattr(step.before, name) for name in NAMES} | step.forward
    named |= {f"d{name}": gradient for name, gradient in step.gradients.items()}
    found: dict[str, Any] = {name: array.astype(np.float64) for name, array in named.items()}
    if mask is not None:  # the way back through dropout comes first
        found[f"d{LINKS[tensor].needs[-1]}"] *= mask
    if tensor == "z":
        found["h"] = found["tanh"]  # before dropout
    exps = np.exp(found["logits"] - found["logits"].max(axis=1, keepdims=True))  # (B, V)
    found |= {"p": exps / exps.sum(axis=1, keepdims=True), "y": (np.arange(V) == batch.targets[:, None]) + 0.0}
    return found | {"X": batch.contexts, "Y": batch.targets, "B": len(exps), "K": K, "D": D, "H": H, "V": V}


def suspect(tensor: str, step: Step, given: Mapping[str, Any], is_right: Callable[[Array], bool]) -> str:
    """The function to look at: the first whose result is wrong when it is run once more on what it was given."""
    dtype, link, mask = step.g.flat.dtype, LINKS[tensor], mask_of(tensor, step)
    if tensor == "logits" and not near(ops.softmax(step.forward["logits"]), given["p"], rounding(dtype)):
        return "softmax"
    if mask is not None:
        before = link.needs[-1]
        dropped = ops.dropout_backward(step.gradients[before], mask)
        if not near(dropped, given[f"d{before}"], rounding(dtype)):
            return "dropout_backward (forward: dropout)"
    operation = getattr(ops, link.backward)
    match tensor:
        case "logits":
            alone = operation(given["p"].astype(dtype), given["Y"], 1 / given["B"])
        case "C":
            alone = operation(given["demb"].astype(dtype).reshape(*given["X"].shape, -1), given["X"], given["V"])
        case _:
            alone = operation(*(given[name].astype(dtype) for name in link.takes))
    words = f"{link.backward} (forward: {link.forward})"
    return at_fault(words, "backward", alone, lambda: once_more(step)[tensor], is_right)


def at_fault(
    operation: str, chain: str, alone: Array, whole: Callable[[], Array], is_right: Callable[[Array], bool]
) -> str:
    """Whose fault a wrong array is: the operation's, if it is wrong `alone`; the chain's, if it is as a `whole`."""
    if not is_right(alone):
        return operation
    if not is_right(whole()):
        return f"{chain} in model.py ({operation.partition(' (')[0]} by itself gives what it should)"
    return f"gradients in threads.py ({chain} by itself gives what it should)"


def once_more(step: Step) -> dict[str, Array]:
    """The nine gradients by the same forward and backward, one part of the batch after the other."""
    p, start, inner = step.before, 0, []
    g, own = (model.zeros(p.sizes, p.flat.dtype) for _ in range(2))
    for each in step.passes:
        batch = step.batch.rows(slice(start, start + len(each.activations.emb)))
        inner.append(model.backward(p, batch, model.forward(p, batch), own, 1 / len(step.batch.targets)))
        g.flat += own.flat
        start += len(batch.targets)
    return by_name(inner, g)
