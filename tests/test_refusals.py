"""What cannot be done is refused in one line that says what, where and what to do; nothing that was there changes."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Trainer, assert_one_line, contents, folder, trained
from practice_files import RIGHT

from trainer.config import Data
from trainer.errors import UserError
from trainer.runs.folder import held
from trainer.text.corpus import load as load_text


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a text, a configuration, a finished run, and what is no regular file."""
    with pytest.MonkeyPatch.context() as patch:
        here = tmp_path_factory.mktemp("here")
        patch.chdir(here)
        Path("text.txt").write_text("".join(f"{'abc'[k % 3]}{'cab' * (k // 3)}\n" for k in range(30)))
        trained("run", "train.schedule=constant")
        Path("mine.py").write_text(RIGHT)
        Path("blank.py").write_text("dlogits = ...\n")
        os.mkfifo("pipe")
        Path("device").symlink_to("/dev/zero")
        with socket.socket(socket.AF_UNIX) as each:
            each.bind("socket")
        yield here


CONFIG = "--config small.yaml "
REFUSED = {
    # Which command is meant
    "": "give one of --config FILE and --resume RUN, on the command line",
    CONFIG + "--resume runs": "give one of --config FILE and --resume RUN",
    "sampel": "did you mean sample?",
    "train": "the commands are sample, score, ",
    "--config": "expected one argument",
    CONFIG + "--chekc": "--chekc",
    CONFIG + "text.txt": "is no override",
    "explain": "--target",
    "sample --lenght 3": "--lenght",
    "sample --temperature hot": "--temperature: invalid",
    # Which file or run is meant
    "--config none.yaml": "none.yaml",
    "--config .": "cannot read the configuration, {here}: it is a folder",
    CONFIG + "data.path=none.txt": "cannot read the text, {here}/none.txt",
    **{
        f"{CONFIG}data.path=text.txt --backward mine.py train.{key}=0.1": "dropout does not go with --backward, mine.py"
        for key in ("dropout", "embedding_dropout", "context_dropout")
    },
    CONFIG + "--from none": "no such run, {here}/none",
    CONFIG + "--backward none.py": "none.py",
    CONFIG + "data.path=text.txt --backward blank.py": "dlogits is still to do, blank.py; see ",
    "--resume=": "argument --resume: invalid path value: ''",
    "--resume none": "no such run, {here}/none",
    "--resume small.yaml": "cannot read the checkpoint, {here}/checkpoint.npz",
    "score --each --surprising": "--each and --surprising, on the command line; give one",
    "sample nowhere": "no such run, {here}/nowhere",
    "sample text.txt": "not a checkpoint of format 1 to 3, or a damaged one, {here}/text.txt; give "
    "another file of the run, best.npz or checkpoint.npz",
    "score runs none.txt": "{here}/none.txt: No such file or directory; give the path of a text file, or - for stand",
    "report nowhere": "nowhere",
    "gallery": "no data/names.txt, in {here}; start the gallery where it lies",
    # What cannot change when a run goes on
    "--resume runs train.steps=23": "below the 24 steps",
    "--resume runs train.steps=many": "train.steps is 'many'",
    "--resume runs train.learning_rate=1": "cannot change on resuming",
    "--resume runs seed=1": "cannot change on resuming",
    "--resume runs --check": "do not go with --resume",
    "--resume runs --name=x": "do not go with --resume",
    "--resume runs --from=runs": "do not go with --resume",
    # Sizes that no memory holds, and those of another run
    CONFIG + "data.path=text.txt model.hidden=1000000000000": "not enough memory, for train.batch_size, model.*",
    CONFIG + "data.path=text.txt train.batch_size=1000000000000": "not enough memory, for train.batch_size, model.*",
    CONFIG + "data.path=text.txt model.hidden=5 --from runs": "give model.context=3 model.embedding=3 model.hidden=8",
    # Samples
    "sample --prompt axb": "the prompt has 'x', which is not in the vocabulary of the model; use only abc",
    "sample --prompt a\\nb": "the prompt has a line break",
    "sample --temperature -1": "temperature is -1.0, for a sample; it must be a finite number, 0 or more",
    "sample --temperature inf": "temperature is inf",
    "sample --temperature nan": "temperature is nan",
    "sample -n -2": "n is -2",
    "sample --top-k -1": "top-k is -1",
    "sample --length -1": "length is -1, for a sample; it must be a finite number, 0 or more",
    "sample --seed -1": "seed is -1",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_command_is_refused(words: str, shared: Path, trainer: Trainer) -> None:
    before = contents(Path("runs"))
    outcome = trainer(*words.split())
    assert_one_line(outcome, 2, REFUSED[words].format(here=shared))
    assert (outcome[1], outcome[2].count("\n")) == ("", 1)
    assert contents(Path("runs")) == before


@pytest.mark.parametrize(
    "name",
    ["../x", "..", ".", "a/b", "/tmp/x", "..\\x", "a\0b", "", ".hidden", "a" * 300, "\N{ROCKET}" * 90, "a\nb",
     "a\u202eb"],
    ids=ascii,
)  # fmt: skip
def test_a_name_is_one_plain_folder_under_runs(name: str, shared: Path, trainer: Trainer) -> None:
    before = {*shared.rglob("*")}
    outcome = trainer("--config", "small.yaml", "data.path=text.txt", "--name", name)
    assert_one_line(outcome, 2, "cannot write" if "\N{ROCKET}" in name else "--name")  # 360 bytes
    assert {*shared.rglob("*")} == before


@pytest.mark.parametrize("odd", ["runs", "pipe", "socket", "device"])
def test_what_is_no_regular_file_is_neither_read_nor_written_over(odd: str, shared: Path, trainer: Trainer) -> None:
    for words in (
        f"{CONFIG}data.path={odd}", f"--config {odd}", f"practice {odd}", f"{CONFIG}--backward {odd}",
        f"score runs/run/{folder('run').name} {odd}", f"explain --context ab --target c --html {odd}", f"gallery {odd}",
    ):  # fmt: skip
        assert_one_line(trainer(*words.split()), 2, odd)


@pytest.mark.parametrize("path", ["\ud800.txt", "a\0b"])
def test_a_path_that_no_file_system_holds(path: str) -> None:
    with pytest.raises(UserError, match="cannot read the text"):
        load_text(Data(path), 3)


@pytest.mark.parametrize(
    ("package", "extra", "words"),
    [
        ("matplotlib", "report", "explain --context ab --target c --html walk.html"),
        ("optuna", "sweep", f"sweep {CONFIG}data.path=text.txt seed=1,2"),
    ],
)
def test_what_has_to_be_installed_is_told(
    package: str, extra: str, words: str, shared: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert_one_line(trainer(*words.split()), 2, f"; pip install 'handmade-char-lm[{extra}]'")


# A run that something happened to


@pytest.fixture
def run(shared: Path) -> Iterator[Path]:
    """A copy of the finished run, alone under runs/."""
    Path("runs").rename("kept")
    copy = Path(shutil.copytree("kept", "runs")).joinpath("run", next(Path("kept/run").iterdir()).name)
    yield copy
    shutil.rmtree("runs")
    Path("kept").rename("runs")


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


HAPPENED: dict[str, tuple[str, Callable[[Path], Any], str, str]] = {
    "no checkpoint": ("checkpoint.npz", Path.unlink, "--resume runs", "no run with a checkpoint.npz in this folder"),
    "no best parameters": ("best.npz", Path.unlink, "sample", "no run with a best.npz in this folder, {here}/runs"),
    "a damaged one": ("best.npz", lambda path: os.truncate(path, 900), "sample", "a damaged one, {here}/"),
    "a folder for the log": ("metrics.jsonl", replaced_by_a_folder, "--resume runs", "cannot write (Is a directory)"),
    "a folder for the file": ("best.npz", replaced_by_a_folder, "--resume runs train.steps=40", "cannot "),
}


@pytest.mark.parametrize("case", HAPPENED)
def test_what_happened_to_a_run_is_named(case: str, run: Path, shared: Path, trainer: Trainer) -> None:
    file, act, words, says = HAPPENED[case]
    act(run / file)
    assert_one_line(trainer(*words.split()), 2, says.format(here=shared))


def test_a_run_is_written_by_one_process(run: Path, trainer: Trainer) -> None:
    with held(run):
        (run / "metrics.jsonl").unlink()
        assert_one_line(trainer("--resume", str(run)), 2, "another process is writing this run")


def test_a_working_directory_that_is_gone(shared: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    script = f"mkdir gone; cd gone; rmdir ../gone; {sys.executable} -m trainer sample"
    done = subprocess.run(["sh", "-c", script], check=False, env=environment, capture_output=True, text=True)
    assert_one_line((done.returncode, done.stdout, done.stderr), 2, "the working directory is gone")
