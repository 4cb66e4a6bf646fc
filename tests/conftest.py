"""What several tests ask for: the program in this process or in one of its own, small runs, and what they left."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trainer.core import optim
from trainer.runs import metrics, threads
from trainer.runs.checkpoint import load
from trainer.tools.command import main

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell has it for what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

Outcome = tuple[int, str, str]  # exit status, standard output, standard error
Trainer = Callable[..., Outcome]
Feed = Callable[[bytes], None]
Capture = pytest.CaptureFixture[str]
Rows = list[dict[str, Any]]

ROOT = Path(__file__).parents[1]
SMALL = (
    "data.path=text.txt model.hidden=8 model.embedding=3 train.batch_size=4 train.steps=24"
    " log.every=1 log.eval_every=7 log.checkpoint_every=2 log.samples=3"
)
SETTINGS = {
    "sgd": "",
    "momentum": "train.momentum=0.9 train.schedule=step train.warmup_steps=5 train.dropout=0.2",
    "adamw": "train.optimizer=adamw train.schedule=constant train.weight_decay=0.1 train.embedding_dropout=0.2",
    "checked": "train.optimizer=adamw check.enabled=true check.every=3 check.coordinates=directions train.dropout=0.2",
    "stream": "data.mode=stream model.dtype=float64 train.momentum=0.5 log.every=3 log.checkpoint_every=3",
    # 128 * (3 * 40 + V) * 1100 multiplications are more than 2**24: a batch is split over two threads
    "threads": "train.batch_size=128 model.hidden=1100 model.embedding=40 train.steps=12 log.checkpoint_every=1",
}


class Killed(BaseException):
    """Stands for a kill inside this process: nothing in the program catches it."""


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk() -> Iterator[None]:
    """Files need not reach it: power failures are the matter of tests/test_disks.py, which says so itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: None)
        yield


@pytest.fixture
def trainer(capsys: Capture) -> Trainer:
    """The program in this process: arguments -> exit status, standard output, standard error."""

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        status = main(arguments)
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No SVG is written by matplotlib, which takes most of a report's time; the figures keep title and caption."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda self, out, **options: out.write("<svg></svg>"))


@pytest.fixture
def three_threads() -> Iterator[Callable[[], int]]:
    """The BLAS has three threads, whatever the machine has; how many there are at a moment is asked."""
    get_threads, set_threads = threads.openblas()
    before = get_threads()
    set_threads(3)
    assert get_threads() == 3, "these tests need a NumPy with OpenBLAS"
    yield get_threads
    set_threads(before)


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Feed:
    """Bytes on standard input."""

    def give(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False))

    return give


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with nothing in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that has ended, two folders below its text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("finished"))
        Path("text.txt").write_text("".join(f"{'abcde'[k % 5 :]}{'edcba'[k % 4 :]}\n" for k in range(60)))
        return trained("run", SETTINGS["adamw"]).absolute()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a text of 60 lines, seeded."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    rng = random.Random(1)
    lines = ("".join(rng.choices("abcdefgh", k=rng.randint(2, 7))) for _ in range(60))
    (here / "text.txt").write_text("\n".join(lines) + "\n")
    return here


def start_process(*arguments: str, options: tuple[str, ...] = (), **variables: str) -> "subprocess.Popen[str]":
    """The program in a process of its own; the options are Python's, the variables those of its environment."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"} | variables
    command = [sys.executable, *options, "-m", "trainer", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)


# Small runs


def fresh(name: str, *settings: str) -> list[str]:
    """The arguments that train a small model under runs/NAME, with settings; of two values the later one holds."""
    Path("small.yaml").write_text("data: {path: text.txt}\n")
    overrides = {word.partition("=")[0]: word for word in " ".join([SMALL, *settings]).split()}
    return ["--config", "small.yaml", "--name", name, *overrides.values()]


def trained(name: str, *settings: str) -> Path:
    """The folder of a small run that has ended well."""
    assert main(fresh(name, *settings)) == 0
    return folder(name)


def folder(name: str) -> Path:
    """The folder of the only run of that name."""
    (found,) = Path("runs", name).iterdir()
    return found


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Do something in the middle of a step, before its update."""
    update = optim.update

    def wrapped(train: Any, p: Any, g: Any, state: Any, rate: float, at: int, *part: slice) -> None:
        if at == step:
            act()
        update(train, p, g, state, rate, at, *part)

    monkeypatch.setattr(optim, "update", wrapped)


# What they left


def rows(path: Path, event: str | None = None) -> Rows:
    """The whole rows of metrics.jsonl, of one event or all; NaN and Infinity, which are not JSON, are refused."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    data = (path / "metrics.jsonl").read_bytes()
    whole = data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]
    found = [json.loads(line, parse_constant=refuse) for line in whole]
    return [row for row in found if event in (None, row["event"])]


def timeless(path: Path) -> Rows:
    """The rows without what the clock wrote into them, and without `spread`, which begins anew with each process."""
    of_the_clock = ("time", "seconds", "steps_per_second")
    found = [{key: value for key, value in row.items() if key not in of_the_clock} for row in rows(path)]
    for row in found:
        row.get("checks", {}).pop("spread", None)
    return [row for row in found if row.get("name") != "spread"]


def values(path: Path) -> dict[str, Any]:
    """All that a checkpoint holds, without times, arrays as bytes."""
    checkpoint = load(path)
    left_out = ("parameters", "state", "seconds", "metrics_length", "path")
    kept = {key: value for key, value in vars(checkpoint).items() if key not in left_out}
    state = {name: (vector.dtype, vector.tobytes()) for name, vector in checkpoint.state.items()}
    kept["checks"] = {name: tally for name, tally in kept["checks"].items() if name != "spread"}
    return kept | {"flat": checkpoint.parameters.flat.tobytes(), "state": state}


def contents(path: Path) -> dict[str, bytes]:
    """Every file below a folder but the story for people, which tells of each attempt."""
    return {str(file): file.read_bytes() for file in path.rglob("*") if file.is_file() and file.name != "train.log"}


def assert_same(one: Path, other: Path) -> None:
    """Two finished runs agree in every number that is not a time."""
    assert timeless(one) == timeless(other)
    for file in ("checkpoint.npz", "best.npz"):
        assert values(one / file) == values(other / file)
    assert (one / "samples.txt").read_bytes() == (other / "samples.txt").read_bytes()


def assert_readable(path: Path) -> None:
    """Whatever exists of a run, written to at this moment or not, can be read."""
    for file in ("checkpoint.npz", "best.npz"):
        if (path / file).exists():
            load(path / file)
    if (path / "metrics.jsonl").exists():
        rows(path)  # it may be growing, or cut back where a run is resumed
        metrics.read(path)
    assert all((path / file).stat().st_size for file in ("config.yaml", "samples.txt") if (path / file).exists())


def assert_one_line(outcome: Outcome, status: int, *words: str) -> None:
    """The exit status, and one last line with these words on standard error, and no other `error:` or `failed:`."""
    code, _, err = outcome
    told = [line for line in err.splitlines() if line.startswith(("error: ", "failed: "))]
    assert (code, told, err.splitlines()[-1:]) == (status, told[:1], told[:1])
    assert all(word in told[0] for word in words), told


def obeyed(text: str) -> list[str]:
    """The characters, but for the ends of lines, that a terminal obeys rather than shows."""
    bidi = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]  # Unicode's property
    return [c for c in text if c != "\n" and (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or ord(c) in bidi)]
