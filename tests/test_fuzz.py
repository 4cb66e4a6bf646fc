"""Whatever the configuration, a run ends with status 0, 1 or 2, and unless it is 0 with one line that says why."""

import shutil
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Capture, obeyed, rows
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from trainer import config as configuration
from trainer.runs.checkpoint import load
from trainer.tools.command import main

TEXTS = {
    "names.txt": "anna\nbob\ncarla\ndan\neve\nfrank\ngina\nhugo\nida\njan\n" * 3,
    "strange.txt": "\x1b[31m\n\u202eabc\n\N{ROCKET}\u200d\nz\u0301\n \n\u2028x\n" * 4,
    "two.txt": "a\nb\na\nb\n",
    "empty.txt": "",
    "one.txt": "aaaa",
}
CHOICES = {  # values of each key, all but a few of them possible
    "seed": "0 7 9007199254740991",
    "data.path": "names.txt strange.txt two.txt empty.txt one.txt binary.bin latin.txt missing.txt . /dev/zero",
    "data.mode": "lines stream",
    "data.encoding": "utf-8 latin-1 utf-16 ascii rot13 nosuch",
    "data.split": "[0.8,0.1,0.1] [0.4,0.3,0.3] [1,0,0] [0,0.5,0.5]",
    "data.split_seed": "0 4",
    "model.dtype": "float32 float64",
    "train.optimizer": "sgd adamw",
    "train.momentum": "0 0.9 0.999999",
    "train.learning_rate": "auto 1e-300 1e-3 0.1 1 100 1e6 1e30",
    "train.schedule": "constant step cosine",
    "train.warmup_steps": "0 3 1125899906842624",
    "train.weight_decay": "0 0.1 3 1e6",
    "train.dropout": "0 0.3 0.999999",
    "train.embedding_dropout": "0 0.3 0.999999",
    "train.context_dropout": "0 0.3 0.999999",
    "train.patience": "0 1 3",
    "check.enabled": "true false",
    "check.every": "1 3 1125899906842624",
    "check.method": "central complex-step",
    "check.coordinates": "all directions",
    "check.eps": "auto 1e-300 1e-13 1e-9 1e-3 0.01",
    "check.rtol": "auto 1e-300 1e-9 1e-3 0.05",
    "check.atol": "auto 1e-300 1e-9 0.1",
    "check.initial_loss_atol": "auto 1e-300 1e-2 1e30",
    "check.on_failure": "stop warn",
    "log.every": "1 3 1125899906842624",
    "log.eval_every": "auto 1 4 1125899906842624",
    "log.eval_examples": "1 9 1125899906842624",
    "log.checkpoint_every": "auto 1 4 1125899906842624",
}
SIZES = {  # which need time and memory: always given, and small
    "model.context": 6, "model.embedding": 5, "model.hidden": 9, "train.steps": 6, "train.batch_size": 9,
    "log.samples": 4,
}  # fmt: skip
WORDS = "nan inf 1e999 -1 0x10 1_0 1:30 null ~ true auto float16 ' [ { &a *a 2001-99-99 << % \x00 \u202e \x1b[31m \x85"
ODDER = ["", " ", "\t", "n\nl", "9" * 5000, "[" * 500 + "]" * 500, "!!python/object:os.system x"]
ODD = st.sampled_from([*WORDS.split(" "), *ODDER, 0, -(2**64), -0.0, 1e-300, None, {"a": None}, ["names.txt", -1]])


@st.composite
def commands(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """The bytes of a configuration file, and the words that follow --config on the command line."""
    chosen: dict[str, Any] = {"data.path": "names.txt"}
    for key in draw(st.lists(st.sampled_from(list(CHOICES)), unique=True, max_size=12)):
        chosen[key] = draw(st.sampled_from(CHOICES[key].split()))
    if draw(st.integers(0, 3)) == 2:
        chosen[draw(st.sampled_from([*CHOICES, *SIZES, "data", "", "x.y"]))] = draw(ODD)
    tree: dict[str, Any] = {}
    words = [f"{key}={draw(st.integers(1, most))}" for key, most in SIZES.items()]
    for key, value in chosen.items():
        section, _, name = key.rpartition(".")
        if draw(st.integers(0, 3)) == 2:
            words.append(f"{key}={value}")
        elif section and isinstance(tree.setdefault(section, {}), dict):
            tree[section][name] = value
        else:
            tree[name] = value
    source = yaml.safe_dump(tree, allow_unicode=True).encode()
    if draw(st.integers(0, 9)) == 7:  # a slip of the finger
        at = draw(st.integers(0, len(source)))
        source = source[:at] + draw(st.binary(max_size=3)) + source[at + draw(st.integers(0, 3)) :]
    return source, words + ["--check"] * draw(st.booleans())


numbers = count()


def attempt(source: bytes, words: list[str], capsys: Capture) -> None:
    """Train, and look at what is said and left behind."""
    Path("fuzz.yaml").write_bytes(source)
    name = f"run{next(numbers)}"
    status = main(["--config", "fuzz.yaml", "--name", name, *words])
    said = capsys.readouterr().err.split("\n")
    told = [line for line in said if line.startswith(("error: ", "failed: "))]
    assert status in (0, 1, 2)
    assert told == {0: [], 1: [said[-2]], 2: [said[-2]]}[status]
    assert all(line.startswith({1: "failed: ", 2: "error: "}[status]) for line in told)
    assert not obeyed("".join(told))
    event(f"status {status}")
    for run in Path("runs").glob(f"{name}/*"):
        assert status or rows(run)[-1]["event"] == "end"
        if (run / "checkpoint.npz").exists():
            assert configuration.read(run / "config.yaml") == load(run / "checkpoint.npz").config
    shutil.rmtree(Path("runs") / name, ignore_errors=True)


@pytest.mark.filterwarnings("error")
@pytest.mark.usefixtures("empty")
@pytest.mark.parametrize("examples", [40, pytest.param(2000, marks=pytest.mark.long)])
def test_a_random_configuration_ends_with_one_line(examples: int, capsys: Capture) -> None:
    for name, text in TEXTS.items():
        Path(name).write_text(text, "utf-8", newline="\n")
    Path("binary.bin").write_bytes(bytes(range(256)))
    Path("latin.txt").write_bytes("fran\u00e7ois\nzo\u00eb\n".encode("latin-1"))

    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(commands())
    def every_configuration(command: tuple[bytes, list[str]]) -> None:
        attempt(*command, capsys)

    every_configuration()
