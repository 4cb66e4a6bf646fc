"""Whatever the configuration, a run ends with status 0, 1 or 2, and unless it is 0 with one line that says why."""

import json
import os
import shutil
import unicodedata
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import rows
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
PATHS = [*TEXTS, "binary.bin", "latin.txt", "missing.txt", ".", "", "\0", "/dev/zero", "x" * 5000, "n\nl\x1b"]
PLAIN = "nan inf 1e999 1e-3 -1 0x10 1_0 1:30 null ~ true auto all float16 ' [ { &a *a 2001-99-99 << % \x00 \u202e"
ODDER = ["", " ", '"', "\t", "\x1b[31m", "\N{ROCKET}", "\x85", "9" * 5000, "[" * 500 + "]" * 500]
WORDS = [*PLAIN.split(), *ODDER, "!!python/object:os.system x"]
NUMBERS = [0, -1, 2**53, -(2**64), 10**400, 0.5, -0.0, 1e-300, 1e300, float("nan"), float("inf")]
CHARACTERS = st.characters(exclude_categories=["Cs"])  # those of `st.text` itself, but it takes seconds
ODD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(NUMBERS), st.sampled_from(WORDS), st.text(CHARACTERS, max_size=6), st.none(), st.booleans(),
    st.lists(st.sampled_from([*NUMBERS, *WORDS]), max_size=3), st.dictionaries(st.sampled_from(WORDS), st.none()),
)  # fmt: skip
SIZES: dict[str, st.SearchStrategy[Any]] = {  # which need time and memory: always given, and small or refused
    "model.context": st.integers(1, 6),
    "model.embedding": st.integers(1, 5),
    "model.hidden": st.integers(1, 9),
    "train.steps": st.integers(1, 6),
    "train.batch_size": st.integers(1, 9),
    "log.samples": st.integers(0, 4),
}
CHOICES = {
    "data.mode": "lines stream",
    "data.encoding": "utf-8 latin-1 utf-16 ascii rot13 nosuch",
    "model.dtype": "float32 float64",
    "train.optimizer": "sgd adamw",
    "train.schedule": "constant step cosine",
    "check.enabled": "true false",
    "check.method": "central complex-step",
    "check.coordinates": "all directions",
    "check.on_failure": "stop warn",
}
RANGES: list[tuple[st.SearchStrategy[Any], str]] = [
    (st.integers(0, 2**53 - 1), "seed"),
    (st.integers(0, 4), "data.split_seed train.patience"),
    (st.integers(0, 2**50), "train.warmup_steps log.eval_examples"),
    (st.integers(1, 2**50), "check.every log.every log.eval_every log.checkpoint_every"),
    (st.floats(0, 0.999999), "train.momentum train.dropout train.embedding_dropout train.context_dropout"),
    (st.floats(0, 1e6), "train.weight_decay"),
    (st.sampled_from(["auto", 1e-300, 1e-3, 0.1, 1.0, 100.0, 1e6, 1e30]), "train.learning_rate"),
    (st.sampled_from(["auto", 1e-9, 1e-3, 0.01]) | st.floats(1e-300, 0.01), "check.eps check.rtol check.atol"),
    (st.just("auto") | st.floats(1e-300, 1e30), "check.initial_loss_atol"),
    (st.sampled_from([[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [1, 0, 0], [0, 0.5, 0.5], ["0.5", 0.25, 0.25]]), "data.split"),
    (st.sampled_from(PATHS) | st.lists(st.sampled_from(PATHS), max_size=3), "data.path"),
]
KEYS = {key: st.sampled_from(words.split()) for key, words in CHOICES.items()}
KEYS |= {key: strategy for strategy, keys in RANGES for key in keys.split()}


@st.composite
def commands(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """The bytes of a configuration file, and the words that follow --config on the command line."""
    chosen: dict[str, Any] = {"data.path": "names.txt"}
    chosen |= {key: draw(KEYS[key]) for key in draw(st.lists(st.sampled_from(list(KEYS)), unique=True, max_size=12))}
    for key in draw(st.lists(st.sampled_from([*KEYS, "data", "", "x.y"]), max_size=draw(st.sampled_from([0, 0, 1])))):
        chosen[key] = draw(ODD)
    tree: dict[str, Any] = {}
    words = [f"{key}={draw(sizes)}" for key, sizes in SIZES.items()]
    for key, value in chosen.items():
        section, _, name = key.rpartition(".")
        if draw(st.integers(0, 3)) == 2:
            words.append(f"{key}={value if isinstance(value, str) else json.dumps(value, default=str)}")
        elif section and isinstance(tree.setdefault(section, {}), dict):
            tree[section][name] = value
        else:
            tree[name] = value
    source = yaml.safe_dump(tree, allow_unicode=True).encode(errors="surrogatepass")
    if draw(st.integers(0, 9)) == 7:  # a slip of the finger
        at = draw(st.integers(0, len(source)))
        source = source[:at] + draw(st.binary(max_size=3)) + source[at + draw(st.integers(0, 3)) :]
    return source, words + ["--check"] * draw(st.booleans())


BIDI_CONTROLS = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]  # Unicode's property
numbers = count()


def is_obeyed(character: str) -> bool:
    """Whether a terminal does what the character says, or cannot be sent it; one that is not assigned is harmless."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or ord(character) in BIDI_CONTROLS


def attempt(source: bytes, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Train, and look at what is said and left behind."""
    Path("fuzz.yaml").write_bytes(source)
    name = f"run{next(numbers)}"
    status = main(["--config", "fuzz.yaml", "--name", name, *words])
    said = capsys.readouterr().err.split("\n")
    told = [line for line in said if line.startswith(("error: ", "failed: "))]
    assert status in (0, 1, 2)
    assert told == {0: [], 1: [said[-2]], 2: [said[-2]]}[status]
    assert all(line.startswith({1: "failed: ", 2: "error: "}[status]) for line in told)
    assert not any(is_obeyed(character) for line in told for character in line)
    event(f"status {status}")
    for run in Path("runs").glob(f"{name}/*"):
        assert status or rows(run)[-1]["event"] == "end"
        if (run / "checkpoint.npz").exists():
            assert configuration.read(run / "config.yaml") == load(run / "checkpoint.npz").config
    shutil.rmtree(Path("runs") / name, ignore_errors=True)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("examples", [40, pytest.param(2000, marks=pytest.mark.long)])
def test_a_random_configuration_ends_with_one_line(
    examples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in TEXTS.items():
        Path(name).write_text(text, "utf-8", newline="\n")
    Path("binary.bin").write_bytes(bytes(range(256)))
    Path("latin.txt").write_bytes("fran\u00e7ois\nzo\u00eb\n".encode("latin-1"))
    monkeypatch.setattr(os, "fsync", lambda number: None)  # power failures are not the matter here

    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(commands())
    def every_configuration(command: tuple[bytes, list[str]]) -> None:
        attempt(*command, capsys)

    every_configuration()
