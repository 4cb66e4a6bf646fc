"""Every key of the configuration: what it takes, what it refuses and in which words, and the way back to YAML."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from trainer.config import KEYS, SECTIONS, Config, Data, Log, Model, Train, read
from trainer.errors import UserError
from trainer.runs.metrics import to_yaml

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


def message(source: Any, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        read(source, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_key_has_the_default_of_the_design(file: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.yaml"
    whole.write_text(DEFAULTS)
    assert read(file) == read(whole) == Config(Data("names.txt"))
    assert yaml.safe_load(to_yaml(read(file))) == yaml.safe_load(DEFAULTS)
    assert len(KEYS) == 1 + sum(len(fields(section)) for section in SECTIONS.values())


# What a key takes


TAKEN = [
    ("train.learning_rate", "1e-3", 0.001),
    ("train.learning_rate", "auto", 0.1),
    ("train.steps", "1e3", 1000),
    ("train.steps", str(2**53 - 1), 2**53 - 1),
    ("train.momentum", "0", 0.0),
    ("train.dropout", ".5", 0.5),
    ("data.split", "[0.9, 5e-2, 5e-2]", (0.9, 0.05, 0.05)),
    ("check.enabled", "true", True),
    ("check.enabled", "False", False),
    ("check.eps", "auto", "auto"),
    ("log.eval_every", "auto", 10000),
    ("seed", "0", 0),
]


@pytest.mark.parametrize(("key", "text", "expected"), TAKEN)
def test_what_a_key_takes_on_the_command_line_and_in_a_file(file: Path, key: str, text: str, expected: object) -> None:
    found = value(read(file, [f"{key}={text}"]), key)
    assert (found, type(found)) == (expected, type(expected))
    section, _, name = key.rpartition(".")
    file.write_text(f"{section}: {{{name}: {text}}}\n" if section else f"{name}: {text}")
    assert value(read(file, ["data.path=names.txt"]), key) == expected


def test_paths_are_taken_as_they_stand(file: Path) -> None:
    for path in (
        "novel #2.txt", "1984", "null", "notes: a", "[a]", "{a}", "@a", "&a b", "!a", "'a'", '"a', " a ", "a\nb",
    ):  # fmt: skip
        assert read(file, [f"data.path={path}"]).data.path == path
    assert read(file, ["data.path=a, b.txt", "data.path=#c"]).data.path == ("a, b.txt", "#c")
    file.write_text("data: {path: [a.txt, 1984, 'novel #2.txt', yes]}")
    assert read(file).data.path == ("a.txt", "1984", "novel #2.txt", "yes")
    assert read(file, ["data.path=b.txt"]).data.path == "b.txt"  # in place of the file's list
    assert read({"data": {"path": [Path("b"), "-"]}}).data.path == ("b", "-")
    with pytest.raises(UserError, match="the path of a text file, a list of paths"):
        read({"data": {"path": ["", "b"]}})


def test_what_follows_from_other_keys_is_settled_when_all_is_read(file: Path) -> None:
    assert read(file, ["train.optimizer=adamw"]).train.learning_rate == 1e-3
    assert read(file, ["train.optimizer=adamw", "train.learning_rate=0.3"]).train.learning_rate == 0.3
    file.write_text("data: {path: a}\ntrain: {optimizer: adamw}\nlog: {eval_every: 7}")
    settled = read(file, ["train.optimizer=sgd", "train.steps=290"])
    assert (settled.train.learning_rate, settled.log.eval_every, settled.log.checkpoint_every) == (0.1, 7, 14)
    assert read(file, ["train.steps=19"]).log.checkpoint_every == 1
    again = read(settled, ["train.steps=9000", "train.optimizer=adamw"])  # as a run that is resumed: numbers stay
    assert (again.train.steps, again.log.checkpoint_every, again.train.learning_rate) == (9000, 14, 0.1)


# What it refuses


NO_NUMBER = ["nan", "true", "[1]", "{a: 1}", "null", "", "1:30", "010", "0x10", "1 2", "1__0", "1,5", "٣", "1e", "-1",
             "inf", "9" * 5000]  # fmt: skip
WORDS = ["", "1", "null", "true", "[lines]"]
REFUSED = {  # a key of each rule
    "train.steps": ["0", "1.5", "9007199254740992", *NO_NUMBER],
    "log.eval_every": ["0", *NO_NUMBER],
    "seed": ["0.5", "auto", "9007199254740992", *NO_NUMBER],
    "train.dropout": ["1", "1.5", *NO_NUMBER],
    "train.learning_rate": ["0", "1e31", *NO_NUMBER],
    "train.weight_decay": ["1e7", *NO_NUMBER],
    "check.eps": ["0", "0.1", "all", *NO_NUMBER],
    "check.rtol": ["0", "0.1", *NO_NUMBER],
    "check.atol": ["0", "0.2", *NO_NUMBER],
    "check.enabled": ["1", "0", "yes", "null", "[true]", "", "{"],
    "train.optimizer": ["adam", *WORDS],
    "data.path": [""],
    "data.encoding": ["utf-9", "hex", "rot13", "undefined", "a\0b", "ж", *WORDS],
    "data.split": ["[0.5, 0.5]", "[0.5, 0.6, -0.1]", "[0.8, 0.1, 0.2]", "[a, b, c]", "[nan, 0.5, 0.5]", "[true, 0, 0]",
                   "[[1], 0, 0]", "[0, 0.5, 0.5]", "80,10,10", *WORDS],
}  # fmt: skip


def test_what_a_key_refuses(file: Path) -> None:
    for key, texts in REFUSED.items():
        for text in texts:
            found = message(file, f"{key}={text}")
            assert found.startswith(f"{key} is "), text
            assert ", on the command line; it must be " in found


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model.dtype=float16", "model.dtype is 'float16', on the command line; it must be one of float32, float64"),
        ("train.steps=0", "train.steps is '0', on the command line; it must be a whole number from 1 to below 2^53"),
        (
            "check.eps=0.1",
            "check.eps is '0.1', on the command line; it must be auto, or a number above 0 and at most 0.01",
        ),
        ("train.learning_rat=1", "unknown key 'train.learning_rat', on the command line; did you mean train.learn"),
        ("model={hidden:3}", "unknown key 'model', on the command line; there are model.context, model.embedding, mod"),
        ("hidden=3", "unknown key 'hidden', on the command line; did you mean model.hidden?"),
        ("notes.txt", "'notes.txt' is no override, on the command line; write section.key=value"),
        ("train.steps=7 train.steps=5", "train.steps is ['7', '5'], on the command line; it must be"),
    ],
)
def test_a_mistake_on_the_command_line(file: Path, override: str, says: str) -> None:
    assert message(file, *override.split()).startswith(says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("train: {steps: 010}", "train.steps is '010', {}; it must be"),  # YAML 1.1 reads 8
        ("train: {steps: 1:30}", "train.steps is '1:30', {}"),  # and 90
        ("train: {steps: [1, 2]}", "train.steps is ['1', '2'], {}"),
        ("data: {path: {a: b}}", "unknown key 'data.path.a', {}; did you mean data.path?"),
        ("data: [1]", "unknown key 'data', {}; there are data.path, data.mode, data.encoding, data.spl"),
        ("data: {path: x, mod: lines}", "unknown key 'data.mod', {}; did you mean data.mode?"),
        ("modell: {context: 3}", "unknown key 'modell.context', {}; did you mean model.context?"),
        ("data: {path: x, mode: {}}", "data.mode is {{}}, {}; it must be one of"),
        ("7: {a: 3}", "unknown key '7.a', {}; there are seed, data, model, train, check, log"),
        ("data: {path: x}\ntrain: {<<: 3}", "unknown key 'train.<<'"),
        ("? [a, b]\n: 1", "broken YAML (found unhashable key)"),
        ("data: {path: a}\ntrain:\n  steps: 5\n  steps: 6\n", "(steps stands there twice), {}, line 4"),
        ("data: {path: a}\ndata.path: b", "data.path is given twice, {}; give it once, in its section or by its full"),
        ("a: b: c\n", "broken YAML (mapping values are not allowed here), {}, line 1; write plain YAML in UTF-8, and"),
        ("data: {path: &a [x], mode: *a}", "broken YAML (* is the sign of an alias), {}, line 1"),
        ("data: {path: x}\n---\ndata: {path: y}\n", "broken YAML"),
        ("[" * 600, "broken YAML"),
        ('data: {path: "C:\\Users\\new.txt"}', "line 1; write plain YAML in UTF-8, and a path that has \\ in single"),
        ("data: {path: !!python/object:os.system x}\nseed: !!python/object/apply:os.getpid []\n", "seed is [], {}"),
        ("- data\n- model\n", "the configuration is ['data', 'model'], {}; give a file or a dictionary of `section"),
        ("data: {path: '\xe9'}", "{}; write plain YAML in UTF-8"),
        ("seed: \x00", "{}; write plain YAML in UTF-8"),
        ("", "data.path is missing, {}; give the path of a text file"),
        ("model: {context: 3}\ndata:\n", "data.path is missing"),
        ("data: {path: x, split: [0.9, 0, 0.1]}\ntrain: {patience: 3}", "train.patience needs a validation split, {}"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file(file: Path, text: str, says: str) -> None:
    file.write_bytes(text.encode("latin-1"))
    found = message(file)
    assert says.format(file) in found
    assert str(file) in found


# From Python, and back


def test_overrides_and_dictionaries(file: Path) -> None:
    config = read(file, ["train.steps=7", "seed=3", "data.path=b.txt", "seed=3"])
    assert config == Config(Data("b.txt"), train=Train(steps=7), seed=3)
    assert read(file, {"train.steps": np.int64(7), "data.path": Path("b.txt"), "seed": 3}) == config
    assert read({"data.path": "b.txt", "train": {"steps": 7}, "model": None}, ["seed=3"]) == config
    file.write_text("data:\nmodel:\n")  # sections that are there and empty
    assert read(file, ["data.path=b.txt", "model.hidden=4"]) == Config(Data("b.txt"), Model(hidden=4))
    with pytest.raises(UserError, match=r"train\.steps is 0, in the overrides; it must be"):
        read(file, {"train.steps": 0})
    assert message({"data.path": 3}).startswith("data.path is 3, from Python; it must be the path of ")
    assert "train.steps is True" in message({"train": {"steps": True}})
    assert "seed is 1" in message({"seed": 10**400})
    assert message(3).startswith("the configuration is 3, from Python; give a file or a dictionary of ")


def test_the_resolved_configuration_reads_back_as_itself(tmp_path: Path) -> None:
    written = tmp_path / "c.yaml"
    for path in ("книга 'a': #1.txt", "1984", "010", "null", "a\nb", ("a: b", "yes")):
        config = Config(Data(path), train=Train(steps=2**53 - 1, learning_rate=1e-30), log=Log(samples=0), seed=0)
        written.write_text(to_yaml(config), encoding="utf-8")
        assert read(written) == read(asdict(config)) == read(config) == config


def test_the_configurations_of_the_repository_are_read() -> None:
    assert sum(read(path).train.steps > 0 for path in Path(__file__).parents[1].glob("configs/*.yaml")) == 5
