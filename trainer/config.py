"""The configuration: a table of every key with its default and its rule; read from a file, a dictionary, overrides.

A value is read by the rule of its key, wherever it was written: a scalar of a file and an override are both text until
then. So a path stays as it was typed, and `010` or `1:30` is no number.
"""

import difflib
import json
import os
import reprlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any

import yaml

from trainer import files
from trainer.errors import UserError
from trainer.rules import Decay, Encoding, FromOne, FromZero, Paths, Positive, Share, Split, Switch, one_of, up_to

AUTO: Any = "auto"
RATES = {"sgd": 0.1, "adamw": 1e-3}  # the usual learning rate of each optimizer


@dataclass(frozen=True)
class Data:
    path: Paths
    mode: Annotated[str, one_of("lines", "stream")] = "lines"
    encoding: Encoding = "utf-8"
    split: Split = (0.8, 0.1, 0.1)
    split_seed: FromZero = 0


@dataclass(frozen=True)
class Model:
    context: FromOne = 3
    embedding: FromOne = 10
    hidden: FromOne = 200
    dtype: Annotated[str, one_of("float32", "float64")] = "float32"


@dataclass(frozen=True)
class Train:
    steps: FromOne = 200000
    batch_size: FromOne = 32
    optimizer: Annotated[str, one_of(*RATES)] = "sgd"
    momentum: Share = 0.0
    learning_rate: Positive = AUTO
    schedule: Annotated[str, one_of("constant", "step", "cosine")] = "cosine"
    warmup_steps: FromZero = 0
    weight_decay: Decay = 0.0
    dropout: Share = 0.0
    embedding_dropout: Share = 0.0
    context_dropout: Share = 0.0
    patience: FromZero = 0

    def __post_init__(self) -> None:
        if self.learning_rate == AUTO:
            object.__setattr__(self, "learning_rate", RATES[self.optimizer])


@dataclass(frozen=True)
class Check:
    enabled: Switch = False
    every: FromOne = 1
    method: Annotated[str, one_of("central", "complex-step")] = "central"
    coordinates: Annotated[str, one_of("all", "directions")] = "all"
    eps: Annotated[float | str, up_to(0.01)] = AUTO  # beyond these a check would see nothing
    rtol: Annotated[float | str, up_to(0.05)] = AUTO
    atol: Annotated[float | str, up_to(0.1)] = AUTO
    initial_loss_atol: Annotated[float | str, up_to(1e30)] = AUTO
    on_failure: Annotated[str, one_of("stop", "warn")] = "stop"


@dataclass(frozen=True)
class Log:
    every: FromOne = 100
    eval_every: FromOne = AUTO
    eval_examples: FromOne = 20000
    checkpoint_every: FromOne = AUTO
    samples: FromZero = 20


@dataclass(frozen=True)
class Config:
    seed: FromZero = field(default=42, kw_only=True)
    data: Data
    model: Model = Model()
    train: Train = Train()
    check: Check = Check()
    log: Log = Log()

    def __post_init__(self) -> None:
        interval = max(1, self.train.steps // 20)  # a curve has twenty points, however short the run
        settled = {name: interval for name, value in vars(self.log).items() if value == AUTO}
        object.__setattr__(self, "log", replace(self.log, **settled))


SECTIONS = {"data": Data, "model": Model, "train": Train, "check": Check, "log": Log}
KEYS: dict[str, Any] = {"seed": Config.__dataclass_fields__["seed"]} | {
    f"{section}.{each.name}": each for section, cls in SECTIONS.items() for each in fields(cls)
}


def read(
    source: Config | Mapping[str, Any] | str | os.PathLike[str], overrides: Sequence[str] | Mapping[str, Any] = ()
) -> Config:
    """The configuration in a YAML file or in nested dictionaries, each key an attribute: `config.train.steps`.

    overrides: `section.key=value` each, as on the command line, or values by their full names. Raises UserError for a
    file that cannot be read or is not YAML, an unknown or repeated key, an impossible value. In a Config what was auto
    is settled: give another optimizer its own train.learning_rate.

    >>> config = trainer.read_config({"data": {"path": "names.txt"}}, ["train.steps=20"])
    >>> config.train.steps, config.train.learning_rate
    (20, 0.1)
    """
    where, origin = "in the dictionary", "in the overrides"
    if isinstance(source, str | os.PathLike):
        where = str(files.absolute(source))
        source = from_file(source)
    elif isinstance(source, Config):
        source = to_dict(source)
    elif not isinstance(source, Mapping):
        raise UserError(f"the configuration is {reprlib.repr(source)}; give the path of a file, or a dictionary")
    if not isinstance(overrides, Mapping):
        overrides, origin = from_command_line(overrides), "on the command line"
    parts: dict[str, dict[str, Any]] = {section: {} for section in ("", *SECTIONS)}
    for values, place in ((by_key(source), where), (overrides, origin)):
        for key, value in values.items():
            section, _, name = key.rpartition(".")
            parts[section][name] = convert(key, value, place)
    if "path" not in parts["data"]:
        raise UserError(f"data.path is missing, {where}; give the path of a text file")
    config = Config(**{name: cls(**parts[name]) for name, cls in SECTIONS.items()}, **parts[""])
    if config.train.patience and config.data.split[1] == 0:
        raise UserError(f"train.patience needs a validation split, {where}; give data.split a share for it")
    return config


class Loader(yaml.BaseLoader):
    """YAML in which every scalar is text, and no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: list[Any] = []
        for name, _ in node.value:
            if name.value in names:
                raise yaml.MarkedYAMLError(problem=f"{name.value} stands there twice", problem_mark=name.start_mark)
            names.append(name.value)
        return super().construct_mapping(node, deep)


def from_file(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """The nested dictionaries in a YAML file."""
    advice = "give a configuration, or a text as data.path=FILE"
    data, where = files.read(path, "the configuration", advice), files.absolute(path)
    try:
        tree = Loader(data).get_single_data() or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        what, *_ = str(getattr(error, "problem", error)).splitlines()
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        advice = "write plain YAML in UTF-8, and a path that has \\ in single quotes"
        raise UserError(f"broken YAML ({what}), {where}{line}; {advice}") from None
    if not isinstance(tree, Mapping):
        raise UserError(f"there is no `section: {{key: value}}`, {where}; {advice}")
    return tree


def by_key(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The values of nested dictionaries by their full names; a section may be empty."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if value and isinstance(value, Mapping):
            found |= {f"{name}.{key}": each for key, each in value.items()}
        elif value or name not in SECTIONS:
            found[str(name)] = value
    return found


def from_command_line(overrides: Sequence[str]) -> dict[str, Any]:
    """The text of each override by its key; of data.path, which may be given several times, a list."""
    found: dict[str, Any] = {}
    for override in overrides:
        name, equals, value = override.partition("=")
        if not equals:
            advice = "write section.key=value, a text as data.path=FILE"
            raise UserError(f"{override!r} is no override, on the command line; {advice}")
        if name == "data.path":
            found[name] = [*found.get(name, []), value]
        elif found.setdefault(name, value) != value:
            raise UserError(f"{name} is given twice, on the command line: {found[name]} and {value}; give it once")
    return found


def convert(name: str, value: Any, where: str) -> Any:
    """The value as the rule of its key reads it; auto, where that is the default."""
    if name not in KEYS:
        (near,) = difflib.get_close_matches(name, KEYS, 1, cutoff=0)
        raise UserError(f"unknown key {reprlib.repr(name)}, {where}; did you mean {near}?")
    default, (rule,) = KEYS[name].default, KEYS[name].type.__metadata__
    if value == default == AUTO:
        return AUTO
    with suppress(ValueError, TypeError, LookupError):
        found = rule.read(value)
        if rule.possible(found):
            return found
    words = f"auto, or {rule.words}" if default == AUTO else rule.words
    raise UserError(f"{name} is {reprlib.repr(value)}, {where}; it must be {words}")


def to_dict(config: Config) -> dict[str, Any]:
    """Nested dictionaries of plain values, from which `read` makes the same Config."""
    tree: dict[str, Any] = json.loads(json.dumps(asdict(config)))  # JSON turns tuples into lists
    return tree


def to_yaml(config: Config) -> str:
    """What config.yaml holds."""
    return str(yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True))
