"""Every key of the configuration: what it takes, what it refuses and in which words, and the way back to YAML."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from trainer.config import KEYS, SECTIONS, Config, Data, Log, Model, Train, build, read, to_dict
from trainer.errors import UserError

DEFAULTS = """
seed: 42
data:   {path: names.txt, mode: lines, split: [0.8, 0.1, 0.1], split_seed: 0}
model:  {context: 3, embedding: 10, hidden: 200, dtype: float32}
train:  {steps: 200000, batch_size: 32, optimizer: sgd, momentum: 0.0, learning_rate: 0.1, schedule: cosine,
         warmup_steps: 0, weight_decay: 0.0, dropout: 0.0, embedding_dropout: 0.0, context_dropout: 0.0}
check:  {enabled: false, every: 1, method: central, coordinates: all, eps: auto, rtol: auto, atol: auto,
         initial_loss_atol: 0.1, on_failure: stop}
log:    {every: 100, eval_every: 10000, eval_examples: 20000, checkpoint_every: 10000, samples: 20}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text("data: {path: names.txt}\n")
    return path


def value(config: Config, key: str) -> Any:
    section, _, name = key.rpartition(".")
    return getattr(getattr(config, section) if section else config, name)


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        read(path, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_key_has_the_default_of_the_design(file: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.yaml"
    whole.write_text(DEFAULTS)
    assert read(file) == read(whole) == Config(Data("names.txt"))
    assert to_dict(read(file)) == yaml.safe_load(DEFAULTS)


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("train.learning_rate", "1e-3", 0.001),
        ("train.learning_rate", "1", 1.0),
        ("train.learning_rate", "'0.5'", 0.5),
        ("train.learning_rate", "1e30", 1e30),
        ("train.steps", "1e3", 1000),
        ("train.steps", "2.0", 2),
        ("train.steps", "1", 1),
        ("train.steps", str(2**53 - 1), 2**53 - 1),
        ("train.momentum", "0", 0.0),
        ("train.momentum", "0.999", 0.999),
        ("train.dropout", ".5", 0.5),
        ("train.weight_decay", "1e-2", 0.01),
        ("train.optimizer", "adamw", "adamw"),
        ("train.schedule", "constant", "constant"),
        ("train.warmup_steps", "0", 0),
        ("data.mode", "stream", "stream"),
        ("data.split", "[1, 0, 0]", (1.0, 0.0, 0.0)),
        ("data.split", "[0.9, 5e-2, 5e-2]", (0.9, 0.05, 0.05)),
        ("data.path", "a=b.txt", "a=b.txt"),
        ("data.path", "книга.txt", "книга.txt"),
        ("model.dtype", "float64", "float64"),
        ("model.context", "1", 1),
        ("check.enabled", "true", True),
        ("check.coordinates", "20", 20),
        ("check.coordinates", "all", "all"),
        ("check.method", "complex-step", "complex-step"),
        ("check.eps", "1e-5", 1e-5),
        ("check.eps", "auto", "auto"),
        ("check.rtol", "1", 1.0),
        ("check.on_failure", "warn", "warn"),
        ("log.samples", "0", 0),
        ("seed", "0", 0),
    ],
)
def test_what_a_key_takes(file: Path, key: str, text: str, expected: object) -> None:
    found = value(read(file, [f"{key}={text}"]), key)
    assert found == expected
    assert type(found) is type(expected)


COUNTS = ["model.context", "model.embedding", "model.hidden", "train.steps", "train.batch_size", "check.every"]
COUNTS += ["log.every", "log.eval_every", "log.eval_examples", "log.checkpoint_every"]
FROM_ZERO = ["seed", "data.split_seed", "train.warmup_steps", "log.samples"]
SHARES = ["train.momentum", "train.dropout", "train.embedding_dropout", "train.context_dropout"]
NO_NUMBER = ["nan", ".nan", "true", "many", "[1]", "{a: 1}", "null", "''"]
REFUSED = {
    **{key: ["0", "-1", "1.5", "inf", "9007199254740992", "9" * 400, "1e400", *NO_NUMBER] for key in COUNTS},
    **{key: ["-1", "0.5", "inf", "9007199254740992", "9" * 400, *NO_NUMBER] for key in FROM_ZERO},
    **{key: ["-0.1", "1", "1.5", "inf", *NO_NUMBER] for key in SHARES},
    "train.learning_rate": ["0", "0.0", "-0.1", "inf", ".inf", "-.inf", "1e31", "1e400", "9" * 400, *NO_NUMBER],
    "train.weight_decay": ["-1", "inf", "1e7", *NO_NUMBER],
    "check.initial_loss_atol": ["0", "-1", "inf", *NO_NUMBER],
    "check.coordinates": ["0", "-3", "1.5", "none", "inf", str(2**31), "true", "[1]", "null"],
    "check.eps": ["0", "-1e-5", "2", "nan", "inf", "small", "true", "[1]", "null"],
    "check.rtol": ["0", "-1", "1.1", "nan", "all", "true"],
    "check.atol": ["0", "-1", "inf", "nan", "all", "true"],
    "check.enabled": ["1", "0", "maybe", "1.0", "null", "[true]"],
    "check.method": ["forward", "1", "null", "true"],
    "check.on_failure": ["stopp", "1", "null"],
    "data.mode": ["line", "1", "null", "true", "[lines]"],
    "data.path": ["", "1", "null", "true", "[a]", '"a\\0b"'],
    "data.split": ["[0.5, 0.5]", "[0.5, 0.6, -0.1]", "[0.8, 0.1, 0.2]", "[a, b, c]", "[]", "0.8", "all", "nan", "null",
                   "{a: 1}", "[.nan, 0.5, 0.5]", "[true, 0, 0]", "[[1], 0, 0]", "[inf, 0, 0]"],
    "model.dtype": ["float16", "32", "null", "float"],
    "train.optimizer": ["adam", "1", "null"],
    "train.schedule": ["linear", "1", "null"],
}  # fmt: skip


def test_the_table_names_every_key() -> None:
    assert set(REFUSED) == set(KEYS)
    assert len(KEYS) == 1 + sum(len(fields(section)) for section in SECTIONS.values())


@pytest.mark.parametrize("key", REFUSED)
def test_what_a_key_refuses(file: Path, key: str) -> None:
    for text in REFUSED[key]:
        found = message(file, f"{key}={text}")
        assert found.startswith(f"{key} is "), text
        assert str(file) in found
        assert "; it must be " in found


def test_a_mistake_is_shown_beside_what_is_possible(file: Path) -> None:
    found = message(file, "model.dtype=float16")
    assert found == f"model.dtype is 'float16', {file}; it must be one of float32, float64"
    assert message(file, "train.steps=0").endswith("it must be a whole number, 1 or more")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("train.learning_rat", "train.learning_rate"),
        ("train.lr", "train.*"),
        ("model.hiden", "model.hidden"),
        ("data.pth", "data.path"),
        ("check.tolerance", "check.*"),
        ("sead", "seed"),
        ("trian.steps", "train"),
        ("steps", "train.steps"),
        ("a.b.c", ".*"),
        ("", ".*"),
    ],
)
def test_an_unknown_key_names_the_nearest(file: Path, key: str, nearest: str) -> None:
    found = message(file, f"{key}=1")
    assert found.startswith("unknown key '")
    assert re.search(f"did you mean {nearest}\\?$", found) or re.search(f"did you mean {nearest}", found)


def test_an_unknown_key_in_the_file(file: Path) -> None:
    for text, key, nearest in [
        ("data: {path: x, mod: lines}", "data.mod", "data.mode"),
        ("data: {path: x}\nmodell: {}", "modell", "model"),
        ("data: {path: x}\n7: {}", "7", ""),
        ("data: {path: x}\nmodel: {3: 4}", "model.3", "model."),
        ("data: {path: x}\nmodel: {? [1, 2] : 4}", "", ""),
    ]:
        file.write_text(text)
        found = message(file)
        assert f"unknown key '{key}" in found or key == ""
        assert nearest in found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data: {path: x}\nmodel: {context: 3\ntrain: {}\n", "line 3"),
        ("data:\n  path: x\n bad: y\n", "line 3"),
        ("a: b: c\n", "line 1"),
        ("data: {path: x}\nmodel: @\n", "line 2"),
        ("data: {path: x}\n\tmodel: 3\n", "line 2"),
        ("data: !!python/object:os.system x\n", "line 1"),
        ("- data\n- model\n", "the configuration is a list"),
        ("hello\n", "the configuration is a str"),
        ("3\n", "the configuration is a int"),
        ("data: [1]\n", "data is .*it is a section"),
        ("data: {path: x}\ntrain: 5\n", "train is 5.*it is a section"),
        ("", "data.path is missing"),
        ("model: {context: 3}\n", "data.path is missing"),
        ("data:\n", "data.path is missing"),
        ("data: {path: x}\nseed: [1]\n", "seed is "),
        ("data: {path: x}\n---\ndata: {path: y}\n", "broken YAML"),
    ],
)
def test_a_file_that_is_no_configuration(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    found = message(file)
    assert re.search(says, found)
    assert str(file) in found


@pytest.mark.parametrize("content", [b"\xff\xfe\xfa", b"seed: \x00", b"data: {path: '\xe9'}"])
def test_bytes_that_are_no_text(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    found = message(file)
    assert "YAML" in found
    assert str(file) in found


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No such file" in message(tmp_path / "none.yaml")
    assert "Is a directory" in message(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path / "none.yaml") in message(Path("none.yaml"))  # the absolute path


def test_overrides(file: Path) -> None:
    config = read(file, ["train.steps=5", "train.steps=7", " model.hidden = 9", "seed=3", "data.path=b.txt"])
    assert (config.train.steps, config.model.hidden, config.seed, config.data.path) == (7, 9, 3, "b.txt")
    assert "'train.steps' is no override" in message(file, "train.steps")
    assert "'notes.txt' is no override" in message(file, "notes.txt")
    assert "line 1" in message(file, "data.split=[1, 2")
    assert "override data.split" in message(file, "data.split=[1, 2")
    assert "model is 3" in message(file, "model=3")
    file.write_text("data:\nmodel:\n")  # sections that are there and empty
    assert read(file, ["data.path=b.txt", "model.hidden=4"]) == Config(Data("b.txt"), Model(hidden=4))


def test_whole_sections_on_the_command_line(file: Path) -> None:
    assert read(file, ["model={hidden: 4, context: 2}"]).model == Model(hidden=4, context=2)


def test_the_resolved_configuration_reads_back_as_itself(tmp_path: Path) -> None:
    config = Config(
        Data("книга 'a': #1.txt", "stream", (0.9, 0.05, 0.05), 7),
        Model(5, 6, 7, "float64"),
        Train(steps=2**53 - 1, learning_rate=1e-30, optimizer="adamw", dropout=0.1, momentum=0.3),
        log=Log(samples=0),
        seed=0,
    )
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(to_dict(config), allow_unicode=True, sort_keys=False), encoding="utf-8")
    assert read(path) == build(to_dict(config), "") == config


@pytest.mark.parametrize("name", ["names", "names-check", "text"])
def test_the_configurations_of_the_repository(name: str) -> None:
    config = read(Path(__file__).parents[1] / "configs" / f"{name}.yaml")
    assert config.data.mode == ("stream" if name == "text" else "lines")
    assert config.check.enabled == (name == "names-check")
    if name != "text":
        assert (config.model.context, config.model.embedding, config.model.hidden) == (3, 10, 200)
        assert (config.train.batch_size, config.train.optimizer) == (32, "sgd")
    if name == "names":
        assert config.train.steps == 200_000
