"""From Python: the names of `import trainer`, whatever is imported first, and runs that are those of the command."""

import asyncio
import doctest
import gc
import inspect
import math
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from conftest import ROOT, SETTINGS, SMALL, Trainer, assert_same, at_step, folder, fresh, rows

import trainer
from trainer.config import Config
from trainer.core import ops
from trainer.runs import blas, journal

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


# Names


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", trainer.__all__)
def test_the_example_of_each_name_runs(name: str, given: dict[str, Any]) -> None:
    found = doctest.DocTestFinder(recurse=False).find(getattr(trainer, name), name, globs=given)
    assert sum(len(test.examples) for test in found) > 0
    for test in found:
        assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


@pytest.mark.parametrize("name", trainer.__all__)
def test_each_function_says_what_it_takes_and_gives(name: str) -> None:
    export = getattr(trainer, name)
    words = inspect.getdoc(export)
    assert words
    if inspect.isfunction(export) and words.count("---"):
        for parameter in inspect.signature(export).parameters:
            assert f"{parameter}\n" in words or f"{parameter}, " in words or f", {parameter}\n" in words


@pytest.mark.usefixtures("place", "undrawn")
def test_the_lines_of_the_readme_run_as_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"\n    import trainer\n(?:\n|    .*\n)*", readme)
    for name in ("configs", "data"):
        Path(name).symlink_to(ROOT / name)
    exec(textwrap.dedent(found), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("initial_loss passed: value 3.")
    assert sum("gradient passed: tensor " in line for line in lines) == 9
    assert not any("FAILED" in line for line in lines)
    assert "Checkpoint: V 27, K 3, D 10, H 200; step 5000, validation 2." in lines[-3]
    assert lines[-3].endswith("(30, 200)")
    assert lines[-2].count("'ma") == 5
    assert lines[-1].startswith("[5000] [2.")


def test_no_module_bears_the_name_of_an_export() -> None:
    files = {path.stem for path in (ROOT / "trainer").iterdir()}
    assert not files & set(trainer.__all__)
    assert set(trainer.__all__) <= set(dir(trainer))


def test_the_names_are_the_same_whatever_is_imported_first() -> None:
    """Each module that holds a name, and some of the names, before all names."""
    holders = {getattr(trainer, name).__module__ for name in trainer.__all__}
    firsts = [f"import {module}" for module in sorted(holders)]
    firsts += [f"from trainer import {name}" for name in trainer.__all__[::8]]
    program = f"""
import sys, importlib
def check():
    import trainer
    for name in {trainer.__all__}:
        assert callable(getattr(trainer, name)), name
        scope = {{}}
        exec("from trainer import " + name, scope)
        assert scope[name] is getattr(trainer, name), name
for first in {firsts}:
    for module in [module for module in sys.modules if module.partition(".")[0] == "trainer"]:
        del sys.modules[module]
    exec(first, {{}})
    check()
"""
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        trainer.nothing  # noqa: B018


# What comes back


def test_verdicts_are_read_at_a_glance_and_taken_by_pandas(small: Config) -> None:
    verdicts = trainer.check(small)
    assert all(len(repr(verdict).splitlines()) == 1 for verdict in verdicts)
    assert "np." not in repr(verdicts)
    table = pandas.DataFrame(verdicts)
    assert len(table) == len(verdicts)
    assert table.passed.all()
    assert list(table.tensor[table.name == "gradient"]) == ["logits", "h", "z", "emb", "W2", "b2", "W1", "b1", "C"]


def test_metrics_are_columns_that_hold_every_number_of_the_log(small: Config) -> None:
    run = trainer.train(small, quiet=True)
    columns = trainer.metrics(run)
    assert {"start", "step", "eval", "end", "initial_loss", "sum_to_zero"} <= set(columns)
    for event in ("step", "eval"):
        table = pandas.DataFrame(columns[event])
        assert list(table.step) == [row["step"] for row in rows(run, event)]
    steps = rows(run, "step")
    table = pandas.DataFrame(columns["step"])
    assert list(table["update_ratio.W1"]) == [row["update_ratio"]["W1"] for row in steps]
    assert table[["loss", "grad_norm", "update_ratio.C"]].notna().all(axis=None)


def test_a_checkpoint_says_what_it_is(small: Config) -> None:
    run = trainer.train(small, quiet=True)
    checkpoint = trainer.load_checkpoint(run / "best.npz")
    assert repr(checkpoint).startswith("Checkpoint: V 9, K 3, D 3, H 8; step ")
    assert f"validation {checkpoint.best_loss:.4f} nats" in repr(checkpoint)
    assert checkpoint.parameters.W1.shape == (9, 8)
    texts = trainer.sample(checkpoint, 4)
    assert isinstance(texts, list)
    assert len(texts) == 4


# A run


@pytest.mark.parametrize("settings", ["sgd", "checked", "stream", "threads"])
def test_a_run_is_that_of_the_command(settings: str, trainer: Trainer, place: Path) -> None:
    import trainer as package

    assert trainer(*fresh("command", SETTINGS[settings]))[0] == 0
    overrides = [word for word in fresh("x", SETTINGS[settings]) if "=" in word]
    run = package.train(package.read_config("small.yaml", overrides), "python", quiet=True)
    assert_same(folder("command"), run)


def test_a_run_that_was_interrupted_is_resumed_by_the_command_or_here(
    trainer: Trainer, small: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import trainer as package

    whole = package.train(small, "whole", quiet=True)
    for name in ("by command", "by function"):
        with monkeypatch.context() as patch:
            at_step(patch, 4, lambda: signal.raise_signal(signal.SIGINT))
            with pytest.raises(package.Interrupted) as stopped:
                package.train(small, name, quiet=True)
        run = stopped.value.run
        assert str(stopped.value) == f"interrupted, state saved; go on with trainer.resume({str(run)!r})"
        assert isinstance(stopped.value, KeyboardInterrupt)
        if name == "by command":
            assert trainer("--resume", str(run))[0] == 0
        else:
            assert package.resume(run, quiet=True) == run
        assert_same(whole, run)


def test_quiet_is_quiet(small: Config, capsys: pytest.CaptureFixture[str]) -> None:
    trainer.train(small, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_a_line_of_progress_comes_now_and_then(
    small: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer.train(small)
    assert "step 1 of 24" not in capsys.readouterr().err  # it is over too soon
    monkeypatch.setattr(journal, "SILENCE", -1.0)
    run = trainer.train(small, "slow")
    told = re.findall(r"^step (\d+) of 24: loss \d\.\d+(, val \d\.\d+)?$", capsys.readouterr().err, re.MULTILINE)
    assert [int(step) for step, _ in told] == [row["step"] + 1 for row in rows(run, "step")]
    assert [bool(val) for _, val in told] == [step >= 7 for step in range(24)]  # no `val nan` before an evaluation


def test_on_eval_hears_each_evaluation_and_may_stop_the_run(small: Config) -> None:
    heard: list[tuple[int, float, float]] = []

    def hear(step: int, train_loss: float, val_loss: float) -> bool | None:
        heard.append((step, train_loss, val_loss))
        return False if len(heard) == 2 else None

    run = trainer.train(small, quiet=True, on_eval=hear)
    assert [step for step, _, _ in heard] == [7, 14]
    assert all(math.isfinite(loss) for _, *losses in heard for loss in losses)
    assert [(row["step"], row["train_loss"], row["val_loss"]) for row in rows(run, "eval")] == heard
    assert rows(run, "end")[0]["step"] == 14
    assert trainer.load_checkpoint(run / "checkpoint.npz").step == 14
    trainer.resume(run, quiet=True)
    assert trainer.load_checkpoint(run / "checkpoint.npz").step == 24


def test_whatever_multiplies_matrices_has_one_thread_meanwhile(small: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    library, affine = blas.openblas(), ops.affine
    assert library
    met: list[int] = []

    def counting(*arguments: Any) -> Any:
        met.append(library.get_threads())
        return affine(*arguments)

    monkeypatch.setattr(ops, "affine", counting)
    before = library.get_threads()
    library.set_threads(3)
    try:
        run = trainer.train(small, quiet=True)
        for act in (trainer.resume, lambda run, quiet: trainer.check(small)):
            act(run, quiet=True)
        trainer.sample(trainer.load_checkpoint(run / "best.npz"), 2)
        assert library.get_threads() == 3
    finally:
        library.set_threads(before)
    assert set(met) == {1}
    (start,) = rows(run, "start")
    assert start["blas"].endswith(", threads: 1")


# Many runs


def losses(seed: int) -> list[float]:
    """What a training with that seed ends with."""
    tree = {"data": {"path": "text.txt"}, "model": {"hidden": 8}, "train": {"steps": 4, "batch_size": 4}, "seed": seed}
    config = trainer.read_config(tree, ["log.samples=3"])
    run = trainer.train(config, f"seed{seed}", quiet=True)
    (end,) = rows(run, "end")
    return [end["train_loss"], end["val_loss"], end["test_loss"]]


def state() -> tuple[Any, ...]:
    """What a training may not leave behind."""
    gc.collect()
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    files = sorted(os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.exists())
    return handlers, files, threading.active_count(), np.geterr()


@pytest.mark.usefixtures("place")
def test_twenty_runs_leave_nothing_behind() -> None:
    losses(0)
    before = state()
    seen = {tuple(losses(seed)) for seed in range(1, 20)}
    assert len(seen) == 19
    assert state() == before


@pytest.mark.usefixtures("place")
def test_runs_in_threads_tasks_and_processes_are_those_of_one() -> None:
    alone = [losses(seed) for seed in range(4)]
    before = state()
    together: dict[int, list[float]] = {}
    workers = [threading.Thread(target=lambda seed=seed: together.update({seed: losses(seed)})) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [together[seed] for seed in range(4)] == alone

    async def tasks() -> list[list[float]]:
        return await asyncio.gather(*(asyncio.to_thread(losses, seed) for seed in range(4)))

    assert asyncio.run(tasks()) == alone
    assert state() == before
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(losses, range(4)) == alone
