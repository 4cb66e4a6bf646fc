"""Practice from a notebook."""

from pathlib import Path

import numpy as np
import pytest

from trainer.errors import UserError
from trainer.tools.practice.notebook import Practice, practice

RIGHT = (Path(__file__).parent / "practice_files" / "examples" / "right.txt").read_text()


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


@pytest.mark.long  # for the seconds in which PyTorch is imported
def test_a_tensor_of_pytorch_is_taken(here: Practice, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    dz = torch.tensor(vars(here)["z"], requires_grad=True)
    here.check("dz", dz * 0)
    assert "all zero" in capsys.readouterr().out
    h = torch.tensor(here.h, dtype=torch.float32)
    dlogits = torch.tensor((here.p - here.y) / here.B, dtype=torch.float32)
    here.check("dW2", h.T @ dlogits)
    assert capsys.readouterr().out.split() == ["dW2", "right"]
