"""Practice from a notebook: the same judge, cell by cell."""

import numpy as np
import pytest
from practice_files import lecture, whole

from trainer.errors import UserError
from trainer.mistakes.point import NINE
from trainer.tools.practice.notebook import Practice


@pytest.fixture
def here() -> Practice:
    return Practice()


def test_the_names_pour_into_a_cell_and_each_gradient_is_checked(
    here: Practice, capsys: pytest.CaptureFixture[str]
) -> None:
    names = dict(vars(here))
    assert names.keys() >= {*"BKDHVCXYzhpy", "W1", "b1", "W2", "b2", "emb", "logits", "np", "cmp"}
    assert not [name for name in names if name.startswith("_")]
    assert "W1 (30, 64), b1 (64,)" in repr(here)
    exec(whole.RIGHT, names)
    values = [(f"d{link}", names[f"d{link}"]) for link in NINE]
    for name, value in [*values, ("dhpreact", names["dz"].astype(np.float32)), ("dz", names["dz"].tolist())]:
        here.check(name, value)
        assert capsys.readouterr().out.split() == [name.replace("hpreact", "z"), "right"]
    with pytest.raises(UserError, match="dlogits, dW2"):
        here.check("dx", 1)


def test_what_is_wrong_is_said_and_what_follows_from_it_told_apart(
    here: Practice, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_the_lecture_in_one_cell(here: Practice, capsys: pytest.CaptureFixture[str]) -> None:
    names = dict(vars(here))
    names["emb"] = names["emb"].reshape(here.B, here.K, here.D)
    exec(lecture.NUMPY, names)
    assert capsys.readouterr().out.count("right") == 17


@pytest.mark.long  # for the seconds in which PyTorch is imported
def test_a_tensor_of_pytorch_is_taken(here: Practice, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    here.check("dz", torch.tensor(here.z, requires_grad=True) * 0)
    assert "all zero" in capsys.readouterr().out
    h = torch.tensor(here.h, dtype=torch.float32)
    here.check("dW2", h.T @ torch.tensor((here.p - here.y) / here.B, dtype=torch.float32))
    assert capsys.readouterr().out.split() == ["dW2", "right"]
