"""The walk by hand: the numbers of a lecture, those of a model, as text and as a picture; one line for bad input."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import plain_model
import pytest
from conftest import Capture, Trainer, assert_one_line

from trainer import config
from trainer.core import ops
from trainer.core.links import LINKS, ORDER
from trainer.core.model import Batch
from trainer.runs.checkpoint import load
from trainer.runs.session import train
from trainer.tools.command import main
from trainer.tools.explain import explain
from trainer.tools.report import chain


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A run of lines and one of running text, in float64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("explain"))
        words = ("".join(letters) for letters in itertools.product("abc", repeat=4))
        Path("text.txt").write_text("\n".join(words) + "\n")
        small = {"data.path": "text.txt", "model.context": 3, "model.embedding": 4, "model.hidden": 9}
        small |= {"model.dtype": "float64", "train.steps": 60, "train.batch_size": 8}
        modes = [config.read({}, small | {"data.mode": mode}) for mode in ("lines", "stream")]
        return [str(train(settings, "run", quiet=True).absolute()) for settings in modes]


def walked(capsys: Capture, *arguments: Any) -> str:
    capsys.readouterr()
    explain(*arguments)
    return capsys.readouterr().out


def numbers(text: str) -> list[float]:
    return [float(word) for word in re.findall(r"-?\d+\.?\d*(?:e[+-]\d+)?", text)]


def line(out: str, name: str) -> list[float]:
    """The numbers of the first line that begins so."""
    (found, *_) = (row[len(name) :] for row in out.splitlines() if row.startswith(name))
    return numbers(found)


def array(out: str, title: str) -> list[float]:
    """The numbers of the array that is printed below a title."""
    return numbers(re.search(re.escape(title) + r".*\n((?: +\[.*\n)+)", out)[1])  # type: ignore[index]


class Own:
    """The two examples '\\n' 'a' 'b' -> 'c' and 'a' 'b' 'c' -> y, by the plain model; y is the likeliest."""

    def __init__(self, folder: str) -> None:
        self.p = p = load(Path(folder) / "best.npz").parameters
        batch = Batch(np.array([[0, 1, 2], [1, 2, 3]]), np.array([3, 0]))
        self.emb = p.C[batch.contexts].reshape(2, -1)
        self.z = self.emb @ p.W1 + p.b1
        self.h = np.tanh(self.z)
        self.logits = plain_model.logits(plain_model.inputs(p, batch), batch)
        self.q = np.exp(self.logits) / np.exp(self.logits).sum(axis=1, keepdims=True)
        self.y = batch.targets[1] = int(self.q[1].argmax())
        self.loss = -np.log(self.q[[0, 1], batch.targets])
        self.d = plain_model.gradients(p, batch)


def test_the_lecture_numbers(capsys: Capture) -> None:
    assert main(["explain", "--logits", "2,1,0", "--target", "0"]) == 0
    out = capsys.readouterr().out
    assert line(out, "exp(logits)") == [7.3891, 2.7183, 1.0, 11.107]
    assert line(out, "p = exp / sum") == [0.66524, 0.24473, 0.090031, 1.0]
    assert line(out, "loss = -log p[target]") == [0.407606, 1.098612]
    assert line(out, "y, 1 at the target") == [1, 0, 0, 1]
    assert line(out, "p - y ") == [-0.33476, 0.24473, 0.090031, 0.0]
    assert line(out, "numerical")[:3] == [-0.33476, 0.24473, 0.090031]
    assert line(out, "logits - (p - y)")[:3] == [2.3348, 0.75527, -0.090031]
    assert line(out, "p after")[:3] == [0.77245, 0.15919, 0.06836]  # neither 0.772 nor 0.773 of those who round before
    assert line(out, "one step against it, learning rate 1: loss after") == [0.258184]


def test_logits_may_be_negative_and_far_apart(capsys: Capture) -> None:
    assert main(["explain", "--logits", "-1,700,-700", "--target", "2"]) == 0
    out = capsys.readouterr().out
    assert line(out, "loss = -log p[target]")[0] == 1400
    assert max(map(len, out.splitlines())) < 120  # exp(700) has 305 digits


def test_two_examples_are_walked_with_the_models_own_numbers(folders: list[str], capsys: Capture) -> None:
    out, own = walked(capsys, folders[0], "ab", "c", None), Own(folders[0])
    assert "B = 2, K = 3, D = 4, H = 9, V = 4" in out
    assert f"example 1: ↵ab → c\nexample 2: abc → {'↵abc'[own.y]}, which follows" in out
    np.testing.assert_allclose(array(out, "logits = h · W2 + b2"), own.logits.ravel(), atol=6e-5)  # four digits
    np.testing.assert_allclose(array(out, "p = softmax of logits"), own.q.ravel(), atol=6e-5)
    np.testing.assert_allclose(array(out, "loss = -log p[target]"), own.loss, atol=6e-5)
    assert line(out, "backward, from the mean loss, ") == pytest.approx([own.loss.mean()], abs=6e-7)
    for name in ("h", "emb", "b2", "C"):
        np.testing.assert_allclose(array(out, LINKS[name].formula), own.d[name].ravel(), atol=6e-5)
    assert re.findall(r"^(d.*?)   (\(.*?\))$", out, re.MULTILINE) == [
        (LINKS[name].formula, str(own.d[name].shape)) for name in ORDER
    ]


@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("of_a_run", [True, False])
def test_a_number_shows_how_it_came_about(folders: list[str], capsys: Capture, of_a_run: bool) -> None:
    out = walked(capsys, folders[0] if of_a_run else None, "ab", "c", None)
    found = re.findall(r"^  (\w+)\[0, 0\] = (.*?) = (.*) = (\S+)$", out, re.MULTILINE)
    assert [name for name, *_ in found] == ["z", "logits", "dh", "demb", "dW2", "dW1"]
    for _, _, terms, result in found:
        python = re.sub(r"\d+ more that make ", "", terms).replace("·", "*")
        assert eval(python) == pytest.approx(float(result), abs=3e-4)  # four digits each


@pytest.mark.usefixtures("empty")
def test_without_a_run_everything_can_be_recomputed_on_paper(capsys: Capture) -> None:
    out = walked(capsys, None, "emm", "a", None)
    assert "K = 3, D = 2, H = 3, V = 4" in out
    assert "..." not in out  # every array is whole
    C, W1, b1 = (np.array(array(out, f"\n{name}   ")) for name in ("C", "W1", "b1"))
    assert all((values == values.round(1)).all() for values in (C, W1, b1))
    emb = np.array(array(out, "emb = ")).reshape(2, 6)
    assert (emb[0] == C.reshape(4, 2)[[2, 3, 3]].ravel()).all()
    np.testing.assert_allclose(array(out, "z = "), (emb @ W1.reshape(6, 3) + b1).ravel(), atol=1e-9)
    assert not Path("runs").exists()
    assert "V = 2" in walked(capsys, None, "", "", None)


def test_the_numerical_derivative_is_no_copy_of_the_one_by_hand(
    folders: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def differences() -> list[float]:
        out = walked(capsys, folders[0], "ab", "c", None)
        return [float(d) for d in re.findall(r"gradient of .*, error (\S+) of", out)]

    assert len(differences()) == 9
    assert max(differences()) < 1e-12  # a complex step leaves rounding alone
    monkeypatch.setattr(ops, "tanh_backward", lambda dh, h: dh * 1.0)
    assert [d > 1e-4 for d in differences()] == [name in ("z", "emb", "W1", "b1", "C") for name in ORDER]
    html = picture(folders[0], tmp_path)
    wrong = re.findall(r'class="box (\S+) broken">(?:(?!class="box).)*?✗ wrong: off by', html, re.DOTALL)
    assert wrong == ["dz", "demb", "dC", "dW1", "db1"]


def test_a_context_is_filled_up_or_cut_and_a_line_ends_with_a_boundary(folders: list[str], capsys: Capture) -> None:
    lines, stream = folders
    assert walked(capsys, lines, "", "a", None) == walked(capsys, lines, "\n", "a", None)
    assert walked(capsys, lines, "bbac", "b", None) == walked(capsys, lines, "bac", "b", None)
    out = walked(capsys, lines, "ca", "", None)
    assert "example 1: ↵ca → ↵\nexample 2: ↵↵↵ → " in out  # the next line begins
    assert out == walked(capsys, lines, "ca", "\n", None)
    assert "example 1: bac → ↵\n" in walked(capsys, stream, "bac", "\n", None)


def picture(folder: str, tmp_path: Path) -> str:
    explain(folder, "ab", "c", None, str(tmp_path / "walk.html"))
    return (tmp_path / "walk.html").read_text("utf-8")


def test_the_picture_is_one_file_with_every_tensor(
    folders: list[str], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, shrunk = list[Any](), chain.shrunk  # the matrices that are drawn as cells
    monkeypatch.setattr(chain, "shrunk", lambda values: seen.append(values) or shrunk(values))
    html, own = picture(folders[0], tmp_path), Own(folders[0])
    assert capsys.readouterr().out == f"written to {tmp_path / 'walk.html'}\n"
    rows = [own.emb, own.z, own.h, own.logits, own.q, *(own.d[name] for name in ("logits", "h", "z", "emb"))]
    matrices = [values for name in ("C", "W1", "b1", "W2", "b2") for values in (getattr(own.p, name), own.d[name])]
    for found, values in zip(seen, [row for each in rows for row in each] + matrices, strict=True):
        np.testing.assert_allclose(found.ravel()[: values.size], values.ravel(), atol=1e-15)
    assert not re.search(r"[a-z]+://|<script", html)
    assert re.findall(r'class="arrow (\S+)">(.*?)<', html) == [
        ("to-z", "emb · W1 + b1"), ("to-h", "tanh(z)"), ("to-logits", "h · W2 + b2"), ("to-p", "softmax of logits"),
        ("to-loss", "-log p[target]"), ("to-dlogits", "(p - y) / B"), ("to-dh", "dlogits · W2ᵀ"),
        ("to-dz", "dh · (1 - h²)"), ("to-demb", "dz · W1ᵀ"),
    ]  # fmt: skip
    assert html.count("✓ off by") == 9
    assert re.findall("<i class=outlined>(.)", html) == ["c", "↵abc"[own.y]] * 3  # targets in logits, p and dlogits
    for loss in (*own.loss, own.loss.mean()):
        assert f"<b>{loss:.4f}</b>" in html


REFUSED = {
    **{f"--target 0 --logits={logits}": "give two or more" for logits in ("", "1", "nan,1", "1,-1e9", "1,,2")},
    **{f"--logits 1,2 --target={target}": "--target is" for target in ("-1", "2", "")},
    "LINES --target a": "no --context",
    "LINES --context a --target ab": "--target has length 2",
    "LINES --context a9 --target b": "the context has '9'",
    "LINES --logits 1,2 --target 0": "leave RUN, ",
    "STREAM --context ab --target c": "--context has length 2, on the command line; give at least 3",
    "STREAM --context bac --target=": "--target has length 0",
    "--logits 1,2 --target 0 --html walk.html": "--logits goes with --target alone",
    "LINES --context ab --target c --html nowhere/walk.html": "nowhere/walk.html; make room or its folder",
}


@pytest.mark.parametrize("words", REFUSED)
def test_bad_input(words: str, folders: list[str], trainer: Trainer) -> None:
    words_of_runs = words.replace("LINES", folders[0]).replace("STREAM", folders[1])
    assert_one_line(trainer("explain", *words_of_runs.split()), 2, REFUSED[words])
