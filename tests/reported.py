"""Small runs for the tests of reports, and rows as a log holds them."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure

from trainer import config
from trainer.runs.session import train
from trainer.tools.report.figures import STYLE

LINES = ["".join(letters) for letters in itertools.product("ab", repeat=5)]  # 32 of them, all different


SMALL = (
    "data.path=text.txt model.context=2 model.embedding=2 model.hidden=8 train.steps=6 train.batch_size=4"
    " log.every=1 log.eval_every=2 log.samples=5 check.every=3"
)


def make(name: str, settings: str = "", lines: list[str] = LINES) -> Path:
    """A small run in the working directory."""
    Path("text.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return train(config.read({}, f"{SMALL} {settings}".split()), name, quiet=True)


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A log of such rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def step_row(step: int, **more: Any) -> dict[str, Any]:
    ratio = {"C": 1e-3, "W1": 1e-3, "b1": None, "W2": 1e-7, "b2": 0.5}
    row = {"event": "step", "time": step * 0.5, "step": step, "loss": 3.0 - 0.01 * step, "epoch": step / 10}
    row |= {"learning_rate": 0.1, "grad_norm": 2.0, "steps_per_second": 100.0, "saturated": 0.25}
    return row | {"update_ratio": ratio, "grad_ratio": ratio} | more


def eval_row(step: int, val_loss: float | None = 2.5, **more: Any) -> dict[str, Any]:
    counts, edges = np.histogram(np.random.default_rng(step).standard_normal(500), 32)
    histogram = {"counts": counts.tolist(), "range": [edges[0], edges[-1]]}
    row = {"event": "eval", "time": step * 0.5, "step": step, "train_loss": 2.4, "val_loss": val_loss}
    return row | {"histograms": dict.fromkeys(("h", "dh", "dz"), histogram)} | more


def check_row(name: str, step: int = 0, passed: bool = True, error: Any = 1.0, **more: Any) -> dict[str, Any]:
    row = {"event": "check", "time": 0.0, "step": step, "name": name, "of": None, "passed": passed, "error": error}
    row |= {"tolerance": 4.0, "found": 1.0, "expected": 0.0, "worst": None, "count": 1, "relative": None}
    return row | {"words": None} | more


def drawn(draw: Callable[..., None], *data: Any) -> Figure:
    """What a figure of the report draws."""
    with style.context(["default", STYLE]):
        picture = Figure(layout="constrained")
        draw(picture, *data)
    return picture
