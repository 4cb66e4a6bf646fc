"""The page of a run: one file with every figure, whatever the run holds; and the command that draws it."""

import math
import os
import re
import sys
import xml.etree.ElementTree as ET
from contextlib import ExitStack
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from conftest import Capture, rows
from reported import LINES, drawn, make, step_row, write

from trainer import config
from trainer.core import ops
from trainer.core.links import ORDER
from trainer.errors import RunFailed
from trainer.runs.checkpoint import load, save
from trainer.runs.folder import held
from trainer.text import corpus as text
from trainer.tools.report import curves, figures, report
from trainer.tools.report.run import Run, looked_at

pytestmark = pytest.mark.usefixtures("empty")
ODD = ["a$b$", "<b>&", "\\frac", "é日", "💡'\"", "z\x1b[31m", "ab ba"]
LOSSES = ["Loss", "Error over tolerance"]
LEARNING = ["Update : data", "Gradient : data", "Gradient norm", "Saturated units"]
OVER_TIME = ["h over time", "dh over time", "dz over time"]


def titles(html: str, mark: str = "<svg") -> list[str]:
    """Of the figures that hold a picture, or another mark."""
    found = re.findall(r"<figcaption><b>(.*?)\.</b>.*?</figcaption>(.*?)</figure>", html, re.DOTALL)
    return [title for title, inside in found if mark in inside]


def html_of(folder: Path) -> str:
    report([folder])
    return (folder / "report.html").read_text("utf-8")


@pytest.mark.filterwarnings("error")
def test_a_page_is_one_file_with_every_figure_for_any_character(capsys: Capture) -> None:
    lines = [word + other for word in ODD for other in ODD]
    folder = make("a$_$ <b>", "check.enabled=true check.coordinates=directions", lines)
    (folder / "samples.txt").write_text("<script>alert(1)</script>\n$a_b$\n", encoding="utf-8")
    html, said = html_of(folder), capsys.readouterr()
    assert {looked_at(row) for row in rows(folder, "check")} < set(curves.ROWS)
    assert (said.out.splitlines()[-1], said.err) == (f"written to {folder.absolute() / 'report.html'}", "")
    assert titles(html) == [*LOSSES, *LEARNING, *OVER_TIME]
    assert 'class="chain"' in html
    assert "Not drawn" not in html
    addresses = set(re.findall(r"[a-z]+://[^\s\"'<]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names of XML, never fetched
    assert not re.search(r"<script|<link (?!rel=\"icon\" href=\"data:)|@import|url\((?!#|data:)|http-equiv", html)
    assert figures.INK not in html  # every text and axis takes the page's colour
    assert re.search(r"<title>a\$_\$ &lt;b&gt;/\d+-\d+</title>", html)
    assert '<p class="verdict good">All nine gradients agree' in html
    assert set(re.findall('href="#(.*?)"', html)) - set(re.findall('id="(.*?)"', html)) == set()  # the contents
    assert html.index("&lt;script&gt;alert(1)") < html.index("<nav>")  # samples stand at the top
    for svg in re.findall("(?s)<svg .*?</svg>", html):
        ET.fromstring(svg)  # well-formed, or it raises
    letters = {unescape(letter) for letter in re.findall("<i.*?>(.*?)</i>", html)}  # in the cells of the chain
    assert {"$", "<", "&", "\\", "é", "日", "💡", "'", '"', "\\x1b", "␣", "↵"} <= letters


@pytest.mark.usefixtures("undrawn")
def test_what_a_wrong_gradient_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "tanh_backward", lambda dh, h: dh * (1 - h))
    with pytest.raises(RunFailed):
        make("wrong", "check.enabled=true")
    (folder,) = Path("runs/wrong").iterdir()
    html = html_of(folder)
    assert re.search(r'<p class="verdict bad">A check failed at step 0: .*dz', html)
    tiles = re.findall(r'<li class="(\w+)"><b>d(\w+)</b> <span>(.*?)</span>', html)
    assert [name for _, name, _ in tiles] == list(ORDER)
    bad, good = ("bad", "✗ wrong at step 0"), ("good", "✓ right")
    assert [(kind, said) for kind, _, said in tiles] == [good, good, bad, bad, good, good, bad, bad, bad]
    broken = re.findall(r'class="box (\w+) broken"', html)
    assert broken == ["dz", "demb", "dC", "dW1", "db1"]
    assert titles(html, "Not drawn") == ["Loss"]  # no step was made, and what would need more has no place
    assert not {*LEARNING, *OVER_TIME} & set(re.findall("<b>(.*?)\\.</b>", html))


@pytest.mark.usefixtures("undrawn")
def test_samples_tell_where_they_stand_and_characters_that_training_never_saw_are_said() -> None:
    folder = make("run", "data.split=[0.6,0.2,0.2] data.split_seed=4", [*LINES, "xyz"])
    lines = [LINES[0], "zz"]
    (folder / "samples.txt").write_text("".join(line + "\n" for line in lines))
    html = html_of(folder)
    assert f"  {LINES[0]}  (in the text)\n  zz<" in html
    assert re.search("characters that training never saw: 3 in val", html)
    assert "split:" in html.partition('<h2 id="Configuration">')[2]
    assert "were not checked; with --check" in html
    assert 'class="links"' not in html  # nine empty tiles say no more


@pytest.mark.usefixtures("undrawn")
def test_a_learners_run_names_its_file_and_has_no_chain_of_this_program() -> None:
    folder = make("run", "data.mode=stream")
    (folder / "samples.txt").write_text("ab\n  c<\n")
    checkpoint = load(folder / "best.npz")
    checkpoint.backward = "mine.py"
    save(folder / "best.npz", checkpoint)
    html = html_of(folder)
    assert re.search("<h1>run/.* with the backward pass of mine.py</h1>", html)
    assert "Not drawn: this run was trained with mine.py" in html
    assert 'class="chain"' not in html
    assert ">ab\n  c&lt;\n</pre>" in html


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: Path("text.txt").write_text("\n".join(LINES[1:])), "the text has changed since the run"),
        (lambda folder: Path("text.txt").unlink(), "cannot read the text"),
        (lambda folder: (folder / "best.npz").write_bytes(b"PK"), "not a checkpoint"),
        (lambda folder: [(folder / file).write_bytes(b"\xff\xfe") for file in ("samples.txt", "train.log")], None),
        (lambda folder: (folder / "config.yaml").unlink() or (folder / "train.log").unlink(), None),
        (lambda folder: (folder / "metrics.jsonl").write_bytes(b""), None),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("undrawn")
def test_what_cannot_be_read_is_said(damage: Any, words: str | None) -> None:
    folder = make("run")
    damage(folder)
    said = re.findall(r'<p class="undrawn">(.*?)</p>', html_of(folder).partition("<nav>")[0])
    assert [words in line for line in said] == ([True] if words else [])


@pytest.mark.usefixtures("undrawn")
def test_a_figure_that_cannot_be_drawn_from_odd_rows_says_so_in_its_place() -> None:
    folder = make("run", "check.enabled=true")
    odd: dict[str, dict[str, Any]] = {
        "step": {"loss": "low", "grad_norm": [1], "update_ratio": 3, "saturated": 10**400},
        "eval": {"histograms": {"h": {"counts": 1}, "dh": {"counts": [0] * 32}}},
        "check": {"error": None, "tolerance": None},
    }
    write(folder, [row | odd.get(row["event"], {}) for row in rows(folder)])
    html = html_of(folder)
    assert titles(html) == [*LOSSES, "Gradient : data"]  # the losses of evaluations are right
    assert titles(html, "Not drawn") == ["Update : data", "Gradient norm", "Saturated units", *OVER_TIME]


def test_the_table_needs_no_matplotlib(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make("run")
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert report([folder]) is None
    said = capsys.readouterr()
    assert str(folder) in said.out
    assert said.err == "the page needs matplotlib; pip install 'handmade-char-lm[report]'\n"
    assert not (folder / "report.html").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_reader_who_leaves_takes_no_page_away(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make("run")

    def closed(*words: Any, **options: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", closed)  # as by `| head -0`
    with pytest.raises(BrokenPipeError):
        report([folder])
    assert (folder / "report.html").exists()


@pytest.mark.usefixtures("undrawn")
def test_where_no_run_is_named_the_newest_is_meant_and_its_page_shows_itself_in_a_notebook(capsys: Capture) -> None:
    older, newer = make("older"), make("newer")
    os.utime(older / "best.npz", (0, 0))
    page = report()
    assert page == newer.absolute() / "report.html"
    assert re.match('<iframe srcdoc="&lt;!doctype html&gt;.*" style=".*"></iframe>$', page._repr_html_(), re.DOTALL)
    assert capsys.readouterr().err == f"the report is of {newer}, at step 6\n"


@pytest.mark.usefixtures("undrawn")
def test_the_page_reloads_itself_until_the_run_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fcntl")
    folder, pages, lock = make("run"), list[str](), ExitStack()

    def pause(seconds: float) -> None:
        assert seconds > 1
        pages.append((folder / "report.html").read_text("utf-8"))
        if len(pages) == 2:
            lock.close()

    monkeypatch.setattr("time.sleep", pause)
    lock.enter_context(held(folder))
    report([folder], watch=True)
    pages.append((folder / "report.html").read_text("utf-8"))
    assert ['http-equiv="refresh"' in html for html in pages] == [True, True, False]
    assert ["The run goes on" in html for html in pages] == [True, True, False]


def test_a_loss_far_above_what_matters_is_cut_off_and_levels_are_those_of_counting() -> None:
    Path("text.txt").write_text("aab" * 100)
    corpus = text.load(config.Data("text.txt", mode="stream"), context=3)
    a, two = 2 / 3, math.log(2)  # after a comes a or b, after b always a
    want = {"log V": two, "unigram": -a * math.log(a) - (1 - a) * math.log(1 - a), "bigram": a * two}
    assert curves.by_counting(corpus) == pytest.approx(want, rel=1e-3)  # the split ends within a period
    run = Run(Path(), [*(step_row(k, loss=0.6) for k in range(9)), step_row(9, loss=77.0)], corpus=corpus)
    axes = drawn(curves.losses, run).axes[0]
    assert axes.get_ylim() == pytest.approx((0.97 * a * two, 1.25 * two), rel=1e-3)
    labels = [line.get_label() for line in axes.get_lines()]
    assert labels == ["train -", "val -", "batch 77", "log V 0.6931", "unigram 0.6365", "bigram 0.4621"]
