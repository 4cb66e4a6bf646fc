"""`score` against a plain loop over the characters, and against the losses that training shows."""

import math
from pathlib import Path

import numpy as np
import plain_model
import pytest
from conftest import Feed, Trainer, assert_one_line, rows, trained

from trainer.core.model import Batch
from trainer.runs.checkpoint import Checkpoint, load
from trainer.text import corpus as text
from trainer.tools.score import score

pytestmark = pytest.mark.usefixtures("place")


def plain_losses(checkpoint: Checkpoint, kept: str, first: int) -> list[float]:
    """The loss of each character from `first` on, one by one, in float64; before the text stand boundaries."""
    K, found = checkpoint.sizes.K, []
    ids = [checkpoint.vocabulary.index(character) for character in kept]
    for place in range(first, len(ids)):
        before = ids[:place]
        if checkpoint.config.data.mode == "lines":  # what lies before the line is boundary
            before = before[kept.rindex("\n", 0, place) :]
        context = ([0] * K + before)[-K:]
        batch = Batch(np.array([context]), np.array([ids[place]]))
        found.append(float(plain_model.loss(plain_model.inputs(checkpoint.parameters, batch), batch)))
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
    Path("text.txt").write_text("a bad cab,\nfed a cad; \n\nabc\n" * 12)
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
    assert (status, list(lines)) == (0, ["abc é\ta.txt", *blank, "cab\ta.txt", "Ä\u00a0Äfed\tb.txt", "12\tb.txt"])
    means = [np.mean(part) for part in np.split(losses, np.cumsum(sizes)[:-1])]
    assert list(map(float, nats)) == pytest.approx(means, abs=6e-5)
    assert "characters that the model does not know are left out, 6 in all: éÄ12, no-break space\n" in err
    assert err.splitlines()[-1].startswith(f"{np.mean(losses):.4f} nats, ")
    assert "b.txt" not in trainer("score", "--surprising", "b.txt")[1]  # one file needs no name
    worst_first = trainer("score", "--surprising", *contents)[1].splitlines()
    assert worst_first == sorted(out.splitlines(), key=lambda line: float(line.split("\t")[0]), reverse=True)


def test_a_line_of_which_nothing_is_scored_stands_last(trainer: Trainer) -> None:
    trained("run", "data.mode=stream")
    Path("short.txt").write_text("a\nb\nabc\nfed\n")  # the first context is "a\nb"
    whole, worst_first = (trainer("score", how, "short.txt")[1].splitlines() for how in ("--each", "--surprising"))
    assert whole[0] == worst_first[-1] == "nan\ta"
    assert whole[1].split("\t")[0] != "nan"


def test_standard_input_and_several_files_and_what_cannot_be_scored(trainer: Trainer, feed: Feed) -> None:
    run = str(trained("run"))
    Path("a.txt").write_text("abc\nde")
    Path("b.txt").write_text("fgh\n")
    feed(b" abc\t\nde\n\nfgh\n")
    both = trainer("score", run, "a.txt", "b.txt")
    assert both == trainer("score", run)
    assert both[1].endswith("; 11 characters, the ends of lines among them\n")
    assert trainer("score", "a.txt", "b.txt")[1] == both[1]  # the newest run
    for content, says in ((b" \n\n", "nothing to score"), (b"\xff", "as UTF-8")):
        feed(content)
        assert_one_line(trainer("score", run), 2, says, "standard input")
