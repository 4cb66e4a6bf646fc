"""The gallery: each mistake is trained with, is seen by the gradient check, and has its picture."""

import math
import re

import pytest

from trainer.tools.gallery import STEPS, page, train, trials

TRIALS = {(each.link, each.mistake.written): each for each in trials()}
RIGHT, *WRONG = TRIALS.values()


def test_the_right_one_passes_all_checks_and_learns() -> None:
    losses, seen = train(RIGHT, 120)
    assert seen == {}
    assert losses[0] > 3.1
    assert losses[-1] < 2.9


def test_a_mistake_is_seen_and_its_link_is_named() -> None:
    assert train(TRIALS["z", "1 - h**2"], 60)[1] == {"gradient": "z", "descent": None}


@pytest.mark.long
def test_every_mistake_is_seen_and_its_link_is_named() -> None:
    assert len(TRIALS) == len(trials()) > 80
    for each in WRONG:
        assert train(each, 60)[1]["gradient"] == each.link, each


def test_the_page_begins_with_what_looks_healthy_and_counts_scalings_apart() -> None:
    pytest.importorskip("matplotlib")
    found = [
        (RIGHT, ([3.0, 2.5, 2.3], {})),
        (TRIALS["logits", "p / B"], ([3.3, 3.3, 3.3], {"sum_to_zero": None, "gradient": "logits"})),
        (TRIALS["z", "dh · (1 - h)"], ([3.0, 2.6, 2.34], {"gradient": "z", "descent": None})),
        (TRIALS["C", "emb for demb"], ([3.3, 99.0, math.nan], {"gradient": "C"})),
        (TRIALS["logits", "-1 · the right one"], ([3.3, 9.0, 99.0], {"gradient": "logits"})),
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
