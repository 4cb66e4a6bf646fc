"""What a run can be resumed with and after."""

import os
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
    rows,
    start_process,
    timeless,
    trained,
    values,
)
from practice_files import whole

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


def shortened(run: Path, left: int) -> None:
    data = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(data[:left])


CONFIG_CHANGED = "config.yaml was changed; it is not read on resuming"
HAPPENED: dict[str, tuple[Callable[[Path], object], str]] = {
    "config.yaml was edited": (lambda run: (run / "config.yaml").write_text("seed: [nonsense\n"), CONFIG_CHANGED),
    "config.yaml is lost": (lambda run: (run / "config.yaml").unlink(), ""),
    "train.log is lost": (lambda run: (run / "train.log").unlink(), ""),
    "it was moved": (lambda run: shutil.move(run.rename("x"), run.parent / "another"), ""),
    "all rows are lost": (lambda run: (run / "metrics.jsonl").unlink(), ""),
    "the log ends inside a row": (lambda run: shortened(run, 1000), ""),
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
    act, told = HAPPENED[case]
    act(folder("half"))
    half, whole = folder("half"), folder("whole")
    kept = timeless(half) if (half / "metrics.jsonl").exists() else []
    status, _, err = trainer("--resume", str(half))
    assert (status, CONFIG_CHANGED in err) == (0, bool(told))
    if "row" in case:
        later = [row for row in timeless(whole) if row.get("step", 0) >= 16 and row["event"] != "start"]
        assert timeless(half) == kept + later
    else:
        assert_same(whole, half)


def test_another_kind_of_processor_is_told() -> None:
    """A process cannot change the code that its BLAS has chosen for the processor, but as it starts."""
    run = trained("cut", SETTINGS["adamw"])
    (start,) = rows(run, "start")
    resumed = start_process("--resume", "runs/cut", "train.steps=25", OPENBLAS_CORETYPE="Prescott")
    _, err = resumed.communicate()
    blas = values(run / "checkpoint.npz")["blas"]
    told = f"the last bits of results may differ: {start['blas']} has computed them, {blas} goes on"
    assert (resumed.returncode, told in err) == (0, blas != start["blas"])


def test_a_backward_pass_that_was_changed_is_told(trainer: Trainer) -> None:
    Path("mine.py").write_text(whole.RIGHT)
    assert trainer(*fresh("run", "train.schedule=constant"), "--backward", "mine.py")[0] == 0
    told = "warning: mine.py was changed since the run was saved; it goes on with what stands there"
    for later in (-9, 9):
        saved = folder("run") / "checkpoint.npz"
        os.utime("mine.py", (0, saved.stat().st_mtime + later))
        status, _, err = trainer("--resume", "runs", "--backward", "mine.py")
        assert (status, told in err) == (0, later > 0)
