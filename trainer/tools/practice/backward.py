"""A learner's file as the backward pass of training: compiled once, run as a whole in each step."""

from collections.abc import Sequence

from trainer.core import model
from trainer.core.loop import Pass
from trainer.core.model import INNER, NAMES, Batch, InnerGradients, Parameters
from trainer.errors import UserError, printable, quoted
from trainer.runs.starting import OwnBackward
from trainer.tools.practice import lecture, process, source
from trainer.tools.practice.judge import gradient, is_real
from trainer.tools.practice.point import LINK_OF, NINE, given


def own_backward(path: str) -> OwnBackward:
    """The backward pass that stands in a file, as a training takes it. Raises UserError where it is no Python."""
    program, shown = source.read(path), printable(path)
    code, see = compile(program.tree, path, "exec"), f"python -m trainer practice {quoted(path)}"

    def gradients(p: Parameters, g: Parameters, batch: Batch) -> Sequence[Pass]:
        """The gradients of the mean loss of a whole batch. Raises UserError where the file gives none."""
        if batch.emb_mask is not None or batch.h_mask is not None:
            raise UserError("dropout does not go with --backward, in section train; set it to 0")
        a, failure = model.forward(p, batch), ""
        arrays = lecture.forward(given(p, batch, a))
        names = source.namespace(arrays, program)
        try:
            source.run(code, names)
        except (Exception, SystemExit) as error:
            (number, _), said = source.explained(error, program, names, (0, ""))
            failure = f"{said.splitlines()[0]}, line {number} of {shown}"
        if blank := [name for name in LINK_OF if names.get(name) is ...]:
            failure = f"{blank[0]} is still to do, {shown}"
        found = {tensor: gradient(tensor, names, arrays) for tensor in NINE}
        for tensor, array in found.items():
            shape = arrays[tensor].shape
            if not is_real(array) or array.shape != shape:
                what = f"of shape {array.shape}" if is_real(array) else "no array of numbers"
                what = "missing" if array is ... else what
                failure = failure or f"d{tensor} is {what}, should be an array of shape {shape}, {shown}"
        if failure:
            raise UserError(f"{failure}; see `{see}`")
        for name in NAMES:
            getattr(g, name)[...] = found[name]
        return [Pass(a, InnerGradients(*(found[name].astype(p.flat.dtype) for name in INNER)))]

    def complaint() -> str:
        """What `practice` says of the first link that is wrong, on one line; "" for none, blanks apart."""
        answer = process.judged(path)
        wrong = [finding for finding in answer.findings if not finding.follows and finding.word != "to do"]
        said = [f"{each.name} {each.word}, line {each.line[0]}: {each.line[1]}; {each.said}" for each in wrong]
        told = printable(" ".join([*said, *answer.notes, ""][0].split()))
        more = f"; wrong too: {', '.join(finding.name for finding in wrong[1:])}" if wrong[1:] else ""
        return f"{shown}: {told}{more}; see `{see}`" if told else ""

    lines = {
        LINK_OF[name]: f"line {number} of {shown}: {printable(text)}"
        for name, (number, text) in program.lines(program.tree).items()
        if name in LINK_OF
    }
    return OwnBackward(path, lines, gradients, complaint)
