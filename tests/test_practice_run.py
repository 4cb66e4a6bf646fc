"""How a file is judged: as Python runs it, by what it leaves behind; and training with it agrees."""

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from conftest import Capture
from practice_files import FAULTS, FULL_MARKS, FUNCTION, LECTURE, PAIRS, RIGHT, SLIPS, SPELLINGS, WRONG, in_torch

from trainer.core import model
from trainer.errors import UserError
from trainer.tools.practice.backward import own_backward
from trainer.tools.practice.command import about, screen
from trainer.tools.practice.judge import Answer, Finding, Judge
from trainer.tools.practice.point import NINE, draw, exercise
from trainer.tools.practice.process import judged
from trainer.tools.practice.source import parse

LINES = dict(zip(NINE, [*RIGHT.split("\n", 8)], strict=True))
TORCH_LECTURE = in_torch(LECTURE)
IN_TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")


@cache
def of(text: str, seed: int = 0) -> Answer:
    """The answer to a file, judged in this process."""
    judge = Judge(parse(text.encode(), "mine.py"), exercise(seed))
    with np.errstate(all="ignore"):
        for node in judge.program.tree.body:
            judge.statement(node)
    return judge.answer()


def with_lines(link: str, lines: str) -> str:
    """A file that is right but for the lines of one link."""
    return "\n".join((LINES | {link: lines})[each] for each in NINE)


def said(found: Answer, name: str) -> str:
    finding = next(finding for finding in found.findings if finding.name == name)
    return " ".join(f"{finding.fact} {finding.sentence}".split())


def only(found: Answer, link: str) -> Finding:
    """The only gradient that is neither right nor right from what came in."""
    (wrong,) = [finding for finding in found.findings if not finding.follows]
    assert wrong.name == f"d{link}"
    return wrong


@pytest.mark.parametrize("text", [pytest.param(text, marks=IN_TORCH if "torch" in text else []) for text in FULL_MARKS])
def test_full_marks(text: str) -> None:
    found = of(text)
    assert (found.right(), found.all_right(), found.notes) == (9, True, []), found.findings


def test_a_formula_is_judged_by_what_came_in() -> None:
    wrong = {"z": "dz = dh * (1 - h)", "b1": "db1 = -dz.sum(0)", "emb": "demb = 2 * dz @ W1.T"}
    found = of("\n".join((LINES | wrong)[link] for link in NINE))
    words = "the square is missing", "the sign is turned round", "it is 2 times too large: doubled"
    assert all(said(found, f"d{link}").endswith(end) for link, end in zip(wrong, words, strict=True))


@pytest.mark.parametrize(("expected", "words_on_first", "text"), FAULTS)
def test_each_fault_is_said_where_it_is(expected: str, words_on_first: str, text: str) -> None:
    found = of(text)
    words = [f"{finding.name} {finding.word}" for finding in found.findings]
    wrong = expected.split(", ")
    assert {*wrong} <= {*words}
    assert not [each for each in words if each not in wrong and not re.search(r"^d\w+ (right|ERROR)", each)]
    assert words_on_first in said(found, wrong[0].partition(" ")[0])
    assert not found.all_right()


STAYS = "line 1: the names made inside backward stay there; call it, return them, and name them where it is called"


@pytest.mark.parametrize(
    ("text", "notes", "right"),
    [
        (FUNCTION, [STAYS], 0),
        (f"{FUNCTION}\nbackward()\n", [STAYS], 0),
        ("print(nothing)\n" + RIGHT, ["line 1: NameError: name 'nothing' is not defined"], 9),
        (RIGHT + "hist(dz)\n", ["line 11: NameError: name 'hist' is not defined; dz (32, 64)"], 9),
    ],
)
def test_what_else_stops_a_file_is_noted(text: str, notes: list[str], right: int) -> None:
    assert (of(text).notes, of(text).right(), of(text).all_right()) == (notes, right, False)


@pytest.mark.parametrize("name", ["dlogit", "d_logits", "dLogits", "grad_logits"])
def test_a_near_name_is_told(name: str) -> None:
    assert said(of(RIGHT.replace("dlogits", name)), "dlogits") == f"there is a `{name}`"


@pytest.mark.parametrize("text", [LECTURE, pytest.param(TORCH_LECTURE, marks=IN_TORCH)])
def test_the_lecture_pasted_whole_is_right(text: str) -> None:
    found = of(text)
    assert (found.right(), len(found.findings), found.notes) == (16, 16, []), found.findings


@pytest.mark.parametrize("torch", [False, pytest.param(True, marks=[pytest.mark.long, IN_TORCH])])
@pytest.mark.parametrize(("link", "expected", "text"), SLIPS)
def test_each_mistake_of_the_lecture_is_named_as_itself(link: str, expected: str, text: str, torch: bool) -> None:
    found = of(in_torch(text) if torch else text)
    first = next(finding for finding in found.findings if not finding.follows)
    assert first.name == f"d{link}"
    assert expected in said(found, first.name)
    assert {finding.word for finding in found.findings if not finding.follows and finding is not first} <= {"ERROR"}


def test_a_branch_that_is_about_zero_may_be_left_out() -> None:
    lines = [line for line in LECTURE.splitlines() if "logit_maxes" not in line]
    assert (of("\n".join(lines)).right(), of("\n".join(lines)).all_right()) == (15, True)


BATCHES = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 5))]


@pytest.mark.parametrize("seed", BATCHES)
def test_every_row_of_the_table_is_named_as_itself(seed: int) -> None:
    for link, expected, lines in WRONG:
        finding = only(of(with_lines(link, lines), seed), link)
        assert finding.word == "WRONG"
        assert finding.sentence.startswith((f"you wrote {expected}: ", f"these are the numbers of {expected}: ")), lines


@pytest.mark.parametrize("seed", BATCHES)
def test_what_is_right_is_called_right(seed: int) -> None:
    for link, lines in SPELLINGS:
        assert of(with_lines(link, lines), seed).all_right(), lines


@pytest.mark.parametrize("seed", BATCHES)
def test_two_mistakes_at_once_are_both_named(seed: int) -> None:
    for link, both, lines in PAIRS:
        sentence = said(of(with_lines(link, lines), seed), f"d{link}")
        assert all(words in sentence for words in both.split(" | ")), lines


FILES = [
    *FULL_MARKS, LECTURE, TORCH_LECTURE, *(text for *_, text in FAULTS + SLIPS),
    *(with_lines(link, lines) for link, *_, lines in [*SPELLINGS, *WRONG, *PAIRS]),
]  # fmt: skip


def trains_right(path: Path) -> bool:
    """Whether the file gives training the numerical gradients, at the point of practice."""
    p, batch = draw(0)
    g = model.zeros(p.sizes, np.float64)
    try:
        ((_, inner),) = own_backward(str(path)).gradients(p, g, batch)
    except UserError:
        return False
    made = {f"d{name}": getattr(g, name) for name in model.NAMES} | inner._asdict()
    near = 1e-5 if "np.float32)" in path.read_text() else 1e-8
    unread = ~exercise(0)["dC"].any(axis=1)
    return not made["dC"][unread].any() and all(
        np.allclose(made[name], exercise(0)[name], 0, near * abs(exercise(0)[name]).max()) for name in made
    )


def test_training_agrees_with_practice_on_every_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    for text in FILES:
        path.write_text(text)
        answer = of(text)
        of_the_seven = {finding.word for finding in answer.findings if finding.name[1:] not in NINE}
        with np.errstate(all="ignore"):
            assert answer.all_right() == (trains_right(path) and of_the_seven <= {"right"}), text


def test_training_names_the_line_and_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(RIGHT)
    own = own_backward(str(path))
    assert (own.lines["z"], own.complaint()) == (f"line 5 of {path}: dz = dh * (1 - h**2)", "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dz = ...", "dz is still to do"),
        ("dz = dh @ W1", "ValueError: matmul"),
        ("dz = dhh", "NameError: name 'dhh' is not defined, line 5 of"),
        ("dz = exit()", "SystemExit"),
        ("dz = dh * (1 - h**2)\ndh = dh.T", "dh: shape (64, 32), should be (32, 64), line 6 of"),
        ("dz = dh * (1 - h**2)\ndh = None", "dh: it is None, line 6 of"),
        ("pass", "line 6 of"),
    ],
)
def test_what_cannot_be_trained_with_is_one_line(tmp_path: Path, line: str, expected: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(RIGHT.replace("dz = dh * (1 - h**2)", line))
    p, batch = draw(0)
    with pytest.raises(UserError, match=r"^[^\n]+practice[^\n]+$") as error:
        own_backward(str(path)).gradients(p, model.zeros(p.sizes, np.float64), batch)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("lines", "seconds", "said"),
    [
        ("sum(range(10**12))", 1.0, "line 11: sum(range(10**12)): still running after 1 seconds: an endless loop?"),
        ("import os\nos._exit(0)", 10.0, "line 12: os._exit(0): ended the process"),
        ("raise KeyboardInterrupt", 10.0, "line 11: raise KeyboardInterrupt: ended the process"),
    ],
)
def test_what_stood_above_an_end_is_judged(tmp_path: Path, lines: str, seconds: float, said: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(RIGHT + lines + "\n")
    found = judged(str(path), seconds)
    assert said in found.notes[0]
    assert (found.right(), found.all_right()) == (9, False)


def test_a_process_that_cannot_begin_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    (tmp_path / "mine.py").write_text(RIGHT)
    (tmp_path / "numpy.py").write_text("raise MemoryError('no room')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"^[^\n]+MemoryError no room[^\n]+mine.py; [^\n]+$"):
        judged(str(tmp_path / "mine.py"))
    assert capfd.readouterr() == ("", "")


def test_the_process_gives_what_is_judged_here_and_keeps_prints_apart(tmp_path: Path, capfd: Capture) -> None:
    path = tmp_path / "mine.py"
    text = "import os\nprint('seen')\nos.write(1, b'{}')\n" + RIGHT.replace("1 - h**2", "1 - h") + "raise SystemExit\n"
    path.write_text(text)
    there = judged(str(path))
    out, err = capfd.readouterr()
    assert (out, "seen" in err) == ("", True)
    here = of(text)
    assert list(map(about, there.findings)) == list(map(about, here.findings))
    assert there.notes == here.notes


ODD = [
    "0", "'x'", "{}", "np", "np.float64('nan')", "np.zeros(0)", "np.zeros((10**9, 0))", "np.array([object()])",
    "np.ma.masked_array(dh)", "np.matrix(W2)", "h[:1]", "np.broadcast_to(0.0, h.shape)", "h.astype('U5')", "range(5)",
    "type('T', (), {'__array__': lambda self, *a, **k: 1 / 0})()", "type('T', (), {'__eq__': lambda *a: 1 / 0})()",
    "type('T', (np.ndarray,), {})(h.shape) * 0", "memoryview(b'x')", "h.view(np.recarray)", "1 / 0", "h[10**6]",
    "np.lib.stride_tricks.as_strided(h, (3, 3), (0, 0))",
]  # fmt: skip


STATEMENTS = [
    "del h", "del dz", "dz, dh = dh, dz", "*dz, = h", "class dz: pass", "def dh(): pass", "from numpy import *",
    "np = None", "h.flags.writeable = False", "W2.resize(1)", "__name__ = 3", "raise 3",
    "exec('dz = 1')", "async def f(): pass", "match h:\n    case _: dz = 1", "try: dz = dh\nfinally: dz *= 0",
    "dz: int = 3", "globals().pop('C')", "lambda: (yield)", "B = 'x'",
]  # fmt: skip


@pytest.mark.parametrize("lines", [*(f"{name} = {value}" for value in ODD for name in ("dz", "db1")), *STATEMENTS])
def test_whatever_a_file_does_it_is_judged(lines: str) -> None:
    found = of(f"{RIGHT}{lines}\nb2 = b2\n")
    assert len(found.findings) == 9
    assert lines in STATEMENTS or not found.all_right()
    assert all(line.isprintable() for line in screen(found, 2).splitlines())
