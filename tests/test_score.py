"""`score` against a plain loop over the characters, and against the losses that training shows."""

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import Feed, Trainer, folder, fresh, rows

from trainer.runs.checkpoint import Checkpoint, load
from trainer.text import corpus as text
from trainer.tools import scoring
from trainer.tools.scoring import score

pytestmark = pytest.mark.usefixtures("place")
POEM = "a bad cab,\nfed a cad; \n\nabc\n" * 12


def plain_losses(checkpoint: Checkpoint, ids: list[int], first: int) -> list[float]:
    """The loss of each id from `first` on, one by one, in float64; before the text stand boundaries."""
    C, W1, b1, W2, b2 = (getattr(checkpoint.parameters, name).astype(float) for name in ("C", "W1", "b1", "W2", "b2"))
    K, lines = checkpoint.sizes.K, checkpoint.config.data.mode == "lines"
    found = []
    for place in range(first, len(ids)):
        context = [0] * K + ids[:place]
        if lines:  # what lies before the line is boundary
            start = max(k for k in range(len(context)) if context[k] == 0)
            context = [0] * K + context[start + 1 :]
        logits = np.tanh(np.concatenate([C[i] for i in context[-K:]]) @ W1 + b1) @ W2 + b2
        found.append(float(np.log(np.exp(logits).sum()) - logits[ids[place]]))
    return found


def split_of(checkpoint: Checkpoint, name: str) -> str:
    corpus = text.load(checkpoint.config.data, checkpoint.sizes.K)
    start, end = corpus.splits[name]
    start -= 0 if corpus.lines else checkpoint.sizes.K
    return "".join(corpus.vocabulary[i] for i in corpus.ids[start:end])


@pytest.mark.parametrize("mode", ["lines", "stream"])
def test_the_validation_text_scores_the_validation_loss(trainer: Trainer, mode: str) -> None:
    assert trainer(*fresh("run", f"data.mode={mode} model.dtype=float64"))[0] == 0
    run = folder("run")
    checkpoint, (end,) = load(run / "best.npz"), rows(run, "end")
    for split in ("train", "val", "test"):
        Path("part.txt").write_text(split_of(checkpoint, split))
        status, out, err = trainer("score", str(run), "part.txt")
        assert (status, err) == (0, "")
        nats = end[f"{split}_loss"]
        assert out.startswith(f"{nats:.4f} nats, {nats / math.log(2):.4f} bits per character; ")
        assert score(checkpoint, Path("part.txt").read_text()).nats == pytest.approx(nats, rel=1e-12)


@pytest.mark.parametrize("mode", ["lines", "stream"])
@pytest.mark.parametrize("block", [1 << 20, 7])
def test_a_text_scores_as_a_plain_loop_has_it(
    trainer: Trainer, mode: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "BLOCK", block)
    Path("text.txt").write_text(POEM)
    split = "data.split=[0.4,0.3,0.3]"
    assert trainer(*fresh("run", f"data.mode={mode} model.dtype=float64 {split}"))[0] == 0
    checkpoint = load(folder("run") / "best.npz")
    given = "  abc\t\ncäd\n\nxab;cé é\n"  # x, ä, é are unknown; the tab is at an end of a line
    if mode == "lines":
        kept, unknown = "\nabc\ncd\nab;c \n", {"x": 1, "ä": 1, "é": 2}
    else:
        kept, unknown = "  abc\ncd\n\nab;c \n", {"\t": 1, "x": 1, "ä": 1, "é": 2}
    ids = [checkpoint.vocabulary.index(c) for c in kept]
    expected = plain_losses(checkpoint, ids, 1 if mode == "lines" else checkpoint.sizes.K)
    found = score(checkpoint, given)
    assert found.nats == pytest.approx(np.mean(expected), rel=1e-12)
    assert found.bits == pytest.approx(np.mean(expected) / math.log(2), rel=1e-12)
    assert (found.characters, found.unknown) == (len(expected), unknown)


def test_each_line_with_its_own_loss(trainer: Trainer) -> None:
    assert trainer(*fresh("run", "model.dtype=float64"))[0] == 0
    checkpoint = load(folder("run") / "best.npz")
    Path("some.txt").write_text("abc\n\n hgfe \nb")
    alone = {line: score(checkpoint, [line]).nats for line in ("abc", "hgfe", "b")}
    status, out, err = trainer("score", str(folder("run")), "some.txt", "--each")
    assert status == 0
    assert out == "".join(f"{alone[line]:.4f}\t{line}\n" for line in ("abc", "hgfe", "b"))
    assert err.startswith(f"{score(checkpoint, ['abc', 'hgfe', 'b']).nats:.4f} nats, ")
    worst_first = sorted(alone, key=lambda line: -alone[line])
    assert [line.split("\t")[1] for line in trainer("score", "--surprising", "some.txt")[1].splitlines()] == worst_first


def test_each_line_of_running_text(trainer: Trainer) -> None:
    Path("text.txt").write_text(POEM)
    assert trainer(*fresh("run", "data.mode=stream model.dtype=float64"))[0] == 0
    checkpoint = load(folder("run") / "best.npz")
    Path("some.txt").write_text("abc abc\ncab\nfed")
    losses = plain_losses(checkpoint, [checkpoint.vocabulary.index(c) for c in "abc abc\ncab\nfed"], 3)
    means = [np.mean(losses[:5]), np.mean(losses[5:9]), np.mean(losses[9:])]
    expected = [f"{mean:.4f}\t{line}" for mean, line in zip(means, (" abc", "cab", "fed"), strict=True)]
    assert trainer("score", "some.txt", "--each")[1].splitlines() == expected


@pytest.mark.parametrize("mode", ["lines", "stream"])
def test_each_line_says_what_was_left_out_of_it_and_where_it_stands(trainer: Trainer, mode: str) -> None:
    Path("text.txt").write_text(POEM)
    assert trainer(*fresh("run", f"data.mode={mode} model.dtype=float64 data.split=[0.4,0.3,0.3]"))[0] == 0
    checkpoint = load(folder("run") / "best.npz")
    for name, content in (("a.txt", "abc é\n\ncab"), ("none.txt", ""), ("b.txt", "Ä\u00a0Äfed\n12\n")):
        Path(name).write_text(content)
    status, out, err = trainer("score", "--each", "a.txt", "none.txt", "b.txt")
    assert status == 0
    # Of running text the first three characters are the context of what is scored.
    first = ["abc é\ta.txt\tleft out: é"] if mode == "lines" else [" é\ta.txt\tleft out: é", "\ta.txt"]
    rest = ["cab\ta.txt", "Ä\u00a0Äfed\tb.txt\tleft out: Ä, no-break space", "12\tb.txt\tleft out: 1, 2"]
    assert [line.partition("\t")[2] for line in out.splitlines()] == [*first, *rest]
    kept = "abc \n\ncab\nfed\n\n" if mode == "stream" else "\nabc \ncab\nfed\n\n"
    ids = [checkpoint.vocabulary.index(c) for c in kept]
    losses = plain_losses(checkpoint, ids, 1 if mode == "lines" else 3)
    sizes = [5, 4, 4, 1] if mode == "lines" else [2, 1, 4, 4, 1]
    means = [float(np.mean(part)) for part in np.split(losses, np.cumsum(sizes)[:-1])]
    assert [float(line.partition("\t")[0]) for line in out.splitlines()] == pytest.approx(means, abs=6e-5)
    said = err.splitlines()
    assert "not known to the model and left out: Ä × 2, 1 × 1, 2 × 1, no-break space × 1, é × 1" in said
    of_b = float(np.mean(losses[-5:]))
    assert [line.split(":")[0] for line in said[-2:]] == ["a.txt", "b.txt"]
    assert said[-1].startswith(f"b.txt: {of_b:.4f} nats, ")
    assert trainer("score", "--surprising", "b.txt")[1].count("b.txt") == 0  # one file needs no name


def test_standard_input_and_several_files(trainer: Trainer, feed: Feed) -> None:
    assert trainer(*fresh("run"))[0] == 0
    run = str(folder("run"))
    Path("a.txt").write_text("abc\nde")
    Path("b.txt").write_text("fgh\n")
    feed(b"abc\nde\nfgh\n")
    both = trainer("score", run, "a.txt", "b.txt")
    assert both == trainer("score", run)
    assert both[1].endswith("; 11 characters, the ends of lines among them\n")
    assert trainer("score", "a.txt", "b.txt")[1] == both[1]  # the newest run


def test_what_score_says_and_refuses(trainer: Trainer, feed: Feed) -> None:
    assert trainer(*fresh("run"))[0] == 0
    run = str(folder("run"))
    Path("a.txt").write_text("abäc\u00a0ää\n")
    assert trainer("score", run, "a.txt")[2] == "not known to the model and left out: ä × 3, no-break space × 1\n"
    for content, says in ((b"", "nothing to score"), (b" \n\n", "nothing to score"), (b"\xff", "not UTF-8")):
        feed(content)
        status, out, err = trainer("score", run)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert says in err
        assert "standard input" in err
    assert trainer("score", run, "none.txt")[2].startswith("error: cannot read the text, ")
