"""Whatever a text, a file name or an argument holds, what is printed are whole lines that a terminal can show."""

import sys
from pathlib import Path

import pytest
from conftest import Trainer, folder, fresh, obeyed, rows

from trainer.errors import printable
from trainer.runs.checkpoint import load
from trainer.runs.sampling import sample
from trainer.runs.summary import RULE

pytestmark = pytest.mark.usefixtures("place")

STRANGE = [
    "\x1b[31mred", "\u202eright", "\N{WOMAN}\u200d\N{ROCKET}", "\u2028line", "\x85next", "\x07\x08\x7f", "a\tb\rc",
]  # fmt: skip


@pytest.mark.parametrize("mode", ["lines", "stream"])
def test_any_character_leaves_lines_and_rows_whole(
    mode: str, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("str\x1bange\u202e.txt")
    path.write_bytes("\n".join(STRANGE * 20).encode())
    status, out, err = trainer(*fresh("strange", f"data.mode={mode}", f"data.path={path}", "log.samples=30"))
    assert (status, rows(folder("strange"))[-1]["event"]) == (0, "end")
    assert not obeyed(out + err + (folder("strange") / "train.log").read_text("utf-8"))
    c = load(folder("strange") / "best.npz")
    drawn = sample(c, 30, seed=c.config.seed)
    assert any(map(obeyed, drawn))
    written = ("" if mode == "lines" else RULE).join(line + "\n" for line in drawn)
    assert (folder("strange") / "samples.txt").read_bytes() == written.encode()
    # To a file or a pipe, sampled text is exactly what the model wrote; a terminal shows what it would obey.
    for n, end in ((5, "\n" if mode == "lines" else "\n\n"), (1, "\n")):
        assert trainer("sample", "-n", str(n))[1] == "".join(text + end for text in sample(c, n))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    status, out, _ = trainer("sample", "-n", "9")
    assert (status, obeyed(out)) == (0, [])


def test_a_sample_of_nothing_that_can_be_seen_is_no_empty_line(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("text.txt").write_text("\u3164\n\u2800\n" * 9 + "a\nb\n", "utf-8")
    out = trainer(*fresh("run", "train.steps=200 train.learning_rate=1 log.samples=20 data.split=[1,0,0]"))[1]
    assert "  (braille pattern blank)  (" in out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "(hangul filler)\n" in trainer("sample")[1]


def test_only_what_a_terminal_obeys_is_escaped() -> None:
    persian, emoji, french, chinese = "می\u200cخواهم", "👩\u200d🚀 🏳️\u200d🌈", "«\u00a0oui\u00a0»", "春\u3000眠"
    for text in (persian, emoji, french, chinese, "e\u0301", "\ufeff", "a\u00adb", "\U000e0067"):
        assert printable(text) == text
    assert printable("a\x1b[31m\nb\x7f\x85") == r"a\x1b[31m\nb\x7f\x85"
    assert printable("\u2028\u2029\u202e\u2066\u200f\udcff") == r"\u2028\u2029\u202e\u2066\u200f\udcff"
