"""Several runs beside each other: the table, the page, and a scale that no single run can spoil."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from reported import LINES, check_row, drawn, eval_row, make, rows_of, step_row, write

from trainer import config
from trainer.runs.checkpoint import load, save
from trainer.tools.report import compare, report
from trainer.tools.report.run import Run, open_run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to be copied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("finished"))
        return make("run").absolute()


def copy_of(finished: Path, name: str, val_loss: float | None, at: str = "20260101-120000", **settings: Any) -> Path:
    """A run whose evaluations end at such a loss, with some other settings of training."""
    folder = Path("runs", name, at)
    shutil.copytree(finished, folder)
    checkpoint = load(folder / "best.npz")
    checkpoint.config = config.read(checkpoint.config, {f"train.{key}": value for key, value in settings.items()})
    save(folder / "best.npz", checkpoint)
    return write(folder, [*(step_row(k) for k in range(5)), eval_row(2, 3.0), eval_row(5, val_loss)])


def cells(html: str, head: str) -> list[str]:
    return re.findall(f'<td data-head="{re.escape(head)}">(.*?)</td>', html)


@pytest.mark.usefixtures("undrawn")
def test_a_folder_of_runs_means_all_of_them(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = copy_of(finished, "names", 2.7, dropout=0.123456)
    second = copy_of(finished, "names", 2.5, at="20260102-120000")
    copy_of(finished, "other", 1.0)
    report(["runs/names"])
    head, *said = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["run", "train.dropout", "steps"]
    assert [line.split()[:2] for line in said[:2]] == [[str(second), "0"], [str(first), "0.1235"]]  # four digits
    assert said[-1] == f"written to {Path('runs/names').absolute() / 'compare.html'}"
    html = Path("runs/names/compare.html").read_text("utf-8")
    assert cells(html, "run") == [second.name, first.name]
    assert cells(html, "train.dropout") == ["0", "0.1235"]
    assert "data.path" not in html  # what is equal does not differ
    assert cells(html, "validation") == ["2.5000", "2.7000"]
    assert cells(html, "test") == []  # a column of nothing
    assert not (second / "report.html").exists()
    assert "Lowest validation loss: 20260102-120000, 2.5000 nats." in html


@pytest.mark.usefixtures("undrawn")
def test_two_runs_meet_in_the_folder_that_they_share_and_one_has_a_page_of_its_own(finished: Path) -> None:
    first, second = copy_of(finished, "one", 2.7), copy_of(finished, "two", 2.5)
    assert report([first, second, first]) == Path("runs/compare.html").absolute()
    html = Path("runs/compare.html").read_text("utf-8")
    assert cells(html, "run") == ["two/20260101-120000", "one/20260101-120000"]
    assert report(["runs/one"]) == first / "report.html"


@pytest.mark.usefixtures("undrawn")
def test_that_runs_are_on_different_texts_is_said(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = copy_of(finished, "first", 2.7), copy_of(finished, "second", 2.5)
    other = copy_of(make("of_other", [line.replace("b", "c") for line in LINES]), "other", 1.0)  # one path, other words
    report([first, other])
    assert compare.APART in capsys.readouterr().out
    assert compare.APART in Path("runs/compare.html").read_text("utf-8")
    (first / "best.npz").write_bytes(b"")
    report([first, second])
    assert compare.APART not in capsys.readouterr().out
    assert "not a checkpoint" in Path("runs/compare.html").read_text("utf-8")


@pytest.mark.usefixtures("undrawn")
def test_what_failed_is_said_and_what_has_no_loss_stands_last(finished: Path) -> None:
    good, bad, lost = (copy_of(finished, name, loss) for name, loss in (("good", 2.7), ("bad", 2.5), ("lost", None)))
    write(bad, [*rows_of(bad), check_row("update", passed=False)])
    write(lost, [eval_row(2, None)])
    html = compare.comparison(compare.ranked([open_run(folder) for folder in (lost, good, bad)]))
    assert [name.partition("/")[0] for name in cells(html, "run")] == ["bad", "good", "lost"]
    assert cells(html, "gradients") == ["✗ wrong", "-", "-"]
    assert "A check failed, or training diverged, in bad/20260101-120000." in html


# The curves.


def run_with(*losses: float, every: int = 10) -> Run:
    return Run(Path("runs/a/b"), [eval_row((k + 1) * every, loss) for k, loss in enumerate(losses)], None, "", False)


def overlaid(*runs: Run) -> tuple[Any, str]:
    picture, words = drawn(compare.overlay, runs, [f"r{k}" for k in range(len(runs))])
    return picture.axes[0], words


def test_neither_a_run_that_diverged_nor_a_much_longer_one_spoils_the_scale() -> None:
    axes, words = overlaid(
        run_with(3.0, 2.4, 2.3), run_with(3.0, 2.5, 2.4), run_with(3.1, 2.6, 2.5, every=100), run_with(9.0, 70.0, 400.0)
    )
    assert words == "Of these 2 run out of the scale, which is that of the better half."
    assert axes.get_xlim() == (0, pytest.approx(1.02 * 30))
    low, high = axes.get_ylim()
    assert 2.25 < low < 2.3
    assert 2.5 < high < 2.55  # the better half after its first evaluation
    labels = [line.get_label() for line in axes.get_lines()]
    assert labels == ["r0: 2.3", "r1: 2.4", "r2: 2.5", "r3: 400"]


def test_many_runs_are_told_apart() -> None:
    axes, words = overlaid(*(run_with(3.0, 2.0 + k / 100) for k in range(30)))
    assert len({(line.get_color(), line.get_linestyle()) for line in axes.get_lines()}) == 24
    assert words.startswith("24 of 30 are drawn.")


def test_single_evaluations_are_no_curves() -> None:
    with pytest.raises(ValueError, match="no run has two evaluations"):
        overlaid(run_with(2.5), run_with(2.4))


@pytest.mark.usefixtures("undrawn")
def test_curves_are_named_by_the_values_that_differ(finished: Path) -> None:
    folders = [copy_of(finished, f"r{k}", 2.5 + k, dropout=k / 10, weight_decay=k) for k in range(2)]
    runs = [open_run(folder) for folder in folders]
    picture, _ = drawn(compare.overlay, runs, ["one", "two"])
    assert [line.get_label() for line in picture.axes[0].get_lines()] == ["0, 0: 2.5", "1, 0.1: 3.5"]
    assert picture.legends[0].get_title().get_text() == "weight_decay,\ndropout"
