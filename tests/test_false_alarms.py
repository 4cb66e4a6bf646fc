"""Correct code is never stopped: trainings of all kinds and at all edges, checked, without one failure."""

import pytest
from search import false_alarms, hard, scene


def test_no_false_alarm() -> None:
    short = [s for s in map(scene, range(24)) if s.config.train.steps <= 20 and s.sizes.V <= 300]
    count, alarms = false_alarms(short)
    assert alarms == []
    assert count > 30


@pytest.mark.parametrize("which", range(5))
def test_no_false_alarm_where_there_was_one(which: int) -> None:
    s = hard(which, 0)
    some = frozenset(sorted(s.checked)[::10])
    count, alarms = false_alarms([s._replace(checked=some)])
    assert alarms == []
    assert count >= 1


@pytest.mark.long
def test_no_false_alarm_in_20000_steps() -> None:
    count, alarms = false_alarms(scene(seed) for seed in range(100, 1600))
    assert alarms == []
    assert count >= 20_000


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("which", range(5))
def test_no_false_alarm_where_there_was_one_at_length(which: int, seed: int) -> None:
    count, alarms = false_alarms([hard(which, seed)])
    assert alarms == []
    assert count >= 1
