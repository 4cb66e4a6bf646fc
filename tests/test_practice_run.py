"""How a file is run: where a gradient is done, what is replaced, what is put back, and what cannot take it down."""

from pathlib import Path

import numpy as np
import pytest
from test_practice import EXERCISE, of, sentence, words

from trainer.tools.practice.process import judged

RIGHT = """\
dlogits = (p - y) / B
dW2 = h.T @ dlogits
db2 = dlogits.sum(0)
dh = dlogits @ W2.T
dz = dh * (1 - h**2)
dW1 = emb.T @ dz
db1 = dz.sum(0)
demb = dz @ W1.T
dC = np.zeros_like(C)
np.add.at(dC, X, demb.reshape(B, K, D))
"""


def wrong(text: str) -> dict[str, str]:
    """The gradients that are not right, and what is said of them."""
    return {name: word for name, word in words(of(text)).items() if word != "right"}


def test_a_mistake_does_not_spoil_what_comes_below_it() -> None:
    assert wrong(RIGHT.replace("(p - y) / B", "p")) == {"dlogits": "WRONG"}
    assert wrong(RIGHT.replace("dh = dlogits @ W2.T", "dh = dlogits @ W2")) == {"dh": "ERROR"}
    assert wrong(RIGHT.replace("dh * (1 - h**2)", "...")) == {"dz": "to do"}
    assert wrong(RIGHT.replace("dh * (1 - h**2)", "(dh * (1 - h**2)).T")) == {"dz": "SHAPE"}


def test_a_replaced_gradient_is_replaced_under_every_name() -> None:
    for lines in ("dz = d = dh", "d = dh.copy()\ndz = d", "t = np.array(dh)\ndz = t[:]\nd = t"):
        text = RIGHT.replace("dz = dh * (1 - h**2)", lines).replace("emb.T @ dz", "emb.T @ d")
        assert wrong(text) == {"dz": "WRONG"}, lines
    views = RIGHT.replace("demb = dz @ W1.T", "rows = np.zeros((B, K, D))\ndemb = rows.reshape(B, -1)\nrows += 1")
    assert wrong(views.replace("demb.reshape(B, K, D)", "rows")) == {"demb": "WRONG"}
    turned = RIGHT.replace("dz = dh * (1 - h**2)", "dz = dh * 2\ndzT = dz.T").replace("emb.T @ dz", "(dzT @ emb).T")
    assert wrong(turned) == {"dz": "WRONG"}


def test_a_gradient_that_is_another_name_of_the_one_before_leaves_it_as_it_is() -> None:
    found = of(RIGHT.replace("dz = dh * (1 - h**2)", "dz = dh\ndz *= 1 - h**2"))
    assert found.right() == 9
    assert found.notes == ["line 6 changed dh too, which is the same array; begin with dh.copy()"]
    assert wrong(RIGHT.replace("db2 = dlogits.sum(0)", "db2 = dlogits")) == {"db2": "SHAPE"}
    assert wrong(RIGHT.replace("dz = dh * (1 - h**2)", "dz = dh\ndz *= 1 - h")) == {"dz": "WRONG"}
    one = RIGHT.replace("dh = dlogits @ W2.T", "dh = dz = np.empty((B, H))\ndh[:] = dlogits @ W2.T")
    assert wrong(one) == {}


def test_what_was_given_is_put_back() -> None:
    found = of("W2 *= 2\nh -= 1\ndel z\nB = 5\n" + RIGHT)
    assert found.right() == 9
    assert [note.split(",")[0] for note in found.notes] == [
        "line 1 changed W2 itself", "line 2 changed h itself", "line 3 changed z itself", "line 4 changed B itself",
    ]  # fmt: skip
    assert wrong("p[range(B), Y] -= 1\n" + RIGHT.replace("(p - y) / B", "p / B")) == {}
    assert wrong(RIGHT.replace("dh =", "W2 -= 0.1 * dW2\ndh =")) == {}
    reshaped = "emb = emb.reshape(B, K, D)\nfor n in range(3): pass\n"
    assert of(reshaped + RIGHT.replace("emb.T", "emb.reshape(B, -1).T")).notes == []
    assert wrong(RIGHT + "p = np.zeros(3)\ndel dz, dh\n") == {}


def test_a_statement_that_writes_several_is_judged_with_what_it_made_itself() -> None:
    body = "    ".join(RIGHT.replace("(1 - h**2)", "(1 - h)").splitlines(keepends=True))
    names = "dlogits, dW2, db2, dh, dz, dW1, db1, demb, dC"
    found = of(f"def backward():\n    {body}    return {names}\n{names} = backward()\n")
    assert {name for name, word in words(found).items() if word != "right"} == {"dz"}
    assert "the square is missing" in sentence(found, "dz")
    assert found.notes == ["line 13 makes 9 gradients at once: each is judged with your own gradients coming in"]
    pair = RIGHT.replace("dW2 = h.T @ dlogits\ndb2 = dlogits.sum(0)", "dW2, db2 = h.T @ dlogits, dlogits.mean(0)")
    assert of(pair).notes == []
    assert wrong(pair) == {"db2": "WRONG"}
    loop = (
        "dh, dz = np.zeros((B, H)), np.zeros((B, H))\nfor b in range(B):\n    dh[b] = W2 @ dlogits[b] * 2\n"
        "    dz[b] = dh[b] * (1 - h[b] ** 2)"
    )
    assert wrong(RIGHT.replace("dh = dlogits @ W2.T\ndz = dh * (1 - h**2)", loop)) == {"dh": "WRONG"}


def test_helpers_of_the_learner_work() -> None:
    text = (
        "import math\nclass Tape:\n    kept = []\ndef linear(x, W, dy):\n    Tape.kept.append(dy)\n"
        "    return dy @ W.T, x.T @ dy, dy.sum(0)\ndef fill(out, value):\n    out[...] = value\n"
        "dlogits = np.empty((B, V))\nfill(dlogits, (p - y) / B)\ndh, dW2, db2 = linear(h, W2, dlogits)\n"
        "dz = dh * np.vectorize(lambda x: 1 - math.tanh(x) ** 2)(z)\ndemb, dW1, db1 = linear(emb, W1, dz)\n"
        "if __name__ == '__main__':\n    dC = np.eye(V)[X.reshape(-1)].T @ demb.reshape(-1, D)\n"
    )
    assert wrong(text) == {}


@pytest.mark.parametrize(
    ("line", "word", "said"),
    [
        ("dz = None", "TYPE", "it is None"),
        ("dz = dh.sum", "TYPE", "are its brackets missing?"),
        ("dz = dh * 1j", "TYPE", "complex128"),
        ("dz = [[1, 2], [3]]", "TYPE", "are its rows of one length?"),
        ("dz = 'dh'", "TYPE", "gradient is made of real numbers"),
        ("dz = dh * (1 - h**2),", "SHAPE", "is there a comma at the end of the line? It is otherwise right"),
        ("dz = (dh * (1 - h**2)).sum()", "SHAPE", "one number; the sum ran over everything"),
        ("dz = dh / 0", "WRONG", "2048 of 2048 entries are not finite"),
        ("dz = np.zeros((B, H))", "WRONG", "all zero"),
        ("dz = dh * (1 - h**2)\ndz[5:] = 0", "WRONG", "rows 5 to 31 are zero, the others right"),
        ("dz = dh * 0.3 * (1 - h**2)", "WRONG", "it is 3.33333 times too small"),
        ("dz = dh * (1 - h**3)", "WRONG", "no known mistake"),
        ("def f(x):\n    y = x * 2\n    return y @ W1\ndz = f(dh)", "ERROR", "W1 (30, 64), y (32, 64)"),
        ("dz = input()", "ERROR", "Error"),
        ("def f(): return f()\ndz = f()", "ERROR", "RecursionError"),
        ("import sys\ndz = sys.exit('no')", "ERROR", "SystemExit: no"),
        ("dz = dh * (1 - h**2).astype(np.float32)", "right", ""),
        ("dz = np.zeros((10**7, 10**7))", "ERROR", "Memory"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_whatever_a_line_makes_has_a_word(line: str, word: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with np.errstate(all="ignore"), capsys.disabled():
        found = of(RIGHT.replace("dz = dh * (1 - h**2)", line))
    assert words(found)["dz"] == word
    assert said in sentence(found, "dz")
    assert {name for name, word in words(found).items() if word != "right"} <= {"dz"}


@pytest.mark.parametrize(
    ("text", "seconds", "said"),
    [
        ("while True: pass\n", 2.0, "line 11: while True: pass\nstill running after 2 seconds"),
        ("import os\nos._exit(0)\n", 10.0, "line 12: os._exit(0)\nended the process (exit status 0)"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", 10.0, "ended the process (signal 9)"),
        ("import os\nos.closerange(0, 100)\nx = 1\n", 10.0, "ended the process"),
    ],
)
def test_what_ends_the_process_is_said(tmp_path: Path, text: str, seconds: float, said: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(RIGHT + text)
    found = judged(str(path), seconds)
    assert said in found.stopped
    assert (found.verdicts, found.right()) == ([], 0)


def test_what_a_file_prints_is_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import os, sys\nprint('seen', dict(a=1))\nos.write(1, b'{\"verdicts\": []}\\n')\nos.system('echo loud')\n"
        + RIGHT
        + "raise SystemExit\nsys.stdout.close()\nprint(10 ** 6 * 'x')\nsys.stdout = None\n"
    )
    found = judged(str(path))
    assert found.right() == 9
    assert found.printed.startswith("seen {'a': 1}\n")
    assert any("SystemExit" in note for note in found.notes)


def test_the_point_is_what_it_says() -> None:
    given, right = EXERCISE.given, EXERCISE.right
    assert len({given[name] for name in ("B", "K", "D", "H", "V")} | {given["K"] * given["D"]}) == 6
    assert np.abs(right["logits"] - (given["p"] - given["y"]) / given["B"]).max() < 1e-15
    assert np.all(given["b1"] != 0)
    assert np.all(given["b2"] != 0)
    assert len(np.unique(given["X"])) < given["X"].size / 2
