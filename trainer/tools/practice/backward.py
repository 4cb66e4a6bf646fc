"""A learner's file as the backward pass of training: compiled once, run as a whole in each step."""

from collections.abc import Sequence

from trainer.core import model
from trainer.core.loop import Pass
from trainer.core.model import INNER, NAMES, Batch, InnerGradients, Parameters
from trainer.errors import UserError, printable, quoted
from trainer.runs.starting import OwnBackward
from trainer.tools.practice import lecture, process, source
from trainer.tools.practice.command import about_one
from trainer.tools.practice.judge import as_gradient, is_real
from trainer.tools.practice.point import LINK_OF, NINE, given
from trainer.tools.practice.stumbles import explained


def own_backward(path: str) -> OwnBackward:
    """The backward pass that stands in a file, as a training takes it. Raises UserError where it is no Python."""
    program, shown = source.read(path), printable(path)
    code, advice = source.compiled(program.tree, path), f"{shown}; see `python -m trainer practice {quoted(path)}`"

    def gradients(p: Parameters, g: Parameters, batch: Batch) -> Sequence[Pass]:
        """The gradients of the mean loss of a whole batch. Raises UserError where the file gives none."""
        if batch.emb_mask is not None or batch.h_mask is not None:
            raise UserError("dropout does not go with --backward, in section train; set it to 0")
        a = model.forward(p, batch)
        arrays = given(p, batch, a)
        arrays = arrays if program.reads.isdisjoint(lecture.FORWARD) else lecture.forward(arrays)
        names, failure = source.namespace(arrays, program), ""
        try:
            source.run(code, names)
        except (Exception, SystemExit) as error:
            (number, _), said = explained(error, program, names, (0, ""))
            failure = f"{said.splitlines()[0]}, line {number} of {advice}"
        if blank := [name for name in LINK_OF if names.get(name) is ...]:
            failure = f"{blank[0]} is still to do, {advice}"
        if failure:
            raise UserError(failure)
        found = {}
        for link in NINE:
            value = next((names[name] for name in LINK_OF if LINK_OF[name] == link and name in names), None)
            array, shape = as_gradient(link, value, arrays), arrays[link].shape
            if not is_real(array) or array.shape != shape:
                what = f"of shape {array.shape}" if is_real(array) else f"a {type(array).__name__}"
                raise UserError(f"d{link} is {what}, should be an array of shape {shape}, {advice}")
            found[link] = array.astype(p.flat.dtype)
        for name in NAMES:
            getattr(g, name)[...] = found[name]
        return [Pass(a, InnerGradients(*(found[name] for name in INNER)))]

    def complaint() -> str:
        """What `practice` says of the first link that is not right, on one line; "" where all is right."""
        answer = process.judged(path)
        wrong = [finding for finding in answer.findings if not finding.follows]
        made = [about_one(finding) for finding in wrong if finding.word != "to do"]
        first = [*made, *answer.notes, *map(about_one, wrong), ""][0].splitlines()
        return f"{shown}: {'; '.join(' '.join(line.split()) for line in first)}" if first else ""

    lines = {
        LINK_OF[name]: f"line {number} of {shown}: {printable(text)}"
        for node in program.tree.body
        for name, (number, text) in program.lines(node).items()
        if name in LINK_OF
    }
    return OwnBackward(path, lines, gradients, complaint)
