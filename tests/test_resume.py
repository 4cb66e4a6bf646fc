"""What a run can be resumed with and after, and what is refused."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import (
    SETTINGS,
    Killed,
    Rows,
    Trainer,
    assert_one_line,
    assert_same,
    at_step,
    contents,
    folder,
    fresh,
    rows,
    start_process,
    timeless,
    values,
)

from trainer.config import read
from trainer.runs.checkpoint import load
from trainer.tools.command import main

pytestmark = pytest.mark.usefixtures("place")


def test_a_changed_text_is_an_error(trainer: Trainer) -> None:
    assert trainer(*fresh("run"))[0] == 0
    before, source = contents(Path("runs")), Path("text.txt").read_bytes()
    for changed in (source + b"abc\n", source.replace(b"a", b"b", 1)):
        Path("text.txt").write_bytes(changed)
        assert_one_line(trainer("--resume", "runs"), 2, "text has changed", str(Path("text.txt").absolute()))
    Path("text.txt").unlink()
    assert_one_line(trainer("--resume", "runs"), 2, "cannot read the text", str(Path("text.txt").absolute()))
    assert contents(Path("runs")) == before


def test_another_text_is_an_error_with_a_command_that_trains_on_it(trainer: Trainer) -> None:
    assert trainer(*fresh("run"))[0] == 0
    other = Path("my text.txt")
    other.write_bytes(Path("text.txt").read_bytes() + b"abc\n")
    outcome = trainer("--resume", "runs", "data.path=my text.txt")
    assert_one_line(outcome, 2, "the text has changed since the run began, or is another one", str(other.absolute()))
    words = shlex.split(outcome[2].partition("python -m trainer ")[2])
    assert trainer(*words)[0] == 0
    assert read(max(Path("runs/run").iterdir()) / "config.yaml").data.path == str(other.absolute())


def test_a_constant_schedule_lets_a_run_be_lengthened(trainer: Trainer) -> None:
    settings = "train.schedule=constant train.optimizer=adamw log.eval_every=5"
    assert trainer(*fresh("whole", settings, "train.steps=30"))[0] == 0
    assert trainer(*fresh("longer", settings, "train.steps=20"))[0] == 0
    assert trainer("--resume", "runs/longer", "train.steps=30")[0] == 0
    a, b = values(folder("whole") / "checkpoint.npz"), values(folder("longer") / "checkpoint.npz")
    assert a == b
    assert timeless(folder("whole")) == timeless(folder("longer"))
    assert (folder("whole") / "config.yaml").read_bytes() == (folder("longer") / "config.yaml").read_bytes()


REFUSED = {
    "cosine": {"train.steps=50": "cosine schedule"},
    "step": {"train.steps=50": "step schedule"},
    "constant": {
        "train.steps=23": "below the 24 steps",
        "train.steps=-1": "train.steps",
        "train.steps=many": "train.steps",
        "train.steps=[": "whole number",
        "train.steps": "train.steps",
        "train.learning_rate=1": "start another run from it: python -m trainer --config",
        "seed=1": "cannot change on resuming",
        "steps=30": "cannot change on resuming",
        "--check": "--resume",
        "--name=x": "--resume",
    },
}


@pytest.mark.parametrize("schedule", REFUSED)
def test_other_changes_on_resuming_are_refused(schedule: str, trainer: Trainer) -> None:
    assert trainer(*fresh("run", f"train.schedule={schedule}"))[0] == 0
    before = contents(Path("runs"))
    for override, words in REFUSED[schedule].items():
        assert_one_line(trainer("--resume", "runs", override), 2, words)
    assert contents(Path("runs")) == before


def test_a_finished_run_resumes_to_the_same_end(trainer: Trainer) -> None:
    assert trainer(*fresh("whole", SETTINGS["checked"]))[0] == 0
    assert trainer(*fresh("again", SETTINGS["checked"]))[0] == 0
    for run in (
        "runs/again",
        str(folder("again")),
        str(folder("again") / "checkpoint.npz"),
        str(folder("again") / "best.npz"),
    ):
        assert trainer("--resume", run)[0] == 0
        assert_same(folder("whole"), folder("again"))


@pytest.fixture
def whole(trainer: Trainer, place: Path) -> Path:
    """A run that was not cut off."""
    assert trainer(*fresh("whole", f"data.path={place}/text.txt"))[0] == 0
    return folder("whole")


@pytest.fixture
def half(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same run, cut off in step 17, between the saves of steps 16 and 18; best.npz is of step 14."""

    def die() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        at_step(patch, 17, die)
        with pytest.raises(Killed):
            main(fresh("half", f"data.path={place}/text.txt"))
    return folder("half")


def after_step_16(whole: Path) -> Rows:
    return [row for row in timeless(whole) if row.get("step", 0) >= 16 and row["event"] != "start"]


HARMLESS: dict[str, Callable[[Path], object]] = {
    "config.yaml was edited": lambda run: (run / "config.yaml").write_text("seed: [nonsense\n"),
    "config.yaml is lost": lambda run: (run / "config.yaml").unlink(),
    "train.log is lost": lambda run: (run / "train.log").unlink(),
}


@pytest.mark.parametrize("act", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize("file", ["", "checkpoint.npz"], ids=["the folder", "the file"])
def test_a_run_goes_on_after_what_happened_to_its_folder(
    act: Callable[[Path], object], file: str, whole: Path, half: Path, trainer: Trainer
) -> None:
    act(half)
    assert trainer("--resume", str(half / file))[0] == 0
    assert_same(whole, half)


def test_a_run_goes_on_in_another_place(
    whole: Path, half: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    path = half.rename("elsewhere")
    monkeypatch.chdir("/")
    assert trainer("--resume", str(place / path))[0] == 0
    monkeypatch.chdir(place)
    assert_same(whole, path)


def test_lost_rows_stay_lost_and_later_ones_are_written(whole: Path, half: Path, trainer: Trainer) -> None:
    (half / "metrics.jsonl").unlink()
    assert trainer("--resume", str(half))[0] == 0
    assert timeless(half) == after_step_16(whole)


def test_rows_that_were_cut_short_are_followed_by_later_ones(whole: Path, half: Path, trainer: Trainer) -> None:
    (half / "metrics.jsonl").write_bytes((half / "metrics.jsonl").read_bytes()[:1000])  # inside a row
    kept = timeless(half)
    assert trainer("--resume", str(half))[0] == 0
    assert timeless(half) == kept + after_step_16(whole)


def test_a_run_goes_on_without_its_best_parameters(whole: Path, half: Path, trainer: Trainer) -> None:
    (half / "best.npz").unlink()
    assert trainer("--resume", str(half))[0] == 0
    assert values(half / "checkpoint.npz")["flat"] == values(whole / "checkpoint.npz")["flat"]


def test_a_run_without_its_checkpoint_can_only_be_used(half: Path, trainer: Trainer) -> None:
    (half / "checkpoint.npz").unlink()
    assert_one_line(trainer("--resume", str(half)), 2, str(half.absolute()))
    assert trainer("sample", str(half / "best.npz"))[0] == 0


def test_a_finished_run_without_its_best_parameters_can_still_be_resumed(trainer: Trainer) -> None:
    assert trainer(*fresh("run"))[0] == 0
    (folder("run") / "best.npz").unlink()
    assert trainer("--resume", "runs")[0] == 0
    assert rows(folder("run"))[-1]["event"] == "end"


def test_threads_of_the_blas_make_no_difference_and_another_kind_of_processor_is_told(trainer: Trainer) -> None:
    assert trainer(*fresh("whole", SETTINGS["adamw"]))[0] == 0
    # In the middle of it the number of threads changes, which the run sets to one again.
    run = start_process(*fresh("cut", SETTINGS["adamw"], "train.steps=8"), OPENBLAS_NUM_THREADS="3")
    assert run.wait() == 0
    (start,) = rows(folder("cut"), "start")
    assert start["blas"].endswith(", threads: 1")
    run = start_process("--resume", "runs/cut", "train.steps=24", OPENBLAS_NUM_THREADS="2")
    _, err = run.communicate()
    assert (run.returncode, "may differ" in err) == (0, False)
    assert values(folder("whole") / "checkpoint.npz") == values(folder("cut") / "checkpoint.npz")
    # A process cannot change the code that its BLAS has chosen for the processor.
    run = start_process("--resume", "runs/cut", "train.steps=25", OPENBLAS_CORETYPE="Prescott")
    _, err = run.communicate()
    assert run.returncode == 0
    later = load(folder("cut") / "checkpoint.npz").blas
    told = [line for line in err.splitlines() if "the last bits of results may differ" in line]
    if later == start["blas"]:
        pytest.skip("this BLAS has code for one kind of processor")
    assert told == [f"the last bits of results may differ: {start['blas']} has computed them, {later} goes on"]
