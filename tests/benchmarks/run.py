"""Benchmarks: python tests/benchmarks/run.py [--only training,grid,...] [--rounds 5] [--json FILE]

Every measurement runs in a process of its own. Ours and its peers take turns, round by round; tables show
the median, the ratios within a round, and every round. The machine must be idle otherwise: a busy core slows
threaded peers tenfold. A peer that is not installed is left out with a word (pip install -e '.[bench]').
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
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LECTURE, WIDE = (27, 3, 10, 200, 32), (27, 8, 24, 1024, 512)  # V, K, D, H, B
Rounds = dict[str, list[float]]


def measure(function: str, *arguments: Any, pin: bool = False) -> Any:
    """What a function of ours.py or peers.py gives in a fresh process; None if it lacks a package."""
    line = [sys.executable, __file__, "--worker", function, "--pin" if pin else "--free", json.dumps(arguments)]
    # Our threads, not the BLAS's, as trainer/__main__.py has it; peers choose for themselves.
    one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"} if function.startswith("ours.") or pin else {}
    environment = os.environ | one | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(line, env=environment, stdout=subprocess.PIPE, text=True, check=True)
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
        answer = error.name
    print(json.dumps(answer))


def number(x: Any) -> str:
    """Three digits, or all before the point."""
    return str(x) if not isinstance(x, float) else f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


def table(heads: list[str], rows: list[list[Any]]) -> None:
    """A Markdown table."""
    cells = [heads, ["---"] * len(heads), *(list(map(number, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        print("| " + " | ".join(map(str.ljust, row, widths)) + " |")
    print(flush=True)


def take_turns(contenders: Mapping[str, Callable[[], Any]], rounds: int) -> Rounds:
    """Each contender's number in each round; the order turns too, and one that gives None is out."""
    numbers: Rounds = {name: [] for name in contenders}
    for k in range(rounds):
        names = list(numbers)
        for name in names[k % len(names) :] + names[: k % len(names)]:
            found = contenders[name]()
            if found is None:
                del numbers[name]
            else:
                numbers[name].append(found)
    return numbers


def compare(title: str, unit: str, numbers: Rounds) -> Any:
    """Print and return medians and, round by round, how many times better the first contender is."""
    ours, rows, result = next(iter(numbers.values())), [], {}
    for name, values in numbers.items():
        ratios = [b / a if unit == "seconds" else a / b for a, b in zip(ours, values, strict=True)]
        middle, times = statistics.median(values), statistics.median(ratios)
        spread = f"{times:.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        rows.append([name, middle, spread, " ".join(map(number, values))])
        result[name] = {"median": middle, "rounds": values, "ratio": times, "ratios": ratios}
    table([title, unit, "the first is better, times", "rounds"], rows)
    return result


def training(rounds: int) -> Any:
    """Steps per second at both shapes, ours and peers."""
    result = {}
    for name, shape in {"lecture": LECTURE, "wide": WIDE}.items():
        contenders = {
            "ours": partial(measure, "ours.training", shape),
            "its six products, one thread": partial(measure, "ours.products", shape),
            "PyTorch eager, one thread": partial(measure, "peers.torch_training", shape, 1, pin=True),
            "PyTorch eager, all threads": partial(measure, "peers.torch_training", shape, os.cpu_count()),
            "JAX jit + scan, one core": partial(measure, "peers.jax_training", shape, pin=True),
            "JAX jit + scan, all threads": partial(measure, "peers.jax_training", shape),
        }
        if shape == LECTURE:
            contenders["scikit-learn, one-hot, no embedding"] = partial(
                measure, "peers.sklearn_training", shape, pin=True
            )
            contenders["ours, AdamW"] = partial(measure, "ours.training", shape, "adamw")
        result[name] = compare(f"{name}, {shape}", "steps/s", take_turns(contenders, rounds))
    return result


def grid(rounds: int) -> Any:
    """How cost grows with hidden units and batch, at the lecture's V, K, D."""
    V, K, D, _, _ = LECTURE
    shapes = [(V, K, D, H, B) for H in (100, 200, 400, 800) for B in (32, 128, 512)]
    numbers = take_turns({str(shape): partial(measure, "ours.training", shape) for shape in shapes}, rounds)
    rows: list[list[Any]] = []
    for (*_, H, B), values in zip(shapes, numbers.values(), strict=True):
        steps = statistics.median(values)
        rows.append([H, B, steps, steps * B, steps * 6 * B * H * (K * D + V) / 1e9])
    table(["H", "B", "steps/s", "examples/s", "GFLOP/s"], rows)
    return rows


def checks(rounds: int) -> Any:
    """Seconds and memory to check every coordinate once."""
    memory: dict[str, float] = {}

    def ours(method: str) -> float:
        seconds, megabytes = measure("ours.checking", LECTURE, method)
        memory[method] = max(memory.get(method, 0), megabytes)
        return float(seconds)

    contenders = {
        "ours, central, nine tensors": partial(ours, "central"),
        "ours, complex-step, nine tensors": partial(ours, "complex-step"),
        "gradcheck, one thread, five parameters": partial(measure, "peers.gradcheck", LECTURE, 1, pin=True),
        "gradcheck, all threads, five parameters": partial(measure, "peers.gradcheck", LECTURE, os.cpu_count()),
        "plain NumPy loop, five parameters": partial(measure, "ours.plain_loop", LECTURE),
    }
    result = compare("every coordinate, lecture", "seconds", take_turns(contenders, rounds))
    print("MB above the trainer's own:", ", ".join(f"{key} {mb:.0f}" for key, mb in memory.items()), "\n")
    contenders = {
        "ours, a step with all its checks": partial(measure, "ours.checked_step", LECTURE),
        "gradcheck(fast_mode=True), one thread": partial(measure, "peers.gradcheck", LECTURE, 1, True, 300, pin=True),
    }
    directions = compare("along directions, lecture", "seconds", take_turns(contenders, rounds))
    return {"seconds": result, "MB": memory, "directions": directions}


def encoding(rounds: int) -> Any:
    """Seconds and memory to the first step, over generated files that are deleted afterwards."""
    names = (ROOT / "data" / "names.txt").read_bytes()
    chinese = "".join(chr(0x4E00 + k * k % 6007) for k in range(100_000)).encode()
    rows = []
    for kind, part, size in [
        ("ASCII", names, 10**7),
        ("ASCII", names, 10**8),
        ("ASCII", names, 2**30),
        ("Chinese", chinese, 2 * 10**8),
    ]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "text.txt"
            with path.open("wb") as file:
                for _ in range(size // len(part)):
                    file.write(part)
                file.write(b"\n" * (size % len(part)))
            runs = [measure("ours.encoding", str(path)) for _ in range(min(rounds, 3))]
        rows.append([kind, size / 1e6, *map(statistics.median, zip(*runs, strict=True))])
    table(["text", "file MB", "loaded s", "first step s", "peak MB", "bytes/character above 150 MB"], rows)
    return rows


def sampling(rounds: int) -> Any:
    """Characters per second."""
    contenders = {
        "one text": partial(measure, "ours.sampling", LECTURE, 1),
        "4096 texts together": partial(measure, "ours.sampling", LECTURE, 4096),
        "PyTorch, a forward per character": partial(measure, "peers.torch_sampling", LECTURE, pin=True),
    }
    return compare("sampling, lecture", "characters/s", take_turns(contenders, rounds))


def seconds(*line: str) -> float:
    """How long Python takes for a command line in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, *line], cwd=folder, env=environment, capture_output=True, check=True)
        return time.perf_counter() - began


def sweep(rounds: int) -> Any:
    """Seconds of a sweep, 40 trials of 3,000 steps each at about the lecture's size, a core for each job."""
    trials = [f"data.path={ROOT}/data/names.txt", "train.steps=3000", "log.eval_every=500", "log.samples=0"]
    ranges = ["train.learning_rate=0.01..1", "model.hidden=200..400", "train.dropout=0..0.5"]
    line = [
        "-m",
        "trainer",
        "sweep",
        "--config",
        f"{ROOT}/configs/names.yaml",
        *ranges,
        *trials,
        "--trials",
        "40",
        "--no-pruning",
    ]
    jobs = {f"{n} at once": partial(seconds, *line, "--jobs", str(n)) for n in (2, 1)}
    return compare("40 trials", "seconds", take_turns(jobs, rounds))


def program(rounds: int) -> Any:
    """The whole program as a user runs it, and what it does besides training."""
    names = ("-m", "trainer", "--config", f"{ROOT}/configs/names.yaml", f"data.path={ROOT}/data/names.txt")
    contenders = {
        "python -m trainer --help": partial(seconds, "-m", "trainer", "--help"),
        "python -c 'import numpy'": partial(seconds, "-c", "import numpy"),
        "python -m trainer --config configs/names.yaml": partial(seconds, *names),
    }
    result = {"seconds": compare("whole program", "seconds", take_turns(contenders, rounds))}
    runs = [measure("ours.program", LECTURE) for _ in range(rounds)]
    besides = {key: [run[key] for run in runs] for key in runs[0]}
    rows = [[key, statistics.median(values), " ".join(map(number, values))] for key, values in besides.items()]
    table(["besides the loop, lecture", "median", "rounds"], rows)
    return result | besides


PARTS = {part.__name__: part for part in (training, grid, checks, encoding, sampling, program, sweep)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them: " + ",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write every number here")
    a = parser.parse_args()
    if unknown := set(a.only.split(",")) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    result: dict[str, Any] = {"processor": model[1] if model else platform.processor(), "cores": os.cpu_count()}
    for package in ("numpy", "torch", "jax", "scikit-learn"):
        try:
            result[package] = version(package)
        except PackageNotFoundError:
            result[package] = None
    print(", ".join(f"{key} {value}" for key, value in result.items()), "\n", flush=True)
    for name in a.only.split(","):
        result[name] = PARTS[name](a.rounds)
        if a.json:
            a.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2], sys.argv[3] == "--pin", json.loads(sys.argv[4]))
    else:
        main()
