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
from trainer.runs.checkpoint import load, save
from trainer.runs.folder import held
from trainer.runs.metrics import to_yaml
from trainer.tools.report import curves, pages, report
from trainer.tools.report.run import Run, progress, read_run, severity, verdict

pytestmark = pytest.mark.usefixtures("undrawn", "empty")


def copy_of(finished: Path, name: str, val_loss: float | None, at: str = "20260101-120000", **settings: Any) -> Path:
    """A run whose evaluations end at such a loss, with some other settings."""
    folder = Path("runs", name, at)
    shutil.copytree(finished, folder)
    checkpoint = load(folder / "best.npz")
    changed = {key.replace("_", ".", 1): value for key, value in settings.items()}
    checkpoint.config = config.read(checkpoint.config, changed)
    save(folder / "best.npz", checkpoint)
    (folder / "config.yaml").write_text(to_yaml(checkpoint.config))
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
    assert cells(html, "val") == ["2.5000", "2.7000"]
    assert cells(html, "test") == []  # a column of nothing
    assert not (second / "report.html").exists()
    among_files = [*Path("runs/names").iterdir(), second / "best.npz"]
    assert report(among_files) == Path("runs/names/compare.html").absolute()
    assert report([*Path("runs").iterdir()]) == Path("runs/compare.html").absolute()  # where all meet


def test_runs_of_other_words_in_one_file_are_told_apart(finished: Path) -> None:
    first = copy_of(finished, "first", 2.7)
    other = copy_of(make("of_other", lines=[line.replace("b", "c") for line in LINES]), "other", 1.0)
    report([first, other])
    html = Path("runs/compare.html").read_text("utf-8")
    assert cells(html, "text") == [load(each / "best.npz").fingerprint[:8] for each in (other, first)]
    assert "Losses can only be compared within one text" in html


def test_settings_of_a_run_without_a_checkpoint_are_those_of_its_configuration(finished: Path) -> None:
    folders = [copy_of(finished, f"r{k}", 2.5, train_dropout=k / 10) for k in range(2)]
    (folders[1] / "best.npz").write_bytes(b"")
    report(folders)
    html = Path("runs/compare.html").read_text("utf-8")
    assert cells(html, "train.dropout") == ["0", "0.1"]
    assert "not a checkpoint" in html
    (folders[1] / "config.yaml").write_text("damaged")
    report([*folders, copy_of(finished, "r2", 2.5, train_dropout=0.2)])
    assert cells(Path("runs/compare.html").read_text("utf-8"), "train.dropout") == ["0", "-", "0.2"]


def test_what_failed_stands_last_and_a_backward_pass_of_ones_own_is_named(finished: Path) -> None:
    lost, good, own, bad, burst = (
        copy_of(finished, name, loss)
        for name, loss in (("lost", None), ("good", 2.7), ("own", 2.6), ("bad", 2.5), ("burst", 2.4))
    )
    write(lost, [])
    checkpoint = load(own / "best.npz")
    checkpoint.backward = "mine.py"
    save(own / "best.npz", checkpoint)
    write(bad, [*rows(bad), check_row("update", passed=False)])
    (burst / "train.log").write_text("2026-01-01 12:00:00 ended: training had diverged by step 5: the loss is nan\n")
    runs = sorted(map(read_run, (lost, good, own, bad, burst)), key=pages.rank)
    html = pages.comparison(runs, "runs", False).decode()
    assert [Path(name).parent.name for name in cells(html, "run")] == ["own", "good", "lost", "burst", "bad"]
    assert cells(html, "backward") == ["mine.py", "-", "-", "-", "-"]
    assert cells(html, "checks") == ["-", "-", "-", "✗ diverged", "✗ wrong"]


def test_neither_runs_that_diverged_nor_a_much_longer_one_spoil_the_scale() -> None:
    losses = {"good": (3.0, 2.4, 2.3), "long": (3.1, 2.6, 2.5), "diverged": (9, 70, 400), "lost": ()}
    curves_of = []
    for name, values in losses.items():
        steps = np.arange(1, len(values) + 1) * (100 if name == "long" else 10)
        curves_of.append((f"{name}:", np.array([steps, values], float)))
    axes = drawn(curves.overlay, curves_of).axes[0]
    assert axes.get_xlim()[1] == pytest.approx(1.02 * 60)
    assert axes.get_ylim() == pytest.approx((0.99 * 2.3, 1.15 * 2.3))
    labels = [line.get_label() for line in axes.get_lines()]
    assert labels == ["good: 2.3", "long: 2.5", "diverged: 400 ↑", "lost: -"]


def test_curves_are_named_by_the_values_that_differ(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [copy_of(finished, f"r{k}", 2.5 + k, train_dropout=k / 10, train_weight_decay=k) for k in range(2)]
    drawn = list[list[str]]()
    monkeypatch.setattr(pages, "overlay", lambda picture, curves: drawn.append([name for name, _ in curves]))
    report(folders)
    assert "named by its train.weight_decay, train.dropout." in Path("runs/compare.html").read_text("utf-8")
    (folders[0] / "config.yaml").write_bytes((folders[1] / "config.yaml").read_bytes())
    report(folders)
    assert drawn == [["0, 0:", "1, 0.1:"], ["r0/20260101-120000:", "r1/20260101-120000:"]]


# What is said of each: the sentence, how far it is, each error over its tolerance


def run_of(*rows: dict[str, Any], ended: str = "", running: bool = False) -> Run:
    return Run(Path("runs/a/b"), list(rows), ended, running)


def table_of(run: Run) -> dict[str, str]:
    """What the terminal shows of it."""
    return dict(zip(*pages.table_of([run]), strict=True))


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
        (run_of(ended=DIVERGED), "bad", "✗ diverged", f"The run failed: {DIVERGED}"),
        (run_of(ended="mine.py: dz WRONG"), "bad", "✗ failed", "The run failed: mine.py: dz WRONG"),
        (run_of(*nine(0), *nine(7), ended="interrupted at step 9"), "good", "✓ right", AGREE),
    ],
)
def test_the_verdict(run: Run, kind: str, word: str, words: str) -> None:
    found = verdict(run)
    assert found[:2] == (kind, word)
    assert found[2].startswith(words)
    assert table_of(run).get("checks", "-") == word


def test_how_far_the_run_is() -> None:
    end = {"event": "end", "step": 20}
    assert progress(run_of(eval_row(30), running=True)) == "The run goes on; its log goes to step 30."
    assert progress(run_of(eval_row(20), end)) == "The run has ended; its log goes to step 20."
    stopped = "The run stopped before its end; its log goes to step 3."
    assert progress(run_of(step_row(3), ended="KeyError: 'x'")) == stopped  # the verdict has said the rest


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
    other = (
        check_row("of another version"),
        check_row("gradient", 999, of="h"),
        check_row("forward", 7, of="h", error=0),
    )
    axes = drawn(curves.errors, run_of(*made, *other)).axes[0]
    labels = [
        "forward h  ✓ 0",
        "dh  ✓ 0.2",
        "dz  ✗ 2",
        "of another version  ✓ 0.2",
    ]
    assert [label.get_text().strip() for label in axes.get_yticklabels()] == labels
    (marks,) = axes.collections
    assert marks.get_offsets().tolist() == [[7, 0], [0, 2], [999, 2], [999, 1], [0, 3], [500, 2]]
    palest, *_, worst = marks.get_edgecolor()
    np.testing.assert_allclose([palest, worst], [to_rgba(curves.GREEN, 0.4), to_rgba(curves.RED, 1)])


def test_the_table_has_the_best_evaluation_of_a_run_without_an_end() -> None:
    made = [*(step_row(k, steps_per_second=10.0 * k) for k in range(4)), eval_row(2, 2.5), eval_row(3, None)]
    found = table_of(run_of(*made, eval_row(4, 2.75)))
    assert found == {"run": "runs/a/b", "steps": "4", "train": "2.4000", "val": "2.5000", "steps/s": "15"}
    assert table_of(run_of(*made, {"event": "end", "step": 5, "test_loss": 2.2}))["test"] == "2.2000"


def test_a_run_that_is_held_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    folder = write(tmp_path / "run", [step_row(0)])
    with held(folder):
        assert read_run(folder).running
    assert not read_run(folder).running
