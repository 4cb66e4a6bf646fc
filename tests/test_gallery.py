"""The gallery: each mistake is trained with, is seen by the gradient check, and has its picture."""

import math
import re
from pathlib import Path

import pytest
from conftest import Trainer

from trainer.tools.gallery.command import page
from trainer.tools.gallery.trials import STEPS, Outcome, train, trials

NAMES = str(Path(__file__).parents[1] / "data" / "names.txt")
PLACES = {(each.link, each.written): number for number, each in enumerate(trials())}


def test_the_right_one_passes_all_checks_and_learns() -> None:
    outcome = train(0, NAMES, 120)
    assert (outcome.wrong, outcome.others) == ([], [])
    assert outcome.losses[0] > 3.1 > outcome.losses[-1]
    assert outcome.val_loss < 2.9


def test_a_mistake_is_seen_and_its_link_is_named() -> None:
    outcome = train(PLACES["z", "1 - h**2"], NAMES, 60)
    assert (outcome.wrong[0], outcome.others) == ("z", ["descent"])


@pytest.mark.long
def test_every_mistake_is_seen_and_its_link_is_named() -> None:
    many = trials()
    assert len(set(PLACES)) == len(many) > 80
    for number, each in enumerate(many[1:], 1):
        assert train(number, NAMES, 60).wrong[:1] == [each.link], each


def test_the_page_begins_with_what_looks_healthy_and_counts_scalings_apart() -> None:
    pytest.importorskip("matplotlib")
    right = Outcome([3.0, 2.5, 2.3], 2.3, [], [])
    many = trials()
    found = [
        (many[0], right),
        (many[PLACES["logits", "p / B"]], Outcome([3.3, 3.3, 3.3], 3.3, ["logits"], ["sum_to_zero"])),
        (many[PLACES["z", "dh · (1 - h)"]], Outcome([3.0, 2.6, 2.3], 2.34, ["z", "W1"], ["descent"])),
        (many[PLACES["C", "emb for demb"]], Outcome([3.3, 99.0, math.nan], math.nan, ["C"], [])),
        (many[PLACES["logits", "-1 · the right one"]], Outcome([3.3, 9.0, 99.0], 99.0, ["logits"], ["descent"])),
    ]
    words, html = page(found)
    assert words == (
        "1 of 3 wrong derivatives train as if nothing were wrong, and 0 of 1 that are only scaled; the gradient check"
        " sees 4 of 4."
    )
    assert words in html
    assert re.findall("<h2>(.*?) <small>(.*?)<", html) == [
        ("Looks healthy, and is wrong", "1"), ("Shows in the loss", "2"), ("Only scaled", "1"),
    ]  # fmt: skip
    assert re.findall("<h4>(d.*?): ", html) == ["dz", "dlogits", "dC", "dlogits"]
    assert "seen by gradient (dz), descent" in html
    assert "validation nan" in html
    assert f"{STEPS:,} steps" in html
    assert html.count("<svg ") == 4
    assert (words, html) == page(found)


def test_the_command_asks_for_the_names(trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    assert trainer("gallery") == (2, "", f"error: no data/names.txt, in {tmp_path}; start the gallery where it lies\n")
