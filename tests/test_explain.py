"""The walk by hand: the numbers of a lecture, those of a trained model, and one line for bad input."""

import re
from pathlib import Path

import numpy as np
import pytest
from trainer.explain import explain
from trainer.train import train

from trainer import config, ops, runs
from trainer.__main__ import main
from trainer.errors import UserError


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run of lines and one of running text, in float64."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("explain"))
        Path("text.txt").write_text("abc\nca\nbbac\n" * 20)
        found = []
        for mode in ("lines", "stream"):
            tree = {
                "data": {"path": "text.txt", "mode": mode},
                "model": {"context": 3, "embedding": 4, "hidden": 9, "dtype": "float64"},
                "train": {"steps": 60, "batch_size": 8},
            }
            found.append(str(train(config.build(tree, "test"), mode).absolute()))
    return found


def walk(capsys, *arguments):
    capsys.readouterr()
    explain(*arguments)
    return capsys.readouterr().out


def line(out, name, at=0):
    """The numbers of the line that begins so."""
    found = [row for row in out.splitlines() if row.strip().startswith(name)][at].strip()[len(name) :]
    return [float(word) for word in re.findall(r"-?\d+\.?\d*(?:e[+-]\d+)?", found)]


def test_the_lecture_numbers(capsys):
    assert main(["explain", "--logits", "2,1,0", "--target", "0"]) == 0
    out = capsys.readouterr().out
    assert line(out, "exp(logits)") == [7.389, 2.718, 1.0, 11.107]
    assert line(out, "p = exp / sum") == [0.665, 0.245, 0.09, 1.0]
    assert line(out, "loss = -log p[target]") == [0.41, 0.407606, 1.098612]
    assert line(out, "y, 1 at the target") == [1, 0, 0]
    assert line(out, "by hand")[:4] == [-0.335, 0.245, 0.09, 0.0]
    assert line(out, "numerical")[:3] == [-0.335, 0.245, 0.09]
    assert line(out, "logits - dlogits") == [2.335, 0.755, -0.09]
    assert line(out, "p after") == [0.772, 0.159, 0.068]  # 0.773 if one went on from the rounded logits
    assert line(out, "loss after") == [0.26, 0.258184]


def test_logits_may_be_negative_and_far_apart(capsys):
    assert main(["explain", "--logits", "-1,700,-700", "--target", "2"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert line(said.out, "loss = -log p[target]")[:2] == [1400, 1400]
    assert line(said.out, "by hand")[:3] == [0, 1, -1]


def test_a_model_is_walked_with_its_own_numbers(folders, capsys):
    out = walk(capsys, folders[0], "ab", "c", None)
    p = runs.load(Path(folders[0]) / "best.npz").parameters
    emb = p.C[[0, 1, 2]].ravel()
    h = np.tanh(emb @ p.W1 + p.b1)
    logits = h @ p.W2 + p.b2
    q = np.exp(logits) / np.exp(logits).sum()
    dlogits = q - [0, 0, 0, 1]
    dh = p.W2 @ dlogits
    dz = dh * (1 - h**2)
    assert "context '\\n' 'a' 'b'   target 'c'" in out
    assert line(out, "loss = -log p[target]")[1] == pytest.approx(-np.log(q[3]), abs=1e-6)  # six digits are printed
    assert line(out, "p = exp / sum")[0] == pytest.approx(q[3], abs=6e-4)  # the target stands first, three digits
    assert line(out, "h = tanh(z)")[0] == pytest.approx(h[0], abs=6e-4)
    norms = [float(norm) for norm in re.findall(r"entries, norm (\S+)", out)]
    demb = p.W1 @ dz
    want = [dh, dz, demb, np.outer(h, dlogits), dlogits, np.outer(emb, dz), dz, demb]  # of dC too: no character twice
    assert norms == pytest.approx([np.linalg.norm(each) for each in want], rel=1e-3)  # four digits are printed
    after = logits - dlogits
    assert line(out, "loss after")[1] == pytest.approx(np.log(np.exp(after).sum()) - after[3], abs=1e-6)


def test_each_derivative_has_its_own_words(folders, capsys):
    chain = walk(capsys, folders[0], "ab", "c", None).split("the chain downward")[1]
    said = dict(re.findall(r"^d(\w+).* = .*: (.*)$", chain, re.MULTILINE))
    assert said["z"].startswith("the slope of tanh")
    assert said["C"].startswith("a character gathers")
    assert said["b1"] == said["b2"] == "a sum passes the gradient through"
    assert said["W1"] == said["W2"] == said["h"] == said["emb"] == "a product hands each factor the other's value"


def test_the_numerical_derivative_is_no_copy_of_the_one_by_hand(folders, capsys, monkeypatch):
    differences = r"largest difference (\S+)"
    right = [float(d) for d in re.findall(differences, walk(capsys, folders[0], "ab", "c", None))]
    assert len(right) == 9
    assert max(right) < 1e-7  # a step of 1e-5: rounding 1e-11, truncation 1e-10 times the third derivative
    monkeypatch.setattr(ops, "tanh_backward", lambda dh, h, out=None: np.multiply(dh, 1.0, out))
    wrong = [float(d) for d in re.findall(differences, walk(capsys, folders[0], "ab", "c", None))]
    assert [d > 1e-4 for d in wrong] == [False, False, True, True, False, False, True, True, True]  # z, emb, W1, b1, C


def test_a_context_is_filled_up_or_cut(folders, capsys):
    lines, stream = folders
    assert walk(capsys, lines, "", "a", None) == walk(capsys, lines, "\n", "a", None)
    long = walk(capsys, lines, "bbac", "b", None)
    assert long.splitlines()[0] == "the model reads 3 characters: the last 3 of the context are used"
    assert long.split("\n", 1)[1] == walk(capsys, lines, "bac", "b", None)
    with pytest.raises(UserError, match=r"--context 2.* at least 3"):
        explain(stream, "ab", "c", None)


def test_the_end_of_a_line_is_a_target(folders, capsys):
    lines, stream = folders
    out = walk(capsys, lines, "ca", "", None)
    assert "target '\\n'" in out
    assert out == walk(capsys, lines, "ca", "\\n", None) == walk(capsys, lines, "ca", "\n", None)
    assert "target '\\n'" in walk(capsys, stream, "bac", "\\n", None)
    with pytest.raises(UserError, match=r"--target has length 0"):
        explain(stream, "bac", "", None)


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


def test_logits_go_alone(folders):
    for run, context in ((folders[0], None), (None, "a")):
        with pytest.raises(UserError, match="without RUN and --context"):
            explain(run, context, "0", "1,2")
