"""What each choice in a configuration is worth: undo one at a time, train over several seeds, print a Markdown table.

    python tests/benchmarks/ablation.py [section.key=value ...] [--seeds 1 2 3] [--only dropout decay]

Overrides hold for every run: train.steps=30000 model.hidden=300 asks the question of a smaller and shorter training.
The loss is that of the whole validation split, in nats a character; its spread, the standard deviation over the seeds.
Every core has a run of its own, and a row is printed as soon as its last seed is done. Linux only.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).resolve().parents[2]
VARIANTS: dict[str, tuple[str, ...]] = {  # what changed, and the overrides that change it
    "nothing": (),
    "context 3": ("model.context=3",),
    "context 5": ("model.context=5",),
    "context 12": ("model.context=12",),
    "embedding 10": ("model.embedding=10",),
    "hidden 200": ("model.hidden=200",),
    "no dropout": ("train.dropout=0", "train.embedding_dropout=0", "train.context_dropout=0"),
    "no dropout of hidden units": ("train.dropout=0",),
    "no dropout of embeddings": ("train.embedding_dropout=0", "train.context_dropout=0"),
    "dropout of embeddings 0.2, the same at every distance": ("train.embedding_dropout=0.2", "train.context_dropout=0"),
    "no weight decay": ("train.weight_decay=0",),
    "weight decay 0.1": ("train.weight_decay=0.1",),
    "constant learning rate": ("train.schedule=constant",),
    "no warm-up": ("train.warmup_steps=0",),
    "SGD at 0.1": ("train.optimizer=sgd", "train.learning_rate=0.1"),
    "SGD at 0.1, momentum 0.9": (
        "train.optimizer=sgd", "train.learning_rate=0.1", "train.momentum=0.9",
    ),
}  # fmt: skip


def run(config: Path, overrides: Sequence[str], cores: "Queue[int]") -> tuple[float, float]:
    """Train in a process of its own, as a user would; the validation loss and the seconds that training took."""
    core = cores.get()
    with tempfile.TemporaryDirectory() as folder:
        command = ["taskset", "-c", str(core), sys.executable, "-m", "trainer", "--config", str(config), *overrides]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
        cores.put(core)
        (metrics,) = Path(folder).glob("runs/*/*/metrics.jsonl")
        end = json.loads(metrics.read_text().splitlines()[-1])
    return end["val_loss"], end["seconds"]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--config", type=Path, default=ROOT / "configs/names-best.yaml")
    p.add_argument("--data", type=Path, default=ROOT / "data/names.txt")
    p.add_argument("overrides", nargs="*", metavar="section.key=value", help="for every run")
    p.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    p.add_argument("--only", nargs="+", default=[""], help="variants whose name holds one of these, beside `nothing`")
    a = p.parse_intermixed_args()

    common = [f"data.path={a.data.absolute()}", "log.samples=0", *a.overrides]
    print("| changed | validation loss | spread | worse by | seconds a run |\n|---|---|---|---|---|", flush=True)
    base, cores = None, Queue[int]()
    for core in os.sched_getaffinity(0):
        cores.put(core)
    chosen = {
        name: changes for name, changes in VARIANTS.items() if name == "nothing" or any(word in name for word in a.only)
    }
    with ThreadPoolExecutor(cores.qsize()) as pool:
        jobs = {
            name: [
                pool.submit(run, a.config.absolute(), [*common, *changes, f"seed={seed}"], cores) for seed in a.seeds
            ]
            for name, changes in chosen.items()
        }
        for name, results in jobs.items():
            losses, seconds = zip(*(result.result() for result in results), strict=True)
            mean = statistics.mean(losses)
            base = mean if base is None else base
            spread = f"{statistics.stdev(losses):.4f}" if len(losses) > 1 else "-"
            print(
                f"| {name} | {mean:.4f} | {spread} | {mean - base:+.4f} | {statistics.mean(seconds):.0f} |", flush=True
            )


if __name__ == "__main__":
    main()
