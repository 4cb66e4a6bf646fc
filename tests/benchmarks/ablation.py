"""What each choice in a configuration is worth: undo one at a time, train over several seeds, print a Markdown table.

    python tests/benchmarks/ablation.py [--steps 20000] [--seeds 1 2 3] [--only dropout]

The loss is that of the whole validation split, in nats a character; its spread, the standard deviation over the seeds.
A run takes all cores, so runs follow one another, and a row is printed as soon as its last seed is done.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VARIANTS: dict[str, tuple[str, ...]] = {  # what changed, and the overrides that change it
    "nothing": (),
    "context 3": ("model.context=3",),
    "context 5": ("model.context=5",),
    "context 12": ("model.context=12",),
    "embedding 10": ("model.embedding=10",),
    "hidden 200": ("model.hidden=200",),
    "no dropout": ("train.dropout=0", "train.embedding_dropout=0"),
    "weight decay 0.05": ("train.weight_decay=0.05",),
    "constant learning rate": ("train.schedule=constant",),
    "no warm-up": ("train.warmup_steps=0",),
    "SGD at 0.1": ("train.optimizer=sgd", "train.learning_rate=0.1"),
    "SGD at 0.1, momentum 0.9": (
        "train.optimizer=sgd", "train.learning_rate=0.1", "train.momentum=0.9",
    ),
}  # fmt: skip


def run(config: Path, overrides: Sequence[str]) -> tuple[float, float]:
    """Train in a process of its own, as a user would; the validation loss and the seconds that training took."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trainer", "--config", str(config), *overrides]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
        (metrics,) = Path(folder).glob("runs/*/*/metrics.jsonl")
        end = json.loads(metrics.read_text().splitlines()[-1])
    return end["val_loss"], end["seconds"]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--config", type=Path, default=ROOT / "configs/names-best.yaml")
    p.add_argument("--data", type=Path, default=ROOT / "data/names.txt")
    p.add_argument("--steps", type=int, help="of each run; by default the configuration's")
    p.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    p.add_argument("--only", default="", help="variants whose name holds this text, beside `nothing`")
    a = p.parse_args()

    common = [f"data.path={a.data.absolute()}", "log.samples=0", *[f"train.steps={a.steps}"] * (a.steps is not None)]
    print("| changed | validation loss | spread | worse by | seconds a run |\n|---|---|---|---|---|", flush=True)
    base = None
    for name, overrides in VARIANTS.items():
        if base is not None and a.only not in name:
            continue
        results = [run(a.config.absolute(), [*common, *overrides, f"seed={seed}"]) for seed in a.seeds]
        losses, seconds = zip(*results, strict=True)
        mean = statistics.mean(losses)
        base = mean if base is None else base
        spread = f"{statistics.stdev(losses):.4f}" if len(losses) > 1 else "-"
        print(f"| {name} | {mean:.4f} | {spread} | {mean - base:+.4f} | {statistics.mean(seconds):.0f} |", flush=True)


if __name__ == "__main__":
    main()
