"""Runs beside each other: the table, the page, a scale that no single run can spoil; and what is said of each."""

import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Capture, rows
from matplotlib.colors import to_rgba
from reported import LINES, check_row, drawn, eval_row, make, step_row, write

from trainer import config
from trainer.core.links import ORDER
from trainer.files import held
from trainer.runs.checkpoint import load, save
from trainer.tools.report import compare, curves, report
from trainer.tools.report.run import Run, open_run, progress, severity, verdict

pytestmark = pytest.mark.usefixtures("undrawn", "empty")


def copy_of(finished: Path, name: str, val_loss: float | None, at: str = "20260101-120000", **settings: Any) -> Path:
    """A run whose evaluations end at such a loss, with some other settings."""
    folder = Path("runs", name, at)
    shutil.copytree(finished, folder)
    checkpoint = load(folder / "best.npz")
    changed = {key.replace("_", ".", 1): value for key, value in settings.items()}
    checkpoint.config = config.read(checkpoint.config, changed)
    save(folder / "best.npz", checkpoint)
    return write(folder, [*(step_row(k) for k in range(5)), eval_row(2, 3.0), eval_row(5, val_loss)])


def cells(html: str, head: str) -> list[str]:
    return re.findall(f'<td data-head="{re.escape(head)}">(.*?)</td>', html)


def test_a_folder_of_runs_means_all_of_them(finished: Path, capsys: Capture) -> None:
    first = copy_of(finished, "names", 2.7, train_dropout=0.123456, check_every=7, log_every=3)
    second = copy_of(finished, "names", 2.5, at="20260102-120000")
    copy_of(finished, "other", 1.0)
    assert report(["runs/names", first]) == Path("runs/names/compare.html").absolute()
    head, *said = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["run", "train.dropout", "steps"]  # what is equal, or of checks and log, is left out
    assert [line.split()[:2] for line in said[:2]] == [[str(second), "0"], [str(first), "0.1235"]]  # four digits
    assert said[2:] == [f"written to {Path('runs/names').absolute() / 'compare.html'}"]
    html = Path("runs/names/compare.html").read_text("utf-8")
    assert cells(html, "run") == [str(second), str(first)]
    assert cells(html, "train.dropout") == ["0", "0.1235"]
    assert cells(html, "validation") == ["2.5000", "2.7000"]
    assert cells(html, "test") == []  # a column of nothing
    assert not (second / "report.html").exists()
    assert report([*Path("runs").iterdir()]) == Path("runs/compare.html").absolute()  # where all meet


def test_that_runs_are_not_known_to_be_of_one_text_is_said(finished: Path, capsys: Capture) -> None:
    first, second = copy_of(finished, "first", 2.7), copy_of(finished, "second", 2.5)
    report([first, second])
    assert compare.APART not in capsys.readouterr().out
    others = [line.replace("b", "c") for line in LINES]  # one path, other words
    other = copy_of(make("of_other", lines=others), "other", 1.0)
    report([first, other])
    assert compare.APART in capsys.readouterr().out
    assert compare.APART in Path("runs/compare.html").read_text("utf-8")
    for damaged in (first, second):
        (damaged / "best.npz").write_bytes(b"")
        report([first, second])
        assert compare.APART in capsys.readouterr().out
    assert "not a checkpoint" in Path("runs/compare.html").read_text("utf-8")


def test_what_failed_stands_last_and_a_backward_pass_of_ones_own_is_named(finished: Path) -> None:
    lost, good, own, bad, burst = (
        copy_of(finished, name, loss)
        for name, loss in (("lost", None), ("good", 2.7), ("own", 2.6), ("bad", 2.5), ("burst", 2.4))
    )
    write(lost, [])
    write(own, [{"event": "start", "backward": "mine.py"}, *rows(own)])
    write(bad, [*rows(bad), check_row("update", passed=False)])
    (burst / "train.log").write_text("2026-01-01 12:00:00 ended: training had diverged by step 5: the loss is nan\n")
    html = compare.comparison(compare.ranked([open_run(each) for each in (lost, good, own, bad, burst)])).decode()
    assert [Path(name).parent.name for name in cells(html, "run")] == ["own", "good", "lost", "burst", "bad"]
    assert cells(html, "backward") == ["mine.py", "-", "-", "-", "-"]
    assert cells(html, "checks") == ["-", "-", "-", "✗ diverged", "✗ wrong"]


def run_with(*losses: float, every: int = 10) -> Run:
    return Run(Path("runs/a/b"), [eval_row((k + 1) * every, loss) for k, loss in enumerate(losses)])


def test_neither_a_run_that_diverged_nor_a_much_longer_one_spoils_the_scale() -> None:
    runs = [run_with(3.0, 2.4, 2.3), run_with(3.0, 2.5, 2.4), run_with(3.1, 2.6, 2.5, every=100), run_with(9, 70, 400)]
    axes = drawn(compare.overlay, runs).axes[0]
    assert axes.get_xlim() == pytest.approx((0, 1.02 * 60))
    low, high = axes.get_ylim()
    assert 2.25 < low < 2.3
    assert 2.5 < high < 2.55  # the better half after its first evaluation
    assert [line.get_label() for line in axes.get_lines()] == ["a/b: 2.3", "a/b: 2.4", "a/b: 2.5", "a/b: 400"]


def test_curves_are_named_by_the_values_that_differ(finished: Path) -> None:
    folders = [copy_of(finished, f"r{k}", 2.5 + k, train_dropout=k / 10, train_weight_decay=k) for k in range(2)]
    picture = drawn(compare.overlay, [open_run(folder) for folder in folders])
    assert [line.get_label() for line in picture.axes[0].get_lines()] == ["0, 0: 2.5", "1, 0.1: 3.5"]
    assert picture.legends[0].get_title().get_text() == "weight_decay,\ndropout"


# What is said of each: the sentence, how far it is, each error over its tolerance


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
    assert compare.results(run)["checks"] == word


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
    made = [check_row("gradient", step, step != 500, 8.0 if step == 500 else 0.4, of="z") for step in (0, 500, 999)]
    axes = drawn(curves.errors, run_of(*made, check_row("forward", 7, of="h", error=0.0))).axes[0]
    labels = [label.get_text().split() for label in axes.get_yticklabels()]
    assert labels == [["dz", "✗", "2"], ["forward", "h", "✓", "0"]]
    (marks,) = axes.collections
    assert marks.get_offsets().tolist() == [[7, 1], [0, 0], [999, 0], [500, 0]]
    marks.update_scalarmappable()
    palest, *_, worst = marks.get_edgecolor()
    np.testing.assert_allclose([palest, worst], [to_rgba(curves.GREENS[0]), to_rgba(curves.RED)])


def test_the_table_has_the_best_evaluation_of_a_run_without_an_end() -> None:
    made = [*(step_row(k, steps_per_second=10.0 * k) for k in range(4)), eval_row(2, 2.5), eval_row(3, None)]
    found = compare.results(run_of(*made, eval_row(4, 2.75)))
    want = {"backward": "-", "checks": "-", "steps": "4", "train": "2.4000", "validation": "2.5000", "test": "-"}
    assert found == want | {"steps/s": "15"}
    assert compare.results(run_of(*made, {"event": "end", "step": 5, "test_loss": 2.2}))["test"] == "2.2000"


def test_a_run_that_is_held_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    folder = write(tmp_path / "run", [step_row(0)])
    with held(folder):
        assert open_run(folder).running
    assert not open_run(folder).running
