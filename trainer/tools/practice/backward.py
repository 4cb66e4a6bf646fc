"""A learner's file as the backward pass of training: compiled once, run as a whole in each step."""

from collections.abc import Sequence

from trainer.core import model
from trainer.core.model import INNER, NAMES, Batch, InnerGradients, Parameters
from trainer.core.step import Pass
from trainer.errors import UserError, printable, quoted
from trainer.mistakes.names import given
from trainer.runs.starting import OwnBackward
from trainer.tools.practice import process, source
from trainer.tools.practice.judge import gradient, is_real
from trainer.tools.practice.point import LINK_OF, NINE
from trainer.tools.practice.wrong import of_kind


def own_backward(path: str) -> OwnBackward:
    """The backward pass that stands in a file, as a training takes it. Raises UserError where it is no Python."""
    program, shown = source.read(path), printable(path)
    source.beside(path)
    code, see = compile(program.tree, path, "exec"), f"; see `python -m trainer practice {quoted(path)}`"
    written = program.gradients(program.tree).items()
    lines = {name[1:]: f"line {number} of {shown}: {printable(text)}" for name, (number, text) in written}

    def gradients(p: Parameters, g: Parameters, batch: Batch) -> Sequence[Pass]:
        """The gradients of the mean loss of a whole batch. Raises UserError where the file gives none."""
        a = model.forward(p, batch)
        arrays = given(p, batch, a)
        names = source.namespace(arrays, program)
        failure = source.run(code, program, names)
        failures = [f"{name} is still to do, {shown}" for name in LINK_OF if names.get(name) is ...]
        failures += [f"{failure[1].splitlines()[0]}, line {failure[0][0]} of {shown}"] if failure else []
        found = {tensor: gradient(tensor, names, arrays) for tensor in NINE}
        for tensor, array in found.items():
            shape = arrays[tensor].shape
            if not (is_real(array) and array.shape == shape):
                what = f"shape {array.shape}, should be {shape}" if is_real(array) else of_kind(array)[0]
                failures.append(f"d{tensor}: {what}, {lines.get(tensor, shown)}")
        if failures:
            raise UserError(failures[0] + see)
        for name in NAMES:
            getattr(g, name)[...] = found[name]
        return [Pass(a, InnerGradients(*(found[name].astype(p.flat.dtype) for name in INNER)))]

    def complaint() -> str:
        """What `practice` says of the first wrong numbers, on one line; "" for none. It may not fit other sizes."""
        for each in process.judged(path).findings:
            if each.word == "WRONG":
                said = f"{each.name} WRONG, line {each.line[0]}: {each.line[1]}; {each.said}"
                return f"{shown}: {printable(' '.join(said.split()))}{see}"
        return ""

    return OwnBackward(path, lines, gradients, complaint)
