"""A learner's file as the backward pass of training: compiled once, run as a whole in each step."""

from collections.abc import Sequence

from trainer.core import model
from trainer.core.model import INNER, NAMES, Batch, InnerGradients, Parameters
from trainer.core.step import Pass
from trainer.errors import UserError, printable, quoted
from trainer.mistakes.point import LINK_OF, NINE, forward, given
from trainer.runs.starting import OwnBackward
from trainer.tools.practice import process, source
from trainer.tools.practice.judge import gradient, is_real


def own_backward(path: str) -> OwnBackward:
    """The backward pass that stands in a file, as a training takes it. Raises UserError where it is no Python."""
    program, shown = source.read(path), printable(path)
    source.beside(path)
    code, see = compile(program.tree, path, "exec"), f"; see `python -m trainer practice {quoted(path)}`"

    def gradients(p: Parameters, g: Parameters, batch: Batch) -> Sequence[Pass]:
        """The gradients of the mean loss of a whole batch. Raises UserError where the file gives none."""
        a = model.forward(p, batch)
        arrays = forward(given(p, batch, a))
        names = source.namespace(arrays, program)
        failure = source.run(code, program, names)
        failures = [f"{name} is still to do, {shown}" for name in LINK_OF if names.get(name) is ...]
        failures += [f"{failure[1].splitlines()[0]}, line {failure[0][0]} of {shown}"] if failure else []
        found = {tensor: gradient(tensor, names, arrays) for tensor in NINE}
        for tensor, array in found.items():
            if not is_real(array) or array.shape != arrays[tensor].shape:
                failures.append(f"d{tensor} is no array of numbers of shape {arrays[tensor].shape}, {shown}")
        if failures:
            raise UserError(failures[0] + see)
        for name in NAMES:
            getattr(g, name)[...] = found[name]
        return [Pass(a, InnerGradients(*(found[name].astype(p.flat.dtype) for name in INNER)))]

    def complaint() -> str:
        """What `practice` says of the first link that is wrong, on one line; "" for none, blanks apart."""
        answer = process.judged(path)
        wrong = [finding for finding in answer.findings if not finding.follows and finding.word != "to do"]
        said = [f"{each.name} {each.word}, line {each.line[0]}: {each.line[1]}; {each.said}" for each in wrong]
        first = printable(" ".join(next(iter([*said, *answer.notes]), "").split()))
        return f"{shown}: {first}{see}" if first else ""

    written = program.gradients(program.tree).items()
    lines = {tensor: f"line {number} of {shown}: {printable(text)}" for tensor, (number, text) in written}
    return OwnBackward(path, lines, gradients, complaint)
