"""Every key of the configuration: what it takes, what it refuses and in which words, and the way back to YAML."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from trainer.config import KEYS, SECTIONS, Config, Data, Log, Model, Train, build, read, to_dict
from trainer.errors import UserError

DEFAULTS = """
seed: 42
data:   {path: names.txt, mode: lines, encoding: utf-8, split: [0.8, 0.1, 0.1], split_seed: 0}
model:  {context: 3, embedding: 10, hidden: 200, dtype: float32}
train:  {steps: 200000, batch_size: 32, optimizer: sgd, momentum: 0.0, learning_rate: 0.1, schedule: cosine,
         warmup_steps: 0, weight_decay: 0.0, dropout: 0.0, embedding_dropout: 0.0, context_dropout: 0.0, patience: 0}
check:  {enabled: false, every: 1, method: central, coordinates: all, eps: auto, rtol: auto, atol: auto,
         initial_loss_atol: auto, on_failure: stop}
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


def message(source: Path | dict[str, Any], *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        read(source, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_key_has_the_default_of_the_design(file: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.yaml"
    whole.write_text(DEFAULTS)
    assert read(file) == read(whole) == Config(Data("names.txt"))
    assert to_dict(read(file)) == yaml.safe_load(DEFAULTS)


TAKEN = [
    ("train.learning_rate", "1e-3", 0.001),
    ("train.learning_rate", "1E-03", 0.001),
    ("train.learning_rate", "1", 1.0),
    ("train.learning_rate", "+0.5", 0.5),
    ("train.learning_rate", "1e30", 1e30),
    ("train.steps", "1e3", 1000),
    ("train.steps", "2.0", 2),
    ("train.steps", "1_000", 1000),
    ("train.steps", "1", 1),
    ("train.steps", str(2**53 - 1), 2**53 - 1),
    ("train.momentum", "0", 0.0),
    ("train.momentum", "0.999", 0.999),
    ("train.dropout", ".5", 0.5),
    ("train.weight_decay", "1e-2", 0.01),
    ("train.optimizer", "adamw", "adamw"),
    ("train.schedule", "constant", "constant"),
    ("train.warmup_steps", "0", 0),
    ("train.patience", "3", 3),
    ("data.mode", "stream", "stream"),
    ("data.encoding", "cp1252", "cp1252"),
    ("data.encoding", "utf-16", "utf-16"),
    ("data.split", "[1, 0, 0]", (1.0, 0.0, 0.0)),
    ("data.split", "[0.9, 5e-2, 5e-2]", (0.9, 0.05, 0.05)),
    ("data.path", "a=b.txt", "a=b.txt"),
    ("data.path", "книга.txt", "книга.txt"),
    ("model.dtype", "float64", "float64"),
    ("model.context", "1", 1),
    ("check.enabled", "true", True),
    ("check.enabled", "No", False),
    ("check.coordinates", "20", 20),
    ("check.coordinates", "all", "all"),
    ("check.coordinates", "directions", "directions"),
    ("check.method", "complex-step", "complex-step"),
    ("check.eps", "1e-5", 1e-5),
    ("check.eps", "auto", "auto"),
    ("check.rtol", "1", 1.0),
    ("check.initial_loss_atol", "auto", "auto"),
    ("check.initial_loss_atol", "0.5", 0.5),
    ("check.on_failure", "warn", "warn"),
    ("log.samples", "0", 0),
    ("seed", "0", 0),
]


@pytest.mark.parametrize(("key", "text", "expected"), TAKEN)
def test_what_a_key_takes_on_the_command_line_and_in_a_file(file: Path, key: str, text: str, expected: object) -> None:
    found = value(read(file, [f"{key}={text}"]), key)
    assert found == expected
    assert type(found) is type(expected)
    section, _, name = key.rpartition(".")
    inner = f"{name}: {text}"
    path = "" if key == "data.path" else "data.path=names.txt"
    file.write_text(f"{section}: {{{inner}}}\n" if section else inner)
    assert value(read(file, [path] if path else []), key) == expected


@pytest.mark.parametrize(
    "path",
    ["novel #2.txt", "1984", "yes", "null", "~", "2024-05-01", "notes: a.txt", "[old] names.txt", "[a]", "{a}",
     "@a.txt", "&a b.txt", "*a", "!a", "'a'", '"a', "a: b: c", "- a", "%a", "a\tb", " a ", "a\nb", "0x10", "a,b", "#"],
)  # fmt: skip
def test_a_path_on_the_command_line_is_taken_as_it_stands(file: Path, path: str) -> None:
    assert read(file, [f"data.path={path}"]).data.path == path


def test_several_paths(file: Path) -> None:
    assert read(file, ["data.path=a, b.txt", "data.path=#c"]).data.path == ("a, b.txt", "#c")
    assert read(file, ["data.path=-"]).data.path == "-"
    file.write_text("data: {path: [a.txt, 1984, 'novel #2.txt', yes]}")
    config = read(file)
    assert config.data.path == ("a.txt", "1984", "novel #2.txt", "yes")
    assert to_dict(config)["data"]["path"] == ["a.txt", "1984", "novel #2.txt", "yes"]
    assert build(to_dict(config), "") == config
    assert read(file, ["data.path=b.txt"]).data.path == "b.txt"  # in place of the file's list
    assert "data.path is []" in message({"data": {"path": []}})
    assert "data.path is ['a', '']" in message(file, "data.path=a", "data.path=")


COUNTS = ["model.context", "model.embedding", "model.hidden", "train.steps", "train.batch_size", "check.every"]
COUNTS += ["log.every", "log.eval_every", "log.eval_examples", "log.checkpoint_every"]
FROM_ZERO = ["seed", "data.split_seed", "train.warmup_steps", "train.patience", "log.samples"]
SHARES = ["train.momentum", "train.dropout", "train.embedding_dropout", "train.context_dropout"]
NO_NUMBER = [
    "nan",
    ".nan",
    "true",
    "many",
    "[1]",
    "{a: 1}",
    "null",
    "",
    "''",
    "1:30",
    "010",
    "-01",
    "00",
    "0x10",
    "1 2",
]
NO_NUMBER += ["1__0", "_1", "1,5", "٣", "--1", "1e", "."]
REFUSED = {
    **{key: ["0", "-1", "1.5", "inf", "9007199254740992", "9" * 400, "9" * 5000, *NO_NUMBER] for key in COUNTS},
    **{key: ["-1", "0.5", "inf", "9007199254740992", "9" * 400, "0123", *NO_NUMBER] for key in FROM_ZERO},
    **{key: ["-0.1", "1", "1.5", "inf", "00.5", *NO_NUMBER] for key in SHARES},
    "train.learning_rate": ["0", "0.0", "-0.1", "inf", ".inf", "-.inf", "1e31", "1e400", "9" * 400, *NO_NUMBER],
    "train.weight_decay": ["-1", "inf", "1e7", *NO_NUMBER],
    "check.initial_loss_atol": ["0", "-1", "inf", *NO_NUMBER],
    "check.coordinates": ["0", "-3", "1.5", "none", "inf", "directional", str(2**31), "true", "[1]", "null"],
    "check.eps": ["0", "-1e-5", "2", "nan", "inf", "small", "true", "[1]", "null"],
    "check.rtol": ["0", "-1", "1.1", "nan", "all", "true"],
    "check.atol": ["0", "-1", "inf", "nan", "all", "true"],
    "check.enabled": ["1", "0", "maybe", "1.0", "null", "[true]", ""],
    "check.method": ["forward", "1", "null", "true"],
    "check.on_failure": ["stopp", "1", "null"],
    "data.mode": ["line", "1", "null", "true", "[lines]"],
    "data.path": ["", "a\0b"],
    "data.encoding": ["", "utf-9", "hex", "base64", "rot13", "undefined", "a\0b", "ж"],
    "data.split": ["[0.5, 0.5]", "[0.5, 0.6, -0.1]", "[0.8, 0.1, 0.2]", "[a, b, c]", "[]", "0.8", "all", "nan", "null",
                   "{a: 1}", "[nan, 0.5, 0.5]", "[true, 0, 0]", "[[1], 0, 0]", "[inf, 0, 0]", "[0, 0.5, 0.5]",
                   "80,10,10"],
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
        assert ", on the command line; it must be " in found
        assert str(file) not in found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("train: {steps: 010}", "train.steps is 010"),  # YAML 1.1 reads 8
        ("train: {steps: 1:30}", "train.steps is 1:30"),  # and 90
        ("seed: 0123", "seed is 0123"),  # and 83
        ("seed: 0x1F", "seed is '0x1F'"),
        ("train: {steps: true}", "train.steps is 'true'"),
        ("train: {steps: }", "train.steps is empty"),
        ("train: {steps: ~}", "train.steps is empty"),
        ("data: {path: }", "data.path is empty"),
        ("data: {path: {a: b}}", "data.path is a section"),
        ("train: {steps: [1, 2]}", "train.steps is ['1', '2']"),
        ("train: {learning_rate: .nan}", "train.learning_rate is '.nan'"),
        ("check: {enabled: 1}", "check.enabled is 1"),
    ],
)
def test_a_wrong_value_in_a_file_names_its_line(file: Path, text: str, says: str) -> None:
    file.write_text(f"# a comment\n\n{text}\n")
    found = message(file)
    assert found.startswith(says)
    assert f", {file}, line 3; it must be " in found


def test_a_mistake_is_shown_beside_what_is_possible(file: Path) -> None:
    found = message(file, "model.dtype=float16")
    assert found == "model.dtype is 'float16', on the command line; it must be one of float32, float64"
    assert message(file, "train.steps=0").endswith("it must be a whole number, 1 or more, without leading zeros")


@pytest.mark.parametrize(
    ("first", "second", "lines"),
    [
        ("train: {steps: 5}\n", "train: {batch_size: 2}\n", "train stands there twice, {}, lines 2 and 3"),
        ("train:\n  steps: 5\n", "  steps: 6\n", "steps stands there twice, {}, lines 3 and 4"),
        ("seed: 1\n", "seed: 1\n", "seed stands there twice, {}, lines 2 and 3"),
        ("", "data: {path: b}\n", "data stands there twice, {}, lines 1 and 2"),
        ("train: {steps: 1, steps: 2}", "", "steps stands there twice, {}, lines 2 and 2"),
    ],
)
def test_what_stands_in_a_file_twice(file: Path, first: str, second: str, lines: str) -> None:
    file.write_text("data: {path: a}\n" + first + second)
    assert lines.format(file) in message(file)


def test_an_override_that_is_given_twice(file: Path) -> None:
    found = message(file, "train.steps=5", "train.steps=7")
    assert found == "train.steps is given twice, on the command line: 5 and 7; give it once"
    assert read(file, ["check.enabled=true", "check.enabled=true"]).check.enabled  # no contradiction


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("train.learning_rat", "train.learning_rate"),
        ("train.lr", "train.learning_rate"),
        ("lr", "train.learning_rate"),
        ("train.max_iters", "train.steps"),
        ("model.block_size", "model.context"),
        ("model.hiden", "model.hidden"),
        ("data.pth", "data.path"),
        ("train.hidden", "model.hidden"),
        ("sead", "seed"),
        ("data.seed", "seed"),
        ("trian.steps", "train.steps"),
        ("steps", "train.steps"),
        ("Train.Steps", "train.steps"),
        ("train.learning-rate", "train.learning_rate"),
    ],
)
def test_an_unknown_key_names_what_is_near(file: Path, key: str, nearest: str) -> None:
    assert message(file, f"{key}=1") == f"unknown key '{key}', on the command line; did you mean {nearest}?"


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("check.tolerance", "the keys of check are enabled, every, method, "),
        ("a.b.c", "the sections are data, model, train, check, log"),
        ("", "the sections are data"),
        ("x", "the sections are data"),
    ],
)
def test_where_nothing_is_near_the_keys_are_listed(file: Path, key: str, says: str) -> None:
    found = message(file, f"{key}=1")
    assert says in found
    assert "did you mean" not in found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data: {path: x, mod: lines}", "unknown key 'data.mod', {}, line 1; did you mean data.mode?"),
        ("data: {path: x}\nmodell: {}", "unknown key 'modell', {}, line 2; did you mean model?"),
        ("data: {path: x}\n7: {}", "unknown key 7, {}, line 2; write a key as section.key"),
        ("data: {path: x}\nmodel: {3: 4}", "unknown key 'model.3', {}, line 2; the keys of model are context"),
        ("data.path: x", "data.path is written as one key, {}, line 1; write `data: {{path: value}}`"),
        (
            "data: {path: x}\nx: &some {steps: 5}\ntrain: *some",
            "unknown key 'x', {}, line 2; write a key as section.key",
        ),
        ("data: {path: x}\ntrain: {<<: 3}", "merge' has no meaning here, {}, line 2; write a plain value"),
    ],
)
def test_an_unknown_key_in_the_file(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    assert says.format(file) in message(file)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("data: {path: x}\nmodel: {context: 3\ntrain: {}\n", "line 3"),
        ("data:\n  path: x\n bad: y\n", "line 3"),
        ("a: b: c\n", "line 1"),
        ("data: {path: x}\nmodel: @\n", "line 2"),
        ("data: {path: x}\n\tmodel: 3\n", "line 2"),
        ("data: !!python/object:os.system x\n", "line 1"),
        ("seed: !!python/object/apply:os.getpid []\n", "line 1"),
        ("data: {path: x}\nmodel: {? [1, 2] : 4}", "line 2"),
        ("- data\n- model\n", "the configuration is a list"),
        ("hello\n", "the configuration is a plain text"),
        ("3\n", "the configuration is a plain text"),
        ("data: [1]\n", "data is ['1'], "),
        ("data: {path: x}\ntrain: 5\n", "train is 5, "),
        ("data: {path: {a: {b: c}}}", "brackets where one value is meant"),
        ("data: {split: [0.5, [0.5], 0]}", "brackets where one value is meant"),
        ("data: &a {path: *a}", "brackets"),
        ("&a data: {path: &b [*b]}", "brackets"),
        ("", "data.path is missing"),
        ("model: {context: 3}\n", "data.path is missing"),
        ("data:\n", "data.path is missing"),
        ("data: {path: x}\nseed: [1]\n", "seed is ['1']"),
        ("data: {path: x}\n---\ndata: {path: y}\n", "broken YAML"),
        ("a: *b", "broken YAML"),
        ("[" * 2000, "YAML"),
        ("anna\n" * 300_000, "a large file"),
    ],
)
def test_a_file_that_is_no_configuration(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    found = message(file)
    assert says in found
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
    config = read(file, ["train.steps=7", " model.hidden = 9", "seed=3", "data.path=b.txt"])
    assert (config.train.steps, config.model.hidden, config.seed, config.data.path) == (7, 9, 3, "b.txt")
    assert "'train.steps' is no override" in message(file, "train.steps")
    assert "'notes.txt' is no override" in message(file, "notes.txt")
    assert "data.split is '[1, 2', on the command line" in message(file, "data.split=[1, 2")
    assert "model is a section, on the command line; write model.key=value" in message(file, "model={hidden: 3}")
    file.write_text("data:\nmodel:\n")  # sections that are there and empty
    assert read(file, ["data.path=b.txt", "model.hidden=4"]) == Config(Data("b.txt"), Model(hidden=4))
    file.write_text("train: {steps: many}\n")  # a mistake that an override mends
    assert read(file, ["data.path=b.txt", "train.steps=4"]).train.steps == 4


def test_a_dictionary_is_read_as_a_file_is() -> None:
    tree = {"data": {"path": Path("b.txt"), "split": (0.9, 0.1, 0)}, "train": {"steps": np.int64(4)}, "model": None}
    config = read(tree, ["seed=3"])
    assert config == Config(Data("b.txt", split=(0.9, 0.1, 0.0)), train=Train(steps=4), seed=3)
    assert type(config.train.steps) is int
    assert message({"data": {"path": 3}}).startswith("data.path is 3, the configuration; it must be the path of ")
    assert "train.steps is True" in message({"data": {"path": "x"}, "train": {"steps": True}})
    assert "seed is 1" in message({"data": {"path": "x"}, "seed": 10**400})
    assert "seed is a huge number" in message({"data": {"path": "x"}, "seed": 10**5000})
    assert "data.path is written as one key" in message({"data.path": "x"})
    assert "data.path is missing, the configuration" in message({})


def test_patience_needs_a_validation_split(file: Path) -> None:
    found = message(file, "train.patience=3", "data.split=[0.9, 0, 0.1]")
    assert found.startswith("train.patience needs a validation split, on the command line; ")


def test_the_resolved_configuration_reads_back_as_itself(tmp_path: Path) -> None:
    config = Config(
        Data("книга 'a': #1.txt", "stream", "cp1251", (0.9, 0.05, 0.05), 7),
        Model(5, 6, 7, "float64"),
        Train(steps=2**53 - 1, learning_rate=1e-30, optimizer="adamw", dropout=0.1, momentum=0.3, patience=2),
        log=Log(samples=0),
        seed=0,
    )
    for path in ("книга 'a': #1.txt", "1984", "010", "null", "a\nb", ("a: b", "yes")):
        config = Config(Data(path, "stream"), config.model, config.train, log=config.log, seed=0)
        written = tmp_path / "c.yaml"
        written.write_text(yaml.safe_dump(to_dict(config), allow_unicode=True, sort_keys=False), encoding="utf-8")
        assert read(written) == build(to_dict(config), "") == config


@pytest.mark.parametrize("name", ["names", "names-check", "text", "small-text"])
def test_the_configurations_of_the_repository(name: str) -> None:
    config = read(Path(__file__).parents[1] / "configs" / f"{name}.yaml")
    assert config.data.mode == ("stream" if "text" in name else "lines")
    assert config.check.enabled == (name == "names-check")
    if "text" not in name:
        assert (config.model.context, config.model.embedding, config.model.hidden) == (3, 10, 200)
        assert (config.train.batch_size, config.train.optimizer) == (32, "sgd")
    if name == "names":
        assert config.train.steps == 200_000
