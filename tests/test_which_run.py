"""Which run a command is about, what it says of it, and what is meant by a word that is no command."""

import os
import re
import shutil
from pathlib import Path

import pytest
from conftest import SELDOM, Trainer, assert_one_line, folder, fresh, rows

from trainer.runs.checkpoint import load
from trainer.runs.folder import find, find_checkpoint, find_trained

pytestmark = pytest.mark.usefixtures("place")


def set_time(run: Path, time: int) -> None:
    os.utime(run / "checkpoint.npz", (time, time))


def test_the_newest_run_is_the_newest_by_time(trainer: Trainer) -> None:
    for name in ("one", "two", "three"):
        assert trainer(*fresh(name, f"seed={len(name)}"))[0] == 0
    one, two, three = (folder(name) for name in ("one", "two", "three"))
    renamed = one.with_name("zzz-my-first")
    one.rename(renamed)
    for run, time in ((renamed, 100), (two, 300), (three, 200)):
        set_time(run, time)
    assert find(None) == find("runs") == find_trained(None) == two
    assert find("runs/one") == renamed
    assert trainer("sample", "-n", "3")[1] == trainer("sample", str(two), "-n", "3")[1]


def test_runs_that_trained_and_did_not_fail_come_first(trainer: Trainer) -> None:
    assert trainer(*fresh("good"))[0] == 0
    assert trainer(*fresh("wild", "train.learning_rate=1e30"))[0] == 1
    assert trainer(*fresh("untrained"))[0] == 0
    good, wild, untrained = (folder(name) for name in ("good", "wild", "untrained"))
    (untrained / "best.npz").unlink()
    for run, time in ((good, 100), (wild, 200), (untrained, 300)):
        set_time(run, time)
    assert find_trained(None) == good
    assert find(None) == untrained  # to go on with
    assert find_checkpoint(None) == good / "best.npz"
    assert find_checkpoint(None, last=True) == good / "checkpoint.npz"
    shutil.rmtree(good)
    assert find_trained(None) == untrained
    shutil.rmtree(untrained)
    assert "the run failed" in trainer("sample", "-n", "2")[2]


def test_the_run_that_was_chosen_is_told(trainer: Trainer) -> None:
    assert trainer(*fresh("run"))[0] == 0
    run = folder("run")
    best = load(run / "best.npz")
    told = f"{run}/best.npz, step {best.step}, validation loss {best.best_loss:.4f}\n"
    for arguments in (["sample", "-n", "2"], ["sample", "runs", "-n", "2"], ["score", "text.txt"]):
        assert trainer(*arguments)[2] == told
    assert trainer("sample", str(run), "-n", "2")[2] == ""
    assert trainer("sample", f"{run}/checkpoint.npz", "-n", "2")[2] == ""
    assert trainer("explain", "--context", "ab", "--target", "c")[2] == told


def test_an_untrained_model_is_told(trainer: Trainer) -> None:
    assert trainer(*fresh("run", "data.split=[1,0,0]"))[0] == 0
    run = folder("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.runs.opening.load", lambda path: vars_at_step_0(load(path)))
        assert "it has not been trained: what it makes up is noise" in trainer("sample", "-n", "1")[2]
    assert run.exists()


def vars_at_step_0(checkpoint: object) -> object:
    checkpoint.step = 0  # type: ignore[attr-defined]
    return checkpoint


# Samples


def test_the_newest_state_on_request(trainer: Trainer) -> None:
    Path("text.txt").write_text("".join(f"{k * 7919 % 1000}\n" for k in range(30)))
    assert trainer(*fresh("run", f"train.steps=900 train.learning_rate=0.5 log.eval_every=50 {SELDOM}"))[0] == 0
    run = folder("run")
    (end,) = rows(run, "end")
    assert end["best_step"] < 900
    last = trainer("sample", "--last", "-n", "9", "--seed", "3")
    assert last[2].startswith(f"{run}/checkpoint.npz, step 900, validation loss ")
    assert f" at best, at step {end['best_step']}\n" in last[2]
    assert last[1] == trainer("sample", str(run / "checkpoint.npz"), "-n", "9", "--seed", "3")[1]
    assert last[1] != trainer("sample", "-n", "9", "--seed", "3")[1]


def test_only_new_ones_and_each_once(trainer: Trainer) -> None:
    text = ["abc", "abd", "bcd", "bce", "cde", "cdf", "def", "deg", "efg", "efh"]
    Path("text.txt").write_text("\n".join(text))
    assert trainer(*fresh("run", f"train.steps=300 train.learning_rate=1 {SELDOM}"))[0] == 0
    plain = trainer("sample", "-n", "200")[1].splitlines()
    assert set(plain) & set(text)
    assert len(set(plain)) < 200
    status, out, _ = trainer("sample", "--new", "-n", "25", "--length", "6")
    new = out.splitlines()
    assert (status, len(new), len(set(new))) == (0, 25, 25)
    assert not set(new) & set(text)
    assert max(map(len, new)) < 6  # those of six characters were cut
    assert trainer("sample", "--new", "-n", "25", "--length", "6")[1] == out
    _, out, err = trainer("sample", "--new", "-n", "25", "--top-k", "1")
    assert len(out.splitlines()) <= 1
    assert re.search(r"only [01] new ones among 2,500 samples", err)
    prompted = trainer("sample", "--new", "-n", "5", "--prompt", "a")[1].splitlines()
    assert len(prompted) == 5
    assert all(line.startswith("a") and line not in text for line in prompted)


def test_new_ones_need_the_text(trainer: Trainer) -> None:
    assert trainer(*fresh("run"))[0] == 0
    Path("text.txt").rename("elsewhere.txt")
    assert_one_line(trainer("sample", "runs", "--new"), 2, "--new needs the text of the run: cannot read the text")
    Path("text.txt").write_text("".join(f"other {k}\n" for k in range(30)))
    assert_one_line(trainer("sample", "runs", "--new"), 2, "--new needs the text of the run: the text has changed")
    assert trainer(*fresh("stream", "data.mode=stream data.path=elsewhere.txt"))[0] == 0
    assert_one_line(trainer("sample", "runs/stream", "--new"), 2, "--new is for lists of lines")


def test_a_line_break_is_typed_alike_everywhere(trainer: Trainer) -> None:
    Path("text.txt").write_text("ab\ncd\\n\n" * 30)
    assert trainer(*fresh("run", "data.mode=stream"))[0] == 0
    assert trainer("sample", "-n", "1", "--prompt", r"b\ncd\\n")[1].startswith("b\ncd\\n")
    plain = trainer("explain", "--context", "ab\nc", "--target", "d")
    assert plain[0] == 0
    assert trainer("explain", "--context", r"ab\nc", "--target", "d") == plain
    assert trainer("explain", "--context", "cab", "--target", r"\n") == trainer(
        "explain", "--context", "cab", "--target", "\n"
    )


@pytest.mark.parametrize(
    ("option", "value"), [("--temperature", "inf"), ("--temperature", "nan"), ("--temperature", "-1"), ("-n", "-2")]
)
def test_a_setting_that_cannot_be(trainer: Trainer, option: str, value: str) -> None:
    assert trainer(*fresh("run"))[0] == 0
    assert_one_line(trainer("sample", f"{option}={value}" if option != "-n" else f"-n{value}"), 2, "a finite number, 0")


def test_values_may_begin_with_a_minus(trainer: Trainer) -> None:
    Path("text.txt").write_text("-n 5\n--prompt\n-ab\n--\n" * 5 + "".join(f"-{k}\n" for k in range(30)))
    assert trainer(*fresh("run"))[0] == 0
    for prompt in ("-", "-n", "--prompt", "--", "-ab", "-5"):
        status, out, _ = trainer("sample", "-n", "2", "--prompt", prompt)
        assert (status, [line.startswith(prompt) for line in out.splitlines()]) == (0, [True, True])


# First words


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("sampel", "did you mean sample?"),
        ("scroe x", "did you mean score?"),
        ("train", "to train, write: python -m trainer --config configs/names.yaml"),
        ("mine.yaml", "to train, write: python -m trainer --config mine.yaml"),
        ("poem.txt", "to train on a text, write: python -m trainer --config configs/names.yaml data.path=poem.txt"),
        ("text.txt", "data.path=text.txt"),
        (".", "to go on with a run, write --resume .; to sample from it, sample ."),
        ("xyz", "the commands are sample, score, "),
    ],
)
def test_a_first_word_that_is_no_command(trainer: Trainer, words: str, says: str) -> None:
    assert_one_line(trainer(*words.split()), 2, "is no command, on the command line; ", says)


def test_what_is_no_run_or_no_key(trainer: Trainer) -> None:
    assert trainer(*fresh("run"))[0] == 0
    assert_one_line(trainer("--resume", "small.yaml"), 2, "cannot read the checkpoint", "checkpoint.npz")
    assert_one_line(trainer("--config", "."), 2, "cannot read the configuration", "Is a directory")
    assert_one_line(trainer("--config", "text.txt"), 2, "is a plain text", "a text is given as data.path=FILE")
    assert_one_line(trainer("--config", "small.yaml", "--train.steps=5"), 2, "write section.key=value without dashes")
    assert_one_line(trainer("--config", "small.yaml", "text.txt"), 2, "is no override", "a text as data.path=FILE")


def test_help_and_version(trainer: Trainer, capsys: pytest.CaptureFixture[str]) -> None:
    from trainer import __version__
    from trainer.tools.command import main

    assert trainer("--version") == (0, f"trainer {__version__}\n", "")
    for words, usage in (
        (["help"], "usage: python -m trainer [-h]"),
        (["help", "score"], "usage: python -m trainer s"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(usage)
