"""What is sampled is what the model says: the likeliest at temperature 0, the softmax's shares at 1."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from trainer.config import Config, Data, Model
from trainer.core import model, ops
from trainer.core.model import Activations, Batch, Sizes
from trainer.core.ops import Array
from trainer.errors import UserError
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.sampling import TOGETHER, choose, sample, stream

LINES, STREAM = "\nabcdé漢🚀", "\n abcdé漢🚀"


def checkpoint(mode: str, seed: int = 0, opening: str = "") -> Checkpoint:
    """A model that prefers some characters, but has not been trained."""
    vocabulary = LINES if mode == "lines" else STREAM
    config = Config(Data("x", mode), Model(3, 4, 12))
    p = model.initial(Sizes(len(vocabulary), 3, 4, 12), np.float32, np.random.default_rng(seed))
    p.W2[...] *= 15
    return Checkpoint(config, vocabulary, p, opening=opening)


def probabilities(c: Checkpoint, context: list[int]) -> Array:
    """The model's softmax after a context: (V,)."""
    room = Activations(c.sizes, 1, np.float32)
    logits = model.forward(c.parameters, Batch(np.array([context]), np.array([0])), room)
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


def texts(c: Checkpoint, n: int, **settings: object) -> list[str]:
    return list(sample(c, n, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"top_k": 1}, {"temperature": 1e-60}])
def test_the_likeliest_characters_only(seed: int, settings: dict[str, float]) -> None:
    c = checkpoint("lines", seed)
    assert texts(c, 3, length=20, **settings) == [greedy(c, [0, 0, 0], 20)] * 3
    assert texts(c, 1, prompt="ab", length=20, **settings) == ["ab" + greedy(c, [0, 1, 2], 20)]
    c = checkpoint("stream", seed, "a b")
    assert texts(c, 2, length=20, **settings) == [greedy(c, [2, 1, 3], 20)] * 2


def test_some_of_these_models_write_more_than_an_end() -> None:
    written = [greedy(checkpoint("lines", seed), [0, 0, 0], 20) for seed in range(6)]
    assert len({len(text) for text in written}) > 2


def test_the_shares_of_characters_are_the_softmaxs() -> None:
    n, c = 20_000, checkpoint("lines")
    for settings, expected in [
        ({}, probabilities(c, [0, 0, 0])),
        ({"prompt": "dab"}, probabilities(c, [4, 1, 2])),
        ({"temperature": 2.0}, probabilities(c, [0, 0, 0]) ** 0.5),
        ({"temperature": 0.5}, probabilities(c, [0, 0, 0]) ** 2),
        ({"top_k": 3}, np.where((p := probabilities(c, [0, 0, 0])) >= np.sort(p)[-3], p, 0)),
    ]:
        expected = n * expected / expected.sum()  # noqa: PLW2901
        prompt = str(settings.get("prompt", ""))
        first = Counter(text.removeprefix(prompt) for text in texts(c, n, length=1, **settings))
        found = np.array([first[character.strip("\n")] for character in c.vocabulary])
        assert found.sum() == n
        assert not found[expected == 0].any()
        chi_square = ((found - expected)[expected > 0] ** 2 / expected[expected > 0]).sum()
        # Its mean is the number of free shares, at most 7; it exceeds 35 once in 90,000 seeds.
        assert chi_square < 35


def test_later_characters_follow_their_own_context() -> None:
    n, c = 20_000, checkpoint("lines")
    two = Counter(texts(c, n, length=2, seed=3))
    first = probabilities(c, [0, 0, 0])
    for i, a in enumerate(LINES[1:], 1):
        then = probabilities(c, [0, 0, i])
        for j, b in enumerate(LINES):
            expected = n * first[i] * then[j]
            # Poisson: five deviations, for 64 pairs, and 5 more for the tails of the rare ones.
            assert abs(two[a + b.strip("\n")] - expected) < 5 * expected**0.5 + 5


@pytest.mark.parametrize("mode", ["lines", "stream"])
@pytest.mark.parametrize("settings", [{}, {"prompt": "dab"}, {"temperature": 0.7, "top_k": 3}, {"temperature": 0.0}])
def test_the_same_seed_gives_the_same_texts(mode: str, settings: dict[str, object]) -> None:
    c = checkpoint(mode, opening="abc")
    n = 600  # more than one group
    once = texts(c, n, seed=5, length=10, **settings)
    assert once == texts(c, n, seed=5, length=10, **settings)
    if settings.get("temperature") != 0:
        assert once != texts(c, n, seed=6, length=10, **settings)
        assert len(set(once[:TOGETHER]) ^ set(once[TOGETHER:])) > 10  # groups differ
    assert len(once) == n
    for k in (1, 5):
        one = "".join(stream(c, seed=k, length=30, **settings))  # type: ignore[arg-type]
        assert [one] == texts(c, 1, seed=k, length=30, **settings)


def test_lines_end_at_the_boundary_or_at_the_length() -> None:
    c = checkpoint("lines")
    found = texts(c, 3000, length=6)
    assert {len(text) for text in found} == set(range(7))
    assert not any("\n" in text for text in found)
    assert set("".join(found)) == set(LINES[1:])


def test_samples_that_ended_are_not_computed_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    c, rows = checkpoint("lines"), []
    forward = model.forward

    def counting(p: model.Parameters, batch: Batch, room: Activations) -> Array:
        assert len(batch.contexts) == len(room.logits)
        rows.append(len(batch.contexts))
        return forward(p, batch, room)

    monkeypatch.setattr(model, "forward", counting)
    found = texts(c, 200, length=50)
    longest = max(map(len, found))
    assert rows == [sum(len(text) >= k for text in found) for k in range(min(longest + 1, 50))]


def test_a_stream_has_the_length_asked_for() -> None:
    c = checkpoint("stream", opening="abc")
    assert {len(text) for text in texts(c, 20, length=40)} == {40}
    assert {len(text) for text in texts(c, 20, length=40, prompt="dd")} == {42}
    assert [len(text) for text in texts(c, 2)] == [500, 500]
    assert any("\n" in text for text in texts(c, 2))
    assert max(len(text) for text in texts(checkpoint("lines", 1), 50)) <= 100
    assert texts(c, 3, length=0, prompt="a") == ["a", "a", "a"]
    assert texts(c, 0) == []


@pytest.mark.parametrize(
    ("mode", "prompt", "context"),
    [
        ("lines", "", [0, 0, 0]),
        ("lines", "a", [0, 0, 1]),
        ("lines", "bdca", [4, 3, 1]),
        ("lines", "é漢🚀", [5, 6, 7]),
        ("stream", "", [3, 2, 4]),  # the opening of the text
        ("stream", "a", [2, 4, 2]),
        ("stream", "ca", [4, 4, 2]),
        ("stream", "b\nca", [0, 4, 2]),
    ],
)
def test_the_context_a_prompt_makes(
    mode: str, prompt: str, context: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Array] = []
    forward: Callable[..., Array] = model.forward

    def spying(p: model.Parameters, batch: Batch, room: Activations) -> Array:
        seen.append(batch.contexts.copy())
        return forward(p, batch, room)

    monkeypatch.setattr(model, "forward", spying)
    (text,) = texts(checkpoint(mode, opening="bac"), 1, prompt=prompt, length=1)
    assert [s.tolist() for s in seen] == [[context]]
    assert text.startswith(prompt)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"prompt": "axb"}, "the prompt has 'x', which is not in the vocabulary"),
        ({"prompt": "aжb"}, "the prompt has 'ж', which is not in the vocabulary"),
        ({"prompt": "a\nb"}, "the prompt has a line break"),
        ({"temperature": -0.1}, "--temperature is -0.1"),
        ({"temperature": float("nan")}, "--temperature is nan"),
        ({"temperature": float("inf")}, "--temperature is inf"),
        ({"top_k": -1}, "--top-k is -1"),
        ({"length": -1}, "--length is -1"),
        ({"seed": -1}, "--seed is -1"),
        ({"n": -1}, "-n is -1"),
    ],
)
def test_impossible_settings(settings: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        sample(checkpoint("lines"), **settings)  # type: ignore[arg-type]
    if "n" not in settings:
        with pytest.raises(UserError, match=says):
            next(stream(checkpoint("lines"), **settings))  # type: ignore[arg-type]


def test_top_k_of_the_whole_vocabulary_is_no_limit() -> None:
    c = checkpoint("lines")
    assert texts(c, 50, top_k=len(LINES)) == texts(c, 50, top_k=1000) == texts(c, 50)


def test_choose_is_sure_of_certain_characters() -> None:
    rng = np.random.default_rng(0)
    logits = np.full((1000, 3), -2e4, np.float32)
    logits[np.arange(1000), np.arange(1000) % 3] = 0
    assert (choose(logits, rng, 1.0, 0) == np.arange(1000) % 3).all()
    assert (choose(logits, rng, 1e6, 1) == np.arange(1000) % 3).all()
