"""The configuration: a YAML file or a dictionary, and the command line, into frozen dataclasses.

A value is read by the rule of its key, wherever it was written: a scalar of the file and an override are both text
until then. So a path stays as it was typed, and `010` or `1:30` is no number.
"""

import difflib
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from trainer import rules
from trainer.errors import UserError
from trainer.rules import Rule, at_least, auto_or_positive, one_of, option
from trainer.written import Given, from_dictionary, from_file

COMMAND_LINE = "on the command line"


@dataclass(frozen=True)
class Data:
    path: str | tuple[str, ...] = field(metadata={"rule": rules.PATH})
    mode: str = option("lines", one_of("lines", "stream"))
    encoding: str = option("utf-8", rules.ENCODING)
    split: tuple[float, ...] = option((0.8, 0.1, 0.1), rules.SPLIT)
    split_seed: int = option(0, at_least(0))


@dataclass(frozen=True)
class Model:
    context: int = option(3, at_least(1))
    embedding: int = option(10, at_least(1))
    hidden: int = option(200, at_least(1))
    dtype: str = option("float32", one_of("float32", "float64"))


@dataclass(frozen=True)
class Train:
    steps: int = option(200000, at_least(1))
    batch_size: int = option(32, at_least(1))
    optimizer: str = option("sgd", one_of("sgd", "adamw"))
    momentum: float = option(0.0, rules.SHARE)
    learning_rate: float = option(0.1, rules.RATE)
    schedule: str = option("cosine", one_of("constant", "step", "cosine"))
    warmup_steps: int = option(0, at_least(0))
    weight_decay: float = option(0.0, rules.DECAY)
    dropout: float = option(0.0, rules.SHARE)
    embedding_dropout: float = option(0.0, rules.SHARE)
    context_dropout: float = option(0.0, rules.SHARE)
    patience: int = option(0, at_least(0))


@dataclass(frozen=True)
class Check:
    enabled: bool = option(False, rules.SWITCH)
    every: int = option(1, at_least(1))
    method: str = option("central", one_of("central", "complex-step"))
    coordinates: int | str = option("all", rules.COORDINATES)
    eps: float | str = option("auto", auto_or_positive(1))
    rtol: float | str = option("auto", auto_or_positive(1))
    atol: float | str = option("auto", auto_or_positive(1e30))
    initial_loss_atol: float | str = option("auto", auto_or_positive(1e30))
    on_failure: str = option("stop", one_of("stop", "warn"))


@dataclass(frozen=True)
class Log:
    every: int = option(100, at_least(1))
    eval_every: int = option(10000, at_least(1))
    eval_examples: int = option(20000, at_least(1))
    checkpoint_every: int = option(10000, at_least(1))
    samples: int = option(20, rules.SAMPLES)


@dataclass(frozen=True)
class Config:
    data: Data
    model: Model = field(default_factory=Model)
    train: Train = field(default_factory=Train)
    check: Check = field(default_factory=Check)
    log: Log = field(default_factory=Log)
    seed: int = option(42, at_least(0))


SECTIONS = {"data": Data, "model": Model, "train": Train, "check": Check, "log": Log}
RULES: dict[str, Rule] = {"seed": Config.__dataclass_fields__["seed"].metadata["rule"]} | {
    f"{section}.{option.name}": option.metadata["rule"] for section, cls in SECTIONS.items() for option in fields(cls)
}
KEYS = list(RULES)

# What other programs call them.
OTHER_NAMES = {
    "train.learning_rate": ["lr", "alpha", "rate"],
    "train.batch_size": ["bs", "batch"],
    "train.weight_decay": ["wd", "l2"],
    "train.steps": ["max_iters", "max_steps", "iterations", "epochs"],
    "model.context": ["block_size", "seq_length"],
    "model.embedding": ["n_embd", "emb"],
    "model.hidden": ["n_hidden", "rnn_size"],
    "data.path": ["file", "input", "text"],
    "seed": ["random_seed"],
}


def read(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """The configuration in a YAML file or a dictionary, each key an attribute: `config.train.steps`.

    Parameters
    ----------
    source
        The path of a file, or nested dictionaries. Every key but `data.path` has a default.
    overrides
        `section.key=value`, as on the command line.

    Raises UserError for a file that cannot be read or is not YAML, an unknown or repeated key, an impossible value.

    Examples
    --------
    >>> config = trainer.read_config({"data": {"path": "names.txt"}}, ["train.steps=20"])
    >>> config.train.steps, config.model.hidden
    (20, 200)
    """
    if isinstance(source, Mapping):
        where = "the configuration"
        given = by_key(from_dictionary(source, where))
    else:
        where = str(Path(source).absolute())
        given = by_key(from_file(Path(where)))
    return resolve(given | from_command_line(overrides), where)


def build(tree: Mapping[str, Any], where: str) -> Config:
    """A Config from nested dictionaries that were found there. Raises UserError as `read` does."""
    return resolve(by_key(from_dictionary(tree, where)), where)


def by_key(tree: Mapping[str, Given]) -> dict[str, Given]:
    """The values under their full names, `section.key`. Raises UserError for what is no section or key."""
    found = {}
    for name, given in tree.items():
        if name in KEYS and "." in name:
            section, _, key = name.partition(".")
            raise UserError(f"{name} is written as one key, {given.place}; write `{section}: {{{key}: value}}`")
        if name in SECTIONS and isinstance(given.value, dict):
            for key, inner in given.value.items():
                found[f"{name}.{key}"] = inner
        elif name in SECTIONS and given.value is not None:
            raise UserError(
                f"{name} is {quote(given.value)}, {given.place}; it is a section, write {name}: {{key: value}}"
            )
        elif name not in SECTIONS:
            found[name] = given
    return found


def from_command_line(overrides: Sequence[str]) -> dict[str, Given]:
    """The overrides by their keys. data.path may be given several times: then it is a list."""
    found: dict[str, str] = {}
    files = []
    for override in overrides:
        key, equals, value = override.partition("=")
        key = key.strip()
        if not equals:
            raise UserError(
                f"{override!r} is no override, {COMMAND_LINE}; write section.key=value, a text as data.path=FILE"
            )
        if key in SECTIONS:
            raise UserError(f"{key} is a section, {COMMAND_LINE}; write {key}.key=value for each key")
        if key == "data.path":
            files.append(value)
        elif found.get(key, value) != value:
            raise UserError(f"{key} is given twice, {COMMAND_LINE}: {found[key]} and {value}; give it once")
        else:
            found[key] = value
    given = {key: Given(value, COMMAND_LINE) for key, value in found.items()}
    if files:
        given["data.path"] = Given(files if len(files) > 1 else files[0], COMMAND_LINE)
    return given


def resolve(given: Mapping[str, Given], where: str) -> Config:
    """The Config of these values, each held against its rule."""
    sections: dict[str, dict[str, Any]] = {name: {} for name in ("", *SECTIONS)}
    for name, (value, place) in given.items():
        if name not in RULES:
            raise unknown(name, place)
        section, _, key = name.rpartition(".")
        sections[section][key] = convert(name, value, place)
    if "path" not in sections["data"]:
        raise UserError(f"data.path is missing, {where}; give the path of a text file")
    config = Config(**{name: cls(**sections[name]) for name, cls in SECTIONS.items()}, **sections[""])
    if config.train.patience and config.data.split[1] == 0:
        place = given["train.patience"].place
        raise UserError(f"train.patience needs a validation split, {place}; give data.split a share for it")
    return config


def convert(key: str, value: Any, place: str) -> Any:
    """The value as its rule reads it."""
    rule = RULES[key]
    try:
        result = rule.read(value)
        possible = rule.possible(result)
    except (ValueError, TypeError, LookupError, OverflowError):
        possible = False
    if not possible:
        raise UserError(f"{key} is {quote(value)}, {place}; it must be {rule.words}")
    return result


def quote(value: Any) -> str:
    """The value as Python writes it, shortened; a number as it was typed."""
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, str) and 0 < len(value) < 30 and set(value) <= set("0123456789+-.:_e"):
        return value  # a number that was typed, or was meant to be one
    try:
        return reprlib.repr(value)
    except ValueError:  # Python does not write integers of thousands of digits
        return "a huge number"


def unknown(name: str, place: str) -> UserError:
    """What was probably meant, or else what there is."""
    section, _, key = name.rpartition(".")
    siblings = [each for each in KEYS if each.startswith(section + ".")] if section in SECTIONS else []
    same = [each for each in KEYS if each.rpartition(".")[2] == key]
    other = [each for each, names in OTHER_NAMES.items() if key in names]
    near = same or other or difflib.get_close_matches(name, siblings or [*KEYS, *SECTIONS], 1, 0.75)
    if near:
        advice = f"did you mean {near[0]}?"
    elif siblings:
        advice = f"the keys of {section} are " + ", ".join(each.partition(".")[2] for each in siblings)
    else:
        advice = "write a key as section.key; the sections are " + ", ".join(SECTIONS) + ", and seed stands alone"
    return UserError(f"unknown key {quote(name)}, {place}; {advice}")


def to_dict(config: Config) -> dict[str, Any]:
    """Nested dictionaries of plain values, seed first, from which `build` makes the same Config."""
    tree = asdict(config)
    tree["data"]["split"] = list(config.data.split)
    if isinstance(config.data.path, tuple):
        tree["data"]["path"] = list(config.data.path)
    return {"seed": tree.pop("seed"), **tree}
