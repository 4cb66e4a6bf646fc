"""The commands end to end: what they leave behind and print."""

import math
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Capture, Rows, Trainer, assert_one_line, folder, rows, start_process, values
from plain_model import loss_of_split

from trainer.config import read
from trainer.core import optim
from trainer.runs import threads
from trainer.runs.checkpoint import load
from trainer.tools.command import main

TINY = ["--config", "tiny.yaml"]
TINY_YAML = """
data: {path: text.txt}
model: {hidden: 12, embedding: 4}
train: {steps: 30, batch_size: 8}
log: {every: 5, eval_every: 10, checkpoint_every: 20, samples: 4}
"""
CHECKED = ["check.enabled=true", "check.every=10", "seed=3"]
GRADIENTS = ["logits", "h", "z", "emb", "W2", "b2", "W1", "b1", "C"]


def severity(row: dict[str, float]) -> float:
    return row["error"] / row["tolerance"] if row["tolerance"] else row["error"]


# The contract: what a row of each kind says besides `event` and `time`.
FIELDS = {
    "start": "version numpy blas platform threads seed vocab_size parameters lines distinct_lines backward examples",
    "step": "step loss epoch learning_rate grad_norm steps_per_second update_ratio grad_ratio saturated",
    "eval": "step train_loss val_loss histograms",
    "check": "step name of passed error tolerance found expected worst count relative words",
    "end": "step train_loss val_loss test_loss best_step seconds checks",
}


@pytest.fixture(autouse=True)
def tiny(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a text of 80 lines the configuration of a tiny model."""
    monkeypatch.setenv("COLUMNS", "80")
    rng = random.Random(1)
    lines = ("".join(rng.choices("abcdefgh", range(8, 0, -1), k=rng.randint(2, 7))) for _ in range(80))
    Path("text.txt").write_text("\n".join(lines) + "\n")
    Path("tiny.yaml").write_text(TINY_YAML)


def trained(name: str, *settings: str) -> Path:
    """The folder of a run that has ended well."""
    assert main([*TINY, "--name", name, *settings]) == 0
    return folder(name)


def checked(path: Path, name: str) -> Rows:
    return [row for row in rows(path, "check") if row["name"] == name]


def test_a_run_leaves_its_files_and_every_row_its_fields(trainer: Trainer) -> None:
    status, out, err = trainer(*TINY, *CHECKED)
    run = folder("tiny")
    assert status == 0
    assert re.fullmatch(r"\d{8}-\d{6}", run.name)
    files = {"config.yaml", "metrics.jsonl", "train.log", "checkpoint.npz", "best.npz", "samples.txt"}
    assert {path.name for path in run.iterdir()} == files
    for row in rows(run):
        assert row.keys() == {"event", "time", *FIELDS[row["event"]].split()}
    start, *_, end = rows(run)
    assert (start["event"], start["seed"], start["vocab_size"], start["backward"]) == ("start", 3, 9, None)
    assert start["parameters"] == 9 * 4 + 12 * 12 + 12 + 12 * 9 + 9
    assert sum(start["examples"].values()) == len(Path("text.txt").read_text())

    steps, evaluations = rows(run, "step"), rows(run, "eval")
    assert [row["step"] for row in steps] == [0, 5, 10, 15, 20, 25]
    for row in steps:
        assert list(row["update_ratio"]) == list(row["grad_ratio"]) == ["C", "W1", "b1", "W2", "b2"]
        assert row["epoch"] == pytest.approx(row["step"] * 8 / start["examples"]["train"])
    assert [row["step"] for row in evaluations] == [10, 20, 30]
    for histogram in (row["histograms"][name] for row in evaluations for name in ("h", "dh", "dz")):
        low, high = histogram["range"]
        assert (len(histogram["counts"]), sum(histogram["counts"]), low < 0 < high) == (32, 8 * 12, True)

    for name, tally in end["checks"].items():
        found = checked(run, name)
        assert all(row["passed"] and row["error"] <= row["tolerance"] for row in found)
        assert tally == {"run": len(found), "failed": 0, "worst": max(map(severity, found))}
        assert name in out
    assert set(end["checks"]) >= {"initial_loss", "sum_to_zero", "gradient", "descent", "update", "forward", "batch"}
    assert [row["of"] for row in checked(run, "gradient")] == GRADIENTS * 3
    drawn = [row["step"] for row in checked(run, "descent")]
    assert (drawn[0], [step // 10 for step in drawn]) == (0, [0, 1, 2])  # one in each block of ten, the first at 0
    assert [row["step"] for row in checked(run, "sum_to_zero")] == sorted({0, 5, 10, 15, 20, 25, *drawn})
    (first,) = checked(run, "initial_loss")
    assert (first["expected"], first["found"]) == (math.log(9), steps[0]["loss"])

    for shown in ("log V = 2.1972", "vocabulary  9", "C (9, 4), W1 (12, 12), b1 (12,), W2 (12, 9), b2 (9,)"):
        assert shown in err
    assert re.search(r"checks take about [\d.e-]+ s a step; cheaper: a larger check.every", err)
    assert f"{end['val_loss']:.4f} nats, {end['val_loss'] / math.log(2):.4f} bits" in out
    for line in (run / "samples.txt").read_text().splitlines():
        mark = "  (in the text)" if line in Path("text.txt").read_text().split() else ""
        assert f"\n  {line}{mark}\n" in out
    log = (run / "train.log").read_text()
    assert all(line in log for line in (out + err).splitlines())
    assert read(run / "config.yaml") == read("tiny.yaml", CHECKED)


def test_of_a_long_checked_run_the_first_hundred_steps_are_written_and_then_one_a_block() -> None:
    small = "train.steps=125 train.batch_size=2 model.hidden=3 log.every=40 data.split=[1,0,0]"
    run = trained("long", "--check", "check.coordinates=directions", *small.split())
    found, (end,) = checked(run, "gradient"), rows(run, "end")
    assert end["checks"]["gradient"]["run"] == 9 * 125  # all of them count
    whole = {*range(100), 120}
    assert [step for step in range(125) if sum(row["step"] == step for row in found) == 9] == sorted(whole)
    worst = 0.0
    for row in found:
        assert row["step"] in whole or severity(row) > worst  # the worst of its kind so far
        worst = max(worst, severity(row))


def test_losses_are_those_of_the_parameters_that_were_saved(trainer: Trainer) -> None:
    settings = "train.steps=300 train.learning_rate=0.5 train.schedule=constant log.eval_examples=40"
    status, out, _ = trainer(*TINY, *settings.split())
    assert status == 0
    run = folder("tiny")
    (end,), evaluations = rows(run, "end"), rows(run, "eval")
    best = min(evaluations, key=lambda row: row["val_loss"])
    assert end["best_step"] == best["step"] != 300  # so high a rate that the last is not the best
    for split in ("train", "val", "test"):  # float32 activations, 1e-7 of the logits each
        assert end[f"{split}_loss"] == pytest.approx(loss_of_split(run / "best.npz", split), rel=1e-5)
    for split in ("train", "val"):
        expected = loss_of_split(run / "checkpoint.npz", split, 40)
        assert evaluations[-1][f"{split}_loss"] == pytest.approx(expected, rel=1e-5)
    assert load(run / "best.npz").best_loss == best["val_loss"]
    assert f"{best['val_loss']:.4f} of the 40 by which the step was chosen" in out


REMARKS = {
    "train.optimizer=adamw train.learning_rate=3 train.schedule=constant": "knowing nothing costs log V = 2.1972, "
    "counting the characters 2.0652: train for longer; train.learning_rate is 3, usual with adamw "
    "is 0.001",
    "train.optimizer=adamw train.steps=900 train.learning_rate=0.03 model.hidden=60": "little text for so long a",
}


@pytest.mark.parametrize("settings", REMARKS)
def test_what_the_losses_say_is_said(settings: str, trainer: Trainer) -> None:
    status, out, _ = trainer(*TINY, "log.eval_every=100", *settings.split())
    assert status == 0
    assert REMARKS[settings] in out
    if "little text" in out:
        evaluations = rows(folder("tiny"), "eval")
        best, last = min(evaluations, key=lambda row: row["val_loss"]), evaluations[-1]
        rose = f"from step {best['step']} on validation rose to {last['val_loss']:.4f} and training fell to"
        assert f"{rose} {last['train_loss']:.4f}: " in out


def test_the_speed_of_a_training_is_that_of_its_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def slow(function: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def wrapped(*given: Any) -> Any:
            clock[0] += seconds
            return function(*given)

        return wrapped

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(optim, "update", slow(optim.update, 0.5))
    monkeypatch.setattr(threads, "losses", slow(threads.losses, 60))
    run = trained("tiny", "log.eval_every=1", "train.steps=9", "log.every=4")
    assert [row["steps_per_second"] for row in rows(run, "step")] == [2, 2, 2]


def test_another_seed_gives_another_run_on_the_same_split() -> None:
    settings = "train.dropout=0.2", "train.embedding_dropout=0.1", "log.every=1"
    one, two = (trained(f"run{seed}", f"seed={seed}", *settings) for seed in (1, 2))
    assert rows(one)[0]["examples"] == rows(two)[0]["examples"]
    assert not {row["loss"] for row in rows(one, "step")} & {row["loss"] for row in rows(two, "step")}


@pytest.mark.parametrize(
    "settings",
    [
        ("train.dropout=0.2", "train.context_dropout=0.5", "train.optimizer=adamw"),
        ("train.momentum=0.9", "model.dtype=float64", "check.method=complex-step", "check.coordinates=directions"),
    ],
)
def test_a_checked_run_trains_bit_for_bit_like_an_unchecked_one(settings: tuple[str, ...]) -> None:
    small = "train.steps=9", "model.hidden=5", *settings
    runs = trained("plain", *small), trained("checked", "--check", *small)
    assert [len(checked(run, "gradient")) for run in runs] == [0, 9 * 9]
    a, b = (values(run / "checkpoint.npz") for run in runs)
    assert (a["flat"], a["state"]) == (b["flat"], b["state"])
    assert len({(run / "samples.txt").read_text() for run in runs}) == 1


def test_how_close_the_gradients_of_the_committed_configuration_are(trainer: Trainer) -> None:
    Path("text.txt").write_bytes((ROOT / "data/names.txt").read_bytes()[:20_000])
    settings = "data.path=text.txt train.steps=1 model.dtype=float64 check.method=complex-step"
    assert trainer("--config", str(ROOT / "configs/names-check.yaml"), *settings.split())[0] == 0
    found = {row["of"]: row for row in checked(folder("names-check"), "gradient")}
    relative = [row["relative"] for row in found.values()]
    assert max(relative) <= 1e-13
    assert min(relative) > 0  # two ways of computing, not one compared with itself
    B, V, K, D, H = 32, 27, 3, 10, 200
    sizes = [B * V, B * H, B * H, B * K * D, H * V, V, K * D * H, H, V * D]
    assert [found[name]["count"] for name in GRADIENTS] == sizes


def test_a_checked_run_with_failed_checks_or_none_has_failed(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    warned = trainer(*TINY, "--check", "train.steps=2", "check.on_failure=warn", "check.rtol=1e-30", "check.atol=1e-30")
    where = folder("tiny") / "metrics.jsonl"
    assert_one_line(warned, 1, f"failed: checks did not pass: gradient, {where}; see its rows with passed: false")
    monkeypatch.setattr("trainer.runs.inspection.is_due", lambda config, step: False)
    says = "failed: check.enabled is true, and not one step of the run was checked"
    assert_one_line(trainer(*TINY, "--check"), 1, says)


@pytest.mark.parametrize(
    ("words", "operands"),
    [
        ("--help", "[section.key=value ...]"),
        ("help", "[section.key=value ...]"),
        ("help sample", "[RUN]"),
        ("help score", "[RUN] [FILE ...]"),
        ("help report", "[RUN ...]"),
        ("explain --help", "[RUN]"),
        ("help practice", "FILE [FILE ...]"),
        ("help gallery", "[FILE.html]"),
        ("help sweep", "section.key=VALUES [section.key=VALUES ...]"),
    ],
)
def test_help_names_the_operands_and_fits_a_terminal(words: str, operands: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert out.startswith("usage: python -m trainer " + words.replace("help", "").strip(" -"))
    assert " ".join(out.split("\n\n")[0].split()).endswith(f"] {operands}")
    assert max(map(len, out.splitlines())) <= 80


def imported(err: str) -> set[str]:
    """The top-level modules in the output of -X importtime."""
    return {line.split("|")[-1].strip().split(".")[0] for line in err.splitlines() if line.startswith("import time:")}


def test_help_does_not_wait_for_numpy_and_training_imports_nothing_that_is_not_required() -> None:
    out, err = start_process("--help", options=("-X", "importtime")).communicate()
    assert out.startswith("usage: python -m trainer")
    assert "argparse" in imported(err)
    assert not imported(err) & {"numpy", "yaml", "tqdm"}
    _, err = start_process(*TINY, "train.steps=3", "--check", options=("-X", "importtime")).communicate()
    assert imported(err) >= {"numpy", "yaml", "tqdm"}
    assert not imported(err) & {"matplotlib", "torch", "jax", "pandas", "scipy", "threadpoolctl", "hypothesis"}


def test_a_closed_pipe_ends_quietly() -> None:
    trained("tiny")
    writer = start_process("sample", "-n", "100000")  # more than a pipe holds
    assert writer.stdout
    assert writer.stderr
    assert set(writer.stdout.readline()) <= set("abcdefgh\n")
    writer.stdout.close()
    assert writer.wait() == 0
    assert writer.stderr.read().startswith("runs/tiny/")  # which run it is, and nothing else
    writer.stderr.close()
