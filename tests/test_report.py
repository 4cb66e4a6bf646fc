"""The report: every number of its table from the metrics, every figure from the run, nothing but one file."""

import contextlib
import json
import math
import re
import sys
import warnings
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
from trainer.train import train

from trainer import config, report, runs, text
from trainer.errors import UserError

ODD = ["a$b$", "<b>&", "\\frac", "é日", "💡'\"", "z\x1b[31m", "ab ba"]
FIGURES = [
    "Loss",
    "Learning rate",
    "Sum of p - y",
    "Update : data",
    "Gradient norm",
    "Saturated units",
    "Embeddings",
    "p - y",
]


def make(name, lines, checked=False, **sections):
    """A small run in the working directory."""
    Path("text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tree = {
        "data": {"path": "text.txt"} | sections.get("data", {}),
        "model": {"context": 2, "embedding": 2, "hidden": 8},
        "train": {"steps": 6, "batch_size": 4} | sections.get("train", {}),
        "check": {"enabled": checked, "every": 3},
        "log": {"every": 1, "eval_every": 2, "samples": 5},
    }
    return train(config.build(tree, "test"), name)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def cells(out):
    """The rows of the printed table, split; a path holds no space."""
    return [line.split() for line in out.splitlines()[1:] if line.startswith("runs/")]


def cut(folder, keep):
    """Keep only such rows of the metrics."""
    rows = [row for row in runs.read_metrics(folder) if keep(row)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def titles(folder):
    return re.findall(r"<figcaption><b>(.*?)\.</b>", (folder / "report.html").read_text("utf-8"))


class Recorder:
    """Stands for `figure`, which takes most of the time: keeps a mock of the axes under each title, draws nothing."""

    def __init__(self):
        self.axes = {}

    @contextlib.contextmanager
    def __call__(self, parts, title, caption, height=3.1):
        parts.append(f"<figure><figcaption><b>{title}.</b>")
        yield self.axes.setdefault(title, MagicMock())


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(report, "figure", recorder)
    return recorder


def test_table_holds_the_numbers_of_the_metrics(here, capsys, recorder):
    folder = make("checked", ["ab", "ba", "aab"] * 20, checked=True)
    capsys.readouterr()
    report.report([])
    (row,) = cells(capsys.readouterr().out)
    rows = runs.read_metrics(folder)
    end = rows[-1]
    judged = [r for r in rows if r["event"] == "check"]
    worst = max(r["max_rel_error"] for r in judged if r["name"] == "gradient")
    losses = [end["train_loss"], end["val_loss"], end["test_loss"], end["test_loss"] / math.log(2)]
    assert row[:6] == [str(folder), "6", *(f"{loss:.4f}" for loss in losses)]
    assert row[7:] == [str(len(judged)), "0", f"{worst:.1e}"]
    speeds = sorted(r["steps_per_second"] for r in rows if r["event"] == "step")
    assert float(row[6]) == pytest.approx((speeds[2] + speeds[3]) / 2, abs=0.5)  # the median of six, rounded


def test_a_run_without_an_end_shows_its_best_evaluation(here, capsys, recorder):
    folder = make("cut", ["ab", "ba", "aab"] * 20)
    cut(folder, lambda row: row["event"] != "end" and row.get("step", 0) < 5)
    best = min((r for r in runs.read_metrics(folder) if r["event"] == "eval"), key=lambda r: r["val_loss"])
    lost, worse = ({"event": "eval", "step": k, "train_loss": 9.0, "val_loss": v} for k, v in ((1, None), (5, 9.5)))
    old = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(f'{json.dumps(lost)}\n{old}{json.dumps(worse)}\n{{"event": "st')
    capsys.readouterr()
    report.report(["runs/cut"])
    (row,) = cells(capsys.readouterr().out)
    assert row[1:6] == ["5/6", f"{best['train_loss']:.4f}", f"{best['val_loss']:.4f}", "-", "-"]


def test_an_empty_run_is_a_row_of_dashes(here, capsys, recorder):
    folder = make("empty", ["ab", "ba"] * 20)
    (folder / "metrics.jsonl").write_bytes(b"")
    capsys.readouterr()
    report.report([str(folder)])
    assert cells(capsys.readouterr().out) == [[str(folder), *"-" * 9]]
    assert titles(folder) == ["Embeddings", "p - y"]  # what needs no metrics is still drawn


def test_failed_checks_are_counted_and_an_error_that_is_no_number_shows(here, capsys, recorder):
    folder = make("broken", ["ab", "ba"] * 20, checked=True)
    rows = runs.read_metrics(folder)
    wrong = next(r for r in rows if r.get("tensor") == "W1")
    wrong |= {"passed": False, "max_rel_error": None}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    capsys.readouterr()
    report.report([str(folder)])
    assert cells(capsys.readouterr().out)[0][-2:] == ["1", "nan"]
    assert "<td>W1<td>2<td>1<td>nan" in (folder / "report.html").read_text()


@pytest.mark.parametrize("mode", ["lines", "stream"])
def test_entropies_are_those_of_counting(here, mode):
    rng = np.random.default_rng(0)
    Path("text.txt").write_text("\n".join("".join(rng.choice(list("aabc"), 4)) for _ in range(60)) + "\n")
    corpus = text.load(config.Data("text.txt", mode=mode), context=3)
    start, end = corpus.splits["train"]
    pairs = Counter((int(corpus.ids[k - 1]), int(corpus.ids[k])) for k in range(start, end))
    after, before, n = Counter(), Counter(), end - start
    for (a, b), count in pairs.items():
        before[a] += count
        after[b] += count
    found = report.entropies(corpus)
    assert found["unigram"] == pytest.approx(-sum(c / n * math.log(c / n) for c in after.values()), rel=1e-12)
    bigram = -sum(c / n * math.log(c / before[a]) for (a, _), c in pairs.items())
    assert found["bigram"] == pytest.approx(bigram, rel=1e-12)  # sums of a few dozen rounded terms
    assert found["bigram"] < found["unigram"]


def test_page_is_one_file_with_every_figure(here):
    folder = make("checked", ["ab", "ba", "aab"] * 20, checked=True)
    report.report([str(folder)])
    assert titles(folder) == [*FIGURES[:2], "Error", "Sum of p - y", "Decrease", *FIGURES[3:]]
    html = (folder / "report.html").read_text("utf-8")
    assert len(html) < 3_000_000
    addresses = set(re.findall(r"[a-z]+://[^\s\"'<]+", html))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names of XML, never fetched
    assert not re.search(r"<script|<link|@import|url\((?!#)", html)
    assert report.INK not in html  # every text and axis takes the page's colour
    assert "currentColor" in html
    assert "prefers-color-scheme: dark" in html
    assert "width=device-width" in html
    for guide in ("log V", "unigram", "bigram", "1e-3"):
        assert f">{guide}</text>" in html
    assert all(name in html for name in ("numpy", "blas", "parameters", "batch_size: 4"))


def test_any_character_is_escaped_and_nothing_is_said_on_standard_error(here, capsys):
    folder = make("odd", ODD * 12)
    (folder / "samples.txt").write_text("<script>alert(1)</script>\n$a_b$\n", encoding="utf-8")
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report.report([str(folder)])
    assert capsys.readouterr().err == ""
    html = (folder / "report.html").read_text("utf-8")
    assert "&lt;script&gt;alert(1)" in html
    figures = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]  # well-formed, or it raises
    shown = {node.text for node in figures[FIGURES.index("Embeddings")].iter() if node.tag.endswith("}text")}
    assert {"$", "<", "&", "\\", "é", "日", "💡", "'", '"', "\\x1b", "␣", "↵"} <= shown
    rows = [node.text for node in figures[-1].iter() if node.tag.endswith("}text")]
    assert any(row.count("$") == 2 for row in rows)  # taken for a formula, the two would be gone


def test_no_proof_is_drawn_of_a_run_without_its_checks(here, recorder):
    folder = make("plain", ["ab", "ba"] * 20)
    report.report([str(folder)])
    assert titles(folder) == FIGURES


def test_several_runs_are_overlaid_in_the_first_ones_folder(here, capsys, recorder):
    first = make("one", ["ab", "ba"] * 20)
    second = make("two", ["ab", "ba"] * 20, train={"learning_rate": 0.5})
    capsys.readouterr()
    report.report([str(first), "runs/two"])
    out = capsys.readouterr().out
    assert [row[0] for row in cells(out)] == [str(first), str(second)]
    assert out.splitlines()[-1] == f"written to {first / 'report.html'}"
    assert not (second / "report.html").exists()
    html = (first / "report.html").read_text()
    assert "<td>train.learning_rate<td>0.1<td>0.5" in html
    assert "<td>train.steps" not in html  # what is equal does not differ
    labels = [call[1].get("label") for call in recorder.axes["Loss"].plot.call_args_list]
    assert labels == ["/".join(first.parts[-2:]), "_", "_", "/".join(second.parts[-2:]), "_", "_"]
    colours = [call[1]["color"] for call in recorder.axes["Loss"].plot.call_args_list]
    assert colours == ["C0"] * 3 + ["C1"] * 3


def test_figures_say_why_they_are_missing(here, recorder):
    folder = make("run", ["ab", "ba"] * 20)
    Path("text.txt").write_text("ab\nbb\n" * 20)
    report.report([str(folder)])
    html = (folder / "report.html").read_text()
    assert "the text has changed since the run" in html
    guides = [call[0][0] for call in recorder.axes["Loss"].annotate.call_args_list]
    assert guides == ["log V"]  # entropies of another text would mislead
    assert titles(folder)[-1] == "Embeddings"
    Path("text.txt").unlink()
    report.report([str(folder)])
    assert "cannot read the text" in (folder / "report.html").read_text()


def test_table_needs_no_matplotlib(here, capsys, monkeypatch):
    folder = make("run", ["ab", "ba"] * 20)
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    capsys.readouterr()
    report.report([str(folder)])
    said = capsys.readouterr()
    assert cells(said.out)[0][0] == str(folder)
    assert said.err == "report.html needs matplotlib: pip install 'handmade-char-lm[report]'\n"
    assert not (folder / "report.html").exists()


def test_a_long_curve_keeps_its_mean_and_on_a_log_axis_its_spikes(recorder):
    y = np.random.default_rng(0).random(5000) + 1
    y[[777, 4999]] = 50.0, 70.0
    steps = [{"step": k, "C": y[k], "loss": y[k], "W1": None} for k in range(5000)]
    run = report.Run(Path("runs/a/b"), None, {"step": steps})
    report.plot([], [run], ("", "Log", "log", {"C": "step C", "W1": "step W1"}, ""), {})
    report.plot([], [run], ("", "Linear", "linear", {"loss": "step loss"}, ""), {})
    (log_x, log_y, _), _ = recorder.axes["Log"].plot.call_args_list[0]
    assert len(log_y) <= 801
    assert set(log_y[log_y > 2]) == {50.0, 70.0}
    assert abs(log_x[np.argmax(log_y == 50)] - 777) <= 12  # a block has 5000 // 400 steps
    assert np.isnan(recorder.axes["Log"].plot.call_args_list[1][0][1]).all()
    faint, mean = recorder.axes["Linear"].plot.call_args_list
    assert faint[1]["alpha"] < 1
    edges = np.arange(0, 5000, 5000 // 30)
    sizes = np.diff(edges, append=5000)
    assert len(mean[0][1]) == len(edges)
    assert mean[0][1] @ sizes == pytest.approx(y.sum())
    assert mean[0][0] @ sizes == pytest.approx(np.arange(5000).sum())


def test_embeddings_lie_as_far_apart_as_they_are_and_the_heat_map_is_p_minus_y(here, recorder):
    folder = make("run", ["abc", "ca", "bbac"] * 20, train={"steps": 40})
    levels = {}
    report.learned([], report.read(folder), levels)
    c = runs.load(folder / "best.npz")
    assert levels["log V"] == pytest.approx(math.log(4))
    placed = {call[0][2]: np.array(call[0][:2]) for call in recorder.axes["Embeddings"].text.call_args_list}
    for a, b in ("ab", "ac", "bc", "a\n"):  # in two dimensions the plane keeps every distance
        want = np.linalg.norm(c.parameters.C[c.vocabulary.index(a)] - c.parameters.C[c.vocabulary.index(b)])
        assert np.linalg.norm(placed[a] - placed[b.replace("\n", "↵")]) == pytest.approx(want, rel=1e-5)  # float32

    rgba = recorder.axes["p - y"].imshow.call_args[0][0]
    blue = rgba[..., 2] > rgba[..., 0]
    rows = recorder.axes["p - y"].set_yticks.call_args[0][1]
    names = ["↵", "a", "b", "c"]
    assert [names[k] for k in blue.argmax(axis=1)] == [row[-1] for row in rows]
    assert (blue.sum(axis=1) == 1).all()
    # Orange is p: the blue cell is 1 - p(target), and the row sums to zero. Checked with one row's own forward pass.
    opacity = rgba[..., 3] ** 2
    np.testing.assert_allclose((opacity * ~blue).sum(axis=1), (opacity * blue).sum(axis=1), atol=1e-12)
    p = c.parameters
    ids = [names.index(character) for character in rows[0].split(" → ")[0]]
    logits = np.tanh(p.C[ids].ravel() @ p.W1 + p.b1) @ p.W2 + p.b2
    want = np.exp(logits) / np.exp(logits).sum() - blue[0]
    np.testing.assert_allclose(opacity[0] * np.where(blue[0], -1, 1), want, atol=1e-6)  # float32


def test_what_is_no_run_is_one_line(here):
    with pytest.raises(UserError, match="no such run"):
        report.report(["nowhere"])


def test_damaged_files_of_a_run(here):
    folder = make("damaged", ["ab", "ba"] * 20)
    (folder / "samples.txt").write_bytes(b"ab\xff\n")
    report.report([str(folder)])
    assert "ab\ufffd" in (folder / "report.html").read_text("utf-8")
    metrics = folder / "metrics.jsonl"
    whole = metrics.read_text("utf-8")
    for line in ("1", "{}", "[]", "{"):
        metrics.write_text(whole + line + "\n", encoding="utf-8")
        with pytest.raises(UserError, match="damaged metrics"):
            report.report([str(folder)])
