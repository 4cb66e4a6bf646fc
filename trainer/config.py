"""The configuration: a table of every key with its default and its rule; read from a file, a dictionary, overrides.

A value is text until the rule of its key reads it: a path stays as it was typed, and `010` or `1:30` is no number.
"""

import difflib
import math
import os
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, NamedTuple

from trainer import files
from trainer.errors import UserError

NUMBER = re.compile(r"\+?(0|[1-9][\d_]*)?(\.\d*)?(e[-+]?\d+)?", re.IGNORECASE | re.ASCII)


class Rule(NamedTuple):
    """Stands in the annotation of a key. `read` raises ValueError, TypeError or LookupError for what is impossible."""

    read: Callable[[Any], Any]  # from Python objects, or from text
    words: str
    possible: Callable[[Any], bool] = lambda value: True


def number(value: Any) -> float:
    """A number, from Python or from text such as 3, 0.1 or 1e-3; no key takes one below zero."""
    written = str(value).strip()
    if not NUMBER.fullmatch(written):
        raise ValueError
    return float(written)


def whole(value: Any) -> int:
    """A whole number; 1e3 is one. Below 2^53, which its rule demands, a float holds it exactly."""
    found = number(value)
    if not found.is_integer():
        raise ValueError
    return int(found)


def shares(value: Any) -> tuple[float, ...]:
    """Numbers, as a list or as text: [0.8, 0.1, 0.1]."""
    return tuple(map(number, value.strip("[] ").split(",") if isinstance(value, str) else value))


def paths(value: Any) -> str | tuple[str, ...]:
    """The path of a file, or several."""
    found = tuple(map(os.fspath, value if isinstance(value, list | tuple) else [value]))
    if "" in found:
        raise ValueError
    return found if len(found) > 1 else found[0]


def at_least(low: int) -> Rule:
    return Rule(whole, f"a whole number from {low} to below 2^53, without leading zeros", lambda n: low <= n < 2**53)


def up_to(most: float) -> Rule:
    return Rule(number, f"a number above 0 and at most {most:g}", lambda x: 0 < x <= most)


def one_of(*words: str) -> Rule:
    return Rule(str, "one of " + ", ".join(words), words.__contains__)


FromZero = Annotated[int, at_least(0)]
FromOne = Annotated[int, at_least(1)]
Share = Annotated[float, Rule(number, "a number, 0 or more and below 1", lambda x: x < 1)]
SWITCH = Rule(lambda value: {"true": True, "false": False}[str(value).lower()], "true or false")
PATHS = Rule(paths, "the path of a text file, a list of paths, or - for standard input")
ENCODING = Rule(str, "an encoding that Python has, such as utf-8 or cp1252", lambda name: "".encode(name) is not None)
SPLIT = Rule(
    shares,
    "three shares, for training (above 0), validation and test, that add up to 1",
    lambda split: len(split) == 3 and split[0] > 0 and math.isclose(sum(split), 1, abs_tol=1e-6),
)

AUTO: Any = "auto"
RATES = {"sgd": 0.1, "adamw": 1e-3}  # the usual learning rate of each optimizer


@dataclass(frozen=True)
class Data:
    path: Annotated[str | tuple[str, ...], PATHS]
    mode: Annotated[str, one_of("lines", "stream")] = "lines"
    encoding: Annotated[str, ENCODING] = "utf-8"
    split: Annotated[tuple[float, ...], SPLIT] = (0.8, 0.1, 0.1)
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
    learning_rate: Annotated[float, up_to(1e30)] = AUTO
    schedule: Annotated[str, one_of("constant", "step", "cosine")] = "cosine"
    warmup_steps: FromZero = 0
    weight_decay: Annotated[float, Rule(number, "a number from 0 to 1e6", lambda x: x <= 1e6)] = 0.0
    dropout: Share = 0.0
    embedding_dropout: Share = 0.0
    context_dropout: Share = 0.0
    patience: FromZero = 0

    def __post_init__(self) -> None:
        if self.learning_rate == AUTO:
            object.__setattr__(self, "learning_rate", RATES[self.optimizer])


@dataclass(frozen=True)
class Check:
    enabled: Annotated[bool, SWITCH] = False
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
KEYS: dict[str, Any] = {f"{section}.{each.name}": each for section, cls in SECTIONS.items() for each in fields(cls)}
KEYS["seed"] = fields(Config)[0]
Source = Config | Mapping[str, Any] | str | os.PathLike[str]
Overrides = Sequence[str] | Mapping[str, Any]


def read(source: Source, overrides: Overrides = ()) -> Config:
    """The configuration in a YAML file or in nested dictionaries, each key an attribute: `config.train.steps`.

    overrides: `section.key=value` each, as on the command line, or values by their full names. Raises UserError for
    what is no YAML, an unknown or repeated key, an impossible value. In a Config what was auto is settled: give another
    optimizer its own train.learning_rate.

    >>> config = trainer.read_config({"data": {"path": "names.txt"}}, ["train.steps=20"])
    >>> config.train.steps, config.train.learning_rate
    (20, 0.1)
    """
    where, origin = "from Python", "in the overrides"
    if isinstance(source, Config):
        source = asdict(source)
    elif isinstance(source, str | os.PathLike):
        where, source = str(files.absolute(source)), files.read_yaml(source)
    if not isinstance(source, Mapping):
        advice = "give a file or a dictionary of `section: {key: value}`, a text as data.path=FILE"
        raise UserError(f"the configuration is {reprlib.repr(source)}, {where}; {advice}")
    if not isinstance(overrides, Mapping):
        overrides, origin = by_key(overrides), "on the command line"
    parts: dict[str, dict[str, Any]] = {section: {} for section in ("", *SECTIONS)}
    for tree, place in ((source, where), (overrides, origin)):
        for key, value in flatten(tree, place).items():
            if value or key not in SECTIONS:  # a section may be empty
                section, _, name = key.rpartition(".")
                parts[section][name] = convert(key, value, place)
    if "path" not in parts["data"]:
        raise UserError(f"data.path is missing, {where}; give the path of a text file")
    config = Config(**{name: cls(**parts[name]) for name, cls in SECTIONS.items()}, **parts[""])
    if config.train.patience and config.data.split[1] == 0:
        raise UserError(f"train.patience needs a validation split, {where}; give data.split a share for it")
    return config


def by_key(overrides: Sequence[str]) -> dict[str, Any]:
    """The text of each override by its key; of one that is given several times, as data.path may be, a list."""
    found: dict[str, Any] = {}
    for override in overrides:
        name, equals, value = override.partition("=")
        if not equals:
            advice = "write section.key=value, a text as data.path=FILE"
            raise UserError(f"{override!r} is no override, on the command line; {advice}")
        found.setdefault(name, []).append(value)
    return {name: values if len({*values}) > 1 else values[0] for name, values in found.items()}


def flatten(tree: Mapping[str, Any], where: str = "", before: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} becomes {"a.b": 1}. Raises UserError where these two stand side by side."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{before}{key}"
        found = flatten(value, where, f"{name}.") if value and isinstance(value, Mapping) else {name: value}
        if twice := flat.keys() & found.keys():
            raise UserError(f"{min(twice)} is given twice, {where}; give it once, in its section or by its full name")
        flat |= found
    return flat


def convert(key: str, value: Any, where: str) -> Any:
    """The value as the rule of its key reads it; auto, where that is the default."""
    if key not in KEYS:
        section = key.partition(".")[0]
        beside = [each for each in KEYS if each.startswith(f"{section}.")]
        near = difflib.get_close_matches(key, beside or KEYS, 1, cutoff=0.75 if beside else 0.6)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(beside or ['seed', *SECTIONS])}"
        raise UserError(f"unknown key {reprlib.repr(key)}, {where}; {advice}")
    default, (rule,) = KEYS[key].default, KEYS[key].type.__metadata__
    if value == default == AUTO:
        return AUTO
    with suppress(ValueError, TypeError, LookupError):
        found = rule.read(value)
        if rule.possible(found):
            return found
    words = f"auto, or {rule.words}" if default == AUTO else rule.words
    raise UserError(f"{key} is {reprlib.repr(value)}, {where}; it must be {words}")
