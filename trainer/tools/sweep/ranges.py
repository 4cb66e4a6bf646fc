"""What a sweep searches: `LOW..HIGH` and `A,B,C` behind a key, both held against the configuration's own rules."""

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trainer import config as configuration
from trainer import files
from trainer.errors import UserError


class Plan(NamedTuple):
    """What all trials share, between what they differ, and how many there are."""

    fixed: dict[str, Any]  # all that the file and the command give, but for what is searched
    ranges: dict[str, tuple[float, float]]
    lists: dict[str, list[str]]
    seeds: list[str]  # each trial is trained with every one of them
    first: configuration.Config  # where each key that is searched has its first value
    trials: int
    combinations: list[dict[str, str]]  # where no key has a range, those that are tried

    def config(self, values: Mapping[str, Any], seed: str) -> configuration.Config:
        """The configuration of a run. Raises UserError for values that do not go together."""
        return configuration.read({}, {**self.fixed, **values, "seed": seed})


def read(config: str, overrides: Sequence[str], trials: int) -> Plan:
    """The plan in a command. Raises UserError as the configuration does, and for what is no range or no search."""
    fixed, ranges, lists = dict[str, Any](), dict[str, tuple[float, float]](), dict[str, list[str]]()
    for key, written in configuration.by_key(overrides).items():
        if key.startswith("data.") or isinstance(written, list):  # a path may hold dots and commas
            fixed[key] = written
            continue
        low, dots, high = written.partition("..")
        parts = [low, high] if dots else written.split(",")
        values = [configuration.convert(key, part, "on the command line") for part in parts]
        if len(parts) == 1:
            fixed[key] = written
        elif not dots:
            lists[key] = list(dict.fromkeys(parts))
        elif {*map(type, values)} <= {int, float} and values[0] < values[1] and key != "seed":
            ranges[key] = values[0], values[1]
        else:
            raise UserError(f"{key}={written} is no range, on the command line; give the smaller one first, or a list")
    first = configuration.read(config, fixed | {key: values[0] for key, values in {**ranges, **lists}.items()})
    if first.data.path == "-" or first.data.split[1] == 0:
        raise UserError("a sweep needs a file and a share for validation, in data.path and data.split; give both")
    fixed = configuration.flatten(files.read_yaml(config)) | fixed
    seeds = lists.pop("seed", [str(first.seed)])
    combinations = [dict(zip(lists, each, strict=True)) for each in itertools.product(*lists.values()) if not ranges]
    random.Random(seeds[0]).shuffle(combinations)
    return Plan(fixed, ranges, lists, seeds, first, trials, combinations[:trials])
