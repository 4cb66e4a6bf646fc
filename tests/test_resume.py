"""What a run can be resumed with and after."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import (
    SETTINGS,
    Killed,
    Trainer,
    assert_one_line,
    assert_same,
    at_step,
    contents,
    folder,
    fresh,
    timeless,
    trained,
    values,
)

from trainer.tools.command import main

pytestmark = pytest.mark.usefixtures("place")


def test_a_changed_text_is_an_error(trainer: Trainer) -> None:
    trained("run")
    before, source = contents(Path("runs")), Path("text.txt").read_bytes()
    for changed in (source + b"abc\n", source.replace(b"a", b"b", 1)):
        Path("text.txt").write_bytes(changed)
        for words in (("--resume", "runs"), ("sample", "--new")):
            assert_one_line(trainer(*words), 2, "text has changed", str(Path("text.txt").absolute()))
    Path("text.txt").unlink()
    assert_one_line(trainer("sample", "--new"), 2, "--new needs the text of the run: cannot read the text")
    assert contents(Path("runs")) == before


def test_a_constant_schedule_lets_a_run_be_lengthened(trainer: Trainer) -> None:
    settings = "train.schedule=constant train.optimizer=adamw log.eval_every=5"
    trained("whole", settings, "train.steps=30")
    trained("longer", settings, "train.steps=20")
    assert trainer("--resume", "runs/longer", "train.steps=30")[0] == 0
    assert values(folder("whole") / "checkpoint.npz") == values(folder("longer") / "checkpoint.npz")
    assert timeless(folder("whole")) == timeless(folder("longer"))
    assert (folder("whole") / "config.yaml").read_bytes() == (folder("longer") / "config.yaml").read_bytes()
    trained("step", "train.schedule=step")
    says = "train.steps cannot change: the step schedule depends on it"
    assert_one_line(trainer("--resume", "runs/step", "train.steps=50"), 2, says, "--from")


def test_a_finished_run_resumes_to_the_same_end(trainer: Trainer) -> None:
    for name in ("whole", "again"):
        trained(name, SETTINGS["checked"])
    for run in ("runs/again", folder("again"), folder("again") / "checkpoint.npz", folder("again") / "best.npz"):
        assert trainer("--resume", str(run))[0] == 0
        assert_same(folder("whole"), folder("again"))


HAPPENED: dict[str, Callable[[Path], object]] = {
    "config.yaml was edited": lambda run: (run / "config.yaml").write_text("seed: [nonsense\n"),
    "config.yaml is lost": lambda run: (run / "config.yaml").unlink(),
    "train.log is lost": lambda run: (run / "train.log").unlink(),
    "it was moved": lambda run: shutil.move(run.rename("x"), run.parent / "another"),
    "all rows are lost": lambda run: (run / "metrics.jsonl").unlink(),
}


@pytest.mark.parametrize("case", HAPPENED)
def test_a_run_goes_on_after_what_happened_to_its_folder(
    case: str, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> None:
        raise Killed

    trained("whole")
    with monkeypatch.context() as patch:
        at_step(patch, 17, die)  # between the saves of steps 16 and 18; best.npz is of step 14
        with pytest.raises(Killed):
            main(fresh("half"))
    HAPPENED[case](folder("half"))
    half, whole = folder("half"), folder("whole")
    assert trainer("--resume", str(half))[0] == 0
    if "row" in case:
        later = [row for row in timeless(whole) if row.get("step", 0) >= 16 and row["event"] != "start"]
        assert timeless(half) == later
    else:
        assert_same(whole, half)
