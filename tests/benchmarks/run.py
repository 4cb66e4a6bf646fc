"""Benchmarks: python tests/benchmarks/run.py [--only training,checks,...] [--rounds 5]

Ours and its peers take turns in processes of their own; tables show the median, the ratios within a round, and every
round. The machine must be idle otherwise. A peer that is not installed is left out (pip install -e '.[bench]').
"""

import argparse
import importlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LECTURE, WIDE, BEST = (27, 3, 10, 200, 32), (27, 8, 24, 1024, 512), (27, 8, 32, 1000, 128)  # V, K, D, H, B
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}


def measure(function: str, *arguments: Any, pin: bool = False) -> Any:
    """What a function of ours.py or peers.py gives in a fresh process, `pin`: on one core; None without its package."""
    one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"} if function.startswith("ours.") or pin else {}
    line = [sys.executable, __file__, "--worker", function, "--pin" if pin else "--free", json.dumps(arguments)]
    done = subprocess.run(line, env=ENVIRONMENT | one, stdout=subprocess.PIPE, text=True, check=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    if isinstance(answer, str):
        print(f"left out: {function}, {answer} is not installed")
        return None
    return answer


def worker(function: str, pin: bool, arguments: list[Any]) -> None:
    """The other side of `measure`."""
    if pin:  # before the packages are imported: JAX counts its processors then
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    module, name = function.split(".")
    try:
        answer = getattr(importlib.import_module(module), name)(*arguments)
    except ModuleNotFoundError as error:
        if module == "ours":
            raise
        answer = error.name
    print(json.dumps(answer))


def number(x: Any) -> str:
    """Three digits, or all before the point."""
    return str(x) if not isinstance(x, float) else f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


def compare(title: str, unit: str, rounds: int, contenders: Mapping[str, Callable[[], Any]]) -> None:
    """Print medians and, round by round, how many times better the first contender is; the order turns."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for k in range(rounds):
        names = list(found)
        for name in names[k % len(names) :] + names[: k % len(names)]:
            value = contenders[name]()
            if value is None:
                del found[name]
            else:
                found[name].append(value)
    ours = next(iter(found.values()))
    rows: list[list[Any]] = [[title, unit, "the first is better, times", "rounds"], ["---"] * 4]
    for name, values in found.items():
        ratios = [b / a if unit == "seconds" else a / b for a, b in zip(ours, values, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        rows.append([name, statistics.median(values), spread, " ".join(map(number, values))])
    for row in rows:  # a Markdown table
        print("| " + " | ".join(map(number, row)) + " |")
    print(flush=True)


def training(rounds: int) -> None:
    """Steps per second, ours and peers: names-best, the lecture's shape and a wide one, on all cores and on one."""
    for name, shape in {"names-best": BEST, "lecture": LECTURE, "wide": WIDE}.items():
        best = name == "names-best"
        ours = ("ours.names_best",) if best else ("ours.steps", shape)
        for cores, pin, threads in (("all cores", False, os.cpu_count()), ("one core", True, 1)):
            compare(f"{name}, {shape}, {cores}", "steps/s", rounds, {
                "ours": partial(measure, *ours, pin=pin),
                "JAX, jit and scan": partial(measure, "peers.jax_training", shape, best, pin=pin),
                "PyTorch, eager": partial(measure, "peers.torch_training", shape, threads, best, pin=pin),
                "the six products alone, one core": partial(measure, "ours.products", shape, pin=True),
            })  # fmt: skip


def checks(rounds: int) -> None:
    """Seconds to check a step of the lecture's shape."""
    compare("every entry, lecture", "seconds", rounds, {
        "ours, central, nine tensors": partial(measure, "ours.checking", LECTURE, "central"),
        "ours, complex-step, nine tensors": partial(measure, "ours.checking", LECTURE, "complex-step"),
        "gradcheck, five parameters": partial(measure, "peers.gradcheck", LECTURE, pin=True),
    })  # fmt: skip
    compare("along directions, lecture", "seconds", rounds, {
        "ours, a step with all its checks": partial(measure, "ours.checked_step", LECTURE),
        "gradcheck(fast_mode=True)": partial(measure, "peers.gradcheck", LECTURE, True, 300, pin=True),
    })  # fmt: skip


def seconds(*line: str) -> float:
    """How long Python takes for a command line in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subprocess.run([sys.executable, *line], cwd=folder, env=ENVIRONMENT, capture_output=True, check=True)
        return time.perf_counter() - began


TRAIN = ("--config", f"{ROOT}/configs/names.yaml", f"data.path={ROOT}/data/names.txt")


def sweep(rounds: int) -> None:
    """Seconds of a sweep, 40 trials of 3,000 steps each at about the lecture's size, a core for each job."""
    settings = "train.steps=3000 log.eval_every=500 log.samples=0 --trials 40 --no-pruning"
    ranges = "train.learning_rate=0.01..1 model.hidden=200..400 train.dropout=0..0.5"
    line = ("-m", "trainer", "sweep", *TRAIN, *ranges.split(), *settings.split(), "--jobs")
    compare("40 trials", "seconds", rounds, {f"{n} at once": partial(seconds, *line, str(n)) for n in (2, 1)})


def program(rounds: int) -> None:
    """The whole program as a user runs it."""
    compare("whole program", "seconds", rounds, {
        "python -m trainer --help": partial(seconds, "-m", "trainer", "--help"),
        "python -c 'import numpy'": partial(seconds, "-c", "import numpy"),
        "python -m trainer --config configs/names.yaml": partial(seconds, "-m", "trainer", *TRAIN),
    })  # fmt: skip


PARTS = {part.__name__: part for part in (training, checks, program, sweep)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them: " + ",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    packages = [f"{name} {version(name)}" for name in ("numpy", "torch", "jax") if find_spec(name)]
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    print(model[1] if model else platform.processor(), f"{os.cpu_count()} cores", *packages, sep=", ", end="\n\n")
    for name in given.only.split(","):
        PARTS[name](given.rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], sys.argv[3] == "--pin", json.loads(sys.argv[4]))
    else:
        main()
