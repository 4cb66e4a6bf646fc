"""Signals at any moment of any command that writes: a file is the old one or the new one, whole, and nothing stays."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import ROOT, SETTINGS, assert_readable, assert_same, folder, fresh

from trainer import config
from trainer.tools.command import main
from trainer.tools.practice.screen import blanks

pytestmark = pytest.mark.usefixtures("place")

OLD = b"what stood here before"
SIGNALS = [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGSTOP]
ENDLESS = "dlogits = (p - y) / B\nwhile True: pass\n"
# The whole gallery takes minutes: the first two of its trainings will do.
GALLERY = """
from trainer.tools import commands
whole = commands.COMMANDS["gallery"]
def gallery(words):
    from trainer.tools.gallery import command
    many = command.trials()[:2]
    command.trials = lambda: many
    whole(words)
commands.COMMANDS["gallery"] = gallery
"""
UNDRAWN = "import sys; sys.modules['matplotlib'] = None; "
BEGIN = "import runpy; runpy.run_module('trainer', run_name='__main__', alter_sys=True)"


class Case(NamedTuple):
    """A command that writes one file."""

    words: str
    file: str  # what it writes, from the working directory; - for standard output
    whole: Callable[[bytes], bool]  # whether the file is what the command writes when nobody disturbs it
    script: str = BEGIN


def is_page(data: bytes) -> bool:
    return data.startswith(b"<!") and data.rstrip().endswith(b"</html>")


def is_configuration(data: bytes) -> bool:
    Path("copy.yaml").write_bytes(data)
    return data.startswith(b"# The best of 3 trials") and config.read("copy.yaml").data.path == "text.txt"


def is_event_log(data: bytes) -> bool:
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader

    Path("copy.tfevents").write_bytes(data)
    return len(list(RawEventFileLoader("copy.tfevents").Load())) > 20


SWEEP = "sweep --config small.yaml --trials 3 --jobs 1 train.learning_rate=0.01..1 train.steps=20 log.eval_every=10"
CASES = {
    "report": Case("report runs/whole", "runs/whole/RUN/report.html", is_page),
    "explain": Case("explain runs/whole --context ab --target c --html walk.html", "walk.html", is_page),
    "tensorboard": Case(
        "report runs/whole --tensorboard logs", "logs/whole/RUN/events.out.tfevents.0.trainer", is_event_log,
        UNDRAWN + BEGIN,
    ),
    "practice": Case("practice mine.py", "mine.py", lambda data: data == blanks().encode()),
    "sample": Case("sample runs/whole -n 5000", "-", lambda data: data.count(b"\n") == 5000),
    "sweep": Case(SWEEP, "runs/small/best.yaml", is_configuration),
    "gallery": Case("gallery page.html", "page.html", is_page, GALLERY + BEGIN),
}  # fmt: skip
QUICK = ("explain",)


def start(case: Case, out: Path) -> "subprocess.Popen[bytes]":
    """The command in a process, standard output in a file; it is returned once it has begun to import NumPy."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", case.script, *case.words.split()]
    with out.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.PIPE)
    while process.poll() is None and "numpy" not in maps(process.pid):
        time.sleep(0.002)
    return process


def maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return ""


def prepare(case: Case) -> Path:
    """Where the file will stand, where the command needs one a run is there, and the old file."""
    if not Path("runs/whole").exists():
        assert main(fresh("whole")) == 0
        Path("data").symlink_to(ROOT / "data")
    file = Path(case.file.replace("RUN", folder("whole").name))
    return Path("out.txt") if case.file == "-" else file


def disturb(case: Case, number: signal.Signals, rng: random.Random, length: float) -> bool:
    """Send a signal at a random moment of a command of that length; look at what is left. Whether it ended it."""
    file, out = prepare(case), Path("out.txt")
    streamed, old = case.file == "-", not case.words.startswith("practice") and rng.random() < 0.5
    file.unlink(missing_ok=True)
    if case.words == SWEEP and Path("runs/small").exists():  # another begins, instead of seeing that all is done
        Path("runs/small").rename(f"runs/small-{time.monotonic()}")
    if old and not streamed:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(OLD)
    process = start(case, out)
    time.sleep(rng.uniform(0, length))
    process.send_signal(number)
    if number == signal.SIGSTOP:
        time.sleep(0.05)
        process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=120)
    expected = {signal.SIGKILL: (0, -9), signal.SIGSTOP: (0,)}.get(number, (0, 130))
    assert process.returncode in expected, err.decode()
    assert b"Traceback" not in err, err.decode()
    left = file.read_bytes() if file.exists() else None
    if process.returncode == 0:
        assert left is not None
        assert case.whole(left)
    elif streamed:
        assert left is not None
    else:
        assert left in ((OLD,) if old else (None,)) or (left is not None and case.whole(left))
    return process.returncode != 0


def undisturbed(case: Case) -> float:
    """Run the command to its end, see what it leaves, and nothing temporary; how long it takes from NumPy on."""
    file = prepare(case)
    if case.words.startswith("practice"):
        file.unlink(missing_ok=True)
    process, began = start(case, Path("out.txt")), time.monotonic()
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    assert case.whole(file.read_bytes())
    assert not [path for path in Path().rglob(".*.tmp") if "data" not in path.parts]
    return time.monotonic() - began


def many_moments(name: str, times: int, seed: int) -> int:
    """Disturb a command so often; how often that ended it."""
    case, rng = CASES[name], random.Random(f"{name} {seed}")
    length, ended = undisturbed(case), 0
    whole = Path("out.txt").read_bytes()
    for k in range(times):
        ended += disturb(case, SIGNALS[k % len(SIGNALS)], rng, length)
        if case.file == "-":
            assert whole.startswith(Path("out.txt").read_bytes())
    undisturbed(case)
    return ended


@pytest.mark.parametrize("name", QUICK)
def test_a_file_is_old_or_new_whatever_signal_comes(name: str) -> None:
    many_moments(name, 4, 1)


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_a_file_is_old_or_new_whatever_signals_come_at_forty_moments(name: str) -> None:
    ended = many_moments(name, 40, 2)
    print(f"{name}: {ended} of 40 ended by a signal")
    assert ended > 5


def stop_and_go_on(seed: int) -> int:
    """Disturb a training, its evaluations and its end by a signal of each kind; how often that stopped it."""
    rng, name, stops = random.Random(seed), f"cut{seed}", 0
    which = list(SETTINGS)[seed % len(SETTINGS)]
    settings = SETTINGS[which] + " train.steps=60 log.checkpoint_every=5 log.eval_every=5"
    if not Path("runs", which).exists():
        assert main(fresh(which, settings)) == 0
    words = fresh(name, settings)
    for number in rng.sample(SIGNALS, len(SIGNALS)):
        process = start(Case(" ".join(words), "-", bool), Path("out.txt"))
        time.sleep(rng.uniform(0.1, 1.2))
        process.send_signal(number)
        if number == signal.SIGSTOP:
            time.sleep(0.05)
            process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=120)
        assert process.returncode in {signal.SIGKILL: (0, -9), signal.SIGSTOP: (0,)}.get(number, (0, 130)), err.decode()
        assert b"Traceback" not in err, err.decode()
        stops += process.returncode != 0
        for path in Path("runs").glob(f"{name}/*"):
            assert_readable(path)
        begun = [path.parent for path in Path("runs").glob(f"{name}/*/checkpoint.npz")]
        words = ["--resume", str(begun[-1])] if begun else words
    assert main(words) == 0
    (last,) = [path.parent for path in Path("runs").glob(f"{name}/*/checkpoint.npz")]
    assert_same(folder(which), last)
    assert not list(last.glob(".*"))
    return stops


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 34))
def test_trainings_that_meet_signals_of_each_kind_end_as_if_they_had_not(seed: int) -> None:
    print(f"{stop_and_go_on(seed)} stops")


# What a command has started ends with it


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_file_that_is_being_judged_ends_with_the_command_that_judges_it(number: signal.Signals) -> None:
    Path("endless.py").write_text(f"open('{Path.cwd()}/pid', 'w').write(str(__import__('os').getpid()))\n{ENDLESS}")
    process = start(Case("practice endless.py", "-", bool), Path("out.txt"))
    while not Path("pid").exists() or not Path("pid").read_text():
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    child = int(Path("pid").read_text())
    until = time.monotonic() + 60
    while "trainer" in command_of(child):
        assert time.monotonic() < until
        time.sleep(0.05)


def command_of(pid: int) -> str:
    """What a process was started with; nothing if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
