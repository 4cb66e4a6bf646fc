"""What the report says of a run: the sentence, how far it is, each error over its tolerance, the table."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from reported import check_row, drawn, eval_row, step_row, write

from trainer.core.links import ORDER
from trainer.files import held
from trainer.tools.report import curves
from trainer.tools.report.compare import results
from trainer.tools.report.run import Run, open_run, progress, severity, verdict


def run_of(*rows: dict[str, Any], last_words: str = "", running: bool = False) -> Run:
    return Run(Path("runs/a/b"), list(rows), last_words, running)


def nine(step: int, wrong: tuple[str, ...] = (), **more: Any) -> list[dict[str, Any]]:
    """The rows of the gradient check, some of them failed at 8 times the tolerance."""
    rows = [check_row("gradient", step, name not in wrong, 32.0 if name in wrong else 1.0, of=name) for name in ORDER]
    return [row | (more if not row["passed"] else {}) for row in rows]


AGREE = "All nine gradients agree with numerical ones at every checked step, of which the log keeps 2"
SAID = "dh is right, dz is wrong: look at tanh_backward"
FIRST_WRONG = [*nine(0), *nine(3, ("z", "C"), words=SAID), *nine(6, ("h",), words="later")]
DIVERGED = "training had diverged by step 9: the loss is nan"


@pytest.mark.parametrize(
    ("run", "kind", "word", "words"),
    [
        (run_of(*nine(0), *nine(7)), "good", "✓ right", f"{AGREE}; the largest error is 0.25 of its tolerance."),
        (run_of(check_row("initial_loss", passed=False), *nine(0), *nine(7)), "good", "✓ right", AGREE),  # only warns
        (run_of(check_row("sum_to_zero")), "unknown", "-", "The nine gradients of this run were not checked"),
        (run_of(*FIRST_WRONG), "bad", "✗ wrong", f"A check failed at step 3: {SAID}"),
        (run_of(*nine(3, ("z",))), "bad", "✗ wrong", "A check failed at step 3: dz is out of tolerance"),
        (run_of(last_words=f"ended: {DIVERGED}"), "bad", "✗ diverged", f"The run failed: {DIVERGED}"),
        (run_of(last_words="ended: mine.py: dz WRONG"), "bad", "✗ failed", "The run failed: mine.py: dz WRONG"),
        (run_of(*nine(0), *nine(7), last_words="ended: interrupted at step 9"), "good", "✓ right", AGREE),
    ],
)
def test_the_verdict(run: Run, kind: str, word: str, words: str) -> None:
    found = verdict(run)
    assert found[:2] == (kind, word)
    assert found[2].startswith(words)
    assert results(run)["checks"] == word


def test_how_far_the_run_is() -> None:
    end = {"event": "end", "step": 20}
    assert progress(run_of(eval_row(30), running=True)) == "The run goes on; its log goes to step 30."
    assert progress(run_of(eval_row(20), end)) == "The run has ended; its log goes to step 20."
    stopped = "The run stopped before its end; its log goes to step 3."
    said = "ended: interrupted at step 4, state saved"
    assert progress(run_of(step_row(3), last_words=said)) == f"{stopped} Its log ends with: {said}"
    assert progress(run_of(step_row(3), last_words="ended: KeyError: 'x'")) == stopped  # the verdict has said the rest


@pytest.mark.parametrize(
    ("row", "ratio"),
    [
        (check_row("forward", error=1.0), 0.25),
        (check_row("batch", error=0.0, tolerance=0.0), 0.0),
        (check_row("batch", passed=False, error=2.0, tolerance=0.0), math.inf),
        (check_row("update", passed=False, error=12.0), 3.0),
        (check_row("gradient", passed=False, error=None), math.inf),  # it failed and has no number
        ({"event": "check", "step": 0, "name": "of another version", "passed": True}, 0.0),
    ],
)
def test_error_over_tolerance(row: dict[str, Any], ratio: float) -> None:
    assert severity(row) == ratio


def test_errors_stand_at_their_steps_and_the_worst_is_drawn_last() -> None:
    rows = [check_row("gradient", step, step != 500, 8.0 if step == 500 else 0.4, of="z") for step in (0, 500, 999)]
    axes = drawn(curves.errors, run_of(*rows, check_row("forward", 7, of="h", error=0.0))).axes[0]
    labels = [label.get_text().split() for label in axes.get_yticklabels()]
    assert labels == [["dz", "✗", "2"], ["forward", "h", "✓", "0"]]
    (marks,) = axes.collections
    assert marks.get_offsets().tolist() == [[7, 1], [0, 0], [999, 0], [500, 0]]
    marks.update_scalarmappable()
    palest, *_, worst = marks.get_edgecolor()
    np.testing.assert_allclose([palest, worst], [to_rgba(curves.GREENS[0]), to_rgba(curves.RED)])


def test_the_table_has_the_best_evaluation_of_a_run_without_an_end() -> None:
    rows = [*(step_row(k, steps_per_second=10.0 * k) for k in range(4)), eval_row(2, 2.5), eval_row(3, None)]
    found = results(run_of(*rows, eval_row(4, 2.75)))
    want = {"backward": "-", "checks": "-", "steps": "4", "train": "2.4000", "validation": "2.5000", "test": "-"}
    assert found == want | {"steps/s": "15"}
    assert results(run_of(*rows, {"event": "end", "step": 5, "test_loss": 2.2}))["test"] == "2.2000"


def test_a_run_that_is_held_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    folder = write(tmp_path / "run", [step_row(0)])
    with held(folder):
        assert open_run(folder).running
    assert not open_run(folder).running
