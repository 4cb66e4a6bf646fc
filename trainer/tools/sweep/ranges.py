"""What a sweep searches: `LOW..HIGH` and `A,B,C` behind a key, both held against the configuration's own rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer import config as configuration
from trainer.config import Config
from trainer.errors import UserError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

ANY_TEXT = {"data": {"path": "any.txt"}}  # the least that a configuration needs


@dataclass(frozen=True)
class Range:
    """Every number from low to high; whole ones if both are. Logarithmic: each doubling is as likely as the next."""

    low: int | float
    high: int | float
    logarithmic: bool

    def __str__(self) -> str:
        return f"{self.low}..{self.high}"


@dataclass(frozen=True)
class Choices:
    values: tuple[bool | int | float | str, ...]

    def __str__(self) -> str:
        return ",".join(map(str, self.values))


Span = Range | Choices


@dataclass(frozen=True)
class Plan:
    """What all trials share, and between what they differ: a span for each key that is searched."""

    config: Config
    spans: dict[str, Span]


def read(path: str | Path, overrides: Sequence[str]) -> Plan:
    """The plan in a configuration file and its overrides; a span begins as its first value.

    Raises UserError as the configuration does, and where nothing is searched.
    """
    searched = [override for override in overrides if is_span(override)]
    fixed = [override for override in overrides if override not in searched]
    spans: dict[str, Span] = {}
    for override in searched:
        key, _, value = override.partition("=")
        key = key.strip()
        if key in spans or any(other.partition("=")[0].strip() == key for other in fixed):
            raise UserError(f"{key} is given twice, on the command line; give it once")
        spans[key] = parse(key, value)
    config = configuration.read(path, fixed)
    if not spans:
        raise UserError(
            "nothing to search, on the command line; give a key a range or choices,"
            " as train.learning_rate=0.01..1 or train.optimizer=sgd,adamw"
        )
    first = {key: span.low if isinstance(span, Range) else span.values[0] for key, span in spans.items()}
    return Plan(with_values(config, first), spans)


def is_span(override: str) -> bool:
    """Whether there is a range or there are choices behind the `=`: what looks like one and is no value as it stands.

    A path may hold dots and commas, and a list commas.
    """
    _, equals, value = override.partition("=")
    if not equals or not ("," in value or ".." in value):
        return False
    try:
        configuration.read(ANY_TEXT, [override])
    except UserError:
        return True
    return False


def parse(key: str, value: str) -> Span:
    """The span that is written there. Raises the configuration's own UserError for a part that is no possible value."""
    if ".." not in value:
        return Choices(tuple(dict.fromkeys(one_value(key, part) for part in value.split(","))))
    low, high = (one_value(key, part) for part in value.split("..", 1))
    if not is_number(low) or not is_number(high):
        raise UserError(f"{key} is {value!a}, on the command line; a range needs two numbers, as 1..10")
    if not low < high:
        raise UserError(f"{key} is {value!a}, on the command line; write the smaller number first")
    return Range(low, high, logarithmic=low > 0 and not is_share(key))


def one_value(key: str, text: str) -> Any:
    """The value as the configuration reads it."""
    config = configuration.read(ANY_TEXT, [f"{key}={text}"])
    return value_of(config, key)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_share(key: str) -> bool:
    """Whether a key counts shares of one, as a dropout does: no size or rate, 1 is none of its values."""
    try:
        one_value(key, "1")
    except UserError:
        return True
    return False


def value_of(config: Config, key: str) -> Any:
    """What stands behind `section.key`, or `seed`."""
    found: Any = config
    for name in key.split("."):
        found = getattr(found, name)
    return found


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with other values behind some keys. Raises UserError if they do not go together."""
    tree = configuration.to_dict(config)
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        target = tree[section] if section else tree
        target[name] = value
    return configuration.build(tree, "a trial")


def distributions(spans: Mapping[str, Span]) -> "dict[str, BaseDistribution]":
    """The spans in Optuna's terms."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for key, span in spans.items():
        if isinstance(span, Choices):
            found[key] = CategoricalDistribution(span.values)
        elif isinstance(span.low, int) and isinstance(span.high, int):
            found[key] = IntDistribution(span.low, span.high, log=span.logarithmic)
        else:
            found[key] = FloatDistribution(span.low, span.high, log=span.logarithmic)
    return found
