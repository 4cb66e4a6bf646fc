"""What a sweep searches: `LOW..HIGH` and `A,B,C` behind a key, both held against the configuration's own rules."""

import itertools
import random
from argparse import Namespace
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from trainer import config as configuration
from trainer import files
from trainer.errors import UserError


class Plan(NamedTuple):
    """What all trials share, and between what they differ."""

    first: configuration.Config  # where each key that is searched has its first value
    tree: Mapping[str, Any]  # what stands in the file
    fixed: list[str]  # overrides, section.key=value
    ranges: dict[str, tuple[float, float]]
    lists: dict[str, list[str]]
    seeds: list[str]  # each trial is trained with every one of them
    combinations: list[dict[str, str]]  # where no key has a range, those that are tried

    def config(self, values: dict[str, Any], seed: str) -> configuration.Config:
        """The configuration of a run. Raises UserError for values that do not go together."""
        searched = [f"{key}={value}" for key, value in {**values, "seed": seed}.items()]
        return configuration.read(self.tree, [*self.fixed, *searched])


def read(given: Namespace) -> Plan:
    """The plan in a command. Raises UserError as the configuration does, and for what is no range or no search."""
    fixed, firsts, ranges, lists = list[str](), list[str](), dict[str, tuple[float, float]](), dict[str, list[str]]()
    for override in given.overrides:
        key, _, written = map(str.strip, override.partition("="))
        parts = written.split("..", 1) if ".." in written else written.split(",")
        if len(parts) == 1 or key.startswith("data."):  # a path may hold dots and commas
            fixed.append(override)
            continue
        firsts.append(f"{key}={parts[0]}")
        configs = [configuration.read({"data": {"path": "-"}}, [f"{key}={part}"]) for part in parts]
        if ".." not in written:
            lists[key] = list(dict.fromkeys(parts))
            continue
        low, high = map(attrgetter(key), configs)
        if not {type(low), type(high)} <= {int, float} or low >= high or key == "seed":
            raise UserError(f"{override!a} is no range, on the command line; give two numbers, the smaller first")
        ranges[key] = low, high
    tree = files.read_yaml(given.config)
    first = configuration.read(given.config, fixed + firsts)
    if first.data.path == "-" or first.data.split[1] == 0:
        raise UserError("a sweep needs a file and a share for validation, in data.path and data.split; give both")
    seeds = lists.pop("seed", [str(first.seed)])
    combinations = [dict(zip(lists, each, strict=True)) for each in itertools.product(*lists.values()) if not ranges]
    random.Random(seeds[0]).shuffle(combinations)
    return Plan(first, tree, fixed, ranges, lists, seeds, combinations[: given.trials])
