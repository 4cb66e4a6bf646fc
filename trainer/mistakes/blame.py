"""How a wrong dW1 gets its name: the sentence that a failed check on gradients, or an error of NumPy's, is told in.

`core.checks` compares nine gradients with numerical ones, in the order of `core.links`; the first that is wrong is the
broken link. Whose fault that is shows when what is suspected is run once more on its own: the operation, on what it was
given; then `backward`; and if both are right, the parts of the batch were put together wrongly. `mistakes.diagnosis`
adds what was done instead, and runs/inspection.py ends the run with the sentence.
"""

import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from trainer.core import model, ops
from trainer.core.links import LINKS
from trainer.core.model import NAMES, Activations, Parameters
from trainer.core.ops import Array
from trainer.core.step import Step, by_name, masks
from trainer.core.verdict import Verdict
from trainer.errors import RunFailed
from trainer.mistakes.diagnosis import near, rounding, what_was_done
from trainer.mistakes.names import Arrays, applied, given


@contextmanager
def only_reading(step: int) -> Iterator[None]:
    """Raise RunFailed for NumPy's error where an operation wrote into what it was given."""
    try:
        yield
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"line {last.lineno} of {Path(last.filename).name}: {last.line}"
        said = f"{last.name} wrote into what it was given: look at {place}; return a new array"
        raise RunFailed(f"step {step}: {said}") from None


def of_descent(verdict: Verdict, wrong: Collection[str]) -> str:
    """What a failed check of a small step says; `wrong` are the gradients that failed."""
    said = "a small step against the gradient does not lower the loss as predicted"
    where = "the gradients of the parameters" if wrong else "forward in model.py, for each link by itself is right"
    return f"{said}: look at {where}; predicted {verdict.expected:.3e}, actual {verdict.found:.3e}"


def of_sum(verdict: Verdict, step: Step) -> str:
    """What is said where p - y does not sum to zero."""
    numbers = f"largest sum {verdict.error:.3e}, at most {verdict.tolerance:.3e} by rounding"
    place = step.own.get("logits") or suspect("logits", step, arrays("logits", step), verdict)
    return f"p - y does not sum to zero: look at {place}, {LINKS['logits'].formula}; {numbers}"


def of_gradient(verdict: Verdict, step: Step, wrong: Collection[str]) -> str:
    """What is right before it, where to look, the worst entry, what was done instead; `wrong` are all that failed."""
    tensor = str(verdict.of)
    link, by_hand = LINKS[tensor], step.gradients[tensor]
    worst = f"worst at {verdict.worst}: by hand {verdict.found:.4e}, numerical {verdict.expected:.4e}"
    if before := [name for name in link.needs if name in wrong]:
        return f"d{tensor} is wrong, as d{before[-1]} before it is; {worst}"
    came, known = arrays(tensor, step), "".join(f"d{name} is right, " for name in link.needs)
    right, formula = applied(link, came), link.dropout if "mask" in came else link.formula
    if near(by_hand, right, rounding(by_hand.dtype)) and not holds(verdict, right):
        where = f"{link.forward}: {formula} is the derivative of something else"
        if link.needs:
            where, known = f"{where}, or d{link.needs[-1]} is off by less than its own check sees", ""
    elif tensor in step.own:
        where = f"{step.own[tensor]}; it should be {formula}"
    else:
        where = f"{suspect(tensor, step, came, verdict)}, {formula}"
    done = what_was_done(tensor, by_hand, right, came)
    return f"{known}d{tensor} is wrong: look at {where}; {worst}" + (f"; {done}" if done else "")


def holds(verdict: Verdict, again: Array) -> bool:
    """Whether what was wrong is right where it was worst when it is computed again."""
    if verdict.name == "sum_to_zero":
        again = again.sum(axis=1)
    return bool(abs(float(again[tuple(verdict.worst or ())]) - verdict.expected) <= verdict.tolerance)


def arrays(tensor: str, step: Step) -> Arrays:
    """The step in float64 under the names of the table of mistakes, as the link of a tensor takes it, and its mask."""
    p = Parameters(step.g.sizes, step.before.flat.astype(np.float64))
    a = Activations(*(array.astype(np.float64) for array in step.forward.values()))
    found = given(p, step.batch, a) | {f"d{name}": array.astype(np.float64) for name, array in step.gradients.items()}
    mask = masks(step.batch).get({"z": "h", "C": "emb"}.get(tensor, ""))
    if mask is not None:  # the way back through dropout comes first
        found["mask"] = mask
        found[f"d{LINKS[tensor].needs[-1]}"] *= mask
    if tensor == "z":
        found["h"] = a.tanh  # before dropout
    return found


def suspect(tensor: str, step: Step, came: Arrays, verdict: Verdict) -> str:
    """The function to look at: the first whose result is wrong when it is run once more on what it was given."""
    link, dtype = LINKS[tensor], step.g.flat.dtype
    if tensor == "logits" and not near(ops.softmax(step.forward["logits"]), came["p"], rounding(dtype)):
        return "softmax"
    if "mask" in came:
        before = link.needs[-1]
        dropped = ops.dropout_backward(step.gradients[before], came["mask"])
        if not near(dropped, came[f"d{before}"], rounding(dtype)):
            return "dropout_backward (forward: dropout)"
    match tensor:
        case "logits":
            takes = [came["p"].astype(dtype), came["Y"], 1 / came["B"]]
        case "C":
            takes = [came["demb"].astype(dtype).reshape(*came["X"].shape, -1), came["X"], came["V"]]
        case _:
            takes = [came[name].astype(dtype) for name in link.takes]
    operation = getattr(ops, link.backward)
    if tensor in NAMES:  # as training has it, which gives a place for the result
        alone = np.full_like(getattr(step.g, tensor), np.nan)
        operation(*takes, out=alone)
    else:
        alone = operation(*takes)
    words = f"{link.backward} (forward: {link.forward})"
    return at_fault(words, "backward", alone, lambda: once_more(step)[tensor], partial(holds, verdict))


def at_fault(
    operation: str, chain: str, alone: Array, whole: Callable[[], Array], is_right: Callable[[Array], bool]
) -> str:
    """Whose fault a wrong array is: the operation's, if it is wrong `alone`; the chain's, if it is as a `whole`."""
    if not is_right(alone):
        return operation
    if not is_right(whole()):
        return f"{chain} in model.py ({operation.partition(' (')[0]} by itself gives what it should)"
    return f"gradients in threads.py or steps in loop.py ({chain} by itself gives what it should)"


def once_more(step: Step) -> dict[str, Array]:
    """The nine gradients by the same forward and backward, part by part as training adds them."""
    p, start, inner = step.before, 0, []
    g, own = (model.zeros(p.sizes, p.flat.dtype) for _ in range(2))
    for each in step.passes:
        batch = step.batch.rows(slice(start, start + len(each.activations.emb)))
        inner.append(model.backward(p, batch, model.forward(p, batch), own, 1 / len(step.batch.targets)))
        g.flat += own.flat
        start += len(batch.targets)
    return by_name(inner, g)
