"""The walk by hand: the numbers of a lecture, those of a model, as text and as a picture; one line for bad input."""

import itertools
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from trainer import config
from trainer.__main__ import main
from trainer.core import ops
from trainer.core.numerical import ORDER
from trainer.errors import UserError
from trainer.runs.checkpoint import load, save
from trainer.runs.session import train
from trainer.tools.explain import explain


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run of lines and one of running text, in float64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("explain"))
        words = ("".join(letters) for letters in itertools.product("abc", repeat=4))
        Path("text.txt").write_text("\n".join(words) + "\n")
        found = []
        for mode in ("lines", "stream"):
            tree = {
                "data": {"path": "text.txt", "mode": mode},
                "model": {"context": 3, "embedding": 4, "hidden": 9, "dtype": "float64"},
                "train": {"steps": 60, "batch_size": 8},
            }
            found.append(str(train(config.build(tree, "test"), mode, quiet=True).absolute()))
    return found


def walk(capsys, *arguments):
    capsys.readouterr()
    explain(*arguments)
    return capsys.readouterr().out


def line(out, name, at=0):
    """The numbers of the line that begins so."""
    found = [row for row in out.splitlines() if row.strip().startswith(name)][at].strip()[len(name) :]
    return [float(word) for word in re.findall(r"-?\d+\.?\d*(?:e[+-]\d+)?", found)]


class Own:
    """The two examples '\\n' 'a' 'b' -> 'c' and 'a' 'b' 'c' -> y, computed in plain NumPy; y is the likeliest."""

    def __init__(self, folder):
        self.p = p = load(Path(folder) / "best.npz").parameters
        X = np.array([[0, 1, 2], [1, 2, 3]])
        self.emb = p.C[X].reshape(2, -1)
        self.z = self.emb @ p.W1 + p.b1
        self.h = np.tanh(self.z)
        self.logits = self.h @ p.W2 + p.b2
        self.q = np.exp(self.logits) / np.exp(self.logits).sum(axis=1, keepdims=True)
        self.y = int(self.q[1].argmax())
        self.loss = -np.log(self.q[[0, 1], [3, self.y]])
        d = {"logits": self.q.copy()}
        d["logits"][[0, 1], [3, self.y]] -= 1
        d["logits"] /= 2
        d["h"] = d["logits"] @ p.W2.T
        d["z"] = d["h"] * (1 - self.h**2)
        d["emb"] = d["z"] @ p.W1.T
        d |= {"W2": self.h.T @ d["logits"], "b2": d["logits"].sum(0), "W1": self.emb.T @ d["z"], "b1": d["z"].sum(0)}
        d["C"] = np.zeros_like(p.C)
        np.add.at(d["C"], X, d["emb"].reshape(2, 3, -1))
        self.d = d


def test_the_lecture_numbers(capsys):
    assert main(["explain", "--logits", "2,1,0", "--target", "0"]) == 0
    out = capsys.readouterr().out
    assert line(out, "exp(logits)") == [7.3891, 2.7183, 1.0, 11.1073]
    assert line(out, "p = exp / sum") == [0.6652, 0.2447, 0.09, 1.0]
    assert line(out, "loss = -log p[target]") == [0.4076, 0.407606, 1.098612]
    assert line(out, "y, 1 at the target") == [1, 0, 0]
    assert line(out, "by hand")[:4] == [-0.3348, 0.2447, 0.09, 0.0]
    assert line(out, "numerical")[:3] == [-0.3348, 0.2447, 0.09]
    assert line(out, "logits - (p - y)") == [2.3348, 0.7553, -0.09]
    assert line(out, "p after") == [0.7725, 0.1592, 0.0684]  # neither 0.772 nor 0.773 of those who round before
    assert line(out, "loss after") == [0.2582, 0.258184]


def test_logits_may_be_negative_and_far_apart(capsys):
    assert main(["explain", "--logits", "-1,700,-700", "--target", "2"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert line(said.out, "loss = -log p[target]")[:2] == [1400, 1400]
    assert line(said.out, "by hand")[:3] == [0, 1, -1]
    assert max(map(len, said.out.splitlines())) < 120  # exp(700) has 305 digits


def test_two_examples_are_walked_with_the_models_own_numbers(folders, capsys):
    out, own = walk(capsys, folders[0], "ab", "c", None), Own(folders[0])
    assert "B = 2, K = 3, D = 4, H = 9, V = 4" in out
    assert "example 1: '\\n' 'a' 'b' -> 'c'   '\\n' ends a line" in out
    likeliest = ("\\n", "a", "b", "c")[own.y]
    assert f"example 2: 'a' 'b' 'c' -> '{likeliest}'   which follows" in out
    forward = out.partition("\nforward")[2]
    for name, start in (("emb", "emb = C"), ("z", "z = emb"), ("h", "h = tanh"), ("logits", "logits = h")):
        block = forward[forward.index(start) :]
        for b in (0, 1):
            want = getattr(own, name)[b, :6]
            np.testing.assert_allclose(line(block, f"example {b + 1}"), want, atol=6e-5)  # four digits are printed
    assert line(out, "p = exp / sum")[0] == pytest.approx(own.q[0, 3], abs=6e-5)  # the target stands first
    assert line(out, "loss of the batch = mean of") == pytest.approx([*own.loss, own.loss.mean()], abs=6e-7)
    norms = [float(norm) for norm in re.findall(r"numbers, norm (\S+),", out)]
    assert norms == pytest.approx([np.linalg.norm(own.d[name]) for name in ORDER], rel=1e-3)  # four digits
    shapes = [name.shape for name in map(own.d.get, ORDER)]
    assert re.findall(r"^d.*?   (\(.*?\)): ", out, re.MULTILINE) == [str(shape) for shape in shapes]


def test_a_block_of_numbers_has_one_format(folders, capsys):
    out = walk(capsys, folders[0], "ab", "c", None).partition("\nbackward")[2]
    for block in re.split(r"^d", out, flags=re.MULTILINE)[1:]:
        numbers = re.findall(r"-?\d+\.\d+(?:e[+-]\d+)?", "\n".join(re.findall(r"(?:hand|numerical) .*", block)))
        assert len({("e" in number, len(number.partition(".")[2])) for number in numbers}) == 1


def test_each_derivative_has_its_own_words(folders, capsys):
    said = dict(re.findall(r"^d(\w+).* = .*: (.*)$", walk(capsys, folders[0], "ab", "c", None), re.MULTILINE))
    assert list(said) == list(ORDER)
    assert said["z"].startswith("the slope of tanh")
    assert said["C"].startswith("a character gathers")
    assert said["b1"] == said["b2"] == "a sum passes the gradient through"
    assert said["W1"] == said["W2"] == said["h"] == said["emb"] == "a product gives each factor the other's value"


def test_the_numerical_derivative_is_no_copy_of_the_one_by_hand(folders, capsys, monkeypatch):
    differences = r"norm .* largest difference (\S+)"
    right = [float(d) for d in re.findall(differences, walk(capsys, folders[0], "ab", "c", None))]
    assert len(right) == 9
    assert max(right) < 1e-12  # a complex step leaves rounding alone
    monkeypatch.setattr(ops, "tanh_backward", lambda dh, h, out=None: dh * 1.0)
    wrong = [float(d) for d in re.findall(differences, walk(capsys, folders[0], "ab", "c", None))]
    assert [d > 1e-4 for d in wrong] == [False, False, True, True, False, False, True, True, True]  # z, emb, W1, b1, C


def test_a_context_is_filled_up_or_cut(folders, capsys):
    lines, stream = folders
    assert walk(capsys, lines, "", "a", None) == walk(capsys, lines, "\n", "a", None)
    explain(lines, "bbac", "b", None)
    said = capsys.readouterr()
    assert said.err == "the model reads 3 characters: the last 3 of the context are used\n"
    assert said.out == walk(capsys, lines, "bac", "b", None)
    with pytest.raises(UserError, match=r"--context 2.* at least 3"):
        explain(stream, "ab", "c", None)


def test_the_end_of_a_line_is_a_target_and_the_next_line_follows(folders, capsys):
    lines, stream = folders
    out = walk(capsys, lines, "ca", "", None)
    assert "-> '\\n'" in out
    assert "example 2: '\\n' '\\n' '\\n' -> " in out
    assert out == walk(capsys, lines, "ca", "\n", None)
    assert "-> '\\n'" in walk(capsys, stream, "bac", "\n", None)
    with pytest.raises(UserError, match=r"--target has length 0"):
        explain(stream, "bac", "", None)


def test_a_model_need_not_be_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"names\.txt"):
        explain(None, "an", "n", None)
    Path("data").mkdir()
    Path("data/names.txt").write_text(
        "".join(f"{name}{end}\n" for name in ("anna", "bob", "carl", "dora") for end in "aeiou")
    )
    out = walk(capsys, None, "an", "n", None)
    assert "an untrained model, for data/names.txt: there is no run yet" in out
    assert not Path("runs").exists()


def test_parameters_that_are_no_numbers_are_one_line(folders, tmp_path):
    checkpoint = load(Path(folders[0]) / "best.npz")
    checkpoint.parameters.b1[0] = np.nan
    save(tmp_path / "bad.npz", checkpoint)
    with pytest.raises(UserError, match="the parameters are not finite"):
        explain(str(tmp_path / "bad.npz"), "ab", "c", None)


# The picture.


def picture(folder, tmp_path):
    explain(folder, "ab", "c", None, str(tmp_path / "walk.html"))
    return (tmp_path / "walk.html").read_text("utf-8")


def test_every_number_of_the_picture_can_be_had(folders, tmp_path):
    html, own = picture(folders[0], tmp_path), Own(folders[0])
    tensors = {name: getattr(own, name) for name in ("emb", "z", "h", "logits")} | {"p": own.q}
    tensors |= {f"d{name}": own.d[name] for name in ("logits", "h", "z", "emb")}
    for name, want in tensors.items():
        tips = re.findall(rf"<title>{name}\[(\d), (\d+)\](?: \(.\))? = (\S+)</title>", html)
        shown = np.full(want.shape, np.nan)
        for b, k, value in tips:
            shown[int(b), int(k)] = float(value)
        np.testing.assert_allclose(shown, want, rtol=1e-5)  # six digits are shown
    for name in ("C", "W1", "b1", "W2", "b2"):
        for title, want in ((name, getattr(own.p, name)), ("d" + name, own.d[name])):
            text = re.search(rf"<summary>{title} <small>.*?</small></summary><pre>(.*?)</pre>", html, re.DOTALL)[1]
            rows = [[float(word) for word in row.split()[1:]] for row in text.splitlines()]
            np.testing.assert_allclose(rows, np.atleast_2d(want), rtol=1e-4)  # five digits are shown
    for loss in (*own.loss, own.loss.mean()):
        assert f"<b>{loss:.4f}</b>" in html


def test_the_picture_is_one_well_formed_file_with_each_derivative(folders, tmp_path, capsys):
    html = picture(folders[0], tmp_path)
    assert capsys.readouterr().out == f"written to {tmp_path / 'walk.html'}\n"
    for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        ET.fromstring(svg)
    assert "<script" not in html
    assert not re.search(r"[a-z]+://", html)
    assert re.findall(r'class="arrow (\S+)"><span>(.*?)</span>', html) == [
        ("to-z", "· W1 + b1"), ("to-h", "tanh"), ("to-logits", "· W2 + b2"), ("to-p", "softmax"),
        ("to-loss", "−log p[target]"),
        ("from-logits", "(p − y) / B"), ("from-h", "· W2ᵀ"), ("from-z", "· (1 − h²)"), ("from-emb", "· W1ᵀ"),
    ]  # fmt: skip
    assert html.count("✓ off by") == 9
    places = re.findall(r'x="(\d).06" y="0.06" width=".88" height=".88" class="outline"', html)
    assert list(map(int, places)) == [3, Own(folders[0]).y] * 3  # the targets in logits, p and dlogits


def test_a_wrong_link_is_seen_in_the_picture(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(ops, "tanh_backward", lambda dh, h, out=None: dh * (1 - h))
    html = picture(folders[0], tmp_path)
    assert re.findall(r'class="box (\S+)">(?:(?!class="box).)*?✗ wrong: off by', html, re.DOTALL) == [
        "dz", "demb", "under-C", "under-W1", "under-b1",
    ]  # fmt: skip


def test_an_operation_that_writes_into_what_it_was_given_does_not_change_what_was_seen(folders, capsys, monkeypatch):
    want = walk(capsys, folders[0], "ab", "c", None)
    monkeypatch.setattr(ops, "tanh_backward", lambda dh, h, out=None: np.multiply(dh, 1 - h * h, out=dh))
    assert walk(capsys, folders[0], "ab", "c", None).partition("dW2")[0] == want.partition("dW2")[0]


def test_colours_tell_signs_and_sizes(folders, tmp_path):
    html, own = picture(folders[0], tmp_path), Own(folders[0])
    cells = re.findall(r'class="(\w+)" fill-opacity="([\d.]+)"><title>dz\[0, (\d+)\] = ', html)
    for kind, opacity, k in cells:
        value = own.d["z"][0, int(k)]
        assert kind == ("neg" if value < 0 else "pos")
        assert float(opacity) == pytest.approx((abs(value) / abs(own.d["z"]).max()) ** 0.6, abs=6e-3)  # two digits


# One line for bad input.


@pytest.mark.parametrize("logits", ["", "a,b", "1", "nan,1", "inf,1", "1,-1e999", "701,1", "1,,2", "1 2"])
def test_bad_logits(logits):
    with pytest.raises(UserError, match=r"^--logits is .*give numbers from -700 to 700"):
        explain(None, None, "0", logits)


@pytest.mark.parametrize("target", ["-1", "2", "a", "", "0.5", "9" * 5000])
def test_bad_target_of_logits(target):
    with pytest.raises(UserError, match=r"^--target is .*give 0 to 1"):
        explain(None, None, target, "1,2")


@pytest.mark.parametrize(
    ("context", "target", "words"),
    [(None, "a", "give --context"), ("a", "ab", "--target has length 2"), ("a", "é", "the target has"),
     ("a9", "b", "the context has '9'")],
)  # fmt: skip
def test_bad_walk(folders, context, target, words):
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        explain(folders[0], context, target, None)
    assert "\n" not in str(caught.value)


def test_logits_go_alone(folders, tmp_path):
    for run, context in ((folders[0], None), (None, "a")):
        with pytest.raises(UserError, match="without RUN and --context"):
            explain(run, context, "0", "1,2")
    with pytest.raises(UserError, match="--html draws a model"):
        explain(None, None, "0", "1,2", str(tmp_path / "walk.html"))


def test_a_page_that_cannot_be_written_is_one_line(folders, tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        explain(folders[0], "ab", "c", None, str(tmp_path / "nowhere" / "walk.html"))
