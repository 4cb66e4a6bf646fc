"""The configuration: YAML into frozen dataclasses, each value held against its rule."""

import difflib
import math
import reprlib
from collections.abc import Callable, Sequence
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from trainer.errors import UserError

Rule = tuple[Callable[[Any], bool], str]  # whether a value is possible, and in words which are


def option(default: Any, rule: Rule) -> Any:
    """A field of the configuration with its default and its rule."""
    return field(default=default, metadata={"rule": rule})


def at_least(low: int) -> Rule:
    return lambda x: low <= x < 2**53, f"a whole number, {low} or more"


def one_of(*words: str) -> Rule:
    return lambda x: x in words, "one of " + ", ".join(words)


def auto_or_positive(most: float) -> Rule:
    return lambda x: x == "auto" or (not isinstance(x, str) and 0 < x <= most), f"auto, or above 0 and at most {most:g}"


SHARE: Rule = lambda x: 0 <= x < 1, "0 or more and below 1"
SPLIT: Rule = (
    lambda x: len(x) == 3 and all(part >= 0 for part in x) and math.isclose(sum(x), 1, abs_tol=1e-6),
    "three shares, for training, validation and test, that add up to 1",
)


@dataclass(frozen=True)
class Data:
    path: str = field(metadata={"rule": (lambda x: bool(x) and "\0" not in x, "the path of a text file")})
    mode: str = option("lines", one_of("lines", "stream"))
    split: tuple[float, ...] = option((0.8, 0.1, 0.1), SPLIT)
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
    momentum: float = option(0.0, SHARE)
    learning_rate: float = option(0.1, (lambda x: 0 < x <= 1e30, "a number above 0"))
    schedule: str = option("cosine", one_of("constant", "step", "cosine"))
    warmup_steps: int = option(0, at_least(0))
    weight_decay: float = option(0.0, (lambda x: 0 <= x <= 1e6, "a number from 0 to 1e6"))
    dropout: float = option(0.0, SHARE)
    embedding_dropout: float = option(0.0, SHARE)
    context_dropout: float = option(0.0, SHARE)


@dataclass(frozen=True)
class Check:
    enabled: bool = option(False, (lambda x: True, "true or false"))
    every: int = option(1, at_least(1))
    method: str = option("central", one_of("central", "complex-step"))
    coordinates: int | str = option(
        "all", (lambda x: x == "all" or (isinstance(x, int) and 0 < x < 2**31), "all, or how many of each tensor")
    )
    eps: float | str = option("auto", auto_or_positive(1))
    rtol: float | str = option("auto", auto_or_positive(1))
    atol: float | str = option("auto", auto_or_positive(1e30))
    initial_loss_atol: float = option(0.1, (lambda x: 0 < x <= 1e30, "a number of nats above 0"))
    on_failure: str = option("stop", one_of("stop", "warn"))


@dataclass(frozen=True)
class Log:
    every: int = option(100, at_least(1))
    eval_every: int = option(10000, at_least(1))
    eval_examples: int = option(20000, at_least(1))
    checkpoint_every: int = option(10000, at_least(1))
    samples: int = option(20, (lambda x: 0 <= x <= 1e6, "a whole number from 0 to a million"))


@dataclass(frozen=True)
class Config:
    data: Data
    model: Model = field(default_factory=Model)
    train: Train = field(default_factory=Train)
    check: Check = field(default_factory=Check)
    log: Log = field(default_factory=Log)
    seed: int = option(42, at_least(0))


SECTIONS = {"data": Data, "model": Model, "train": Train, "check": Check, "log": Log}
KEYS = ["seed", *(f"{name}.{f.name}" for name, cls in SECTIONS.items() for f in fields(cls))]


def read(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The configuration in a YAML file, with `section.key=value` overrides.

    Raises UserError for a file that cannot be read or is not YAML, an unknown key, a wrong type, an impossible value.
    """
    where = Path(path).absolute()
    try:
        tree = parse_yaml(where.read_bytes(), str(where))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"cannot read the configuration, {where}: {why}; give a configuration file") from None
    tree = {} if tree is None else tree
    if not isinstance(tree, dict):
        raise UserError(f"the configuration is a {type(tree).__name__}, {where}; write `section: {{key: value}}`")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise UserError(f"{override!r} is no override, on the command line; write section.key=value")
        section, _, name = key.strip().rpartition(".")
        if section and tree.get(section) is None:  # missing, or empty in the file
            tree[section] = {}
        target = tree[section] if section else tree
        if isinstance(target, dict):
            target[name] = parse_yaml(value.encode(), f"override {key}")
    return build(tree, str(where))


def parse_yaml(source: bytes, where: str) -> Any:
    """Plain YAML values. Raises UserError with the line of a mistake."""
    try:
        return yaml.safe_load(source)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(f"broken YAML ({error.problem}), {where}, line {line}; correct that line") from None
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise UserError(f"broken YAML ({str(error).splitlines()[0]}), {where}; write plain YAML in UTF-8") from None


def build(tree: dict[str, Any], where: str) -> Config:
    """A Config from nested dictionaries. Raises UserError as `read` does."""
    sections: dict[str, Any] = {name: {} for name in SECTIONS}
    for name, value in tree.items():
        if name == "seed":
            sections[name] = convert(name, value, Config.__dataclass_fields__["seed"], where)
        elif name not in SECTIONS:
            raise unknown(str(name), where)
        elif value is not None and not isinstance(value, dict):
            raise UserError(f"{name} is {quote(value)}, {where}; it is a section, write {name}: {{key: value}}")
        else:
            sections[name] = value or {}
    for name, cls in SECTIONS.items():
        known, values = {f.name: f for f in fields(cls)}, {}
        for key, value in sections[name].items():
            if key not in known:
                raise unknown(f"{name}.{key}", where)
            values[key] = convert(f"{name}.{key}", value, known[key], where)
        if "path" in known and "path" not in values:
            raise UserError(f"{name}.path is missing, {where}; give the path of a text file")
        sections[name] = cls(**values)
    return Config(**sections)


def quote(value: Any) -> str:
    """The value as Python writes it, shortened."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python does not write integers of thousands of digits
        return "a huge number"


def unknown(key: str, where: str) -> UserError:
    near = difflib.get_close_matches(key, [*KEYS, *SECTIONS], 1, 0)
    return UserError(f"unknown key {quote(key)}, {where}; did you mean {near[0]}?")


def convert(key: str, value: Any, option: "Field[Any]", where: str) -> Any:
    """The value as its field's type, if it has that type and keeps the rule."""
    kind: Any = option.type
    possible, words = option.metadata["rule"]
    if kind == tuple[float, ...]:
        result = tuple(number(item, float) for item in value) if isinstance(value, list | tuple) else ()
        right = all(isinstance(item, float) for item in result)
    else:
        result = value if kind in (bool, str) else number(value, int if kind in (int, int | str) else float)
        right = isinstance(result, kind) and (kind is bool or not isinstance(result, bool))
    if not right or not possible(result):
        raise UserError(f"{key} is {quote(value)}, {where}; it must be {words}")
    return result


def number(value: Any, kind: type) -> Any:
    """A number of that kind where the value is one, else the value. PyYAML reads 1e-3 as text; here it is a number."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    if isinstance(value, bool) or not isinstance(value, int | float) or (kind is int and isinstance(value, int)):
        return value
    if kind is float:
        return float(value) if abs(value) < 1e300 else math.inf
    return int(value) if math.isfinite(value) and value == int(value) else value


def to_dict(config: Config) -> dict[str, Any]:
    """Nested dictionaries of plain values, seed first, from which `build` makes the same Config."""
    tree = asdict(config)
    tree["data"]["split"] = list(config.data.split)
    return {"seed": tree.pop("seed"), **tree}
