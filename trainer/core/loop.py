"""The story of training: batch, gradients, update; and whoever wants to look is told what happened.

`steps` is a generator: it makes a step, tells of it, and goes on when it is asked for the next one. It writes nothing.
At a step that is watched it hands over a `Witness`, from which logs are written and checks are made.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from trainer.config import Train
from trainer.core import optim
from trainer.core.model import Batch, Parameters, Sizes, Watch, unwatched
from trainer.core.optim import State
from trainer.core.witness import Observation, Witness, copy, copy_state

NewWatch = Callable[[], Watch]  # a watch for one thread's part of a batch
Gradients = Callable[[Parameters, Batch, NewWatch], Parameters]  # forward and backward: the gradient of the mean loss


class Step(NamedTuple):
    """A step that has been made."""

    number: int
    witness: Witness | None  # if it was watched


def steps(
    train: Train, sizes: Sizes, p: Parameters, state: State, first: int,
    batches: Iterator[Batch], gradients: Gradients, watched: Callable[[int], bool],
) -> Iterator[Step]:  # fmt: skip
    """Train from step `first` to the last, moving `p` and `state` in place. Yields each step when it has been made."""
    for number in range(first, train.steps):
        batch = next(batches)
        if watched(number):
            yield Step(number, watched_step(train, sizes, p, state, number, batch, gradients))
        else:
            g = gradients(p, batch, lambda: unwatched)
            optim.update(train, p, g, state, number)
            yield Step(number, None)


def watched_step(
    train: Train, sizes: Sizes, p: Parameters, state: State, number: int, batch: Batch, gradients: Gradients
) -> Witness:
    """The same step, and a record of all that it did."""
    observations: list[Observation] = []

    def new_watch() -> Watch:
        observations.append(Observation(p, batch))
        return observations[-1].watch

    before, state_before = copy(p, sizes), copy_state(state)
    g = gradients(p, batch, new_watch)
    own_g = copy(g, sizes)  # the update writes over g
    optim.update(train, p, g, state, number)
    return Witness(
        step=number,
        rate=optim.learning_rate(train, number),
        sizes=sizes,
        batch=batch,
        before=before,
        after=copy(p, sizes),
        state_before=state_before,
        state_after=copy_state(state),
        g=own_g,
        observations=observations,
    )
