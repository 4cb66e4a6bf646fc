"""The gallery: each mistake is trained with, is seen by the gradient check, and has its picture."""

import math
import re
from pathlib import Path

import pytest

from trainer.tools.gallery import STEPS, Outcome, page, train, trials

NAMES = str(Path(__file__).parents[1] / "data" / "names.txt")
PLACES = {(link, mistake.written): number for number, (link, mistake, _) in enumerate(trials())}


def test_the_right_one_passes_all_checks_and_learns() -> None:
    outcome = train(0, NAMES, 120)
    assert outcome.seen == {}
    assert outcome.losses[0] > 3.1
    assert outcome.losses[-1] < 2.9


def test_a_mistake_is_seen_and_its_link_is_named() -> None:
    assert train(PLACES["z", "1 - h**2"], NAMES, 60).seen == {"gradient": "z", "descent": None}


@pytest.mark.long
def test_every_mistake_is_seen_and_its_link_is_named() -> None:
    many = trials()
    assert len(PLACES) == len(many) > 80
    for number, each in enumerate(many[1:], 1):
        assert train(number, NAMES, 60).seen["gradient"] == each.link, each


def test_the_page_begins_with_what_looks_healthy_and_counts_scalings_apart() -> None:
    pytest.importorskip("matplotlib")
    many = trials()
    found = [
        (many[0], Outcome([3.0, 2.5, 2.3], {})),
        (many[PLACES["logits", "p / B"]], Outcome([3.3, 3.3, 3.3], {"sum_to_zero": None, "gradient": "logits"})),
        (many[PLACES["z", "dh · (1 - h)"]], Outcome([3.0, 2.6, 2.34], {"gradient": "z", "descent": None})),
        (many[PLACES["C", "emb for demb"]], Outcome([3.3, 99.0, math.nan], {"gradient": "C"})),
        (many[PLACES["logits", "-1 · the right one"]], Outcome([3.3, 9.0, 99.0], {"gradient": "logits"})),
    ]
    words, html = page(found)
    assert words == (
        "1 of 3 wrong derivatives train as if nothing were wrong, and 0 of 1 that are only scaled; the gradient check"
        " sees 4 of 4."
    )
    shown = html.decode()
    assert words in shown
    assert re.findall("<h2>(.*?) <small>(.*?)<", shown) == [
        ("Looks healthy, and is wrong", "1"), ("Shows in the loss", "2"), ("Only scaled", "1"),
    ]  # fmt: skip
    assert re.findall("<h4>(d.*?): ", shown) == ["dz", "dlogits", "dC", "dlogits"]
    assert "seen by gradient (dz), descent" in shown
    assert "ends at nan" in shown
    assert f"{STEPS:,} steps" in shown
    assert shown.count("<svg ") == 4
    assert (words, html) == page(found)
