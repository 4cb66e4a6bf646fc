"""Configurations: valid YAML of wrong types and sizes, with anchors, cycles, merges, tags, and documents in a row."""

import json
import random
from pathlib import Path

import yaml

from hostile import odd
from trainer import config as configuration

USUAL = configuration.to_dict(configuration.build({"data": {"path": "text.txt"}}, "here"))
FORMS = [
    "a: &x [*x]\n", "&x {data: *x}\n", "data: &d {path: a}\nmodel: *d\n", "data: {path: a, <<: {mode: lines}}\n",
    "<<: [{data: {path: a}}]\n", "data: {path: a}\ndata: {path: b}\n", "--- {data: {path: a}}\n--- {data: {path: b}}\n",
    "? [a, b]\n: c\n", "? {a: b}\n: c\n", "? &k data\n: {path: *k}\n", "!!set {data}\n", "!!omap [data: {path: a}]\n",
    "data: !!python/object/apply:os.system [touch hacked]\n", "data: !<tag:yaml.org,2002:str> a\n", "%YAML 9.9\n---\n",
    "data: {path: !!binary aGVsbG8=}\n", "data:\n\tpath: a\n", "data: {path: 'a\n", "- data\n", "data\n", "",
    "---\n", "...\n",
    "seed: 1:30\ndata: {path: a}\n", "seed: 0x_1\n", "seed: !!int 'x'\n", "seed: !!float .inf\n", "seed: ~\n", "? \n",
    "data: {path: a, split: [0.8, 0.1]}\n", "data: {path: a, split: &s [*s, *s, *s]}\n", "data.path: a\n", "null: {}\n",
    "a: &a [x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: &d [*c,*c]\ndata: {path: *d}\n", "[" * 600 + "]" * 600,
    "{a: " * 600 + "}" * 600, "data: {path: |\n  a\n  b}\n", "data: {path: >-\n  a}\n", "&a : *a\n", "*a : 1\n",
]  # fmt: skip
PIECES = ["&x ", "*x", "!!str ", "!!int ", "!x ", "'", '"', "{", "}", "[", "]", ": ", "- ", "\n", "\t", "#", "|",
    ">", "%", "\0",
          "\x85", "\ufeff", "\u2028", "\U0001f680", "<<: ", "? ", "~", "---\n", "...\n", "0o7", "1_0", "1:3",
          "\x1b", "\\"]  # fmt: skip


def make(rng: random.Random) -> bytes:
    """The bytes of a configuration file."""
    if rng.random() < 0.15:
        text = rng.choice(FORMS) + rng.choice(["", "", "model: {hidden: 3}\n"])
    else:
        tree = {key: rng.choice([USUAL[key], {}]) for key in rng.sample([*USUAL], 3)} | {"data": {"path": "text.txt"}}
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            tree = odd.changed(tree, rng)
        text = written(tree, rng)
    for _ in range(rng.choice([0, 0, 0, 0, 1, 2])):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(PIECES) + text[at + rng.choice([0, 0, 1, 5]) :]
    encoding = rng.choice(["utf-8"] * 12 + ["utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig"])
    return text.encode(encoding, rng.choice(["replace", "ignore", "backslashreplace"]))


def written(tree: object, rng: random.Random) -> str:
    """The tree as YAML, or as JSON, which is YAML too."""
    try:
        if rng.random() < 0.5:
            return str(yaml.safe_dump(tree, default_flow_style=rng.choice([True, False, None]), allow_unicode=True))
        return json.dumps(tree)
    except (ValueError, yaml.YAMLError):  # an integer of hundreds of digits is written by neither
        return "seed: " + "9" * 5000


def read(path: Path, rng: random.Random) -> str:
    overrides = rng.choice([[], [], ["data.path=a"], ["train.steps=3", "data.path=b"], ["seed=" + rng.choice("1x~[{")]])
    found = configuration.read(path, overrides)
    assert configuration.build(configuration.to_dict(found), "there") == found
    return "accepted"
