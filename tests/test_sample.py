"""What is sampled is what the model says: the likeliest at temperature 0, its shares at 1; and of which run."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Trainer, folder, trained

from trainer.config import Config, Data, Model
from trainer.core import model, ops
from trainer.core.model import Batch, Sizes
from trainer.core.ops import Array
from trainer.runs.checkpoint import Checkpoint, load
from trainer.runs.folder import find
from trainer.runs.sampling import TOGETHER, sample

LINES, STREAM = "\nabcdé漢🚀", "\n abcdé漢🚀"


def checkpoint(mode: str, seed: int = 0, opening: str = "") -> Checkpoint:
    """A model that prefers some characters, but has not been trained."""
    vocabulary = LINES if mode == "lines" else STREAM
    config = Config(Data("x", mode), Model(3, 4, 12))
    p = model.initial(Sizes(len(vocabulary), 3, 4, 12), np.float32, np.random.default_rng(seed))
    p.W2[...] *= 15
    return Checkpoint(config, vocabulary, p, opening=opening if mode == "stream" else "")


def probabilities(c: Checkpoint, context: list[int]) -> Array:
    """The model's softmax after a context: (V,)."""
    logits = model.forward(c.parameters, Batch(np.array([context]), np.array([0]))).logits
    return np.asarray(ops.softmax(logits[0]), np.float64)


def greedy(c: Checkpoint, context: list[int], length: int) -> str:
    text = ""
    for _ in range(length):
        best = int(probabilities(c, context).argmax())
        if best == 0 and c.config.data.mode == "lines":
            break
        text += c.vocabulary[best]
        context = [*context[1:], best]
    return text


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"top_k": 1}, {"temperature": 1e-60}])
@pytest.mark.parametrize(
    ("mode", "prompt", "context"),
    [
        ("lines", "", [0, 0, 0]),
        ("lines", "a", [0, 0, 1]),
        ("lines", "bdca", [4, 3, 1]),
        ("lines", "é漢🚀", [5, 6, 7]),
        ("stream", "", [3, 2, 4]),  # the opening of the text
        ("stream", "a", [2, 4, 2]),
        ("stream", "b\nca", [0, 4, 2]),
    ],
)
def test_the_likeliest_characters_after_the_context_that_a_prompt_makes(
    mode: str, prompt: str, context: list[int], settings: dict[str, Any]
) -> None:
    for seed in range(4):
        c = checkpoint(mode, seed, "bac")
        assert sample(c, 3, prompt, length=20, **settings) == [prompt + greedy(c, context, 20)] * 3


def test_the_shares_of_characters_are_the_softmaxs() -> None:
    n, c = 20_000, checkpoint("lines")
    first = probabilities(c, [0, 0, 0])
    for settings, shares in [
        ({}, first),
        ({"temperature": 2.0}, first**0.5),
        ({"temperature": 1e30}, np.ones(8)),
        ({"top_k": 3}, np.where(first >= np.sort(first)[-3], first, 0)),
        ({"top_k": 1000}, first),
    ]:
        expected = n * shares / shares.sum()
        drawn = Counter(sample(c, n, length=1, **settings))  # type: ignore[arg-type]
        found = np.array([drawn[character.strip("\n")] for character in c.vocabulary])
        assert not found[expected == 0].any()
        chi_square = ((found - expected)[expected > 0] ** 2 / expected[expected > 0]).sum()
        # Its mean is the number of free shares, at most 7; it exceeds 35 once in 90,000 seeds.
        assert chi_square < 35


def test_later_characters_follow_their_own_context() -> None:
    n, c = 20_000, checkpoint("lines")
    two = Counter(sample(c, n, length=2, seed=3))
    first = probabilities(c, [0, 0, 0])
    for i, a in enumerate(LINES[1:], 1):
        then = probabilities(c, [0, 0, i])
        for j, b in enumerate(LINES):
            expected = n * first[i] * then[j]
            # Poisson: five deviations, for 64 pairs, and 5 more for the tails of the rare ones.
            assert abs(two[a + b.strip("\n")] - expected) < 5 * expected**0.5 + 5


@pytest.mark.parametrize(("mode", "lengths", "most"), [("lines", {5, 6, 7, 8, 9}, 100), ("stream", {9}, 500)])
def test_the_same_seed_gives_the_same_texts_of_the_length_that_is_asked_for(
    mode: str, lengths: set[int], most: int
) -> None:
    c = checkpoint(mode, opening="abc")
    once, again, other = (sample(c, 600, "dab", 0.7, 3, 6, seed) for seed in (5, 5, 6))
    assert once == again != other
    assert len(set(once[:TOGETHER]) ^ set(once[TOGETHER:])) > 10  # groups differ
    assert {len(text) for text in once} == lengths  # lines may end sooner
    assert sample(c, 0) == []
    assert max(len(*sample(checkpoint(mode, k, "abc"), 1, temperature=0)) for k in range(4)) == most


# The command, and which run it is about


@pytest.mark.usefixtures("place")
def test_the_newest_run_with_best_parameters_is_meant_and_told(trainer: Trainer) -> None:
    for name, time in {"one": 100, "third": 300, "begun": 400}.items():
        trained(name, f"seed={len(name)} train.learning_rate=3 train.schedule=constant")
        for file in folder(name).glob("*.npz"):
            os.utime(file, (time, time))
    one, third, begun = map(folder, ("one", "third", "begun"))
    (begun / "best.npz").unlink()
    one = one.rename(one.with_name("zzz-my-first"))
    assert [find(run).parent for run in (None, "runs/one")] == [begun, one]  # to go on with
    best = load(third / "best.npz")
    expected, newest = (trainer("sample", str(third / file))[1] for file in ("best.npz", "checkpoint.npz"))
    assert expected != newest  # at so high a rate
    told = f"{third}/best.npz, step {best.step}\n"
    for words in ([], ["runs"]):
        assert trainer("sample", *words) == (0, expected, told)
    assert trainer("sample", str(third)) == (0, expected, "")
    assert trainer("sample", "--last") == (0, newest, f"{third}/checkpoint.npz, step 24\n")
    assert trainer("sample", str(begun), "--last")[0] == 0
    assert trainer("score", "text.txt")[2] == told


@pytest.mark.usefixtures("place")
def test_sample_prints_lines_and_nothing_else_and_reads_the_checkpoint_alone(trainer: Trainer) -> None:
    trained("run")
    words = ("-n", "50", "--seed", "3", "--prompt", "ab")
    fifty = trainer("sample", str(folder("run")), *words)
    (folder("run") / "best.npz").rename("elsewhere.npz")
    for path in (Path("text.txt"), Path("small.yaml"), *folder("run").iterdir()):
        path.unlink()
    assert trainer("sample", "elsewhere.npz", *words) == fifty
    assert (fifty[0], fifty[2]) == (0, "")
    assert all(line.startswith("ab") and set(line) <= set("abcdefgh") for line in fifty[1].splitlines())
    assert len(set(fifty[1].splitlines())) > 10
    assert [trainer("sample", "elsewhere.npz", *n)[1].count("\n") for n in ([], ["-n", "1"], ["-n", "0"])] == [20, 1, 0]


@pytest.mark.usefixtures("place")
def test_only_new_ones_and_each_once(trainer: Trainer) -> None:
    text = ["abc", "abd", "bcd", "bce", "cde", "cdf", "def", "deg", "efg", "efh"]
    Path("text.txt").write_text("\n".join(text))
    trained("run", "train.steps=300 train.learning_rate=1 log.every=100 log.checkpoint_every=1000")
    assert set(trainer("sample", "-n", "200")[1].splitlines()) & set(text)
    status, out, _ = trainer("sample", "--new", "-n", "25", "--length", "6", "--temperature", "3")
    new = out.splitlines()
    assert (status, len(new), len(set(new) - {"", *text})) == (0, 25, 25)
    assert max(map(len, new)) < 6  # those of six characters were cut
    _, out, err = trainer("sample", "--new", "-n", "25", "--prompt", "a", "--top-k", "1")
    assert all(line.startswith("a") and line not in text for line in out.splitlines())
    assert f"lines that are new, among 2,500 samples: {len(out.splitlines())}\n" in err


@pytest.mark.usefixtures("place")
def test_what_is_hard_to_type(trainer: Trainer) -> None:
    Path("text.txt").write_text("-n 5\n--prompt\n-ab\n\\n\n" * 5 + "".join(f"-{k}\n" for k in range(30)))
    trained("run", "data.mode=stream")
    for typed, meant in (("-", "-"), ("--prompt", "--prompt"), ("-5", "-5"), (r"b\n", "b\n"), (r"\\n", r"\n")):
        status, out, _ = trainer("sample", "-n", "1", "--prompt", typed)
        assert (status, out[: len(meant)]) == (0, meant)
