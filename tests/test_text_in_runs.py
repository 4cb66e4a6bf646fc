"""What a run makes of its text: counts, warnings, shares of zero, patience, the marks of samples, a text that moved."""

import gzip
import math
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import SELDOM, Feed, Trainer, assert_one_line, folder, fresh, rows, values

from trainer.config import Data, Train
from trainer.errors import UserError
from trainer.runs import resuming, summary
from trainer.runs.checkpoint import load
from trainer.text.corpus import Corpus
from trainer.text.corpus import load as load_text

pytestmark = pytest.mark.usefixtures("place")


def test_lines_are_counted_and_oddities_told(trainer: Trainer) -> None:
    Path("text.txt").write_text("abc\n abc\t\nb\u00a0d\n\n" + "".join(f"{k} a\n" for k in range(30)))
    status, _, err = trainer(*fresh("run"))
    (start,) = rows(folder("run"), "start")
    assert (status, start["lines"], start["distinct_lines"]) == (0, 33, 32)
    assert "characters, 33 lines, 32 distinct\n" in err
    assert "vocabulary  17, with the end of a line: 0123456789abcd, space, no-break space\n" in err
    assert "warning: in the text 1 × no-break space will be learned as characters; replace them" in err
    assert trainer(*fresh("stream", "data.mode=stream"))[0] == 0
    (start,) = rows(folder("stream"), "start")
    assert (start["lines"], start["distinct_lines"]) == (None, None)


def test_a_warm_up_longer_than_the_training_is_told(trainer: Trainer) -> None:
    assert "warning: train.warmup_steps is 24 and train.steps 24" in trainer(*fresh("run", "train.warmup_steps=24"))[2]
    assert "warning" not in trainer(*fresh("other", "train.warmup_steps=23"))[2]


@pytest.mark.parametrize("split", ["[0.9,0,0.1]", "[0.9,0.1,0]", "[1,0,0]"])
@pytest.mark.parametrize("mode", ["lines", "stream"])
def test_a_split_without_a_share_has_no_loss(trainer: Trainer, mode: str, split: str) -> None:
    status, out, err = trainer(*fresh("run", f"data.mode={mode} data.split={split} check.enabled=true check.every=9"))
    assert status == 0
    run, shares = folder("run"), dict(zip(("train", "val", "test"), yaml.safe_load(split), strict=True))
    (start,), (end,) = rows(run, "start"), rows(run, "end")
    for name, share in shares.items():
        assert (start["examples"][name] > 0) == (end[f"{name}_loss"] is not None) == (share > 0)
    assert all((row["val_loss"] is None) == (shares["val"] == 0) for row in rows(run, "eval"))
    shown = re.search(r"train [\d.]+, val [\d.]+ nats", err) is not None
    assert ("validation  " in out) == shown == (shares["val"] > 0)
    if not shares["val"]:
        assert end["best_step"] == 24
        assert values(run / "best.npz") == values(run / "checkpoint.npz")
    assert trainer("--resume", str(run))[0] == 0


def test_without_a_validation_split_best_is_the_newest_state_at_every_moment(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(*_: object) -> None:
        seen.append(load(folder("run") / "best.npz").step)

    monkeypatch.setattr("trainer.runs.rows.of_step", lambda witness, corpus: look() or {"step": witness.step})
    assert trainer(*fresh("run", "data.split=[1,0,0]"))[0] == 0
    assert seen == [step - step % 2 for step in range(24)]  # log.checkpoint_every is 2


def test_patience_stops_after_evaluations_without_a_better_one(trainer: Trainer) -> None:
    wild = "train.learning_rate=3 train.schedule=constant log.eval_every=3 train.steps=300"
    assert trainer(*fresh("whole", wild))[0] == 0
    losses = [row["val_loss"] for row in rows(folder("whole"), "eval")]
    for patience in (1, 4):
        stop = next(k for k in range(len(losses)) if k - losses.index(min(losses[: k + 1])) == patience)
        status, _, err = trainer(*fresh(f"p{patience}", wild, f"train.patience={patience}"))
        (end,) = rows(folder(f"p{patience}"), "end")
        assert (status, end["step"]) == (0, 3 * (stop + 1))
        best = 3 * (1 + losses.index(min(losses[: stop + 1])))
        assert f"stopped at step {end['step']}: no better validation loss since step {best}, train.patience is" in err
        before = values(folder(f"p{patience}") / "checkpoint.npz")
        assert trainer("--resume", f"runs/p{patience}")[0] == 0  # it stops again at once
        assert values(folder(f"p{patience}") / "checkpoint.npz") == before


def test_what_the_losses_say(trainer: Trainer) -> None:
    Path("text.txt").write_text("".join(f"{k * 7919 % 1000}\n" for k in range(30)))
    out = trainer(*fresh("run", f"train.steps=900 train.learning_rate=0.5 log.eval_every=50 {SELDOM}"))[1]
    evaluations, run = rows(folder("run"), "eval"), folder("run")
    best = min(evaluations, key=lambda row: row["val_loss"])
    assert evaluations[-1]["val_loss"] > 1.02 * best["val_loss"]
    assert f"validation rose from step {best['step']} on, to {evaluations[-1]['val_loss']:.4f}: little text" in out
    assert f"python -m trainer sample {run} --last" in out
    assert "worse than knowing nothing" not in out
    out = trainer(*fresh("wild", "train.steps=1 train.learning_rate=30 train.schedule=constant"))[1]
    assert f"the validation loss is above log V = {math.log(11):.4f}: worse than knowing nothing" in out


def test_where_samples_stand() -> None:
    text = "\n".join(f"w{k}" for k in range(40))
    Path("text.txt").write_text(text)
    corpus = load_text(Data("text.txt"), 3)
    texts = {}
    for name, (start, end) in corpus.splits.items():
        texts[name] = "".join(corpus.vocabulary[i] for i in corpus.ids[start:end]).split("\n")[0]
    asked = [texts["train"], texts["val"], texts["test"], "w", "w99", "", "w" * 100, "w" * 99]
    known = "in the validation or test text"
    assert summary.marks(asked, corpus, 100) == [
        "in the training text", known, known, "new", "new", "new", "cut", "new",
    ]  # fmt: skip


def test_a_sample_that_is_cut_is_not_called_new(trainer: Trainer) -> None:
    line = "abcdefgh" * 20  # 160 characters, of which a sample is the first 100
    Path("text.txt").write_text("".join(f"{line}{k}\n" for k in range(10)))
    out = trainer(*fresh("run", "train.steps=400 train.learning_rate=1 log.eval_every=100 model.hidden=30"))[1]
    marks = [mark.rstrip(")\n").split("  (")[1] for mark in out.split("samples:\n")[1].splitlines()[:3]]
    assert "cut" in marks


def test_running_texts_keep_their_line_breaks_and_are_parted(trainer: Trainer) -> None:
    Path("text.txt").write_text("ab\ncd\n" * 60)
    out = trainer(*fresh("run", "data.mode=stream train.steps=200 train.learning_rate=1 log.samples=2"))[1]
    written = (folder("run") / "samples.txt").read_text()
    first, second = written.split("-" * 20 + "\n")
    assert first.count("\n") > 5
    assert len(first) == len(second) == 501
    assert out.split("samples:\n")[1].startswith("".join(f"  {line}\n" for line in first.splitlines()))


# Texts that move, grow, or come from elsewhere


def test_a_text_is_found_again(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trainer(*fresh("run"))[0] == 0
    run, here = folder("run").absolute(), Path.cwd()
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert trainer("--resume", str(run))[0] == 0  # by its absolute path
    (here / "text.txt").rename(here / "moved.txt")
    assert_one_line(trainer("--resume", str(run)), 2, "cannot read the text", str(here / "text.txt"), "data.path=FILE")
    assert trainer("--resume", str(run), "data.path=../moved.txt")[0] == 0
    assert trainer("--resume", str(run))[0] == 0  # it is remembered
    assert load(run / "checkpoint.npz").places == [str(elsewhere / ".." / "moved.txt")]
    (here / "moved.txt").write_text((here / "moved.txt").read_text() + "more\n")
    assert_one_line(
        trainer("--resume", str(run)), 2, "the text has changed", "--from " + str(run), f"--config {run}/config.yaml"
    )


def test_plain_compressed_and_piped_texts_are_one_run(trainer: Trainer, feed: Feed) -> None:
    content = Path("text.txt").read_bytes()
    Path("text.gz").write_bytes(gzip.compress(content))
    feed(content)
    for name, path in (("plain", "text.txt"), ("gz", "text.gz"), ("piped", "-")):
        assert trainer(*fresh(name, f"data.path={path} check.enabled=true check.every=9"))[0] == 0
        assert_same_but_path(folder("plain"), folder(name))
    assert_one_line(trainer("--resume", "runs/piped"), 2, "came from standard input", "data.path=FILE")
    assert trainer("--resume", "runs/piped", "data.path=text.gz")[0] == 0
    assert trainer("--resume", "runs/piped")[0] == 0


def assert_same_but_path(one: Path, other: Path) -> None:
    a, b = (values(run / "checkpoint.npz") for run in (one, other))
    for each in (a, b):
        del each["config"], each["places"]
    assert a == b
    assert (one / "samples.txt").read_bytes() == (other / "samples.txt").read_bytes()


def test_a_run_of_version_1_goes_on_only_if_its_text_is_read_as_it_was(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trainer(*fresh("run"))[0] == 0
    checkpoint = load(folder("run") / "checkpoint.npz")
    checkpoint.format = 1
    corpus = load_text(checkpoint.config.data, 3)
    assert corpus.line_count == corpus.distinct_lines
    resuming.check_text(checkpoint, corpus, ["text.txt"], folder("run"))
    for change in ({"stripped": 1}, {"distinct_lines": 59}):
        other = Corpus(**(vars(corpus) | change))
        with pytest.raises(UserError, match="read differently since this run began"):
            resuming.check_text(checkpoint, other, ["text.txt"], folder("run"))
        checkpoint.format = 2
        resuming.check_text(checkpoint, other, ["text.txt"], folder("run"))
        checkpoint.format = 1


def test_an_edited_configuration_of_a_run_is_told(trainer: Trainer) -> None:
    assert trainer(*fresh("run"))[0] == 0
    file = folder("run") / "config.yaml"
    before = file.read_bytes()
    assert "was changed" not in trainer("--resume", "runs/run")[2]
    for content in (before.replace(b"seed: 42", b"seed: 43"), b"nonsense"):
        file.write_bytes(content)
        status, _, err = trainer("--resume", "runs/run")
        assert (status, file.read_bytes()) == (0, before)
        assert f"warning: {file} was changed; it is not read on resuming" in err


def test_a_weight_decay_that_diverges_is_named() -> None:
    assert resuming.calmer(Train(weight_decay=30)).startswith("train.weight_decay far below 10: ")
    assert resuming.calmer(Train(weight_decay=9)).startswith("train.learning_rate=0.01, or")


# Beginning with another run's parameters


def test_characters_that_both_know_are_taken_over(trainer: Trainer) -> None:
    assert trainer(*fresh("first"))[0] == 0
    Path("other.txt").write_text("".join(f"{c}éa\n{c}z\n" for c in "bcdfgh"))
    constant = "train.steps=1 train.learning_rate=1e-30 train.schedule=constant"
    assert trainer(*fresh("plain", "data.path=other.txt", constant))[0] == 0
    status, _, err = trainer(*fresh("second", "data.path=other.txt", constant), "--from", "runs/first")
    assert status == 0
    old, new, plain = (load(folder(name) / "best.npz") for name in ("first", "second", "plain"))
    assert f"begins with  {(folder('first') / 'best.npz').absolute()}, step {old.step}\n" in err
    both = set(old.vocabulary) & set(new.vocabulary)
    assert both == {"\n", *"abcdfgh"}
    same = partial(np.testing.assert_allclose, rtol=0, atol=1e-28)  # one step at a rate of 1e-30 has been made
    for k, character in enumerate(new.vocabulary):
        source = old if character in both else plain
        j = source.vocabulary.index(character)
        for tensor in ("C", "b2"):
            same(getattr(new.parameters, tensor)[k], getattr(source.parameters, tensor)[j])
        same(new.parameters.W2[:, k], source.parameters.W2[:, j])
    assert (new.parameters.W1 == old.parameters.W1).all()
    assert (new.parameters.b1 == old.parameters.b1).all()
    assert "initial_loss" not in rows(folder("second"), "end")[0]["checks"]


def test_it_begins_where_the_other_run_ended(trainer: Trainer) -> None:
    assert trainer(*fresh("first", "train.steps=300 train.learning_rate=1"))[0] == 0
    assert trainer(*fresh("second", "train.learning_rate=1e-30"), "--from", str(folder("first") / "best.npz"))[0] == 0
    (one,), (other,) = rows(folder("first"), "end"), rows(folder("second"), "end")
    assert other["val_loss"] == pytest.approx(one["val_loss"], rel=1e-6)


@pytest.mark.parametrize("key", ["model.context", "model.embedding", "model.hidden"])
def test_sizes_that_do_not_fit_are_named(trainer: Trainer, key: str) -> None:
    assert trainer(*fresh("first"))[0] == 0
    has = {"model.context": 3, "model.embedding": 3, "model.hidden": 8}[key]
    assert_one_line(trainer(*fresh("second", f"{key}=5"), "--from", "runs"), 2, f"{key} is 5, and {has} in the run of")
    assert not Path("runs/second").exists()
    assert_one_line(trainer(*fresh("second"), "--from", "none"), 2, "no such run")
    assert_one_line(trainer("--resume", "runs", "--from", "runs"), 2, "--from do not go with --resume")
