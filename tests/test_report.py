"""The page of a run: one file with every figure, whatever the run holds; and the command that draws it."""

import contextlib
import dataclasses
import io
import itertools
import json
import math
import os
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from reported import LINES, gradient_row, make, rows_of, write

from trainer import config
from trainer.core import ops
from trainer.core.numerical import ORDER
from trainer.errors import RunFailed, UserError
from trainer.runs.checkpoint import load, save
from trainer.text import corpus as text
from trainer.tools.report import curves, figures, learned, report
from trainer.tools.report.page import page
from trainer.tools.report.run import open_run

ROOT = Path(__file__).parents[1]
THREE = ["".join(letters) for letters in itertools.product("abc", repeat=3)]
ODD = ["a$b$", "<b>&", "\\frac", "é日", "💡'\"", "z\x1b[31m", "ab ba"]
OF_THE_LOG = ["Loss", "Error over tolerance", "Update : data", "Gradient : data", "Gradient norm", "Saturated units"]
OVER_TIME = ["h over time", "dh over time", "dz over time"]
OF_THE_BATCH = ["p − y", "Where units saturate", "Gradients of the parameters"]
EMBEDDINGS = ["Embeddings, by cosine", "Embeddings, in their plane"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def titles(html):
    return re.findall(r"<figcaption><b>(.*?)\.</b>", html)


def read(folder, name="report.html"):
    return (folder / name).read_text("utf-8")


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A checked run on a text of odd characters, and its page, drawn with every warning an error; what was said."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.chdir(tmp_path_factory.mktemp("odd"))
        folder = make("odd", [word + other for word in ODD for other in ODD], checked=True)
        (folder / "samples.txt").write_text("<script>alert(1)</script>\n$a_b$\n", encoding="utf-8")
        warnings.simplefilter("error")
        said, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(err):
            report([folder])
        return folder, read(folder), said.getvalue(), err.getvalue()


def test_a_page_is_one_file_with_every_figure(odd):
    folder, html, said, err = odd
    assert said.splitlines()[-1] == f"written to {folder / 'report.html'}"
    assert err == ""
    chain = "The chain, at step N, by the derivatives of this program as it is today"
    found = [re.sub(r"step \d", "step N", title) for title in titles(html)]
    assert found == [*OF_THE_LOG, *OVER_TIME, chain, *OF_THE_BATCH, *EMBEDDINGS]
    assert len(html) < 3_000_000
    addresses = set(re.findall(r"[a-z]+://[^\s\"'<]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names of XML, never fetched
    assert not re.search(r"<script|<link (?!rel=\"icon\" href=\"data:)|@import|url\((?!#)", html)
    assert figures.INK not in html  # every text and axis takes the page's colour
    assert "currentColor" in html
    assert "http-equiv" not in html
    assert re.search(r"<title>odd/\d+-\d+: validation \d\.\d{4}</title>", html)
    assert '<p class="verdict good">All nine gradients agree' in html
    for guide in ("log V", "unigram", "bigram"):
        assert re.search(f">{guide} \\d\\.\\d\\d</text>", html)


def test_the_figures_are_well_formed_and_show_any_character(odd):
    html = odd[1]
    assert "&lt;script&gt;alert(1)" in html
    found = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]  # well-formed, or it raises
    shown = {node.text for svg in found for node in svg.iter() if node.tag.rpartition("}")[2] == "text"}
    assert {"$", "<", "&", "\\", "é", "日", "💡", "'", '"', "\\x1b", "␣", "↵"} <= shown


def test_a_name_that_looks_like_a_formula_or_a_tag(undrawn):
    folder = make("a$_$ <b>")
    report([folder])
    assert "<h1>a$_$ &lt;b&gt;/" in read(folder)


def test_what_a_wrong_gradient_leaves(undrawn, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ops, "tanh_backward", lambda dh, h, out=None: dh * (1 - h))
        with pytest.raises(RunFailed):
            make("wrong", checked=True)
    (folder,) = Path("runs/wrong").iterdir()
    report([folder])
    html = read(folder)
    assert re.search(r'<p class="verdict bad">A check failed at step 0: .*dz is wrong: look at tanh_backward', html)
    assert re.findall(r'<li class="bad"><b>(.*?)</b>', html) == ["dz", "demb", "dW1", "db1", "dC"]
    assert html.count("✗ wrong in this run") == 5
    assert "a check failed</title>" in html
    assert "validation <" not in html


def test_samples_are_marked_and_only_what_is_unusual_is_shown(undrawn):
    folder = make("run", train={"learning_rate": 0.25}, data={"split": [0.6, 0.2, 0.2]})
    corpus = text.load(config.Data("text.txt", split=(0.6, 0.2, 0.2)), 2)
    splits = text.standing(LINES, corpus)
    lines = [LINES[splits.index(split)] for split in ("train", "val", "test")] + ["zz", "", "aba"]
    (folder / "samples.txt").write_text("".join(line + "\n" for line in lines))
    report([folder])
    html = read(folder)
    said = [f"in the {split} text" for split in ("training", "validation", "test")] + [""] * 3
    shown = [line or "&nbsp;" for line in lines]
    assert re.findall(r'<li data-where="(.*?)">(.*?)</li>', html) == list(zip(said, shown, strict=True))
    assert "<dt>train.learning_rate</dt><dd>0.25</dd>" in html
    assert "<dt>data.split</dt><dd>[0.6, 0.2, 0.2]</dd>" in html
    assert "<dt>train.schedule</dt>" not in html
    assert "<dt>numpy</dt>" in html


def test_running_text_has_its_sample_as_it_is(undrawn):
    folder = make("run", data={"mode": "stream"})
    (folder / "samples.txt").write_text("ab\n  c<\n")
    report([folder])
    assert "<pre>ab\n  c&lt;\n</pre>" in read(folder)


def from_standard_input(folder):
    """A run whose text was piped in."""
    checkpoint = load(folder / "best.npz")
    checkpoint.config = dataclasses.replace(
        checkpoint.config, data=dataclasses.replace(checkpoint.config.data, path="-")
    )
    save(folder / "best.npz", checkpoint)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: Path("text.txt").write_text("\n".join(LINES[1:])), "the text has changed since the run"),
        (lambda folder: Path("text.txt").unlink(), "cannot read the text"),
        (lambda folder: (folder / "best.npz").write_bytes(b"PK"), "not a checkpoint"),
        (lambda folder: (folder / "config.yaml").write_text("{"), "config.yaml"),
        (lambda folder: (folder / "config.yaml").unlink(), "config.yaml"),
        (lambda folder: (folder / "metrics.jsonl").write_text('{"event": "step"}\n'), "line 1: step without step"),
        (lambda folder: (folder / "metrics.jsonl").write_text("\0\n<b>\n"), "2 lines of metrics.jsonl left out"),
        (from_standard_input, "came from standard input"),
        (lambda folder: (folder / "samples.txt").write_bytes(b"\xff\xfe"), None),
        (lambda folder: (folder / "train.log").unlink(), None),
    ],
)
def test_what_cannot_be_drawn_is_said(undrawn, damage, words):
    folder = make("run")
    damage(folder)
    report([folder])
    html = read(folder)
    said = re.findall(r"<li>(.*?)</li>", html.partition("Not all can be shown")[2].partition("</ul>")[0])
    assert [words in line for line in said] == ([True] if words else [])


def test_numbers_that_are_none(undrawn):
    folder = make("run")
    for row in (log := rows_of(folder)):
        row |= {key: None for key, value in row.items() if isinstance(value, float)}
        if "histograms" in row:
            row["histograms"]["h"] = {"counts": [0] * 32, "range": [0.0, 0.0]}
            row["histograms"]["dh"]["range"] = [None, math.inf]
    write(folder, log)
    checkpoint = load(folder / "best.npz")
    checkpoint.parameters.W1[0, 0] = np.nan
    save(folder / "best.npz", checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report([folder])
    assert "no figure of the parameters: W1 is not finite" in read(folder)


def test_an_empty_log(undrawn, capsys):
    folder = make("empty")
    (folder / "metrics.jsonl").write_bytes(b"")
    report([folder])
    assert titles(read(folder))[1:] == [*OF_THE_BATCH, *EMBEDDINGS]  # what needs no log is drawn


def test_whatever_matplotlib_is_set_to(tmp_path):
    folder = make("run")
    write(folder, [row for row in rows_of(folder) if row["event"] == "eval" and row.pop("histograms")])
    (folder / "best.npz").unlink()
    (folder / "checkpoint.npz").write_bytes(b"")
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: nonsense\naxes.facecolor: red\n")
    environment = os.environ | {"MPLBACKEND": "bogus", "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "trainer", "report", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "#ff0000" not in read(folder)
    assert titles(read(folder)) == ["Loss"]


def test_the_table_needs_no_matplotlib(capsys, monkeypatch):
    folder = make("run")
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    report([folder])
    said = capsys.readouterr()
    assert str(folder) in said.out
    assert said.err == "the page needs matplotlib: pip install 'handmade-char-lm[report]'\n"
    assert not (folder / "report.html").exists()


def test_what_is_no_run_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no such run"):
        report(["nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no run in this folder"):
        report(["empty"])


# Numbers behind the figures.


@pytest.mark.parametrize("mode", ["lines", "stream"])
def test_entropies_are_those_of_counting(mode):
    rng = np.random.default_rng(0)
    Path("text.txt").write_text("\n".join("".join(rng.choice(list("aabc"), 4)) for _ in range(60)) + "\n")
    corpus = text.load(config.Data("text.txt", mode=mode), context=3)
    start, end = corpus.splits["train"]
    pairs = Counter((int(corpus.ids[k - 1]), int(corpus.ids[k])) for k in range(start, end))
    after, before, n = Counter(), Counter(), end - start
    for (first, second), count in pairs.items():
        before[first] += count
        after[second] += count
    found = learned.entropies(corpus)
    assert found["unigram"] == pytest.approx(-sum(k / n * math.log(k / n) for k in after.values()), rel=1e-12)
    bigram = -sum(k / n * math.log(k / before[first]) for (first, _), k in pairs.items())
    assert found["bigram"] == pytest.approx(bigram, rel=1e-12)  # sums of a few dozen rounded terms
    assert found["bigram"] < found["unigram"]


def test_p_minus_y_and_cosines_are_those_of_the_model(undrawn):
    folder = make("run", THREE, train={"steps": 40})
    html = page(open_run(folder))
    checkpoint = load(folder / "best.npz")
    p, names = checkpoint.parameters, "↵abc"
    part = html.partition("<b>p − y.")[2].partition("</figure>")[0]
    cells = re.findall(r'class="(pos|neg)" fill-opacity="[\d.]+"><title>(.*?) → (.): (.) ([+-][\d.]+)</title>', part)
    assert len(cells) == 4 * part.count('class="outline"') > 16  # V columns, one of them the target
    for kind, context, target, character, shown in cells:
        ids = [names.index(each) for each in context]
        logits = np.tanh(p.C[ids].ravel() @ p.W1 + p.b1) @ p.W2 + p.b2
        want = (np.exp(logits) / np.exp(logits).sum())[names.index(character)] - (character == target)
        assert float(shown) == pytest.approx(want, abs=6e-5)  # four digits are shown
        assert kind == ("neg" if character == target else "pos")
    part = html.partition("<b>Embeddings, by cosine.")[2].partition("</figure>")[0]
    for first, second, shown in re.findall(r"<title>(.) and (.): ([+-][\d.]+)</title>", part):
        one, other = p.C[names.index(first)], p.C[names.index(second)]
        want = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
        assert float(shown) == pytest.approx(want, abs=6e-3)  # two digits are shown


def test_similar_characters_follow_each_other():
    angles = np.array([0.0, 3.0, 1.0, 2.0])
    assert learned.by_similarity(np.cos(angles[:, None] - angles)) == [0, 2, 3, 1]


def test_dead_units_are_counted(undrawn):
    folder = make("run", THREE)
    checkpoint = load(folder / "best.npz")
    checkpoint.parameters.b1[:3] = 50.0  # tanh(50) is 1 whatever is read
    save(folder / "best.npz", checkpoint)
    assert "Here there are 3." in page(open_run(folder))


def test_a_long_curve_keeps_its_mean_or_its_spikes():
    y = np.random.default_rng(0).random(5000) + 1
    y[[777, 4999]] = 50.0, 70.0
    x = np.arange(5000.0)
    shown_x, shown = figures.thin_to_largest(x, y)
    assert len(shown) <= figures.MOST_POINTS
    assert set(shown[shown > 2]) == {50.0, 70.0}
    assert abs(shown_x[np.argmax(shown == 50)] - 777) <= 13  # a block has 5000 / 400 steps
    for shorten, parts in ((figures.thin, figures.MOST_POINTS), (figures.smooth, 30)):
        mean_x, mean = shorten(x, y)
        sizes = np.diff(np.unique(np.linspace(0, 5000, parts, endpoint=False).astype(int)), append=5000)
        assert mean @ sizes == pytest.approx(y.sum())
        assert mean_x @ sizes == pytest.approx(x.sum())


def test_labels_are_moved_apart():
    assert figures.spread([0.1, 0.5], 0.1) == [0.1, 0.5]
    np.testing.assert_allclose(figures.spread([0.5, 0.5, 0.5], 0.1), [0.5, 0.6, 0.7])
    np.testing.assert_allclose(figures.spread([0.2, 0.98, 0.99], 0.1), [0.2, 0.9, 1.0])
    assert figures.spread([], 0.1) == []


def test_short_curves_are_drawn_as_they_are():
    x = np.arange(5.0)
    for shorten in (figures.thin, figures.thin_to_largest, figures.smooth):
        for n in (0, 1, 5):
            np.testing.assert_array_equal(shorten(x[:n], x[:n] ** 2), (x[:n], x[:n] ** 2))


def test_a_single_point_is_a_dot_at_a_whole_step(monkeypatch):
    drawn = []
    monkeypatch.setattr(figures.matplotlib().figure.Figure, "savefig", lambda self, out, **more: drawn.append(self))
    one = make("one", train={"steps": 1})
    report([one])
    report([one, make("other", train={"steps": 1})])
    axes = [each for picture in drawn for each in picture.axes if each.get_xlabel() == "step"]
    assert len(axes) == len(["rate", "update", "gradient", "norm", "saturated", "validation", "batch"])
    for each in axes:
        lines = [line for line in each.get_lines() if len(line.get_xdata()) == 1]
        places = [(float(line.get_ydata()[0]), line.get_marker()) for line in lines]
        dots = {y for y, marker in places if marker == "." and math.isfinite(y)}
        assert dots == {y for y, _ in places if math.isfinite(y)} != set()
        left, right = each.get_xlim()
        ticks = [tick for tick in each.get_xticks() if left <= tick <= right]
        assert ticks in ([0.0], [1.0], [0.0, 1.0])


def test_histograms_become_shares_by_width():
    counts = [0] * 32
    counts[0], counts[31] = 3, 1
    edges, height = curves.density({"histograms": {"h": {"counts": counts, "range": [-1, 1]}}}, "h")
    assert height @ np.diff(edges) == pytest.approx(1)
    assert height[0] == pytest.approx(3 / 4 / (2 / 32))


def test_several_checked_steps(undrawn):
    folder = make("run")
    write(folder, [gradient_row(name, step) for step in (0, 3) for name in ORDER])
    assert "at 2 of 2 checked steps" in json.dumps(page(open_run(folder)))
