"""`score` against a plain loop over the characters, and against the losses that training shows."""

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import Feed, Trainer, assert_one_line, rows, trained

from trainer.runs.checkpoint import Checkpoint, load
from trainer.text import corpus as text
from trainer.tools.score import score

pytestmark = pytest.mark.usefixtures("place")
POEM = "a bad cab,\nfed a cad; \n\nabc\n" * 12


def plain_losses(checkpoint: Checkpoint, kept: str, first: int) -> list[float]:
    """The loss of each character from `first` on, one by one, in float64; before the text stand boundaries."""
    C, W1, b1, W2, b2 = (getattr(checkpoint.parameters, name).astype(float) for name in ("C", "W1", "b1", "W2", "b2"))
    K, lines = checkpoint.sizes.K, checkpoint.config.data.mode == "lines"
    ids, found = [checkpoint.vocabulary.index(c) for c in kept], []
    for place in range(first, len(ids)):
        context = [0] * K + ids[:place]
        if lines:  # what lies before the line is boundary
            start = max(k for k in range(len(context)) if context[k] == 0)
            context = [0] * K + context[start + 1 :]
        logits = np.tanh(np.concatenate([C[i] for i in context[-K:]]) @ W1 + b1) @ W2 + b2
        found.append(float(np.log(np.exp(logits).sum()) - logits[ids[place]]))
    return found


@pytest.mark.parametrize("mode", ["lines", "stream"])
def test_the_text_of_a_split_scores_the_loss_at_the_end(trainer: Trainer, mode: str) -> None:
    run = trained("run", f"data.mode={mode} model.dtype=float64")
    checkpoint, (end,) = load(run / "best.npz"), rows(run, "end")
    corpus = text.load(checkpoint.config.data, checkpoint.sizes.K)
    for split, (start, stop) in corpus.splits.items():
        before = 0 if corpus.lines else checkpoint.sizes.K
        Path("part.txt").write_text("".join(corpus.vocabulary[i] for i in corpus.ids[start - before : stop]))
        nats = end[f"{split}_loss"]
        words = f"{nats:.4f} nats, {nats / math.log(2):.4f} bits per character; {stop - start:,} characters"
        assert trainer("score", str(run), "part.txt")[1].startswith(words)
        assert score(run, Path("part.txt").read_text()).nats == pytest.approx(nats, rel=1e-12)


@pytest.mark.parametrize("mode", ["lines", "stream"])
def test_texts_and_lines_score_as_a_plain_loop_has_it(trainer: Trainer, mode: str) -> None:
    Path("text.txt").write_text(POEM)
    checkpoint = load(trained("run", f"data.mode={mode} model.dtype=float64 data.split=[0.4,0.3,0.3]") / "best.npz")
    contents = {"a.txt": "abc é\n\ncab\n", "none.txt": "", "b.txt": "Ä\u00a0Äfed\n12\n"}
    for name, content in contents.items():
        Path(name).write_text(content)
    if mode == "lines":
        kept, sizes = "\nabc \ncab\nfed\n\n", [5, 4, 4, 1]
    else:
        kept, sizes = "abc \n\ncab\nfed\n\n", [2, 1, 4, 4, 1]  # but for the first context
    losses = plain_losses(checkpoint, kept, 1 if mode == "lines" else 3)
    found = score(checkpoint, "".join(contents.values()))
    assert (found.nats, found.bits) == pytest.approx((np.mean(losses), np.mean(losses) / math.log(2)), rel=1e-12)
    assert found.unknown == {"é": 1, "Ä": 2, "\u00a0": 1, "1": 1, "2": 1}
    assert found.characters == len(losses)

    status, out, err = trainer("score", "--each", *contents)
    nats, lines = zip(*(line.split("\t", 1) for line in out.splitlines()), strict=True)
    blank = ["\ta.txt"] * (mode == "stream")
    last = ["cab\ta.txt", "Ä\u00a0Äfed\tb.txt\tleft out: Ä, no-break space", "12\tb.txt\tleft out: 1, 2"]
    assert (status, list(lines)) == (0, ["abc é\ta.txt\tleft out: é", *blank, *last])
    means = [np.mean(part) for part in np.split(losses, np.cumsum(sizes)[:-1])]
    assert list(map(float, nats)) == pytest.approx(means, abs=6e-5)
    said = err.splitlines()
    assert "not known to the model and left out: Ä × 2, é × 1, no-break space × 1, 1 × 1, 2 × 1" in said
    assert said[-3].startswith(f"{np.mean(losses):.4f} nats, ")
    assert said[-2].startswith("a.txt: ")
    assert said[-1].startswith(f"b.txt: {np.mean(losses[-5:]):.4f} nats, ")
    assert trainer("score", "--surprising", "b.txt")[1].count("b.txt") == 0  # one file needs no name
    worst_first = trainer("score", "--surprising", *contents)[1].splitlines()
    assert worst_first == sorted(out.splitlines(), key=lambda line: float(line.split("\t")[0]), reverse=True)


def test_standard_input_and_several_files_and_what_cannot_be_scored(trainer: Trainer, feed: Feed) -> None:
    run = str(trained("run"))
    Path("a.txt").write_text("abc\nde")
    Path("b.txt").write_text("fgh\n")
    feed(b" abc\t\nde\n\nfgh\n")
    both = trainer("score", run, "a.txt", "b.txt")
    assert both == trainer("score", run)
    assert both[1].endswith("; 11 characters, the ends of lines among them\n")
    assert trainer("score", "a.txt", "b.txt")[1] == both[1]  # the newest run
    for content, says in ((b"", "nothing to score"), (b" \n\n", "nothing to score"), (b"\xff", "not UTF-8")):
        feed(content)
        assert_one_line(trainer("score", run), 2, says, "standard input")
