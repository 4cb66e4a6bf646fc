"""Values that are hardly ever meant, and a tree in which one of its values is such."""

import copy
import random
from typing import Any

NAN, INF = float("nan"), float("inf")
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63, 2**64, -(2**64), 10**400, 0.5, -0.0, 1e-320, 1e308, NAN, INF,
    -INF,
    "", " ", "a", "\0", "\n", "\x1b[2J", "\u202e", "\ud800", "\U0010ffff", "1", "nan", "true", "null", "<b>&'\"",
    "../..",
    "/dev/zero", "-", "x" * 5000, [], {}, [None], [[]], {"": 0}, [1, "a", None], {"a": {"b": {"c": []}}}, ["a"] * 300,
]  # fmt: skip


def value(rng: random.Random) -> Any:
    """An odd value, which may lie deep inside others."""
    found = copy.deepcopy(rng.choice(ODD))
    for _ in range(rng.choice([0, 0, 0, 0, 1, 2, 9, 60])):
        found = [found] if rng.random() < 0.5 else {rng.choice(["a", "event", "config", ""]): found}
    return found


def places(tree: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything inside a tree of dictionaries and lists."""
    pairs = list(tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ())
    return [place for key, inner in pairs for place in ((*before, key), *places(inner, (*before, key)))]


def changed(tree: Any, rng: random.Random) -> Any:
    """The tree with something in it replaced, taken out, added, or put in the place of something else."""
    if rng.random() < 0.02 or not isinstance(tree, (dict, list)):
        return value(rng)
    tree = copy.deepcopy(tree)
    found = places(tree)
    if not found:
        return value(rng)
    *path, last = rng.choice(found)
    parent = tree
    for key in path:
        parent = parent[key]
    kind = rng.randrange(6)
    if kind == 0:
        del parent[last]
    elif kind == 1 and isinstance(parent, dict):
        parent[rng.choice(["surprise", "", "\x1b", last, "a" * 300])] = value(rng)
    elif kind == 2 and isinstance(parent, dict):
        parent[rng.choice([*parent])] = copy.deepcopy(parent[last])
    else:
        parent[last] = value(rng)
    return tree
