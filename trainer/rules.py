"""What a key of the configuration takes: how its value is read, which values are possible, and in words which.

Values come as Python objects from a dictionary, and as text from a file or the command line.
"""

import math
import os
import re
from collections.abc import Callable
from dataclasses import field
from numbers import Real
from typing import Any, NamedTuple

NUMBER = re.compile(r"[-+]?((0|[1-9][0-9_]*)(\.[0-9_]*)?|\.[0-9][0-9_]*)(e[-+]?[0-9]+)?", re.IGNORECASE)


class Rule(NamedTuple):
    """How to read the value of a key, which values are possible, and in words which."""

    read: Callable[[Any], Any]  # raises ValueError, TypeError or OverflowError for what is not of its kind
    possible: Callable[[Any], bool]
    words: str


def option(default: Any, rule: Rule) -> Any:
    """A field of the configuration with its default and its rule."""
    return field(default=default, metadata={"rule": rule})


def number(value: Any) -> float:
    """A number, from Python or from text such as 3, 0.1 or 1e-3."""
    if isinstance(value, str):
        if not NUMBER.fullmatch(value.strip()):
            raise ValueError
        return float(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError
    return float(value)


def whole(value: Any) -> int:
    """A whole number; 1e3 is one. Below 2^53, which the rules demand, a float holds it exactly."""
    found = number(value)
    if found != int(found):
        raise ValueError
    return int(found)


def text(value: Any) -> str:
    """Text, literally."""
    if not isinstance(value, str):
        raise TypeError
    return value


def switch(value: Any) -> bool:
    """True or false, in the words of YAML."""
    if isinstance(value, bool):
        return value
    return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}[text(value).lower()]


def shares(value: Any) -> tuple[float, ...]:
    """Three numbers, as a list or as text: [0.8, 0.1, 0.1]."""
    if isinstance(value, str):
        value = value.strip().removeprefix("[").removesuffix("]").split(",")
    if not isinstance(value, list | tuple):
        raise TypeError
    return tuple(number(share) for share in value)


def paths(value: Any) -> str | tuple[str, ...]:
    """The path of a file, or several."""
    if isinstance(value, list | tuple):
        return tuple(text(os.fspath(path)) for path in value)
    return text(os.fspath(value))


def at_least(low: int) -> Rule:
    return Rule(whole, lambda n: low <= n < 2**53, f"a whole number, {low} or more, without leading zeros")


def one_of(*words: str) -> Rule:
    return Rule(text, lambda word: word in words, "one of " + ", ".join(words))


def auto_or_positive(most: float) -> Rule:
    def read(value: Any) -> float | str:
        return "auto" if value == "auto" else number(value)

    return Rule(read, lambda x: x == "auto" or 0 < x <= most, f"auto, or a number above 0 and at most {most:g}")


def coordinates(value: Any) -> int | str:
    return str(value) if value in ("all", "directions") else whole(value)


def decodes(encoding: str) -> bool:
    """Whether Python knows a text encoding of that name."""
    try:
        return "".encode(encoding) is not None
    except (LookupError, ValueError):
        return False


def some_files(path: str | tuple[str, ...]) -> bool:
    each = [path] if isinstance(path, str) else path
    return bool(each) and all(name and "\0" not in name for name in each)


def three_shares(split: tuple[float, ...]) -> bool:
    return len(split) == 3 and split[0] > 0 and min(split) >= 0 and math.isclose(sum(split), 1, abs_tol=1e-6)


SWITCH = Rule(switch, lambda x: True, "true or false")
SHARE = Rule(number, lambda x: 0 <= x < 1, "a number, 0 or more and below 1")
RATE = Rule(number, lambda x: 0 < x <= 1e30, "a number above 0")
DECAY = Rule(number, lambda x: 0 <= x <= 1e6, "a number from 0 to 1e6")
PATH = Rule(paths, some_files, "the path of a text file, a list of paths, or - for standard input")
ENCODING = Rule(text, decodes, "an encoding that Python knows, such as utf-8, cp1252 or utf-16")
SPLIT = Rule(shares, three_shares, "three shares, for training (above 0), validation and test, that add up to 1")
SAMPLES = Rule(whole, lambda n: 0 <= n <= 1e6, "a whole number from 0 to a million, without leading zeros")
COORDINATES = Rule(
    coordinates, lambda n: isinstance(n, str) or 0 < n < 2**31, "all, directions, or how many of each tensor"
)
