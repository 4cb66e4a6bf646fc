"""A model that is wide in one place takes no more memory than it has to, and what cannot fit is one line."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest import Trainer, assert_one_line, folder, fresh

import trainer as package
from trainer import config
from trainer.core.model import Sizes, initial
from trainer.runs import memory, sampling
from trainer.runs.checkpoint import Checkpoint, load, save
from trainer.tools import scoring

pytestmark = pytest.mark.usefixtures("place")


def wide(V: int, K: int) -> Checkpoint:
    """A model of a large vocabulary or context, and of one hidden unit."""
    model = {"context": K, "embedding": 1, "hidden": 1}
    settings = config.read({"data": {"path": "text.txt"}, "model": model})
    vocabulary = "\n" + "".join(map(chr, range(0x4E00, 0x4E00 + V - 1)))
    return Checkpoint(settings, vocabulary, initial(Sizes(V, K, 1, 1), "float32", np.random.default_rng(0)))


@pytest.mark.parametrize(("V", "K"), [(40_000, 1), pytest.param(3, 20_000, marks=pytest.mark.long)])
def test_scoring_takes_room_for_few_examples_at_a_time_where_each_is_large(V: int, K: int) -> None:
    checkpoint = wide(V, K)
    text = "".join(checkpoint.vocabulary[1 + k % (V - 1)] for k in range(2000))
    tracemalloc.start()
    found = package.score(checkpoint, text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.characters == 2001
    assert peak < 2**29  # all 2,001 at once are 2**30 and more


def test_fewer_at_a_time_are_the_same_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = wide(50, 3)
    text = "".join(checkpoint.vocabulary[1 + k * k % 49] for k in range(500))
    whole = package.score(checkpoint, text)
    monkeypatch.setattr(scoring, "MOST", 1000)
    assert package.score(checkpoint, text).nats == pytest.approx(whole.nats, rel=1e-6)


def test_samples_that_do_not_fit_into_the_memory_are_refused(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trainer(*fresh("run", "train.steps=2"))[0] == 0
    words = ["sample", str(folder("run")), "-n", "20"]
    assert_one_line(trainer(*words, "--length", str(2**45)), 2, "sampling needs", "GiB", f"-n 20 --length {2**45}")
    save(Path("wide.npz"), wide(20_000, 1))
    monkeypatch.setattr(memory, "of_machine", lambda: 2.0**26)
    assert_one_line(trainer("sample", "wide.npz", "-n", "200"), 2, "sampling needs")
    assert trainer("sample", "wide.npz", "-n", "2", "--length", "3")[0] == 0


@pytest.mark.parametrize(("V", "K"), [(20_000, 1), (3, 20_000)])
def test_the_memory_of_samples_is_not_underestimated(V: int, K: int, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, seen = wide(V, K), []
    monkeypatch.setattr(memory, "require", lambda needed, *words: seen.append(needed))
    tracemalloc.start()
    sampling.sample(checkpoint, 64, length=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 1.2 * seen[0]
    assert seen[0] <= 3 * peak


def test_a_checkpoint_written_with_a_wide_model_is_read_back() -> None:
    save(Path("wide.npz"), wide(20_000, 2))
    assert load("wide.npz").sizes == Sizes(20_000, 2, 1, 1)
