"""Several runs beside each other: the table, the page, and a scale that no single run can spoil."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import rows
from reported import LINES, check_row, drawn, eval_row, make, step_row, write

from trainer import config
from trainer.runs.checkpoint import load, save
from trainer.tools.report import compare, report
from trainer.tools.report.run import Run, open_run

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


def test_a_folder_of_runs_means_all_of_them(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_that_runs_are_not_known_to_be_of_one_text_is_said(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


# The curves.


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
