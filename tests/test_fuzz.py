"""Whatever the configuration, a run ends with status 0, 1 or 2, and unless it is 0 with one line that says why."""

import io
import json
import os
import shutil
import unicodedata
from contextlib import redirect_stderr, redirect_stdout
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from trainer import config as configuration
from trainer.errors import UserError
from trainer.runs.checkpoint import load
from trainer.tools.command import main

TEXTS = {
    "names.txt": "anna\nbob\ncarla\ndan\neve\nfrank\ngina\nhugo\nida\njan\n" * 3,
    "strange.txt": "\x1b[31m\n\u202eabc\n\N{ROCKET}\u200d\nz\u0301\n \n\u2028x\n" * 4,
    "two.txt": "a\nb\na\nb\n",
    "empty.txt": "",
    "blank.txt": "\n \n",
    "one.txt": "aaaa",
}
LONG_PATH = "x" * 5000
PATHS = [
    *TEXTS,
    "binary.bin",
    "latin.txt",
    "missing.txt",
    ".",
    "",
    "\0",
    "/dev/null",
    "/dev/zero",
    LONG_PATH,
    "n\nl\x1b",
]
WORDS = [
    "nan", "inf", "-inf", "1e999", "1e-3", "1e3", "-1", "0x10", "1_0", "1:30", "null", "~", "true", "auto", "all",
    "central", "complex-step", "cosine", "step", "constant", "warn", "stop", "adamw", "sgd", "lines", "stream",
    "float16", "", " ", "'", '"', "[", "{", "}", "&a", "*a", "!!python/object:os.system x", "!!binary x",
    "2001-01-01", "2001-99-99", "<<", "? a", "%", "@", "`", "\t", "\x1b[31m", "\u202e", "\N{ROCKET}", "\x85",
    "\ufeff", "\x00", "9" * 5000, "9" * 400, "0x" + "f" * 5000, "[" * 500 + "]" * 500,
]  # fmt: skip
NUMBERS = [
    0, -1, 1, 2**31, 2**52, 2**53, 2**64, -(2**64), 10**400,
    0.5, 1.5, -0.0, 1e-300, 1e30, 1e300, float("nan"), float("inf"),
]  # fmt: skip
RATES = st.sampled_from([1e-300, 1e-3, 0.1, 1.0, 100.0, 1e6, 1e30])
SPLITS = [[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [1, 0, 0], [0, 0.5, 0.5], [1e-9, 0.5, 0.5], ["0.5", 0.25, 0.25]]
CHARACTERS = st.characters(exclude_categories=["Cs"])  # those of `st.text` itself, but it takes seconds
ODD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(WORDS),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(CHARACTERS, max_size=6) | st.dates(),
    st.lists(st.sampled_from([*NUMBERS, "a", None]), max_size=4),
    st.dictionaries(st.text(CHARACTERS, max_size=3), st.integers(), max_size=2),
)
# What costs time: the most that is tried, unless it is so much that it must be refused.
MOST = {
    "train.steps": 3, "train.batch_size": 5, "log.samples": 2,
    "model.context": 3, "model.embedding": 3, "model.hidden": 5,
}  # fmt: skip
REFUSED = 2**45
SMALL = {key: st.integers(1, most) for key, most in MOST.items()}
KEYS = {
    **SMALL,
    "seed": st.integers(0, 2**53 - 1),
    "data.path": st.sampled_from(PATHS) | st.lists(st.sampled_from(list(TEXTS)), min_size=1, max_size=3),
    "data.mode": st.sampled_from(["lines", "stream"]),
    "data.encoding": st.sampled_from(["utf-8", "latin-1", "cp1252", "utf-16", "ascii"]),
    "data.split": st.sampled_from(SPLITS),
    "data.split_seed": st.integers(0, 99),
    "model.dtype": st.sampled_from(["float32", "float64"]),
    "train.optimizer": st.sampled_from(["sgd", "adamw"]),
    "train.momentum": st.floats(0, 0.999999),
    "train.learning_rate": RATES | st.floats(1e-300, 1e30),
    "train.schedule": st.sampled_from(["constant", "step", "cosine"]),
    "train.warmup_steps": st.sampled_from([0, 1, 2, 3, 2**52]),
    "train.weight_decay": st.floats(0, 1e6),
    "train.dropout": st.floats(0, 0.999999),
    "train.embedding_dropout": st.floats(0, 0.999999),
    "train.context_dropout": st.floats(0, 0.999999),
    "train.patience": st.integers(0, 3),
    "check.enabled": st.booleans(),
    "check.every": st.integers(1, 2**50),
    "check.method": st.sampled_from(["central", "complex-step"]),
    "check.coordinates": st.sampled_from(["all", "directions"]) | st.integers(1, 2**31 - 1),
    "check.eps": st.sampled_from(["auto", 1e-9, 1e-3, 0.5]) | st.floats(1e-300, 1),
    "check.rtol": st.just("auto") | st.floats(1e-300, 1),
    "check.atol": st.just("auto") | st.floats(1e-300, 1e30),
    "check.initial_loss_atol": st.floats(1e-300, 1e30),
    "check.on_failure": st.sampled_from(["stop", "warn"]),
    "log.every": st.integers(1, 2**50),
    "log.eval_every": st.integers(1, 2**50),
    "log.eval_examples": st.integers(1, 2**50),
    "log.checkpoint_every": st.integers(1, 2**50),
}


def affordable(key: str, value: Any) -> bool:
    """Whether a value is cheap to try: small, impossible, or too much for any memory."""
    try:
        number = float(yaml.safe_load(value) if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError, RecursionError, yaml.YAMLError):
        return True
    # Steps and samples need no memory: only what the rules refuse may be large.
    return key not in MOST or not MOST[key] < number < (2**53 if key in ("train.steps", "log.samples") else REFUSED)


@st.composite
def commands(draw: st.DrawFn) -> tuple[bytes, list[str]]:
    """The bytes of a configuration file, and the words that follow --config on the command line."""
    tree: dict[Any, Any] = {"data": {"path": "names.txt"}}
    words: list[str] = []
    chosen = {key: draw(KEYS[key]) for key in draw(st.lists(st.sampled_from(list(KEYS)), unique=True, max_size=12))}
    chosen |= {key: draw(SMALL[key]) for key in MOST if key not in chosen}
    for key in draw(st.lists(st.sampled_from(list(KEYS)), max_size=draw(st.sampled_from([0, 0, 1, 2])))):
        chosen[key] = draw(ODD.filter(lambda value, key=key: affordable(key, value)))  # type: ignore[misc]
    for key, value in chosen.items():
        section, _, name = key.rpartition(".")
        if key not in MOST and draw(st.integers(0, 3)) == 2:
            words.append(f"{key}={value if isinstance(value, str) else json.dumps(value, default=str)}")
        elif section:
            tree.setdefault(section, {})[name] = value
        else:
            tree[name] = value
    if draw(st.integers(0, 9)) == 7:  # a key or a section that does not exist, or that holds no keys
        place = draw(st.sampled_from([tree, *(part for part in tree.values() if isinstance(part, dict))]))
        key = st.sampled_from(["check", "log", "data", "path", 1, None, True]) | st.text(CHARACTERS, max_size=5)
        place[draw(key)] = draw(ODD)
    if draw(st.integers(0, 9)) == 7:
        word = draw(st.sampled_from(["train.momentum=", "log.", "seed=", ""])) + draw(st.text(CHARACTERS, max_size=8))
        words += [word] * (not word.startswith("-"))
    try:
        source = yaml.safe_dump(tree, allow_unicode=True, default_flow_style=True, width=10**6).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which UTF-8 does not have
        source = yaml.safe_dump(tree).encode()
    if draw(st.integers(0, 9)) == 7:  # a slip of the finger: in one flow, no line can go missing unnoticed
        at = draw(st.integers(0, len(source)))
        source = source[:at] + draw(st.binary(max_size=3)) + source[at + draw(st.integers(0, 3)) :]
        words += [f"{key}={most}" for key, most in MOST.items()]
    return source, words + ["--check"] * draw(st.booleans())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all the texts."""
    folder = tmp_path_factory.mktemp("fuzz")
    for name, text in TEXTS.items():
        (folder / name).write_text(text, "utf-8", newline="\n")
    (folder / "binary.bin").write_bytes(bytes(range(256)))
    (folder / "latin.txt").write_bytes("fran\u00e7ois\nzo\u00eb\n".encode("latin-1"))
    return folder


BIDI_CONTROLS = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]  # Unicode's property
numbers = count()


def is_obeyed(character: str) -> bool:
    """Whether a terminal does what the character says, or cannot be sent it; one that is not assigned is harmless."""
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or ord(character) in BIDI_CONTROLS


def attempt(source: bytes, words: list[str]) -> None:
    """Train, and look at what is said and left behind."""
    Path("fuzz.yaml").write_bytes(source)
    name = f"run{next(numbers)}"
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with redirect_stdout(out), redirect_stderr(err):
        status = main(["--config", "fuzz.yaml", "--name", name, *words])
        out.flush()
        err.flush()
    said = err.buffer.getvalue().decode().split("\n")  # type: ignore[attr-defined]
    told = [line for line in said if line.startswith(("error: ", "failed: "))]
    assert status in (0, 1, 2)
    assert told == {0: [], 1: [said[-2]], 2: [said[-2]]}[status]
    assert all(line.startswith({1: "failed: ", 2: "error: "}[status]) for line in told)
    assert not any(is_obeyed(character) for line in told for character in line)
    event(f"status {status}")
    for folder in Path("runs").glob(f"{name}/*"):
        rows = [json.loads(row, parse_constant=refuse) for row in (folder / "metrics.jsonl").read_text().splitlines()]
        assert status or rows[-1]["event"] == "end"
        c = load(folder / "checkpoint.npz")
        assert configuration.read(folder / "config.yaml") == c.config
    shutil.rmtree(Path("runs") / name, ignore_errors=True)


def refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def fuzz(examples: int, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(os, "fsync", lambda number: None)  # power failures are not the matter here

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(commands())
    def every_configuration(command: tuple[bytes, list[str]]) -> None:
        attempt(*command)

    every_configuration()


def test_an_odd_word_for_a_key_of_each_kind_is_a_value_or_one_line(place: Path) -> None:
    source = place / "odd.yaml"
    for key in (
        "data.path",
        "data.split",
        "train.steps",
        "train.momentum",
        "check.eps",
        "check.coordinates",
        "seed",
        "x",
    ):
        section, _, name = key.rpartition(".")
        for k, word in enumerate(WORDS):
            inside = f"{section}: {{{name}: {word}}}" if section else f"{name}: {word}"
            source.write_text(inside if k % 2 else "data: {path: a}", "utf-8")
            try:
                c = configuration.read(source, ["data.path=a"] if k % 2 else [f"{key}={word}"])
                assert configuration.build(configuration.to_dict(c), "") == c
            except UserError as error:
                told = str(error)
                assert len(told) < 1000 and (key in told or str(source) in told)  # noqa: PT018


@pytest.mark.filterwarnings("error")
def test_a_random_configuration_ends_with_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fuzz(40, place, monkeypatch)


@pytest.mark.long
@pytest.mark.filterwarnings("error")
def test_two_thousand_random_configurations_end_with_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fuzz(2000, place, monkeypatch)
