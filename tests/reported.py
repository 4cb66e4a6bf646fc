"""Small runs for the tests of reports, and rows as a log holds them."""

import itertools
import json
from pathlib import Path

import numpy as np

from trainer import config
from trainer.runs.session import train

LINES = ["".join(letters) for letters in itertools.product("ab", repeat=5)]  # 32 of them, all different


def make(name, lines=LINES, checked=False, **sections):
    """A small run in the working directory."""
    Path("text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tree = {
        "data": {"path": "text.txt"} | sections.get("data", {}),
        "model": {"context": 2, "embedding": 2, "hidden": 8} | sections.get("model", {}),
        "train": {"steps": 6, "batch_size": 4} | sections.get("train", {}),
        "check": {"enabled": checked, "every": 3},
        "log": {"every": 1, "eval_every": 2, "samples": 5},
    }
    return train(config.build(tree, "test"), name, quiet=True)


def write(folder, rows):
    """A log of such rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def step_row(step, **more):
    ratio = {"C": 1e-3, "W1": 1e-3, "b1": None, "W2": 1e-7, "b2": 0.5}
    row = {"event": "step", "time": step * 0.5, "step": step, "loss": 3.0 - 0.01 * step, "epoch": step / 10}
    row |= {"learning_rate": 0.1, "grad_norm": 2.0, "steps_per_second": 100.0, "saturated": 0.25}
    return row | {"update_ratio": ratio, "grad_ratio": ratio} | more


def eval_row(step, val_loss=2.5, **more):
    rng = np.random.default_rng(step)
    histograms = {}
    for name in ("h", "dh", "dz"):
        counts, edges = np.histogram(rng.standard_normal(500), 32)
        histograms[name] = {"counts": counts.tolist(), "range": [edges[0], edges[-1]]}
    row = {"event": "eval", "time": step * 0.5, "step": step, "train_loss": val_loss - 0.1, "val_loss": val_loss}
    return row | {"histograms": histograms} | more


def check_row(name, step=0, passed=True, **more):
    return {"event": "check", "time": 0.0, "step": step, "name": name, "passed": passed} | more


def gradient_row(tensor, step=0, passed=True, error=1e-9):
    found = {"method": "central", "coordinates": 8, "max_abs_error": error, "max_rel_error": error * 10}
    return check_row("gradient", step, passed, tensor=tensor, rtol=1e-6, atol=1e-8, **found)
