"""Whatever a text, a file name or an argument holds, what is printed are whole lines that a terminal can show."""

import sys
import unicodedata
from pathlib import Path

import pytest
from conftest import Trainer, assert_one_line, folder, fresh, rows

from trainer.errors import printable
from trainer.runs.checkpoint import load
from trainer.runs.sampling import sample
from trainer.runs.summary import RULE

pytestmark = pytest.mark.usefixtures("place")


DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def obeyed(text: str) -> list[str]:
    """The characters that a terminal obeys rather than shows."""
    return [
        character
        for character in text
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in DIRECTIONS
    ]


STRANGE = [
    "\x1b[31mred",
    "\u202eright",
    "\N{WOMAN}\u200d\N{ROCKET}",
    "\u2028line",
    "\x85next",
    "\x07\x08\x7f",
    "tab\there",
    "a\rb",
]


@pytest.mark.parametrize("mode", ["lines", "stream"])
def test_any_character_leaves_lines_and_rows_whole(
    mode: str, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("str\x1bange\u202e.txt")
    path.write_bytes("\n".join(STRANGE * 20).encode())
    status, out, err = trainer(*fresh("strange", f"data.mode={mode}", f"data.path={path}", "log.samples=30"))
    assert status == 0
    assert not obeyed((out + err).replace("\n", ""))
    assert not obeyed((folder("strange") / "train.log").read_text("utf-8").replace("\n", ""))
    assert rows(folder("strange"))[-1]["event"] == "end"
    c = load(folder("strange") / "best.npz")
    drawn = list(sample(c, 30, seed=c.config.seed))
    assert any(obeyed(line) for line in drawn)
    between = "" if mode == "lines" else RULE
    written = between.join(line + "\n" for line in drawn)
    assert (folder("strange") / "samples.txt").read_bytes() == written.encode()
    # To a file or a pipe, sampled text is exactly what the model wrote; a terminal shows what it would obey.
    end = "\n" if mode == "lines" else "\n\n"
    assert trainer("sample", "-n", "5", "--seed", "3")[1] == "".join(t + end for t in sample(c, 5, seed=3))
    assert trainer("sample", "-n", "1", "--seed", "3")[1] == "".join(t + "\n" for t in sample(c, 1, seed=3))
    for n in ("1", "5"):
        with monkeypatch.context() as patch:
            patch.setattr(sys.stdout, "isatty", lambda: True)
            status, out, _ = trainer("sample", "-n", n, "--seed", "3")
        assert status == 0
        assert not obeyed(out.replace("\n", ""))


TYPED: list[list[str]] = [
    ["--config", "no\nsuch\x1b[31m.yaml"],
    ["--config", "a" * 5000],
    ["--config", "a\0b"],
    ["--config", "small.yaml", "data.path=" + "a" * 5000],
    ["--config", "small.yaml", 'data.path="no\\nsuch\\e.txt"'],
    ["--config", "small.yaml", "train.steps=\udcff"],
    ["--config", "small.yaml", "tr\x1b\nain.steps=3"],
    ["--config", "small.yaml", "\x1b\n"],
    ["--resume", "no\nsuch\x1b"],
    ["--resume", "a" * 5000],
    ["--resume", "a\0b"],
    ["--resume", "runs", "train.steps=\udcff"],
    ["sample", "a" * 5000],
    ["sample", "a\nb\x1b"],
    ["sample", "--prompt", "\x1b\n"],
    ["sample", "--prompt", "\udcff"],
    ["sample", "-n", "\x1b\n"],
    ["\x1b\n"],
    [],
]


def test_whatever_is_typed_an_error_is_one_printable_line(trainer: Trainer) -> None:
    assert trainer(*fresh("run", "train.steps=1"))[0] == 0
    for arguments in TYPED:
        outcome = trainer(*arguments)
        assert_one_line(outcome, 2)
        assert len(outcome[2].splitlines()) == 1
        assert not obeyed(outcome[2][:-1])


def test_only_what_a_terminal_obeys_is_escaped() -> None:
    persian, emoji, french, chinese = "می\u200cخواهم", "👩\u200d🚀 🏳️\u200d🌈", "«\u00a0oui\u00a0»", "春\u3000眠"
    for text in (persian, emoji, french, chinese, "e\u0301", "\ufeff", "a\u00adb", "\U000e0067"):
        assert printable(text) == text
    assert printable("a\x1b[31m\nb\x7f\x85") == r"a\x1b[31m\nb\x7f\x85"
    assert printable("\u2028\u2029\u202e\u2066\u200f\udcff") == r"\u2028\u2029\u202e\u2066\u200f\udcff"
