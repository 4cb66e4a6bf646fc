"""Correct code is never stopped: trainings of all kinds and at all edges, checked, without one failure."""

import pytest
from search import false_alarms, hard, scene

SOME = 40


def test_no_false_alarm() -> None:
    short = [s for s in map(scene, range(24)) if s.config.train.steps <= 20 and s.sizes.V <= 300]
    count, alarms = false_alarms([*short, scene(603), scene(864)])  # on two threads, whose sums round otherwise
    assert alarms == []
    assert count > 30


@pytest.mark.parametrize("which", range(5))
@pytest.mark.parametrize(
    ("seed", "every"), [(0, 20), *(pytest.param(seed, 1, marks=pytest.mark.long) for seed in range(6))]
)
def test_no_false_alarm_where_there_was_one(which: int, seed: int, every: int) -> None:
    s = hard(which, seed)
    count, alarms = false_alarms([s._replace(checked=frozenset(sorted(s.checked)[::every]))])
    assert alarms == []
    assert count >= 1


@pytest.mark.long
@pytest.mark.parametrize("first", range(100, 1900, SOME))
def test_no_false_alarm_in_20000_steps(first: int) -> None:
    """The scenes of all these seeds have 20,000 checked steps; some trainings leave the range of numbers before."""
    scenes = [scene(seed) for seed in range(first, first + SOME)]
    count, alarms = false_alarms(scenes)
    print(f"{count} steps checked")
    assert alarms == []
    assert count > 0.8 * sum(len(s.checked) for s in scenes)
