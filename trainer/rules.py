"""What a key of the configuration takes: types that say how a value is read, which are possible, and in words which.

Values come as Python objects from a dictionary, and as text from a file or the command line. What reads them raises
ValueError, TypeError or LookupError for what is not of its kind.
"""

import math
import os
import re
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

NUMBER = re.compile(r"[-+]?(0|[1-9][\d_]*)?(\.\d*)?(e[-+]?\d+)?", re.IGNORECASE | re.ASCII)


class Rule(NamedTuple):
    """Stands in the annotation of a key."""

    read: Callable[[Any], Any]
    possible: Callable[[Any], bool]
    words: str


def word(value: Any) -> str:
    """A single value as it is written."""
    if isinstance(value, list):  # which in YAML may hold itself a billion times
        raise TypeError
    return str(value).strip()


def number(value: Any) -> float:
    """A number, from Python or from text such as 3, 0.1 or 1e-3."""
    written = word(value)
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
    each = value.strip().removeprefix("[").removesuffix("]").split(",") if isinstance(value, str) else value
    return tuple(map(number, each))


def add_up(split: tuple[float, ...]) -> bool:
    return len(split) == 3 and split[0] > 0 and min(split) >= 0 and math.isclose(sum(split), 1, abs_tol=1e-6)


def paths(value: Any) -> str | tuple[str, ...]:
    """The path of a file, or several."""
    found = tuple(map(os.fspath, value if isinstance(value, list | tuple) else [value]))
    if not all(found):
        raise ValueError
    return found if len(found) > 1 else found[0]


def at_least(low: int) -> Rule:
    return Rule(whole, lambda n: low <= n < 2**53, f"a whole number from {low} to below 2^53, without leading zeros")


def up_to(most: float) -> Rule:
    return Rule(number, lambda x: 0 < x <= most, f"a number above 0 and at most {most:g}")


def one_of(*words: str) -> Rule:
    return Rule(word, lambda found: found in words, "one of " + ", ".join(words))


BOOLS = {"true": True, "false": False}

FromZero = Annotated[int, at_least(0)]
FromOne = Annotated[int, at_least(1)]
Share = Annotated[float, Rule(number, lambda x: 0 <= x < 1, "a number, 0 or more and below 1")]
Decay = Annotated[float, Rule(number, lambda x: 0 <= x <= 1e6, "a number from 0 to 1e6")]
Positive = Annotated[float, up_to(1e30)]
Switch = Annotated[bool, Rule(lambda value: BOOLS[word(value).lower()], lambda _: True, "true or false")]
Paths = Annotated[
    str | tuple[str, ...], Rule(paths, bool, "the path of a text file, a list of paths, or - for standard input")
]
Encoding = Annotated[
    str, Rule(word, lambda name: "".encode(name) is not None, "an encoding that Python knows, such as utf-8 or cp1252")
]
Split = Annotated[
    tuple[float, ...],
    Rule(shares, add_up, "three shares, for training (above 0), validation and test, that add up to 1"),
]
