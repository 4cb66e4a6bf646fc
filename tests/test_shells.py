"""Names that a shell or a locale makes difficult: they are shown, they work, and a printed command can be pasted."""

import os
import random
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Outcome, Trainer, assert_one_line, folder, fresh

from trainer.errors import printable, quoted
from trainer.runs.checkpoint import load

pytestmark = pytest.mark.usefixtures("place")

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ODD = "ab é春🚀'\"\\$`!*?~#-=\n\r\t\x1b\x7f\x85\u2028\u202e"


def in_c_locale(*arguments: str) -> Outcome:
    """The program where all that is not ASCII is read as undecoded bytes."""
    environment = os.environ | ASCII | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "trainer", *arguments]
    done = subprocess.run(command, check=False, env=environment, capture_output=True)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_in_a_folder_whose_name_is_not_ascii_a_c_locale_does_no_harm(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path("zoë").absolute()
    here.mkdir()
    Path("text.txt").rename(here / "text.txt")
    monkeypatch.chdir(here)
    assert in_c_locale(*fresh("run", "train.steps=4 train.schedule=constant"))[0] == 0
    assert load(folder("run") / "checkpoint.npz").places == [
        os.fsencode(here / "text.txt").decode("ascii", "surrogateescape")
    ]
    assert in_c_locale("--resume", "runs", "train.steps=6")[0] == 0
    os.rename("text.txt", "gone.txt")
    assert_one_line(in_c_locale("--resume", "runs"), 2, f"{here}/text.txt")
    assert trainer("sample", "-n", "2")[0] == 0
    for words in (["sample", "no"], ["--config", "no.yaml"]):
        assert_one_line(in_c_locale(*words), 2, f"{here}/no")


def test_what_a_c_locale_does_not_read_is_shown_as_it_was_typed_with_a_way_out() -> None:
    fresh("run")
    for words in (["--config", "zoë.yaml"], ["sample", "--prompt", "zoë"], ["zoë"], ["practice", "zoë"]):
        assert_one_line(in_c_locale(*words), 2, "zoë", "write PYTHONUTF8=1 before the command")
    Path("french.yaml").write_text("data: {path: zoë.txt}\n", "utf-8")
    assert_one_line(in_c_locale("--config", "french.yaml"), 2, "zoë.txt", "write PYTHONUTF8=1 before the command")


def test_a_quoted_word_is_one_line_that_a_shell_reads_back() -> None:
    rng = random.Random(5)
    words = ["", "plain", "a b", "a\nb", "\x1b[31m1", "a'b\n", "\\n", "\udcff7\n", *ODD]
    words += ["".join(rng.choices(ODD, k=rng.randint(1, 12))) for _ in range(200)]
    script = "".join(f"printf '%s\\0' {quoted(word)}\n" for word in words)
    said = subprocess.run(["bash", "-c", script], check=True, capture_output=True).stdout
    assert said.split(b"\0")[:-1] == [os.fsencode(word) for word in words]
    assert all(quoted(word) == printable(quoted(word)) for word in words)
    assert quoted("a\nb") == r"$'a\nb'"
    assert quoted("names") == "names"


def test_a_printed_command_can_be_pasted_whatever_the_folder_is_called(trainer: Trainer) -> None:
    assert trainer(*fresh("run", "train.steps=2 train.schedule=constant"))[0] == 0
    odd = Path("runs", "o'd\nd \x1b[31m")
    Path("runs/run").rename(odd)
    (run,) = odd.iterdir()
    outcome = trainer("--resume", str(run), "seed=3")
    assert_one_line(outcome, 2, "start another run from it: ")
    command = outcome[2].partition("python -m trainer ")[2].replace(f"--name {quoted(odd.name)}", "--name pasted")
    assert command.endswith(" seed=3\n")
    status, out, err = pasted(command)
    assert (status, err) == (0, err), err
    assert load(folder("pasted") / "checkpoint.npz").source.startswith(str(run.absolute()))
    status, out, _ = trainer("--resume", str(run), "train.steps=3")
    assert status == 0
    more = next(line for line in out.splitlines() if line.startswith("for more samples: "))
    assert pasted(more.partition("python -m trainer ")[2])[0] == 0
    assert "\x1b" not in out + (run / "train.log").read_text("utf-8")


def pasted(words: str) -> Outcome:
    """What a shell makes of the words after `python -m trainer `."""
    command = f"{shlex.quote(sys.executable)} -m trainer {words}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], check=False, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr
