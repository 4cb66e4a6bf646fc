"""A learner's file as the backward pass of training."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from trainer import config
from trainer.core import checks, loop, model, numerical, optim
from trainer.errors import UserError
from trainer.runs import threads
from trainer.text import corpus as text
from trainer.text.batches import batches
from trainer.tools.practice import learned
from trainer.tools.practice.point import SIZES, draw, exercise

EXAMPLES = Path(__file__).parent / "practice_files" / "examples"
RIGHT = (EXAMPLES / "right.txt").read_text()
LECTURE = (EXAMPLES / "lecture_names.txt").read_text()
NAMES = Path(__file__).parents[1] / "data" / "names.txt"


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
    right = exercise().right
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
    assert lines.keys() == exercise().right.keys()


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


def losses(gradients: loop.Gradients | None, steps: int) -> list[float]:
    """The losses of every tenth step of a training, with the learner's backward pass or with ours."""
    given = {"data": {"path": str(NAMES)}, "train": {"steps": steps}}
    settings = config.build(given, "test")
    corpus = text.load(settings.data, 3)
    sizes, B = model.Sizes(len(corpus.vocabulary), 3, 10, 200), settings.train.batch_size
    p = model.initial(sizes, np.float32, np.random.default_rng(1))
    with ThreadPoolExecutor(1) as pool:  # which one thread does not use
        ours = partial(threads.gradients, threads.split_batch(sizes, B, "float32", 1), pool)
    made = loop.steps(
        settings.train, sizes, p, optim.initial_state(settings.train, p), 0,
        batches(corpus, settings, 0), gradients or ours, lambda step: step % 10 == 0,
    )  # fmt: skip
    return [step.witness.loss for step in made if step.witness]


@pytest.mark.parametrize("steps", [300, pytest.param(2000, marks=pytest.mark.long)])
def test_a_right_file_trains_as_the_program_does(tmp_path: Path, steps: int) -> None:
    path = tmp_path / "mine.py"
    path.write_text(RIGHT)
    backward = learned.read(str(path))
    theirs = learned.gradients(backward, model.Sizes(27, 3, 10, 200), 32, "float32")
    difference = np.subtract(losses(theirs, steps), losses(None, steps))
    assert np.abs(difference).max() < 1e-5


def test_the_checks_name_the_first_wrong_link_in_the_learners_own_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(RIGHT.replace("1 - h**2", "1 - h"))
    backward = learned.read(str(path))
    p, batch, _ = step(np.float32)
    settings = config.build({"data": {"path": "names.txt"}}, "test")
    train = settings.train
    theirs = learned.gradients(backward, SIZES, 32, "float32")
    witness = loop.watched_step(train, SIZES, p, optim.initial_state(train, p), 0, batch, theirs)
    at = numerical.point(witness.before, witness.batch, SIZES)
    verdicts = checks.check_gradients(at, witness.gradients, settings.check, "float32", np.random.default_rng(0))
    wrong = [verdict.row()["tensor"] for verdict in verdicts if verdict.name == "gradient" and not verdict.passed]
    assert wrong == ["z", "emb", "W1", "b1", "C"]
    assert backward.lines[wrong[0]] == f"line 7 of {path}: dz = dh * (1 - h)"
    assert witness.changed == []
