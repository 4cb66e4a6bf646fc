"""Practice on the command line: the file with blanks, the answers to the examples, the screens, the table."""

from pathlib import Path

import pytest
from conftest import Trainer

from trainer.errors import UserError
from trainer.tools.practice.answer import Answer, answer
from trainer.tools.practice.command import practice
from trainer.tools.practice.point import exercise
from trainer.tools.practice.process import judged
from trainer.tools.practice.run import program
from trainer.tools.practice.screen import WIDTH, screen

EXAMPLES = Path(__file__).parent / "practice_files" / "examples"
EXERCISE = exercise()


def of(text: str) -> Answer:
    """The answer to a file, judged in this process."""
    return answer(program(text.encode(), "mine.py"), EXERCISE)


def words(found: Answer) -> dict[str, str]:
    return {verdict.name: verdict.word for verdict in found.verdicts}


def sentence(found: Answer, name: str) -> str:
    """All that is said about a gradient."""
    verdict = next(verdict for verdict in found.verdicts if verdict.name == name)
    return f"{verdict.fact} {verdict.sentence}"


def test_the_right_examples_are_right() -> None:
    found = judged(str(EXAMPLES / "right.txt"))
    assert (found.right(), found.notes) == (9, [])
    lecture = judged(str(EXAMPLES / "lecture_names.txt"))
    assert lecture.right() == 9
    assert lecture.notes == ["line 2 changed p itself, which is given: it was put back; begin with p.copy()"]


SEVERAL = {
    "dlogits": ("WRONG", "it is 32 times too large, and B is 32: the 1/B of the mean is missing"),
    "dW2": ("right", ""),
    "db2": ("SHAPE", "it still has a row for each example"),
    "dh": ("ERROR", "ValueError: matmul: ... (size 64 is different from 27)\nW2 (64, 27), dlogits (32, 27)"),
    "dz": ("WRONG", "you wrote dh · (1 - h): the square is missing"),
    "dW1": ("SHAPE", "shape (64, 30), should be (30, 64), that of W1 it is transposed and otherwise right"),
    "db1": ("WRONG", "you wrote dz.mean(0): a mean where a sum belongs"),
    "demb": ("to do", "from dz, W1: (B, K*D)"),
    "dC": ("WRONG", "a repeated character was overwritten instead of added"),
}


@pytest.mark.parametrize("name", ["several", "undefined"])
def test_each_mistake_of_the_examples_is_named(name: str) -> None:
    found = of((EXAMPLES / f"{name}.txt").read_text())
    expected = dict(SEVERAL)
    if name == "undefined":
        expected["dh"] = "ERROR", "NameError: name 'dlogit' is not defined\nthere is a `dlogits`\nW2 (64, 27)"
    assert words(found) == {name: word for name, (word, _) in expected.items()}
    for link, (_, said) in expected.items():
        assert said in sentence(found, link), link


TORCH = """\
dlogits = (p - y) / B
dW2 = h.t() @ dlogits
db2 = dlogits.sum(0, keepdim=True)
dh = dlogits @ W2.T
dz = (1 - h.pow(2)) * dh
dW1 = emb.T @ dz
db1 = dz.sum(dim=0)
demb = (dz @ W1.T).view(B, K, D)
dC = torch.zeros_like(C)
for place in range(K):
    dC[X[:, place]] += demb[:, place]
"""
IN_NUMPY = {
    "dW2": ("t", "x.T"),
    "db2": ("keepdim", "keepdims"),
    "dz": ("pow", "x ** n"),
    "db1": ("dim", "axis"),
    "demb": ("view", "x.reshape(...)"),
    "dC": ("torch", "np"),
}


def test_words_of_pytorch_get_those_of_numpy() -> None:
    found = of(TORCH)
    assert {name: word for name, word in words(found).items() if word == "ERROR"} == dict.fromkeys(IN_NUMPY, "ERROR")
    for link, (word, numpy) in IN_NUMPY.items():
        assert f"PyTorch's `{word}` is `{numpy}` in NumPy" in sentence(found, link)
    assert "PyTorch" not in sentence(of("dz = dh.view('int8') * q"), "dz")
    assert "PyTorch" not in sentence(of("dz = t * dh"), "dz")  # a name of the learner's own
    assert "there is a" not in sentence(found, "dC")  # the cause, line 9, and not what it left undefined


SCREEN = """\
one batch: B = 32, K = 3, D = 10, H = 64, V = 27; loss 3.6013; each link is
judged with the right gradient coming in
dlogits WRONG   line 3: dlogits[np.arange(B), Y] -= 1
        it is 32 times too large, and B is 32: the 1/B of the mean is missing
        at [16, 12]: yours -9.9743e-01, numerical -3.1170e-02
dW2     right   dW2 = h.T @ dlogits
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
        you wrote dC[X] = demb: a repeated character was overwritten instead of
        added; the last one stays
1 of 9 right"""


def test_the_screen_line_for_line() -> None:
    found = of((EXAMPLES / "several.txt").read_text())
    assert screen(found, EXERCISE, 2) == SCREEN
    assert "at [0, 43]" in screen(found, EXERCISE, 1)
    assert "square" not in screen(found, EXERCISE, 1)
    bare = screen(found, EXERCISE, 0).splitlines()
    assert bare[2:5] == ["dlogits WRONG", "dW2     right", "db2     SHAPE"]
    assert len(bare) == 12
    assert all(len(line) <= WIDTH for hints in range(3) for line in screen(found, EXERCISE, hints).splitlines())


def test_long_lines_and_control_characters_stay_within_the_screen() -> None:
    long = "dz = dh * (1 - h)" + " + 0 * dh" * 30 + "  # \x1b[2J\n" + "raise ValueError('x\x1b' * 500)\n"
    shown = screen(of(long), EXERCISE, 2)
    assert "\x1b" not in shown
    assert all(len(line) <= WIDTH for line in shown.splitlines())


def test_the_file_with_blanks_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    assert practice([str(path)]) == 0
    assert "wrote" in capsys.readouterr().out
    text = path.read_text()
    assert text.splitlines()[0] == "# You have: C W1 b1 W2 b2   X Y   emb z h logits p y   B K D H V   np"
    assert "demb = ...      # (B, K*D) or (B, K, D)\n" in text
    assert practice([str(path)]) == 1
    assert "0 of 9 right" in capsys.readouterr().out
    assert path.read_text() == text
    with pytest.raises(UserError, match="cannot write"):
        practice([str(tmp_path / "none" / "mine.py")])


def test_several_files_are_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for name in ("right", "several", "unclosed"):
        path = tmp_path / f"{name}.py"
        path.write_text((EXAMPLES / f"{name}.txt").read_text())
        paths.append(str(path))
    assert practice(paths) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["dlogits", "dW2", "db2", "dh", "dz", "dW1", "db1", "demb", "dC"]
    assert lines[1].endswith("right   right right right right right right right right 9 of 9")
    assert lines[2].endswith("WRONG   right SHAPE ERROR WRONG SHAPE WRONG to do WRONG 1 of 9")
    assert "'(' was never closed, line 1 of" in lines[3]
    assert lines[4].split() == ["right,", "of", "3", "1", "2", "1", "1", "1", "1", "1", "1", "1"]
    assert all(len(line) <= WIDTH for line in lines)
    assert practice([paths[0], paths[0]]) == 0
    with pytest.raises(UserError, match="cannot read"):
        practice([paths[0], str(tmp_path / "none.py")])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dlogits = (p - y / B\n", "'(' was never closed, line 1 of"),
        ("x = 1\n  y = 2\n", "unexpected indent, line 2 of"),
        ("x = 1\nreturn x\n", "'return' outside function, line 2 of"),
        ("x = '\x00'", "null bytes"),
        ("(" * 500 + ")" * 500, "of"),
    ],
)
def test_what_is_no_python_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError, match=r"^[^\n]+$") as error:
        practice([str(path)])
    assert said in str(error.value)


def test_bad_usage_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        practice([str(tmp_path)])
    with pytest.raises(UserError, match="hints"):
        practice(["mine.py"], 3)
    with pytest.raises(UserError, match="no file"):
        practice([])


def test_the_command(tmp_path: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert trainer("practice", "mine.py") == (
        0,
        "wrote mine.py: fill in its 9 lines, one or more, and run the same command again\n",
        "",
    )
    status, out, err = trainer("practice", "mine.py", "--hints", "0")
    assert (status, out.splitlines()[-1], err) == (1, "0 of 9 right", "")
    Path("mine.py").write_text((EXAMPLES / "right.txt").read_text() + "print('dz', dz.shape)\n")
    status, out, err = trainer("practice", "mine.py")
    assert (status, out.splitlines()[-1], err) == (0, "9 of 9 right", "printed by mine.py:\n        dz (32, 64)\n")
    Path("mine.py").write_text("dlogits = (p - y / B")
    assert trainer("practice", "mine.py") == (
        2,
        "",
        "error: '(' was never closed, line 1 of mine.py; correct the line\n",
    )
    for bad in (["practice"], ["practice", "mine.py", "--hints", "3"]):
        status, out, err = trainer(*bad)
        assert (status, out, len(err.splitlines())) == (2, "", 1)
