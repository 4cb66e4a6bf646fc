"""The log of a run, metrics.jsonl: what a step gives to it, and read again row by row and as columns."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from trainer import files
from trainer.core.model import NAMES
from trainer.core.ops import Array
from trainer.core.step import Step
from trainer.runs.folder import find
from trainer.text.corpus import Corpus

Row = dict[str, Any]


# Writing


def step_row(step: Step, corpus: Corpus) -> Row:
    """The numbers of a `step` row. Losses are in nats; ratios are those of norms."""
    update_ratio, grad_ratio = {}, {}
    for name in NAMES:
        before, after, g = (getattr(each, name) for each in (step.before, step.after, step.g))
        size = float(np.linalg.norm(before)) or math.nan  # a bias is zero at first
        update_ratio[name] = float(np.linalg.norm(after - before)) / size
        grad_ratio[name] = float(np.linalg.norm(g)) / size
    start, end = corpus.splits["train"]
    return {
        "step": step.number,
        "loss": step.loss,
        "epoch": step.number * len(step.batch.targets) / (end - start),
        "learning_rate": step.rate,
        "grad_norm": float(np.linalg.norm(step.g.flat)),
        "update_ratio": update_ratio,
        "grad_ratio": grad_ratio,
        "saturated": float(np.mean(abs(step.forward["tanh"]) > 0.99)),
    }


def histograms(step: Step) -> dict[str, Row]:
    """Of h, dh and dz, for an `eval` row: 32 counts and their range, which holds zero and is never empty."""
    parts = {
        "h": [each.activations.h for each in step.passes],
        "dh": [each.inner.dh for each in step.passes],
        "dz": [each.inner.dz for each in step.passes],
    }
    found = {}
    for name, arrays in parts.items():
        values = np.concatenate(arrays).astype(np.float64)  # (B, H)
        counts, edges = np.histogram(values, 32, (values.min(initial=0), values.max(initial=1e-300)))
        found[name] = {"counts": counts.tolist(), "range": [float(edges[0]), float(edges[-1])]}
    return found


# Reading


def read(folder: Path) -> list[Row]:
    """The rows of a run. What is no object with an event is left out, and a last line without its end.

    Raises UserError if the file cannot be read.
    """
    data = files.read(folder / "metrics.jsonl", "the metrics", "give a run folder")
    rows = []
    for line in data.split(b"\n")[:-1]:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("event"), str):
            rows.append(row)
    return rows


def metrics(run: str | Path) -> dict[str, dict[str, list[Any]]]:
    """The log of a run, or of the newest in a folder of runs, as columns of one length, ready for pandas.

    They stand by event, `start`, `step`, `eval`, `end`, and for the checks by name, `gradient` and so on. Nested keys
    are joined by dots. Times are in seconds of training, losses in nats per character. Raises UserError if there is no
    such run, or its log cannot be read.

    >>> trainer.metrics(run)["eval"]["step"][-1]
    20
    >>> [key for key in trainer.metrics(run)["step"] if key.startswith("update_ratio")][:2]
    ['update_ratio.C', 'update_ratio.W1']
    """
    by_event: dict[str, list[Row]] = {}
    for row in read(find(run).parent):
        event = row.pop("event")
        by_event.setdefault(str(row.get("name")) if event == "check" else event, []).append(flatten(row))
    tables = {}
    for event, rows in by_event.items():
        keys = dict.fromkeys(key for row in rows for key in row)
        tables[event] = {key: [row.get(key) for row in rows] for key in keys}
    return tables


def flatten(row: Row, before: str = "") -> Row:
    """{"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: Row = {}
    for key, value in row.items():
        flat |= flatten(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return flat


def numbers(rows: Iterable[Row], key: str) -> Array:
    """One column of numbers (rows,), nan where there is none; the key may be `update_ratio.C`."""
    values = [flatten(row).get(key) for row in rows]
    return np.array([value if isinstance(value, int | float) else np.nan for value in values], np.float64)
