"""The gallery: each mistake is trained with, is seen by the gradient check, and has its picture."""

import math
import multiprocessing
import re
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from conftest import Trainer

from trainer.tools.gallery import command
from trainer.tools.gallery.page import page
from trainer.tools.gallery.trials import RIGHT_TRIAL, STEPS, Outcome, Trial, train, trials

NAMES = str(Path(__file__).parents[1] / "data" / "names.txt")


def trial(link: str, written: str) -> Trial:
    return next(each for each in trials() if (each.link, each.written) == (link, written))


def test_the_right_one_passes_all_checks_and_learns() -> None:
    outcome = train(RIGHT_TRIAL, NAMES, 120)
    assert (outcome.wrong, outcome.others) == ([], [])
    assert outcome.losses[0] > 3.1 > outcome.losses[-1]
    assert outcome.val_loss < 2.9


@pytest.mark.parametrize(
    ("link", "written", "others"),
    [
        pytest.param("logits", "p / B", ["sum_to_zero", "descent"], marks=pytest.mark.long),
        ("z", "1 - h**2", ["descent"]),
        pytest.param("C", "dC[X] = demb", [], marks=pytest.mark.long),
    ],
)
def test_a_mistake_is_seen_and_its_link_is_named(link: str, written: str, others: list[str]) -> None:
    outcome = train(trial(link, written), NAMES, 60)
    assert outcome.wrong[0] == link
    assert outcome.others == others


@pytest.mark.long
def test_every_mistake_is_seen_and_its_link_is_named() -> None:
    many = trials()[1:]
    assert len(many) > 80
    assert len({(each.link, each.written, each.cause) for each in many}) == len(many)
    for each in many:
        assert train(each, NAMES, 60).wrong[:1] == [each.link], each


def test_the_page_has_a_picture_for_each_and_counts_what_looks_healthy() -> None:
    pytest.importorskip("matplotlib")
    right = Outcome([3.0, 2.5, 2.3], 2.3, [], [])
    found = [
        (RIGHT_TRIAL, right),
        (trial("z", "dh * (1 - h)"), Outcome([3.0, 2.6, 2.3], 2.34, ["z", "W1"], ["descent"])),
        (trial("logits", "p / B"), Outcome([3.3, 3.3, 3.3], 3.3, ["logits"], ["sum_to_zero"])),
        (trial("C", "emb for demb"), Outcome([3.3, 99.0, math.nan], math.nan, ["C"], [])),
    ]
    html = page(found)
    assert "<b>1 of 3</b> wrong derivatives train as if nothing were wrong" in html
    assert "The gradient check sees all of them" in html
    assert re.findall(r"<h2>(\w+)<", html) == ["dz", "dlogits", "dC"]
    assert "seen by gradient (dz), descent" in html
    assert "validation 2.34<" in html
    assert "validation no number" in html
    assert f"{STEPS:,} steps" in html
    pictures = re.findall(r"<svg .*?</svg>", html, re.DOTALL)
    assert len(pictures) == 3
    for picture in pictures:
        ElementTree.fromstring(picture)
        assert "var(--right)" in picture
    assert not re.search(r"(src|href)=.(?!data:|#)", html)  # a file that needs no other
    assert html == page(found)


def test_the_command_asks_for_the_names(trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    status, out, err = trainer("gallery")
    assert (status, out) == (2, "")
    assert err == f"error: no data/names.txt, in {tmp_path}; start the gallery where it lies\n"


def slow_training(path: str, number: int) -> None:
    Path("begun").touch()
    time.sleep(20)
    Path("ended").touch()


def test_an_interrupt_does_not_wait_for_the_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")

    def interrupted(results: Any, *about: Any) -> Any:
        while not Path("begun").exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "DATA", __file__)  # any file that is there
    monkeypatch.setattr(command, "outcome", slow_training)
    monkeypatch.setattr(command, "tqdm", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command.gallery()
    assert multiprocessing.active_children() == []
    assert not Path("ended").exists()
