"""What the checks of a run will cost, said before the first one is made."""

import time

import numpy as np

from trainer.config import Check, Config
from trainer.core import numerical
from trainer.core.numerical import Point
from trainer.core.witness import Witness

STACKED = 18  # forward passes that the slopes along nine directions take


def sentence(witness: Witness, config: Config, rng: np.random.Generator) -> str:
    """How long the checks of a step and of the run will take, and what would be cheaper."""
    check = config.check
    seconds = step_seconds(witness, check, rng)
    times = -(-config.train.steps // check.every)
    cheaper = [f"check.every={check.every * 10}"]
    if check.coordinates != "directions":
        cheaper.append("check.coordinates=directions")
    total = f"{seconds * times / 60:,.0f} minutes" if seconds * times > 90 else f"{seconds * times:,.0f} s"
    return f"checks take about {seconds:.2g} s a step, {total} for this run; cheaper: {' or '.join(cheaper)}"


def step_seconds(witness: Witness, check: Check, rng: np.random.Generator) -> float:
    """The seconds that the checks of a step take, from one pass of each kind."""
    began = time.perf_counter()
    at = numerical.point(witness.before, witness.batch, witness.sizes)
    forward = time.perf_counter() - began
    if check.coordinates == "directions":
        return STACKED * forward
    return sum(tensor_seconds(at, name, check.coordinates, rng) for name in numerical.ORDER)


def tensor_seconds(at: Point, name: str, wanted: int | str, rng: np.random.Generator) -> float:
    """The seconds for one tensor: those of one pass, times how many there are."""
    passes = [losses for _, losses in numerical.passes(at, name, numerical.draw(at, name, wanted, rng))]
    if not passes:
        return 0.0
    began = time.perf_counter()
    numerical.slopes("central", 1e-5, passes[len(passes) // 2])
    return (time.perf_counter() - began) * len(passes)
