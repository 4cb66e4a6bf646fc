"""Training that diverges says what happened, and spares the last good checkpoint."""

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import SETTINGS, Trainer, assert_one_line, folder, fresh, rows, trained

from trainer.core import optim
from trainer.runs.checkpoint import load

pytestmark = pytest.mark.usefixtures("place")


@pytest.mark.parametrize("settings", ["", "train.optimizer=adamw", "check.enabled=true", SETTINGS["threads"]], ids=len)
@pytest.mark.parametrize("rate", ["1e6", "1e30"])
@pytest.mark.filterwarnings("error")
def test_divergence_says_what_happened_and_spares_the_checkpoint(settings: str, rate: str, trainer: Trainer) -> None:
    outcome = trainer(*fresh("wild", f"train.learning_rate={rate}", settings))
    path = folder("wild")
    saved = load(path / "checkpoint.npz")  # which takes none that is not finite
    named = "train.learning_rate", str(path / "checkpoint.npz"), "try "
    assert_one_line(outcome, 1, "training had diverged by step", *named)
    assert any(f"{what} is" in outcome[2] for what in ("loss", "a parameter", "or a gradient"))
    assert saved.step <= int(outcome[2].rpartition("by step ")[2].partition(":")[0])
    for row in rows(path):
        assert all(math.isfinite(row[key]) for key in ("loss", "grad_norm") if key in row)


def test_no_state_is_saved_that_cannot_be_loaded(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optim, "initial_state", lambda _, p: {"velocity": np.full_like(p.flat, np.inf)})
    assert_one_line(trainer(*fresh("wild", "train.momentum=0.5")), 1, "what the rule remembers, is not finite")


def test_a_high_loss_that_comes_down_again_is_no_divergence() -> None:
    Path("text.txt").write_text("a\nb\nab\nba\naab\nbba\nbab\naba\nbbb\naaa\n")
    run = trained("high", "train.learning_rate=20 train.steps=100 log.eval_every=1")
    assert max(row["train_loss"] for row in rows(run, "eval")) > 10 * math.log(3)


ADVICE = {
    "train.optimizer=adamw train.weight_decay=1e6": "0.001, usual with adamw is 0.001; --check tells whether every g",
    "train.learning_rate=1e30": "try a lower rate: train.learning_rate is 1e+30, usual with sgd is 0.1",
}


@pytest.mark.parametrize("settings", ADVICE)
def test_advice_fits_the_rate_that_was_used(settings: str, trainer: Trainer) -> None:
    assert_one_line(trainer(*fresh("wild", settings)), 1, ADVICE[settings])
