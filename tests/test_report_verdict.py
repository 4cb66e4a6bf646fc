"""What the report says of a run: the sentence, the nine links, each error over its tolerance, the table."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reported import check_row, drawn, eval_row, step_row, write

from trainer.core.links import ORDER
from trainer.files import held
from trainer.tools.report import curves
from trainer.tools.report.compare import results
from trainer.tools.report.run import Run, open_run, progress, severity, verdict


def run_of(*rows: dict[str, Any], last_words: str = "", running: bool = False) -> Run:
    return Run(Path("runs/a/b"), list(rows), None, last_words, running)


def nine(step: int, wrong: tuple[str, ...] = (), **more: Any) -> list[dict[str, Any]]:
    """The rows of the gradient check, some of them failed at 8 times the tolerance."""
    rows = [check_row("gradient", step, name not in wrong, 32.0 if name in wrong else 1.0, of=name) for name in ORDER]
    return [row | (more if not row["passed"] else {}) for row in rows]


def test_all_nine_right() -> None:
    kind, words = verdict(run_of(*nine(0), *nine(7)))
    assert kind == "good"
    agree = "All nine gradients agree with numerical ones, at 2 of 2 checked steps"
    assert words == f"{agree}; the largest error is 0.25 of its tolerance."
    end = {"event": "end", "step": 200, "checks": {"gradient": {"run": 900, "failed": 0, "worst": 0.1}}}
    assert "at 100 of 100 checked steps" in verdict(run_of(*nine(0), end))[1]  # the log has rows of some of them


def test_what_was_not_checked_is_no_success() -> None:
    kind, words = verdict(run_of(check_row("sum_to_zero")))
    assert kind == "unknown"
    assert words.startswith("The nine gradients of this run (dlogits, dh, dz, demb, dW2, db2, dW1, db1, dC) were not")


def test_a_failed_check_is_said_in_the_words_it_had() -> None:
    said = "dh is right, dz is wrong: look at tanh_backward"
    rows = [*nine(0), *nine(3, ("z", "C"), words=said), *nine(6, ("h",), words="later")]
    assert verdict(run_of(*rows)) == ("bad", f"A check failed at step 3: {said}")
    assert verdict(run_of(*nine(3, ("z", "C"))))[1] == "A check failed at step 3: dz, dC out of tolerance"
    assert verdict(run_of(check_row("initial_loss", passed=False, error=9.0), *nine(0)))[0] == "good"  # it only warns
    diverged = run_of(last_words="ended at step 9: training diverged at step 9: the loss is nan")
    assert verdict(diverged) == ("bad", f"It diverged; its log ends with: {diverged.last_words}")
    assert results(diverged)["gradients"] == "diverged"


def test_how_far_the_run_is() -> None:
    evals = [eval_row(10, 3.0), eval_row(20, 2.0), eval_row(30, 2.5)]
    words = progress(run_of(*evals, running=True))
    assert words.startswith("The run goes on, at step 30.")
    assert "lowest at step 20, 2.0000 nats, and has risen to 2.5000 since" in words
    last = "stopped by an error at step 4: KeyError: 'x', line 8 of own.py"
    assert progress(run_of(step_row(3), last_words=last)) == (
        f"The run has no end: it stopped after 4 steps. Its log ends with: {last}"
    )
    ended = progress(run_of(*evals[:2], {"event": "end", "step": 20}))
    assert ended == "The run made 20 steps. Validation is lowest at step 20, 2.0000 nats."


@pytest.mark.parametrize(
    ("row", "ratio"),
    [
        (check_row("forward", error=1.0), 0.25),
        (check_row("batch", error=0.0, tolerance=0.0), 0.0),
        (check_row("batch", passed=False, error=2.0, tolerance=0.0), math.inf),
        (check_row("update", passed=False, error=12.0), 3.0),
        (check_row("gradient", passed=False, error=None), math.inf),  # it failed and has no number
        (check_row("gradient", error=9.0), 1.0),  # it passed, whatever the numbers say
        ({"event": "check", "step": 0, "name": "of another version", "passed": True}, 0.0),
    ],
)
def test_error_over_tolerance(row: dict[str, Any], ratio: float) -> None:
    assert severity(row) == ratio


def test_errors_stand_at_their_steps_and_the_worst_of_a_stretch_is_seen() -> None:
    rows = [check_row("gradient", step, of="z", error=0.4) for step in (0, 500, 999)]
    rows += [check_row("gradient", 501, False, 8.0, of="z"), check_row("forward", 0, of="h", error=0.0)]
    picture, _ = drawn(curves.errors, run_of(*rows))
    axes = picture.axes[0]
    assert [label.get_text().split() for label in axes.get_yticklabels()] == [
        ["dz", "✗", "2"], ["forward", "h", "✓", "0"],
    ]  # fmt: skip
    rgba = np.asarray(axes.images[0].get_array())
    assert np.flatnonzero(rgba[0, :, 3]).tolist() == [0, 50, 99]  # of a hundred stretches of ten steps
    assert np.flatnonzero(rgba[1, :, 3]).tolist() == [0]
    assert (rgba[0, [0, 99], :3] == curves.GOOD).all()
    assert tuple(rgba[0, 50]) == (*curves.BAD, 1.0)
    assert axes.get_xlim() == (0, 1000)


def test_the_table_has_the_best_evaluation_of_a_run_without_an_end() -> None:
    rows = [step_row(k, steps_per_second=10.0 * k) for k in range(1, 4)]
    rows += [eval_row(2, 2.5), eval_row(3, None), eval_row(4, 2.75)]
    found = results(run_of(*rows))
    assert (found["train"], found["validation"], found["test"]) == ("2.4000", "2.5000", "-")
    assert (found["steps"], found["steps/s"]) == ("4", "20")
    assert set(results(run_of()).values()) == {"-", "0"}
    end = {"event": "end", "step": 5, "train_loss": 2.0, "val_loss": 2.1, "test_loss": 2.2}
    assert results(run_of(end))["test"] == "2.2000"
    assert results(run_of(*nine(0, ("C",))))["error / tolerance"] == "8"


def test_a_run_that_is_held_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    folder = write(tmp_path / "run", [step_row(0)])
    with held(folder):
        assert open_run(folder).running
    assert not open_run(folder).running
