"""A learner's file as the backward pass of training: compiled once, run as a whole in each step.

It is the user's own code, named on the command line, and runs with the user's own rights.
"""

import ast
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import CodeType
from typing import Any

from trainer.config import Config
from trainer.core import loop, model
from trainer.core.model import INNER, NAMES, Activations, Batch, Parameters, Sizes
from trainer.core.ops import Array
from trainer.errors import UserError, printable, quoted
from trainer.runs.starting import OwnBackward
from trainer.tools.practice import execute, source
from trainer.tools.practice.point import BLANKS, LINK_OF, copied, given
from trainer.tools.practice.values import as_array, failure, shared


@dataclass(frozen=True)
class Learned:
    """A learner's backward pass, ready to be called.

    digest: sha256 of the file, to see whether it has changed. lines: for each link where it is written, in words.
    """

    path: str
    digest: str
    code: CodeType
    tree: ast.Module
    lecture: bool
    lines: dict[str, str]

    def __call__(self, p: Parameters, batch: Batch, forward: Mapping[str, Array]) -> dict[str, Array]:
        """The nine gradients of the mean loss of a whole batch, by link, in the type of the forward arrays.

        forward: emb (B, K*D), z (B, H), h (B, H) and logits (B, V), as training computed them; nothing given is
        changed. Raises UserError where the file raises, leaves a gradient out, or gives it another shape.
        """
        names = copied(given(p, batch, forward), self.lecture)
        names |= {"__name__": "__main__", "__file__": self.path}
        try:
            execute.run(self.code, names)
        except (Exception, SystemExit) as error:
            self.refuse_blanks(names)
            failed = failure(error, self.path, self.tree, 1, names)
            raise UserError(f"{failed.what}, line {failed.line} of {self.advice()}") from None
        self.refuse_blanks(names)
        shapes = {name: getattr(p, name).shape for name in NAMES} | {name: forward[name].shape for name in INNER}
        found = {blank.link: self.found(blank.link, names, shapes[blank.link]) for blank in BLANKS}
        self.refuse_shared(found)
        return {link: array.astype(forward["logits"].dtype) for link, array in found.items()}

    def refuse_blanks(self, names: Mapping[str, Any]) -> None:
        for blank in BLANKS:
            if names.get(blank.name) is ...:
                raise UserError(f"{blank.name} is still to do, {self.advice()}")

    def found(self, link: str, names: Mapping[str, Any], shape: tuple[int, ...]) -> Array:
        """A gradient from the names that the file has left."""
        values = [names[name] for name, of in LINK_OF.items() if of == link and names.get(name, ...) is not ...]
        if not values:
            raise UserError(f"d{link} is still to do, {self.advice()}")
        try:
            array = as_array(values[0])
        except Exception as error:
            raise UserError(f"d{link} is no array ({printable(str(error))}), {self.advice()}") from None
        deep = link == "emb" and array.ndim == 3 and array.size == math.prod(shape)  # (B, K, D)
        if array.dtype.kind not in "iuf" or (array.shape != shape and not deep):
            raise UserError(f"d{link} is {array.dtype} of shape {array.shape}, should be {shape}, {self.advice()}")
        return array.reshape(shape)

    def refuse_shared(self, found: Mapping[str, Array]) -> None:
        """After `dz = dh`, `dz *= ...` there is no dh any more that could be checked."""
        for first, before in enumerate(BLANKS):
            for after in BLANKS[first + 1 :]:
                if shared(found[before.link], found[after.link]):
                    one, other = before.name, after.name
                    raise UserError(f"{one} and {other} are one array, begin with {one}.copy(); {self.advice()}")

    def advice(self) -> str:
        return f"{printable(self.path)}; see `python -m trainer practice {quoted(self.path)}`"


def read(path: str) -> Learned:
    """The backward pass that stands in a file. Raises UserError where it cannot be read or is no Python."""
    text = execute.read(path)
    tree = execute.parse(text, path)
    decoded = text.decode("utf-8-sig", "replace")
    lines = {}
    for node in tree.body:
        for name in source.targets(node):
            where = source.line(node, name, decoded)
            lines[LINK_OF[name]] = f"line {where.number} of {printable(path)}: {printable(where.text)}"
    digest = hashlib.sha256(text).hexdigest()
    return Learned(path, digest, execute.code(tree, path), tree, source.reads(tree, "embcat"), lines)


def own_backward(path: str) -> OwnBackward:
    """The backward pass that stands in a file, as a training takes it. Raises UserError as `read` does."""
    learned = read(path)
    return OwnBackward(path, learned.digest, learned.lines, partial(gradients, learned))


def refuse_dropout(config: Config) -> None:
    """Raises UserError where dropout is asked for: the practice file knows nothing of masks."""
    for key in ("dropout", "embedding_dropout", "context_dropout"):
        if getattr(config.train, key):
            raise UserError(f"train.{key} does not go with --backward, in the configuration; set train.{key}=0")


def gradients(backward: Learned, sizes: Sizes, batch_size: int, dtype: str) -> loop.Gradients:
    """The gradients of a step for the training loop: our forward pass, the learner's backward pass."""
    room, g = Activations(sizes, batch_size, dtype), model.zeros(sizes, dtype)

    def of_batch(p: Parameters, batch: Batch, new_watch: loop.NewWatch) -> Parameters:
        watch, forward = new_watch(), {}

        def keep(name: str, value: Array) -> None:
            watch(name, value)
            forward[name] = value.copy()  # the model writes h over z

        model.forward(p, batch, room, keep)
        for link, gradient in backward(p, batch, forward).items():
            if link in NAMES:
                getattr(g, link)[...] = gradient
            watch(f"d{link}", gradient)
        return g

    return of_batch
