"""Several runs beside each other, and a page that follows a run."""

import math
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from reported import LINES, check_row, eval_row, make, rows_of, step_row, write

from trainer.errors import UserError
from trainer.tools.report import compare, find_all, order, report, run, watch
from trainer.tools.report.run import open_run


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_pause(monkeypatch):
    """No time passes; how long a pause was wanted is noted."""
    pauses = []
    monkeypatch.setattr(watch.time, "sleep", pauses.append)
    return pauses


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run to be copied, with its configuration."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("finished"))
        return make("run").absolute()


def copy_of(finished, name, val_loss, hidden=8, at="20260101-120000"):
    """A run whose evaluations end at such a loss."""
    folder = Path("runs", name, at)
    shutil.copytree(finished, folder)
    settings = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(settings.replace("hidden: 8", f"hidden: {hidden}"))
    steps = [step_row(k) for k in range(5)]
    return write(folder, [*steps, eval_row(2, 3.0), eval_row(5, val_loss)])


def cells(html, head):
    return re.findall(f'<td data-head="{re.escape(head)}">(.*?)</td>', html)


def test_a_folder_of_runs_means_all_of_them(finished, capsys):
    first = copy_of(finished, "names", 2.7, hidden=16)
    second = copy_of(finished, "names", 2.5, at="20260102-120000")
    copy_of(finished, "other", 1.0)
    (first / "report.html").write_text("its own")
    report(["runs/names"])
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[1:3]] == [str(second), str(first)]  # the better one first
    assert said[-1] == f"written to {Path('runs/names').absolute() / 'compare.html'}"
    html = Path("runs/names/compare.html").read_text("utf-8")
    assert cells(html, "run") == [second.name, first.name]
    assert cells(html, "model.hidden") == ["8", "16"]
    assert "data.path" not in html  # what is equal does not differ
    assert cells(html, "validation") == ["2.5000", "2.7000"]
    assert cells(html, "test") == []  # a column of nothing
    assert (first / "report.html").read_text() == "its own"
    assert not (second / "report.html").exists()
    for words in ("hidden 8", "hidden 16"):  # directly at the curves
        assert f">{words}</text>" in html
    assert "prefers-color-scheme: dark" in html
    assert "Lowest validation loss: 20260102-120000, 2.5000 nats." in html


def test_two_runs_meet_in_the_folder_that_they_share(finished):
    first, second = copy_of(finished, "one", 2.7), copy_of(finished, "two", 2.5)
    report([first, second, first])
    html = Path("runs/compare.html").read_text("utf-8")
    assert cells(html, "run") == ["two/20260101-120000", "one/20260101-120000"]
    assert ">two/20260101-120000</text>" in html  # where the configurations are equal


def test_a_folder_with_one_run_has_that_runs_page(finished, undrawn):
    only = copy_of(finished, "one", 2.7)
    assert [folder.absolute() for folder in find_all(["runs"])] == [only.absolute()]


def test_where_no_run_is_named_the_newest_is_meant_that_did_not_fail(finished, capsys, no_pause, undrawn):
    right, failed = copy_of(finished, "right", 2.7), copy_of(finished, "failed", 2.5)
    with open(failed / "train.log", "a") as log:
        log.write("2026-01-01 12:00:00 a check failed at step 3: dz is wrong\n")
    for place, folder in enumerate((right, failed)):
        os.utime(folder / "checkpoint.npz", (place, place))
    assert report() == right / "report.html"
    assert capsys.readouterr().err == f"the report is of {right}, at step 5\n"
    assert report(watch=True) == failed / "report.html"  # the newest of all, which may have begun a moment ago
    assert capsys.readouterr().err == f"the report is of {failed}, at step 5\n"


def test_runs_without_a_loss_stand_last(finished, undrawn):
    lost = copy_of(finished, "lost", math.nan)
    write(
        lost,
        [row | {"val_loss": None} if row["event"] == "eval" else row for row in rows_of(copy_of(finished, "a", 2.0))],
    )
    found = order.by_validation([open_run(folder) for folder in (lost, Path("runs/a/20260101-120000"))])
    assert [each.name.split("/")[0] for each in found] == ["a", "lost"]


def test_many_differing_keys_stand_in_a_table_of_their_own(finished, undrawn):
    first, second = copy_of(finished, "first", 2.7), copy_of(finished, "second", 2.5, hidden=16)
    file = second / "config.yaml"
    other = {"split": [0.7, 0.2, 0.1]}, {"dropout": 0.25, "patience": 3, "momentum": 0.5}, {"enabled": True}
    tree = yaml.safe_load(file.read_text())
    for section, values in zip(("data", "train", "check"), other, strict=True):
        tree[section] |= values
    file.write_text(yaml.safe_dump(tree))
    names = ["second/20260101-120000", "first/20260101-120000"]
    html = compare.comparison(order.by_text([open_run(first), open_run(second)]))
    assert cells(html, "model.hidden") == []  # not in the table of results
    assert cells(html, "validation") == ["2.5000", "2.7000"]
    keys = ["data.split", "model.hidden", "train.momentum", "train.dropout", "train.patience", "check.enabled"]
    assert cells(html, "key") == keys
    assert cells(html, names[0]) == ["[0.7, 0.2, 0.1]", "16", "0.5", "0.25", "3", "true"]
    assert cells(html, names[1]) == ["[0.8, 0.1, 0.1]", "8", "0.0", "0.0", "0", "false"]
    assert html.count('<div class="scroll') == 2


def test_runs_on_different_texts_are_not_ranked_together(finished, capsys, undrawn):
    first, second = copy_of(finished, "first", 2.7), copy_of(finished, "second", 2.5)
    other = copy_of(make("of_other", [line.replace("b", "c") for line in LINES]), "other", 1.0)
    lost = copy_of(finished, "lost", 0.5)
    for file in ("best.npz", "checkpoint.npz"):
        (lost / file).write_bytes(b"")
    report([lost, first, other, second])
    lines = capsys.readouterr().out.splitlines()
    words = [line.split()[0] for line in lines[1:8]]
    assert words == ["Text", str(second), str(first), "Text", str(other), "Text", str(lost)]
    texts = [line for line in lines if line.startswith("Text")]
    assert texts[0].startswith("Text text.txt: lines, V = 3, SHA-256 ")
    assert texts[0] != texts[1]  # one path, other words
    assert texts[2] == "Text unknown: no checkpoint can be read"
    assert order.APART in lines
    html = Path("runs/compare.html").read_text("utf-8")
    assert re.findall("<h2>(Text .*?)</h2>", html) == texts
    assert re.findall("Lowest validation loss: (.*?)/", html) == ["second", "other", "lost"]
    assert cells(html, "run") == [f"{name}/20260101-120000" for name in ("second", "first", "other", "lost")]
    report([first, second])
    assert "Text" not in capsys.readouterr().out


def test_what_failed_is_said_in_a_comparison(finished, undrawn):
    good, bad = copy_of(finished, "good", 2.7), copy_of(finished, "bad", 2.5)
    write(bad, [*rows_of(bad), check_row("update", passed=False)])
    html = compare.comparison([[open_run(folder) for folder in (good, bad)]])
    assert cells(html, "verdict") == ["not checked", "✗ wrong"]
    assert "A check failed, or training diverged, in bad/20260101-120000." in html


def test_equal_curves_take_turns():
    x = [0.0, 1.0]
    drawn = [("a", x, [2.0, 1.0]), ("b", x, [2.0, 1.0]), ("c", x, [2.0, 1.5]), ("d", x, [2.0, 1.0])]
    length = compare.DASH
    assert compare.line_style(0, drawn) == (0, (length, 2 * length))
    assert compare.line_style(1, drawn) == (length, (length, 2 * length))
    assert compare.line_style(3, drawn) == (2 * length, (length, 2 * length))
    assert compare.line_style(2, drawn) == "-"


def test_many_runs_are_a_table_of_all_and_curves_of_some(finished, undrawn):
    opened = [open_run(copy_of(finished, f"r{k:02}", 2.0 + k / 100)) for k in range(3)] * 10
    html = compare.comparison([opened])
    assert len(cells(html, "run")) == 30
    assert f"The first {compare.MOST} of 30 are drawn." in html


# A page that follows a run.


def test_the_page_reloads_itself_until_the_run_has_ended(finished, monkeypatch, capsys, no_pause, undrawn):
    folder = copy_of(finished, "run", 2.5)
    pages, answers = [], iter([True, True, True, False])

    def is_running(path):
        if (folder / "report.html").exists():
            pages.append((folder / "report.html").read_text("utf-8"))
        going_on = next(answers)
        if len(pages) != 1:  # the second time the log has not grown
            write(folder, [*rows_of(folder), step_row(9)])
        return going_on

    monkeypatch.setattr(run, "is_running", is_running)
    report([folder], watch=True)
    pages.append((folder / "report.html").read_text("utf-8"))
    assert ['http-equiv="refresh"' in html for html in pages] == [True, True, True, False]
    assert "The run goes on" in pages[0]
    assert len(no_pause) == 3
    said = capsys.readouterr()
    assert said.err.count("open ") == 1
    assert said.out.count("written to") == 1


def test_a_run_that_has_ended_is_drawn_once(finished, capsys, no_pause, undrawn):
    folder = copy_of(finished, "run", 2.5)
    report([folder], watch=True)
    assert no_pause == []
    assert "http-equiv" not in (folder / "report.html").read_text("utf-8")


def test_the_table_stays_in_its_place_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert watch.print_over("a\nb", 0) == 2
    assert watch.print_over("c\nd", 2) == 2
    assert capsys.readouterr().out == "a\nb\n\033[2A\033[Jc\nd\n"


def test_a_folder_that_vanishes_while_it_is_watched_is_one_line(finished, no_pause, monkeypatch):
    folder = copy_of(finished, "run", 2.5)
    monkeypatch.setattr(run, "is_running", lambda path: True)
    monkeypatch.setattr(watch, "draw", lambda opened, reload: shutil.rmtree(folder))
    with pytest.raises(UserError, match="cannot read the metrics"):
        report([folder], watch=True)
