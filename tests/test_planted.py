"""Bugs of every kind, planted one at a time into a running training: each is caught, under its right name.

`pytest -rP -m "long or not long" tests/test_planted.py` shows every bug with the sentence that it gets.
"""

import os
from pathlib import Path

import pytest
from planted import BUGS
from planted.planting import SETTINGS, Bug, plant, sentence


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs below tmp_path, whose files need not reach the disk."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.parametrize("setting", SETTINGS)
def test_without_a_bug_nothing_stops_a_training(setting: str, tmp_path: Path) -> None:
    assert sentence(tmp_path, setting) == ""


@pytest.mark.parametrize(
    "bug", [pytest.param(bug, marks=[] if k % 5 == 0 else pytest.mark.long, id=str(bug)) for k, bug in enumerate(BUGS)]
)
def test_a_bug_is_caught_under_its_right_name(bug: Bug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(bug, monkeypatch)
    said = sentence(tmp_path, bug.setting)
    print(said)
    assert said.startswith("a check failed"), said
    assert [word for word in bug.words.split(" | ") if word not in said] == [], said


def test_there_are_many() -> None:
    assert len(BUGS) >= 160
