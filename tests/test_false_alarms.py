"""Correct code is never stopped: trainings of all kinds and at all edges, checked, without one failure."""

import pytest
from search import false_alarms, hard, scene

SEARCHED = range(100, 1900)  # seeds of the long search, cut up for several processes
SOME = 40


def test_no_false_alarm() -> None:
    short = [s for s in map(scene, range(24)) if s.config.train.steps <= 20 and s.sizes.V <= 300]
    count, alarms = false_alarms(short)
    assert alarms == []
    assert count > 30


@pytest.mark.parametrize("which", range(5))
def test_no_false_alarm_where_there_was_one(which: int) -> None:
    s = hard(which, 0)
    some = frozenset(sorted(s.checked)[::20])
    count, alarms = false_alarms([s._replace(checked=some)])
    assert alarms == []
    assert count >= 1


@pytest.mark.long
def test_the_search_has_20000_steps() -> None:
    assert sum(len(scene(seed).checked) for seed in SEARCHED) >= 20_000


@pytest.mark.long
@pytest.mark.parametrize("first", SEARCHED[::SOME])
def test_no_false_alarm_in_20000_steps(first: int) -> None:
    scenes = [scene(seed) for seed in range(first, first + SOME)]
    count, alarms = false_alarms(scenes)
    print(f"{count} steps checked")
    assert alarms == []
    assert count > 0.8 * sum(len(s.checked) for s in scenes)  # some trainings leave the range of numbers on their way


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("which", range(5))
def test_no_false_alarm_where_there_was_one_at_length(which: int, seed: int) -> None:
    count, alarms = false_alarms([hard(which, seed)])
    assert alarms == []
    assert count >= 1
