"""Practice on the command line: the file with blanks, the answers to the examples, the screens, the table."""

from pathlib import Path

import pytest
from conftest import Trainer
from practice_files import whole
from test_practice_run import of, said, words

from trainer.errors import UserError
from trainer.tools.practice.command import WIDTH, practice, screen
from trainer.tools.practice.judge import Finding
from trainer.tools.practice.run import Answer

EXAMPLES = Path(__file__).parent / "practice_files" / "examples"
SEVERAL = {
    "dlogits": ("WRONG", "it is 32 times too large, and B is 32: the 1/B of the mean is missing"),
    "dW2": ("right, from your dlogits", ""),
    "db2": ("SHAPE", "it still has a row for each example"),
    "dh": ("ERROR", "ValueError: matmul: ... (size 64 is different from 27) W2 (64, 27), dlogits (32, 27)"),
    "dz": ("WRONG", "you wrote dh · (1 - h): the square is missing"),
    "dW1": ("SHAPE", "shape (64, 30), should be (30, 64), that of W1 it is transposed and otherwise right"),
    "db1": ("WRONG", "you wrote dz.mean(0): a mean where a sum belongs"),
    "demb": ("to do", ""),
    "dC": ("WRONG", "a repeated character was overwritten instead of added"),
}
UNDEFINED = SEVERAL | {"dh": ("ERROR", "NameError: name 'dlogit' is not defined there is a `dlogits` W2 (64, 27)")}


def example(name: str) -> str:
    return (EXAMPLES / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", ["right", "lecture_names"])
def test_the_right_examples_are_right(name: str) -> None:
    assert (of(example(name)).right(), of(example(name)).all_right(), of(example(name)).notes) == (9, True, [])


@pytest.mark.parametrize(("name", "expected"), [("several", SEVERAL), ("undefined", UNDEFINED)])
def test_each_mistake_of_the_examples_is_named(name: str, expected: dict[str, tuple[str, str]]) -> None:
    found = of(example(name))
    assert words(found) == {gradient: word for gradient, (word, _) in expected.items()}
    for gradient, (_, sentence) in expected.items():
        assert sentence in said(found, gradient), gradient


SCREEN = """\
one batch: B = 32, K = 3, D = 10, H = 64, V = 27; loss 3.6013; the file is
judged as Python runs it
dlogits WRONG   line 3: dlogits[np.arange(B), Y] -= 1
        it is 32 times too large, and B is 32: the 1/B of the mean is missing
        at [16, 12]: yours -9.9743e-01, numerical -3.1170e-02
dW2     right, from your dlogits dW2 = h.T @ dlogits
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
0 of 9 right, 1 right from what came in; a training with this file would stop"""


def test_the_screen_line_for_line() -> None:
    found = of(example("several"))
    assert screen(found, 2) == SCREEN
    assert "at [0, 43]" in screen(found, 1)
    assert "square" not in screen(found, 1)
    assert screen(found, 0).splitlines()[2:5] == ["dlogits WRONG", "dW2     right, from your dlogits", "db2     SHAPE"]
    assert len(screen(found, 0).splitlines()) == 12


def test_long_lines_and_control_characters_stay_within_the_screen() -> None:
    finding = Finding("dz", (1, "dz = dh" + " + 0 * dh" * 30 + " \x1b[2J"), "WRONG", "x\x1b" * 500)
    shown = screen(Answer([finding], ["y\x1b"], ended=True), 2)
    assert "\x1b" not in shown
    assert all(len(line) <= WIDTH for line in shown.splitlines())


def test_a_class_is_a_table_and_what_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    long = "a_file_with_a_long_name_by_one_student_of_the_class.py"
    files = {"right.py": "right", "several.py": "several", long: "undefined", "unclosed.py": "unclosed"}
    for path, name in files.items():
        Path(path).write_text(example(name))
    assert practice(list(files)) == 1
    head, good, bad, cut, broken, totals, *below = capsys.readouterr().out.splitlines()
    assert head.split() == ["dlogits", "dW2", "db2", "dh", "dz", "dW1", "db1", "demb", "dC"]
    assert good.endswith("right   right right right right right right right right 9 of 9")
    assert bad.endswith("WRONG   from  SHAPE ERROR WRONG SHAPE WRONG to do WRONG 0 of 9")
    assert cut.startswith("...")
    assert "'(' was never closed, line 1 of unclosed.py" in broken
    assert totals.split() == ["right,", "of", "4", *"111111111"]
    assert "dC: 2 wrote dC[X] = demb" in below
    assert "dz: 2 wrote dh · (1 - h)" in below
    monkeypatch.setenv("COLUMNS", "140")
    assert practice(["right.py", long]) == 1
    assert capsys.readouterr().out.splitlines()[2].startswith(long)
    assert practice(["right.py", "right.py"]) == 0
    with pytest.raises(UserError, match="cannot read"):
        practice(["right.py", "none.py"])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("mine.py", "dlogits = (p - y / B\n", "'(' was never closed, line 1 of"),
        ("mine.py", "x = 1\nreturn x\n", "'return' outside function, line 2 of"),
        ("mine.py", "x = '\x00'", "null bytes"),
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


def test_the_command(tmp_path: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wrote = "wrote mine.py: fill in its 9 lines, one or more, and run the same command again\n"
    assert trainer("practice", "mine.py") == (0, wrote, "")
    text = Path("mine.py").read_text()
    assert text.splitlines()[0] == "# You have: C W1 b1 W2 b2   X Y   emb z h logits p y   B K D H V   np"
    assert "demb = ...      # (B, K*D), (B, K, D) or (B*K, D)\n" in text
    status, out, err = trainer("practice", "mine.py", "--hints", "0")
    assert (status, out.splitlines()[-1], err, Path("mine.py").read_text()) == (1, "0 of 9 right", "", text)
    Path("mine.py").write_text(whole.RIGHT)
    assert trainer("practice", "mine.py")[0] == 0
    for bad in (
        ["practice"],
        ["practice", "mine.py", "--hints", "3"],
        ["practice", "new.ipynb"],
        ["practice", "no/x.py"],
    ):
        status, out, err = trainer(*bad)
        assert (status, out, len(err.splitlines())) == (2, "", 1)
