"""Practice as it is used: the file with blanks, the answers to the examples, the screens, the table; a notebook."""

from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Capture, Trainer
from practice_files import LECTURE, RIGHT, example
from test_practice_run import of, said

from trainer.errors import UserError
from trainer.tools.practice.command import practice, screen
from trainer.tools.practice.notebook import Practice
from trainer.tools.practice.point import NINE

README = (ROOT / "README.md").read_text("utf-8")


def test_the_examples_that_are_right_and_the_one_with_a_name_that_is_not_there() -> None:
    for name in ("right", "lecture_names"):
        assert of(example(name)).all_right(), name
    assert said(of(example("undefined")), "dh") == (
        "NameError: name 'dlogit' is not defined there is a `dlogits` W2 (64, 27)"
    )


SCREEN = """\
one batch: B = 32, K = 3, D = 10, H = 64, V = 27; loss 3.6013
the file is run once, as Python runs it, and judged by what it leaves
dlogits WRONG   line 3: dlogits[np.arange(B), Y] -= 1
        it is 32 times too large, and B is 32: the 1/B of the mean is missing
        at [16, 12]: yours -9.9743e-01, numerical -3.1170e-02
dW2     right, from your dlogits   dW2 = h.T @ dlogits
db2     SHAPE   line 6: db2 = dlogits
        shape (32, 27), should be (27,), that of b2: it still has a row for each
        example: sum over the batch, axis 0
dh      ERROR   line 7: dh = dlogits @ W2
        ValueError: matmul: ... (size 64 is different from 27)
        W2 (64, 27), dlogits (32, 27)
dz      WRONG   line 8: dz = dh * (1 - h)
        you wrote dh · (1 - h): the square is missing
dW1     SHAPE   line 9: dW1 = dz.T @ emb
        shape (64, 30), should be (30, 64), that of W1: it is transposed and
        otherwise right
db1     WRONG   line 10: db1 = dz.mean(0)
        you wrote dz.mean(0): a mean where a sum belongs; 1/B is in dz already
demb    to do   from dz, W1: (B, K*D)
dC      WRONG   line 13: dC[X] = demb.reshape(B, 3, 10)
        these are the numbers of dC[X] = demb: a repeated character was
        overwritten instead of added; the last one stays
        at [0, 5]: yours 5.6325e-03, numerical 8.3752e-02
0 of 9 right, 1 right from what came in"""


def test_the_screen_line_for_line() -> None:
    found = of(example("several"))
    assert screen(found, 2) == SCREEN
    assert "at [0, 43]" in screen(found, 1)
    assert "square" not in screen(found, 1)
    assert screen(found, 0).splitlines()[2:5] == ["dlogits WRONG", "dW2     right, from your dlogits", "db2     SHAPE"]
    shown = README.partition("practice mine.py\n\n")[2].partition("\n\n")[0]
    assert [line[4:] for line in shown.splitlines() if line[4:] not in SCREEN.splitlines()] == []


@pytest.mark.usefixtures("empty")
def test_a_class_is_a_table_and_what_was_written(capsys: Capture) -> None:
    files = {"right.py": "right", "several.py": "several", "a_long_name.py": "undefined", "unclosed.py": "unclosed"}
    for path, name in files.items():
        Path(path).write_text(example(name))
    assert practice(list(files)) == 1
    head, good, bad, _, _, broken, *below = capsys.readouterr().out.splitlines()
    assert head.split() == ["right", *(f"d{link}" for link in NINE)]
    assert good == "right.py            9    right" + "  right" * 8
    assert " ".join(bad.split()) == "several.py 0 WRONG from SHAPE ERROR WRONG SHAPE WRONG to do WRONG"
    assert broken == "unclosed.py: '(' was never closed, line 1 of unclosed.py; correct it"
    counted = {"dC: 2 wrote dC[X] = demb; 1 right", "dz: 2 wrote dh · (1 - h); 1 right"}
    assert counted | {"dW2: 2 right, from your dlogits; 1 right"} <= {*below}
    practice(list(files), hints=0)
    assert {"dC: 2 WRONG; 1 right", "dz: 2 WRONG; 1 right"} <= {*capsys.readouterr().out.splitlines()}
    Path("ends.py").write_text("import os\nos._exit(0)\n")
    assert practice(["ends.py", "unclosed.py"]) == 1
    assert "ends.py: line 2: os._exit(0): ended the process; what" in capsys.readouterr().out
    with pytest.raises(UserError, match="cannot read"):
        practice(["unclosed.py", "none.py"])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("mine.py", "dlogits = (p - y / B\n", "'(' was never closed, line 1 of"),
        ("mine.py", "x = " + "-" * 100_000 + "1", "Error, "),
        ("mine.py", "return 1\n", "'return' outside function, line 1 of"),
        ("mine.py", "x = '\x00'", "source code string cannot contain null bytes, "),
        ("mine.py", "(" * 500 + ")" * 500, "of"),
        ("mine.ipynb", '{"cells": []}', "this is a notebook"),
    ],
)
def test_what_is_no_python_is_one_line(tmp_path: Path, name: str, text: str, expected: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError, match=r"^[^\n]+$") as error:
        practice([str(path)])
    assert expected in str(error.value)


@pytest.mark.usefixtures("empty")
def test_the_command(trainer: Trainer) -> None:
    wrote = "wrote mine.py: fill in its 9 lines, one or more, and run the same command again\n"
    assert trainer("practice", "mine.py") == (0, wrote, "")
    text = Path("mine.py").read_text()
    assert text.splitlines()[0] == "# You have: C W1 b1 W2 b2   X Y   emb z h logits p y   B K D H V   np"
    assert "demb = ...      # (B, K*D), (B, K, D) or (B*K, D)\n" in text
    status, out, err = trainer("practice", "mine.py", "--hints", "0")
    assert (status, out.splitlines()[-1], err, Path("mine.py").read_text()) == (1, "0 of 9 right", "", text)
    Path("mine.py").write_text(RIGHT)
    assert trainer("practice", "mine.py")[0] == 0
    for bad in ([], ["mine.py", "--hints", "3"], ["new.ipynb"], ["no/x.py"]):
        status, out, err = trainer("practice", *bad)
        assert (status, out, len(err.splitlines()), "--resume" in err) == (2, "", 1, False)


# From a notebook: the same judge, cell by cell


@pytest.fixture
def here() -> Practice:
    return Practice()


def test_the_names_pour_into_a_cell_and_each_gradient_is_checked(here: Practice, capsys: Capture) -> None:
    names = dict(vars(here))
    assert names.keys() >= {*"BKDHVCXYzhpy", "W1", "b1", "W2", "b2", "emb", "logits", "np", "cmp"}
    assert not [name for name in names if name.startswith("_")]
    assert "W1 (30, 64), b1 (64,)" in repr(here)
    exec(RIGHT, names)
    values = [(f"d{link}", names[f"d{link}"]) for link in NINE]
    for name, value in [*values, ("dhpreact", names["dz"].astype(np.float32)), ("dz", names["dz"].tolist())]:
        here.check(name, value)
        assert capsys.readouterr().out.split() == [name.replace("hpreact", "z"), "right"]
    with pytest.raises(UserError, match="dlogits, dW2"):
        here.check("dx", 1)


def test_what_is_wrong_is_said_and_what_follows_from_it_told_apart(here: Practice, capsys: Capture) -> None:
    dh = 2 * (here.p - here.y) @ here.W2.T / here.B
    dz = dh * (1 - here.h**2)
    for name, value, expected in [
        ("dh", dh, "dh WRONG it is 2 times too large"),
        ("dz", dz, "dz right, from your dh"),
        ("dz", dh * (1 - here.h), "dz WRONG these are the numbers of dh · (1 - h): the square is missing"),
        ("dW1", (here.emb.T @ dz).T, "transposed"),
        ("dz", None, "it is None"),
        ("db1", ..., "db1 to do"),
    ]:
        here.check(name, value)
        assert expected in " ".join(capsys.readouterr().out.split())


def test_the_lecture_in_one_cell(here: Practice, capsys: Capture) -> None:
    names = dict(vars(here))
    names["emb"] = names["emb"].reshape(here.B, here.K, here.D)
    exec(LECTURE, names)
    assert capsys.readouterr().out.count("right") == 17


@pytest.mark.long  # for the seconds in which PyTorch is imported
def test_a_tensor_of_pytorch_is_taken(here: Practice, capsys: Capture) -> None:
    torch = pytest.importorskip("torch")
    here.check("dz", torch.tensor(here.z, requires_grad=True) * 0)
    assert "all zero" in capsys.readouterr().out
    h = torch.tensor(here.h, dtype=torch.float32)
    here.check("dW2", h.T @ torch.tensor((here.p - here.y) / here.B, dtype=torch.float32))
    assert capsys.readouterr().out.split() == ["dW2", "right"]
