"""From Python: the names of `import trainer`, what goes in and comes back, and several runs in one process."""

import doctest
import gc
import inspect
import os
import re
import signal
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, SMALL, Capture, rows

import trainer
from trainer.config import Config
from trainer.core import ops
from trainer.errors import UserError

LINES = ["anna", "bo", "elias", "greta", "henry", "ivo", "lara", "maria", "noah", "olivia", "sarah", "tom"]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the examples take for granted: a text, a configuration and a run of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("examples"))
        Path("names.txt").write_text("\n".join(LINES) + "\n")
        config = trainer.read_config({"data": {"path": "names.txt"}}, ["train.steps=20"])
        run = trainer.train(config, "example", quiet=True)
        checkpoint = trainer.load_checkpoint(run / "best.npz")
        yield {"trainer": trainer, "np": np, "config": config, "run": run, "checkpoint": checkpoint}


@pytest.fixture
def small(place: Path) -> Config:
    """A training of a few steps."""
    return trainer.read_config({"data": {"path": "text.txt"}}, SMALL.split())


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", trainer.__all__)
def test_the_example_of_each_name_runs(name: str, given: dict[str, Any]) -> None:
    assert inspect.getdoc(getattr(trainer, name))
    found = doctest.DocTestFinder(recurse=False).find(getattr(trainer, name), name, globs=given)
    assert sum(len(test.examples) for test in found) > 0
    for test in found:
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


@pytest.mark.usefixtures("place", "undrawn")
def test_the_lines_of_the_readme_run_as_they_stand(capsys: Capture) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"\n    import trainer\n(?:\n|    .*\n)*", readme)
    Path("configs").symlink_to(ROOT / "configs")
    Path("data").mkdir()
    Path("data/names.txt").write_bytes((ROOT / "data/names.txt").read_bytes()[:20_000])
    exec(textwrap.dedent(found), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("initial_loss passed: 3.")
    assert sum(line.startswith("gradient of ") and " passed: " in line for line in lines) == 9
    assert not any("FAILED" in line for line in lines)
    assert any(line.count("'ma") == 5 for line in lines)
    assert "dlogits right" in lines


def test_no_module_hides_a_name() -> None:
    assert not {path.stem for path in (ROOT / "trainer").iterdir()} & set(trainer.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        trainer.nothing  # noqa: B018


def test_paths_and_dictionaries_are_taken_where_a_checkpoint_or_a_configuration_is_meant(small: Config) -> None:
    Path("small.yaml").write_text("data: {path: text.txt}\nmodel: {hidden: 8}\ntrain: {steps: 5}\nlog: {samples: 0}\n")
    run = trainer.train("small.yaml", quiet=True)
    assert len(trainer.check(Path("small.yaml"))) > 9
    checkpoint = trainer.load_checkpoint(run / "best.npz")
    for given in (run, str(run), run / "best.npz"):
        assert trainer.sample(given, 3) == trainer.sample(checkpoint, 3)
        assert trainer.score(given, "abc") == trainer.score(checkpoint, ["abc"])
    tree = {"data": {"path": "text.txt"}, "model": {"hidden": 8}, "train": {"steps": 1}, "log": {"samples": 0}}
    other = trainer.train(tree, "x", True, lambda *_: False, run.parent)
    assert str(run) in trainer.load_checkpoint(other / "best.npz").source
    with pytest.raises(UserError, match="the configuration is 3, from Python; give a file or a dictionary of"):
        trainer.train(3)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"data\.path is '', in the overrides"):
        trainer.resume(run, {"data.path": ""})


def test_pandas_takes_verdicts_and_the_columns_of_the_log(small: Config) -> None:
    import pandas

    verdicts = trainer.check(small)
    assert all(len(repr(verdict).splitlines()) == 1 and "np." not in repr(verdict) for verdict in verdicts)
    assert pandas.DataFrame(verdicts).passed.all()
    run = trainer.train(small, quiet=True)
    columns = trainer.metrics(run)
    assert {"start", "step", "eval", "end", "initial_loss", "sum_to_zero"} <= set(columns)
    table = pandas.DataFrame(columns["step"])
    assert list(table["update_ratio.W1"]) == [row["update_ratio"]["W1"] for row in rows(run, "step")]
    assert list(pandas.DataFrame(columns["eval"]).step) == [7, 14, 21, 24]


def test_on_eval_hears_each_evaluation_and_may_stop_a_run_that_is_quiet(small: Config, capsys: Capture) -> None:
    heard: list[tuple[int, float, float]] = []
    run = trainer.train(small, quiet=True, on_eval=lambda *told: heard.append(told) or len(heard) < 2)  # type: ignore[func-returns-value]
    assert [(row["step"], row["train_loss"], row["val_loss"]) for row in rows(run, "eval")] == heard
    assert [step for step, _, _ in heard] == [7, 14]
    assert (rows(run, "end")[0]["step"], trainer.load_checkpoint(run / "checkpoint.npz").step) == (14, 14)
    trainer.resume(run, quiet=True)
    assert trainer.load_checkpoint(run / "checkpoint.npz").step == 24
    assert capsys.readouterr() == ("", "")


def test_whatever_multiplies_matrices_has_one_thread_meanwhile(
    small: Config, three_threads: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    affine, met = ops.affine, set[int]()
    monkeypatch.setattr(ops, "affine", lambda *given: met.add(three_threads()) or affine(*given))  # type: ignore[func-returns-value]
    run = trainer.train(small, quiet=True)
    for use in (trainer.resume, trainer.sample, lambda run: trainer.score(run, "abc")):
        use(run)
    trainer.check(small)
    assert (three_threads(), met) == (3, {1})


def losses(seed: int) -> list[float]:
    """What a training with that seed ends with."""
    tree = {"data": {"path": "text.txt"}, "model": {"hidden": 8}, "train": {"steps": 4, "batch_size": 4}, "seed": seed}
    run = trainer.train(trainer.read_config(tree, ["log.samples=3"]), f"seed{seed}", quiet=True)
    (end,) = rows(run, "end")
    return [end["train_loss"], end["val_loss"], end["test_loss"]]


def state() -> tuple[Any, ...]:
    """What a training may not leave behind."""
    gc.collect()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    files = sorted(os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.exists())
    return handlers, files, threading.active_count(), np.geterr()


@pytest.mark.usefixtures("place")
def test_runs_leave_nothing_behind_and_in_threads_and_processes_are_those_of_one() -> None:
    losses(9)
    before = state()
    alone = [losses(seed) for seed in range(3)]
    assert len({*map(tuple, alone)}) == 3
    assert state() == before
    with ThreadPoolExecutor(3) as threads_of_one:
        assert list(threads_of_one.map(losses, range(3))) == alone
    assert state() == before
    with get_context("fork").Pool(2) as pool:
        assert pool.map(losses, range(3)) == alone
