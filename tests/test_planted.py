"""Bugs, planted one at a time into a training: each is caught, by name (`pytest -rP` shows the sentences)."""

from pathlib import Path

import pytest
from planted.planting import SETTINGS, Bug, drawn_from, over_a_run, plant, read, sentence

pytestmark = pytest.mark.usefixtures("empty")


@pytest.mark.parametrize("setting", SETTINGS)
def test_without_a_bug_nothing_stops_a_training(setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sentence(tmp_path, setting, monkeypatch) == ""


@pytest.mark.parametrize("bug", read("bugs.txt"), ids=str)
def test_a_bug_is_caught_under_its_right_name(bug: Bug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(bug, monkeypatch)
    said = sentence(tmp_path, bug.setting, monkeypatch)
    print(said)
    assert said.startswith("step "), said
    assert [word for word in bug.words if word not in said] == [], said


@pytest.mark.parametrize("setting", ["1", "4", "32", "rare"])
def test_what_is_drawn_by_chance_is_called_so(setting: str, tmp_path: Path) -> None:
    assert [verdict for verdict in over_a_run(*drawn_from(tmp_path, setting), 300) if not verdict.passed] == []


@pytest.mark.parametrize("bug", read("drawn.txt"), ids=str)
def test_what_is_not_drawn_by_chance_shows_over_a_run(
    bug: Bug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(bug, monkeypatch)
    failed = next(verdict for verdict in over_a_run(*drawn_from(tmp_path, bug.setting), 300) if not verdict.passed)
    print(failed)
    assert all(word in str(failed.words) for word in bug.words)
