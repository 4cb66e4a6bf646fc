"""Practice from a notebook, and a learner's file as the backward pass of training."""

from pathlib import Path

import numpy as np
import pytest

from trainer import config, model, numerical
from trainer.errors import UserError
from trainer.tools.practice import learned
from trainer.tools.practice.notebook import Practice, practice
from trainer.tools.practice.point import SIZES, draw

RIGHT = (Path(__file__).parent / "practice_files" / "examples" / "right.txt").read_text()
LECTURE = (Path(__file__).parent / "practice_files" / "examples" / "lecture_names.txt").read_text()


@pytest.fixture
def here() -> Practice:
    return practice()


def test_the_names_pour_into_a_cell_and_each_gradient_is_checked(
    here: Practice, capsys: pytest.CaptureFixture[str]
) -> None:
    names = dict(vars(here))
    given = "C W1 b1 W2 b2  X Y  emb z h logits p y  B K D H V  np"
    assert names.keys() >= set(given.split())
    assert not [name for name in names if name.startswith("_")]
    exec(RIGHT, names)
    for name in ("dlogits", "dW2", "db2", "dh", "dz", "dW1", "db1", "demb", "dC"):
        here.check(name, names[name])
        assert capsys.readouterr().out.split() == [name, "right"]
    here.check("dhpreact", names["dz"].astype(np.float32))
    here.check("dz", names["dz"].tolist())
    assert capsys.readouterr().out.split() == ["dz", "right"] * 2
    here.check("dz", names["dh"] * (1 - here.h))
    assert capsys.readouterr().out == "dz      WRONG\n        you wrote dh · (1 - h): the square is missing\n"
    here.check("dW1", names["dW1"].T)
    assert "transposed and otherwise right" in " ".join(capsys.readouterr().out.split())
    here.check("dz", None)
    assert "it is None" in capsys.readouterr().out
    here.check("dz", ...)
    assert "to do" in capsys.readouterr().out
    with pytest.raises(UserError, match="dlogits, dW2"):
        here.check("dx", 1)


def test_what_follows_from_a_wrong_gradient_is_told_apart(here: Practice, capsys: pytest.CaptureFixture[str]) -> None:
    dh = 2 * (here.p - here.y) @ here.W2.T / here.B
    here.check("dh", dh)
    here.check("dz", dh * (1 - here.h**2))
    assert "it is right for your dh, which is not: look there first" in capsys.readouterr().out


def test_what_was_given_and_changed_is_said(here: Practice, capsys: pytest.CaptureFixture[str]) -> None:
    p = here.p
    p[range(here.B), here.Y] -= 1
    here.check("dlogits", p / here.B)
    shown = capsys.readouterr().out
    assert "p itself was changed, which is given: begin with p.copy()" in shown
    assert "dlogits right" in shown
    assert here.p.min() > 0


def test_a_tensor_of_pytorch_is_taken(here: Practice, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    dz = torch.tensor(vars(here)["z"], requires_grad=True)
    here.check("dz", dz * 0)
    assert "all zero" in capsys.readouterr().out
    h = torch.tensor(here.h, dtype=torch.float32)
    dlogits = torch.tensor((here.p - here.y) / here.B, dtype=torch.float32)
    here.check("dW2", h.T @ dlogits)
    assert capsys.readouterr().out.split() == ["dW2", "right"]


def step(dtype: type) -> tuple[model.Parameters, model.Batch, dict[str, np.ndarray]]:
    """Parameters, a batch and its forward arrays, in the training type."""
    p64, batch = draw(0)
    at = numerical.point(p64, batch, SIZES)
    p = model.zeros(SIZES, dtype)
    p.flat[...] = p64.flat
    return p, batch, {name: getattr(at, name).astype(dtype) for name in ("emb", "z", "h", "logits")}


@pytest.mark.parametrize("text", [RIGHT, LECTURE])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_right_file_gives_the_gradients_of_training(tmp_path: Path, text: str, dtype: type) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    backward = learned.read(str(path))
    p, batch, forward = step(dtype)
    before = p.flat.copy(), {name: array.copy() for name, array in forward.items()}
    found = backward(p, batch, forward)
    right = practice()._exercise.right
    assert found.keys() == right.keys()
    for link, array in found.items():
        assert (array.dtype, array.shape) == (dtype, right[link].shape)
        error = np.linalg.norm(array - right[link]) / np.linalg.norm(right[link])
        assert error < 50 * np.finfo(dtype).eps, link  # a sum of up to 96 products, each rounded
    assert np.array_equal(p.flat, before[0])
    assert all(np.array_equal(forward[name], array) for name, array in before[1].items())


def test_the_line_of_each_link_is_known(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(LECTURE)
    lines = learned.read(str(path)).lines
    assert lines["z"] == f"line 7 of {path}: dhpreact = dh * (1.0 - h ** 2)"
    assert lines["C"] == f"line 15 of {path}: dC[character] += demb[row, place]"
    assert lines.keys() == practice()._exercise.right.keys()


@pytest.mark.parametrize(
    ("was", "line", "said"),
    [
        ("dz = dh * (1 - h**2)", "dz = ...", "dz is still to do"),
        ("dz = dh * (1 - h**2)", "dz = dh @ W1", "ValueError: matmul"),
        ("dz = dh * (1 - h**2)", "dz = dhh", "NameError: name 'dhh' is not defined, line 7 of"),
        ("dz = dh * (1 - h**2)", "dz = exit()", "SystemExit"),
        ("dz = dh * (1 - h**2)", "dz = dh\ndz *= 1 - h**2", "dh and dz are one array, begin with dh.copy()"),
        ("db2 = dlogits.sum(0)", "db2 = dlogits", "db2 is float32 of shape (32, 27), should be (27,)"),
        ("db2 = dlogits.sum(0)", "db2 = None", "db2 is object of shape ()"),
    ],
)
def test_what_cannot_be_trained_with_is_one_line(tmp_path: Path, was: str, line: str, said: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(RIGHT.replace(was, line))
    backward = learned.read(str(path))
    with pytest.raises(UserError, match=r"^[^\n]+practice[^\n]+$") as error:
        backward(*step(np.float32))
    assert said in str(error.value)


def test_dropout_is_refused() -> None:
    given = {"data": {"path": "names.txt"}, "train": {}}
    learned.refuse_dropout(config.build(given, "test"))
    for key in ("dropout", "embedding_dropout", "context_dropout"):
        given["train"] = {key: 0.1}
        with pytest.raises(UserError, match=f"train.{key} does not go with --backward"):
            learned.refuse_dropout(config.build(given, "test"))
