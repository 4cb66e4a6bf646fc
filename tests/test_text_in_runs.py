"""What a run makes of its text: counts, warnings, shares of zero, patience, the marks of samples, a text that moved."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import Feed, Trainer, assert_one_line, folder, fresh, rows, trained, values

from trainer.runs import session
from trainer.runs.checkpoint import load, save

pytestmark = pytest.mark.usefixtures("place")


def test_what_a_text_holds_is_told(trainer: Trainer) -> None:
    Path("text.txt").write_text("abc\n abc\t\nb\u00a0d\n\n" + "".join(f"{k} a\n" for k in range(30)))
    status, _, err = trainer(*fresh("run"))
    (start,) = rows(folder("run"), "start")
    assert (status, start["lines"], start["distinct_lines"]) == (0, 33, 32)
    assert "characters, 33 lines, 32 distinct\n" in err
    assert "vocabulary  17: 0123456789abcd, newline, space, no-break space\n" in err
    assert "warning: in the text 1 × no-break space will be learned as characters; replace them" in err
    Path("text.txt").write_text("ab, cd\n" * 60)
    _, _, err = trainer(*fresh("stream", "data.mode=stream"))
    (start,) = rows(folder("stream"), "start")
    assert (start["lines"], start["distinct_lines"]) == (None, None)
    assert "warning: the text looks like a table" in err
    assert load(folder("stream") / "best.npz").opening == "cd\n"


@pytest.mark.parametrize(("mode", "split"), [("lines", "[0.9,0,0.1]"), ("stream", "[0.9,0.1,0]"), ("lines", "[1,0,0]")])
def test_a_split_without_a_share_has_no_loss(
    trainer: Trainer, mode: str, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    best, of_step = [], session.step_row

    def look(*given: Any) -> Any:
        path = folder("run") / "best.npz"
        best.append(path.exists() and load(path).step)
        return of_step(*given)

    monkeypatch.setattr(session, "step_row", look)
    trained("run", f"data.mode={mode} data.split={split} check.enabled=true check.every=9")
    run, shares = folder("run"), zip(("train", "val", "test"), yaml.safe_load(split), strict=True)
    (start,), (end,) = rows(run, "start"), rows(run, "end")
    for name, share in shares:
        assert (start["examples"][name] > 0) == (end[f"{name}_loss"] is not None) == (share > 0)
    if end["val_loss"] is None:  # best.npz is the newest state at every moment; log.checkpoint_every is 2
        assert {row["val_loss"] for row in rows(run, "eval")} == {None}
        assert (end["best_step"], best) == (24, [step - step % 2 for step in range(24)])
        assert values(run / "best.npz") == values(run / "checkpoint.npz")
    assert trainer("--resume", str(run))[0] == 0


def test_patience_stops_after_evaluations_without_a_better_one(trainer: Trainer) -> None:
    wild = "train.learning_rate=3 train.schedule=constant log.eval_every=3 train.steps=300 train.patience=2"
    status, _, err = trainer(*fresh("run", wild))
    losses = [row["val_loss"] for row in rows(folder("run"), "eval")]
    best = losses.index(min(losses))
    assert (status, len(losses)) == (0, best + 3)
    assert not any(losses[k] > min(losses[:k]) < losses[k + 1] for k in range(1, best))
    told = f"no better validation loss since step {3 * best + 3}, train.patience is 2"
    assert f"stopped at step {3 * len(losses)}: {told}" in err
    before = values(folder("run") / "checkpoint.npz")
    assert trainer("--resume", "runs/run")[0] == 0  # it stops again at once
    assert values(folder("run") / "checkpoint.npz") == before


def test_no_loss_is_better_than_zero(trainer: Trainer) -> None:
    trained("run", "train.schedule=constant")
    path = folder("run") / "checkpoint.npz"
    state = load(path)
    state.best_loss = 0.0
    save(path, state)
    best = (path.parent / "best.npz").read_bytes()
    assert trainer("--resume", "runs/run", "train.steps=48")[0] == 0
    assert (path.parent / "best.npz").read_bytes() == best


# Texts that move, grow, or come from elsewhere


def test_a_text_is_found_again(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    trained("run")
    run, here = folder("run").absolute(), Path.cwd()
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert trainer("--resume", str(run))[0] == 0  # by its absolute path
    Path("text.txt").write_text("another\none\n" * 9)
    assert trainer("--resume", str(run))[0] == 0  # though one of its name lies here
    Path("text.txt").unlink()
    (here / "text.txt").rename(here / "moved.txt")
    assert_one_line(trainer("--resume", str(run)), 2, "cannot read the text", str(here / "text.txt"), "data.path=FILE")
    assert trainer("--resume", str(run), "data.path=../moved.txt")[0] == 0
    assert trainer("--resume", str(run))[0] == 0  # it is remembered
    assert load(run / "checkpoint.npz").places == [str(here / "elsewhere" / ".." / "moved.txt")]


def test_plain_compressed_and_piped_texts_are_one_run(trainer: Trainer, feed: Feed) -> None:
    content = Path("text.txt").read_bytes()
    Path("text.gz").write_bytes(gzip.compress(content))
    feed(content)
    found = []
    for name, path in (("plain", "text.txt"), ("gz", "text.gz"), ("piped", "-")):
        trained(name, f"data.path={path}")
        state = values(folder(name) / "checkpoint.npz")
        del state["config"], state["places"]
        found.append((state, (folder(name) / "samples.txt").read_bytes()))
    assert found[0] == found[1] == found[2]
    assert_one_line(trainer("--resume", "runs/piped"), 2, "cannot read the text again, -; ", "data.path=FILE")
    assert trainer("--resume", "runs/piped", "data.path=text.gz")[0] == 0
    assert trainer("--resume", "runs/piped")[0] == 0


def test_characters_that_both_know_are_taken_over(trainer: Trainer) -> None:
    trained("first")
    Path("other.txt").write_text("".join(f"{c}éa\n{c}z\n" for c in "bcdfgh"))
    still = "train.steps=1 train.learning_rate=1e-30 train.schedule=constant data.path=other.txt"
    trained("plain", still)
    status, _, err = trainer(*fresh("second", still), "--from", "runs/first")
    assert status == 0
    old, new, plain = (load(folder(name) / "best.npz") for name in ("first", "second", "plain"))
    assert f"begins with {(folder('first') / 'best.npz').absolute()}, step {old.step}\n" in err
    for k, character in enumerate(new.vocabulary):
        source = old if character in "\nabcdfgh" else plain
        j, p, q = source.vocabulary.index(character), new.parameters, source.parameters
        for one, other in ((p.C[k], q.C[j]), (p.W2[:, k], q.W2[:, j]), (p.b2[k], q.b2[j])):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-28)
    assert (new.parameters.W1 == old.parameters.W1).all()
    first = next(row for row in rows(folder("second"), "check") if row["name"] == "initial_loss")
    assert (first["passed"], first["error"], first["found"] < first["expected"]) == (True, 0, True)
