"""The story of training: batch, gradients, update; and each step tells what it computed.

`steps` is a generator that prints and saves nothing. A step that is looked at differs from the others in one thing: the
parameters and what the rule remembers are copied before the update.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from trainer.config import Train
from trainer.core import model, optim
from trainer.core.model import Batch, Parameters
from trainer.core.ops import frozen
from trainer.core.optim import State
from trainer.core.step import Pass, Step

# From p, g and a batch: forward and backward through the batch, in parts; the gradient of the mean loss goes into g.
Gradients = Callable[[Parameters, Parameters, Batch], Sequence[Pass]]
# An update, of which each call moves a part of the flat vector; and what calls it until the whole has been moved.
Update = Callable[[slice], None]
InParts = Callable[[Update], object]


def steps(
    train: Train, p: Parameters, state: State, first: int,
    batches: Iterator[Batch], gradients: Gradients, looked_at: Callable[[int], bool],
    in_parts: InParts = lambda update: update(slice(None)),
) -> Iterator[Step]:  # fmt: skip
    """Train from step `first` to the last, moving `p` and `state` in place. Yields each step when it has been made."""
    g = model.zeros(p.sizes, p.flat.dtype)
    # The same numbers, read-only: parameters for the passes, gradients for the update.
    fixed_p, fixed_g = (Parameters(p.sizes, frozen(each.flat.view())) for each in (p, g))
    for number in range(first, train.steps):
        batch, before, state_before, looked = next(batches), p, state, looked_at(number)
        if looked:
            before = Parameters(p.sizes, p.flat.copy())
            state_before = {name: vector.copy() for name, vector in state.items()}
        passes = gradients(fixed_p, g, batch)
        rate = optim.learning_rate(train, number)
        in_parts(partial(optim.update, train, p, fixed_g, state, rate, number))
        yield Step(number, rate, batch, passes, g, p, state, looked, before, state_before)
