"""The commands end to end: what they leave behind, print, and refuse in one line."""

import math
import random
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Outcome, Rows, Trainer, folder, rows, start_process
from plain_model import loss_of_split

from trainer.config import read
from trainer.runs.checkpoint import load
from trainer.tools.command import main

TINY = ["--config", "tiny.yaml"]
TINY_YAML = """
data: {path: text.txt}
model: {hidden: 12, embedding: 4}
train: {steps: 30, batch_size: 8}
log: {every: 5, eval_every: 10, checkpoint_every: 20, samples: 4}
"""
POEM = "春眠不覺曉處處聞啼鳥\n夜來風雨聲花落知多少\n" * 40


@pytest.fixture(autouse=True)
def tiny(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a text of 80 lines the configuration of a tiny model."""
    monkeypatch.setenv("COLUMNS", "80")
    rng = random.Random(1)
    lines = ("".join(rng.choices("abcdefgh", range(8, 0, -1), k=rng.randint(2, 7))) for _ in range(80))
    Path("text.txt").write_text("\n".join(lines) + "\n")
    Path("tiny.yaml").write_text(TINY_YAML)


def checked(path: Path, name: str) -> Rows:
    return [row for row in rows(path, "check") if row["name"] == name]


# What a run leaves behind


def test_a_run_leaves_its_files_and_every_row_its_fields(trainer: Trainer) -> None:
    status, out, err = trainer(*TINY, "check.enabled=true", "check.coordinates=5", "check.every=10")
    run = folder("tiny")
    assert status == 0
    assert re.fullmatch(r"\d{8}-\d{6}", run.name)
    assert {path.name for path in run.iterdir()} == {
        "config.yaml", "metrics.jsonl", "train.log", "checkpoint.npz", "best.npz", "samples.txt",
    }  # fmt: skip
    start, *others = rows(run)
    assert start.keys() >= {
        "event", "time", "version", "numpy", "blas", "platform", "threads", "seed", "vocab_size", "parameters", "lines",
        "distinct_lines", "backward", "examples",
    }  # fmt: skip
    assert start["event"] == "start"
    assert "step" not in start
    assert (start["seed"], start["vocab_size"]) == (42, 9)
    assert start["parameters"] == 9 * 4 + 12 * 12 + 12 + 12 * 9 + 9
    characters = Path("text.txt").read_text()
    assert sum(start["examples"].values()) == len(characters)
    assert list(start["examples"]) == ["train", "val", "test"]
    assert all(isinstance(row["step"], int) for row in others)

    steps = rows(run, "step")
    assert [row["step"] for row in steps] == [0, 5, 10, 15, 20, 25]
    for row in steps:
        numbers = {"time", "loss", "epoch", "learning_rate", "grad_norm", "steps_per_second", "saturated"}
        assert row.keys() >= numbers | {"update_ratio", "grad_ratio"}
        assert set(row["update_ratio"]) == set(row["grad_ratio"]) == {"C", "W1", "b1", "W2", "b2"}
        assert row["learning_rate"] == pytest.approx(0.05 * (1 + math.cos(math.pi * row["step"] / 30)), rel=1e-12)
    assert [row["step"] for row in rows(run, "eval")] == [10, 20, 30]
    assert all(row.keys() >= {"train_loss", "val_loss"} for row in rows(run, "eval"))
    (end,) = rows(run, "end")
    assert end == others[-1]
    assert end.keys() >= {"step", "train_loss", "val_loss", "test_loss", "best_step", "seconds", "checks"}

    fields = {
        "initial_loss": {"value", "expected", "atol"},
        "sum_to_zero": {"value", "atol"},
        "gradient": {"tensor", "method", "coordinates", "max_abs_error", "max_rel_error", "rtol", "atol"},
        "direction": {"by_hand", "numerical"},
        "descent": {"predicted", "actual", "ratio"},
        "update": {"predicted", "loss_before", "loss_after", "tensor", "max_abs_error", "atol"},
        "batch": {"examples", "wrong"},
        "forward": {"tensor", "max_abs_error", "atol"},
        "evaluation": {"split", "shown", "expected", "atol"},
    }
    assert set(end["checks"]) == set(fields)
    for name, names in fields.items():
        found = checked(run, name)
        assert all(row.keys() >= names | {"event", "step", "name", "passed"} for row in found)
        assert all(row["passed"] for row in found)
        tally = end["checks"][name]
        assert tally.keys() >= {"run", "failed", "worst"}
        assert (tally["run"], tally["failed"]) == (len(found), 0)
        assert name in out
    order = ["logits", "h", "z", "emb", "W2", "b2", "W1", "b1", "C"]
    assert [row["tensor"] for row in checked(run, "gradient")] == order * 3
    drawn = [row["step"] for row in checked(run, "update")]
    assert [step // 10 for step in drawn] == [0, 1, 2]  # one in each block of ten, the first at step 0
    assert drawn[0] == 0
    assert [row["step"] for row in checked(run, "sum_to_zero")] == sorted({0, 5, 10, 15, 20, 25, *drawn})
    (first,) = checked(run, "initial_loss")
    assert first["expected"] == pytest.approx(math.log(9), rel=1e-15)
    assert first["value"] == pytest.approx(steps[0]["loss"], rel=1e-6)  # a float32 sum

    for shown in ("log V = 2.1972", "vocabulary  9", "train ", "C 9x4, W1 12x12, b1 12, W2 12x9, b2 9"):
        assert shown in err
    for shown in (f"{end['val_loss']:.4f} nats, {end['val_loss'] / math.log(2):.4f} bits", str(run)):
        assert shown in out
    log = (run / "train.log").read_text()
    assert all(line in log for line in out.splitlines())
    assert read(run / "config.yaml") == read(
        "tiny.yaml", ["check.enabled=true", "check.coordinates=5", "check.every=10"]
    )


def test_of_a_long_checked_run_the_first_hundred_steps_are_written_and_then_one_a_block(trainer: Trainer) -> None:
    settings = ["train.steps=150", "check.coordinates=1", "log.every=40", "data.split=[1, 0, 0]"]
    assert trainer(*TINY, "--check", *settings)[0] == 0
    found = checked(folder("tiny"), "gradient")
    (end,) = rows(folder("tiny"), "end")
    assert end["checks"]["gradient"]["run"] == 9 * 150  # all of them count
    per_step = [sum(row["step"] == step for row in found) for step in range(150)]
    whole = {*range(100), 120}
    assert [step for step in range(150) if per_step[step] == 9] == sorted(whole)
    for k, row in enumerate(found):
        if row["step"] not in whole:  # the worst of its kind so far
            assert row["max_rel_error"] > max(earlier["max_rel_error"] for earlier in found[:k])


def test_losses_are_those_of_the_parameters_that_were_saved(trainer: Trainer) -> None:
    assert trainer(*TINY, "train.steps=300", "train.learning_rate=0.5", "train.schedule=constant")[0] == 0
    run = folder("tiny")
    (end,), evaluations = rows(run, "end"), rows(run, "eval")
    best = min(evaluations, key=lambda row: row["val_loss"])
    assert end["best_step"] == best["step"] != 300  # so high a rate that the last is not the best
    for split in ("train", "val", "test"):  # float32 activations, 1e-7 of the logits each
        assert end[f"{split}_loss"] == pytest.approx(loss_of_split(run / "best.npz", split), rel=1e-5)
    for split in ("train", "val"):
        assert evaluations[-1][f"{split}_loss"] == pytest.approx(loss_of_split(run / "checkpoint.npz", split), rel=1e-5)
    assert best["val_loss"] == end["val_loss"]


def test_evaluation_looks_at_so_many_examples_at_most(trainer: Trainer) -> None:
    assert trainer(*TINY, "log.eval_examples=5")[0] == 0
    few, (end,) = rows(folder("tiny"), "eval")[-1], rows(folder("tiny"), "end")
    for split in ("train", "val"):
        assert few[f"{split}_loss"] == pytest.approx(
            loss_of_split(folder("tiny") / "checkpoint.npz", split, 5), rel=1e-5
        )
    assert end["val_loss"] == pytest.approx(loss_of_split(folder("tiny") / "best.npz", "val"), rel=1e-5)


def test_samples_are_marked_as_new_or_known(trainer: Trainer) -> None:
    Path("text.txt").write_text("ab\n" * 50)
    settings = ["train.steps=400", "train.learning_rate=1", "log.samples=40", "data.split=[1, 0, 0]"]
    out = trainer(*TINY, *settings)[1]
    written = (folder("tiny") / "samples.txt").read_text().splitlines()
    assert len(written) == 40
    for line in written:
        assert f"  {line}  ({'in the training text' if line == 'ab' else 'new'})\n" in out
    assert written.count("ab") > 30


def test_the_same_seed_gives_the_same_losses_and_another_seed_others(trainer: Trainer) -> None:
    settings = ("train.dropout=0.2", "train.embedding_dropout=0.1", "log.every=1")
    for name, seed in [("one", 1), ("two", 1), ("three", 2)]:
        assert trainer(*TINY, "--name", name, f"seed={seed}", *settings)[0] == 0
    keys = ("loss", "train_loss", "val_loss", "value")
    one, two = ([[row.get(key) for key in keys] for row in rows(folder(name))] for name in ("one", "two"))
    assert one == two
    first, other = ([row["loss"] for row in rows(folder(name), "step")] for name in ("one", "three"))
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert len(first) == 30
    assert (folder("one") / "samples.txt").read_text() == (folder("two") / "samples.txt").read_text()
    examples = [rows(folder(name), "start")[0]["examples"] for name in ("one", "three")]
    assert examples[0] == examples[1]  # several seeds share one split


@pytest.mark.parametrize(
    "settings",
    [
        ("train.dropout=0.2", "train.context_dropout=0.5", "train.optimizer=adamw"),
        ("train.momentum=0.9", "model.dtype=float64", "check.method=complex-step", "check.coordinates=3"),
    ],
)
def test_a_checked_run_trains_bit_for_bit_like_an_unchecked_one(trainer: Trainer, settings: tuple[str, ...]) -> None:
    assert trainer(*TINY, "--name", "plain", *settings)[0] == 0
    assert trainer(*TINY, "--name", "checked", "--check", *settings)[0] == 0
    assert len(checked(folder("checked"), "gradient")) == 9 * 30
    assert not checked(folder("plain"), "gradient")
    with np.load(folder("plain") / "checkpoint.npz") as a, np.load(folder("checked") / "checkpoint.npz") as b:
        names = set(a.files) - {"meta", "checksum"}
        assert names >= {"C", "W1", "b1", "W2", "b2"}
        for name in names:
            assert a[name].tobytes() == b[name].tobytes(), name
    losses = [[row["loss"] for row in rows(folder(name), "step")] for name in ("plain", "checked")]
    assert losses[0] == losses[1]
    assert (folder("plain") / "samples.txt").read_text() == (folder("checked") / "samples.txt").read_text()


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        (["model.dtype=float64", "check.method=complex-step"], 1e-13),
        (["model.dtype=float64"], 1e-6),
        (["model.dtype=float32"], 1e-3),
    ],
)
def test_the_proof_of_the_committed_configuration(trainer: Trainer, settings: list[str], most: float) -> None:
    data = f"data.path={ROOT / 'data/names.txt'}"
    assert trainer("--config", str(ROOT / "configs/names-check.yaml"), data, "train.steps=1", *settings)[0] == 0
    found = checked(folder("names-check"), "gradient")
    assert len(found) == 9
    assert max(row["max_rel_error"] for row in found) <= most
    assert min(row["max_rel_error"] for row in found) > 0  # two ways of computing, not one compared with itself
    B, V, K, D, H = 32, 27, 3, 10, 200
    whole = {"logits": B * V, "h": B * H, "z": B * H, "emb": B * K * D, "W2": H * V, "b2": V, "W1": K * D * H, "b1": H}
    for row in found:
        assert row["tensor"] == "C" or row["coordinates"] == whole[row["tensor"]]
    (first,) = checked(folder("names-check"), "initial_loss")
    assert abs(first["value"] - math.log(27)) <= 0.05


def test_divergence_ends_with_status_1_and_leaves_a_good_checkpoint(trainer: Trainer) -> None:
    status, out, err = trainer(*TINY, "train.learning_rate=1e6", "log.every=1")
    assert status == 1
    assert out == ""
    assert re.match(r"failed: training diverged at step \d+", err.splitlines()[-1])
    assert "RuntimeWarning" not in err
    assert rows(folder("tiny"))[0]["event"] == "start"
    assert rows(folder("tiny"), "step")
    c = load(folder("tiny") / "checkpoint.npz")
    assert np.isfinite(c.parameters.flat).all()


def test_a_chinese_text_trains_and_samples_chinese(trainer: Trainer) -> None:
    Path("poem.txt").write_text(POEM, encoding="utf-8")
    settings = ["data.path=poem.txt", "data.mode=stream", "train.steps=400", "train.learning_rate=1", "log.samples=1"]
    assert trainer(*TINY, *settings)[0] == 0
    (end,) = rows(folder("tiny"), "end")
    assert end["test_loss"] < 0.5  # each character follows from the three before it
    status, out, err = trainer("sample", "--length", "200")
    assert (status, err.count("\n")) == (0, 1)  # which run it is
    assert len(out) == 200 + 1
    assert set(out) <= set(POEM)
    # With loss below 0.5 a pair of neighbours that the poem lacks is rare.
    pairs = [out[k : k + 2] in POEM for k in range(199)]
    assert sum(pairs) > 150
    status, out, _ = trainer("sample", "--prompt", "春眠不", "--temperature", "0", "--length", "7")
    assert (status, out) == (0, "春眠不覺曉處處聞啼鳥\n")


# What is sampled


def test_sample_prints_lines_and_nothing_else(trainer: Trainer) -> None:
    assert trainer(*TINY)[0] == 0
    for arguments, n in [
        (("-n", "50"), 50),
        ((), 20),
        (("-n", "1"), 1),
        (("-n", "0"), 0),
        ((str(folder("tiny")),), 20),
    ]:
        status, out, err = trainer("sample", *arguments)
        assert (status, err.count("\n")) == (0, 0 if arguments == (str(folder("tiny")),) else 1)  # which run it is
        assert out.count("\n") == n
        assert out == "" or out.endswith("\n")
        assert set(out) <= set("abcdefgh\n")
    fifty = trainer("sample", "-n", "50", "--seed", "3", "--prompt", "ab")[1]
    assert fifty == trainer("sample", "runs", "-n", "50", "--seed", "3", "--prompt", "ab")[1]
    assert fifty != trainer("sample", "-n", "50", "--seed", "4", "--prompt", "ab")[1]
    assert all(line.startswith("ab") for line in fifty.splitlines())
    assert len(set(fifty.splitlines())) > 10
    assert max(map(len, trainer("sample", "-n", "50", "--length", "3")[1].splitlines())) == 3
    assert len(set(trainer("sample", "-n", "5", "--top-k", "1")[1].splitlines())) == 1


def test_sampling_reads_the_checkpoint_alone(trainer: Trainer) -> None:
    assert trainer(*TINY)[0] == 0
    best = folder("tiny") / "best.npz"
    expected = trainer("sample", str(folder("tiny")))[1]
    best.rename("elsewhere.npz")
    for path in (Path("text.txt"), Path("tiny.yaml"), *folder("tiny").iterdir()):
        path.unlink()
    assert trainer("sample", "elsewhere.npz") == (0, expected, "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--prompt", "axb"], "the prompt has 'x'"),
        (["--prompt", "aжb"], "the prompt has 'ж'"),
        (["--temperature", "-1"], "--temperature is -1"),
        (["--temperature", "hot"], "--temperature: invalid"),
        (["-n", "-5"], "-n is -5"),
        (["--top-k", "1.5"], "--top-k: invalid"),
        (["nowhere"], "nowhere"),
        (["text.txt"], "text.txt"),
        (["--lenght", "3"], "--lenght"),
    ],
)
def test_sample_refuses_in_one_line(trainer: Trainer, arguments: list[str], says: str) -> None:
    assert trainer(*TINY)[0] == 0
    status, out, err = trainer("sample", *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err


# What is refused


BAD_TEXTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "only blank lines": (b"\n \n\t\r\n", "holds only blank lines"),
    "one distinct character": (b"aaa\naa\n", "one distinct character"),
    "not UTF-8": (b"anna\nb\xe9b\n", "byte 6"),
    "binary": (b"\x7fELF\0\0\0abc", "a program"),
    "few lines": (b"ab\ncd\n", "split is empty"),
}
BAD_ARGUMENTS: dict[str, tuple[list[str], str]] = {
    "no such text": (["data.path=none.txt"], "No such file"),
    "a folder": (["data.path=."], "is a folder"),
    "a device": (["data.path=/dev/null"], "no regular file"),
    "shorter than the context": (["data.mode=stream", "model.context=10000"], "split is empty"),
    "no training split": (["data.split=[0, 0.5, 0.5]"], "data.split is"),
    "shares of more than all": (["data.split=[0.8, 0.8, 0.8]"], "data.split is"),
    "an unknown key": (["train.learning_rat=1"], "did you mean train.learning_rate?"),
    "a wrong type": (["model.hidden=many"], "model.hidden is 'many'"),
    "a list for a section": (["train=[1]"], "train is a section"),
    "a negative size": (["model.hidden=-3"], "model.hidden is -3"),
    "a size of zero": (["train.batch_size=0"], "train.batch_size is 0"),
    "a size no memory holds": (["model.hidden=1000000000000"], "GiB"),
    "sizes that overflow 64 bits": (["model.hidden=2147483648", "model.embedding=2147483648"], "GiB"),
    "a batch no memory holds": (["train.batch_size=1000000000000"], "GiB"),
    "learning rate 0": (["train.learning_rate=0"], "train.learning_rate is 0"),
    "learning rate nan": (["train.learning_rate=nan"], "train.learning_rate is "),
    "no override": (["train.steps"], "'train.steps' is no override"),
    "broken YAML in an override": (["data.split=[1"], "data.split is '[1'"),
    "a name above runs": (["--name", "../out"], "--name '../out'"),
    "a name elsewhere": (["--name", "/tmp/out"], "--name '/tmp/out'"),
    "the name of runs itself": (["--name", "."], "--name '.'"),
    "the name of its parent": (["--name", ".."], "--name '..'"),
    "no name": (["--name", ""], "--name ''"),
    "a name with a folder": (["--name", "a/b"], "--name 'a/b'"),
    "an unknown option": (["--chekc"], "--chekc"),
    "both ways to begin": (["--resume", "x"], "not allowed with"),
}
BAD_FILES: dict[str, tuple[str, str]] = {
    "broken YAML": ("data: {path: text.txt}\nmodel: {hidden: 3\ntrain: {}\n", "line 3"),
    "a list": ("- data\n", "is a list"),
    "empty": ("", "data.path is missing"),
    "an unknown section": ("data: {path: text.txt}\nmodle: {}\n", "did you mean model"),
    "a wrong type": ("data: {path: {a: text.txt}}\n", "data.path is"),
}


def refused(outcome: Outcome, says: str) -> None:
    status, out, err = outcome
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert says in err
    assert not Path("runs").exists()


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_a_bad_text_is_refused_in_one_line(trainer: Trainer, case: str) -> None:
    content, says = BAD_TEXTS[case]
    Path("bad.txt").write_bytes(content)
    outcome = trainer(*TINY, "data.path=bad.txt")
    refused(outcome, says)
    assert str(Path("bad.txt").absolute()) in outcome[2]


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_a_bad_argument_is_refused_in_one_line(trainer: Trainer, case: str) -> None:
    arguments, says = BAD_ARGUMENTS[case]
    refused(trainer(*TINY, *arguments), says)


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_configuration_is_refused_in_one_line(trainer: Trainer, case: str) -> None:
    content, says = BAD_FILES[case]
    Path("bad.yaml").write_text(content)
    outcome = trainer("--config", "bad.yaml")
    refused(outcome, says)
    assert str(Path("bad.yaml").absolute()) in outcome[2]


@pytest.mark.parametrize(
    "arguments",
    [[], ["--config"], ["--config", "none.yaml"], ["--config", "."], ["train"], ["--resume", "none"], ["sample"],
     ["report"], ["explain"], ["explain", "--target", "a", "--context", "b"]],
)  # fmt: skip
def test_bad_usage_is_refused_in_one_line(trainer: Trainer, arguments: list[str]) -> None:
    refused(trainer(*arguments), "")


def test_the_name_is_the_configurations_or_the_one_that_is_given(trainer: Trainer) -> None:
    assert trainer(*TINY, "train.steps=1")[0] == 0
    assert trainer(*TINY, "train.steps=1", "--name", "über my-run_2")[0] == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["tiny", "über my-run_2"]


@pytest.mark.parametrize("command", [[], ["sample"], ["report"], ["explain"]])
def test_help_fits_a_terminal(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert "usage: python -m trainer" in out
    assert out.count("\n") <= 24
    assert max(map(len, out.splitlines())) <= 80


# Real processes


def imported(err: str) -> set[str]:
    """The top-level modules in the output of -X importtime."""
    return {line.split("|")[-1].strip().split(".")[0] for line in err.splitlines() if line.startswith("import time:")}


def test_help_does_not_wait_for_numpy() -> None:
    shown = start_process("--help", options=("-X", "importtime"))
    out, err = shown.communicate()
    assert shown.returncode == 0
    assert out.startswith("usage: python -m trainer")
    assert "argparse" in imported(err)
    assert not imported(err) & {"numpy", "yaml", "tqdm"}


def test_training_imports_nothing_that_is_not_required() -> None:
    training = start_process(*TINY, "train.steps=3", "--check", options=("-X", "importtime"))
    _, err = training.communicate()
    assert training.returncode == 0
    assert imported(err) >= {"numpy", "yaml", "tqdm"}
    assert not imported(err) & {"matplotlib", "torch", "jax", "pandas", "scipy", "sklearn", "autograd", "hypothesis"}


def test_a_closed_pipe_ends_quietly(trainer: Trainer) -> None:
    assert trainer(*TINY)[0] == 0
    writer = start_process("sample", "-n", "100000")  # more than a pipe holds
    assert writer.stdout is not None
    assert writer.stderr is not None
    assert set(writer.stdout.readline()) <= set("abcdefgh\n")
    writer.stdout.close()
    assert writer.wait() == 0
    assert writer.stderr.read().startswith("runs/tiny/")  # which run it is, and nothing else
    writer.stderr.close()
