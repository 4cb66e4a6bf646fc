"""The rows of a log turned into columns."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from trainer.core.ops import Array
from trainer.runs.folder import find
from trainer.runs.metrics import Row, read


def flatten(row: Row, before: str = "") -> Row:
    """{"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: Row = {}
    for key, value in row.items():
        flat |= flatten(value, f"{before}{key}.") if isinstance(value, dict) else {before + key: value}
    return flat


def columns(rows: Iterable[Row]) -> dict[str, list[Any]]:
    """Rows turned into columns of one length; None where a row has no such key."""
    flat = [flatten(row) for row in rows]
    keys = dict.fromkeys(key for row in flat for key in row)
    return {key: [row.get(key) for row in flat] for key in keys}


def numbers(rows: Iterable[Row], key: str) -> Array:
    """One column of numbers (rows,), nan where there is none; the key may be `update_ratio.C`."""
    outer, _, inner = key.partition(".")
    values = [(row.get(outer) or {}).get(inner) if inner else row.get(outer) for row in rows]
    return np.array(values, np.float64)


def metrics(run: str | Path) -> dict[str, dict[str, list[Any]]]:
    """The log of a run as columns, by event.

    Parameters
    ----------
    run
        The run's folder, or a folder of runs, of which the newest is meant.

    Returns
    -------
    dict of dict of list
        For each event, `start`, `step`, `eval`, `end`, and each kind of check, `gradient`, `sum_to_zero` and so on:
        columns of one length. A nested value has its keys joined by dots, as in `update_ratio.C`. Times are in seconds
        of training, losses in nats per character. Lines that are no rows are left out.

    Raises
    ------
    UserError
        If there is no such run, or its log cannot be read.

    Examples
    --------
    >>> columns = trainer.metrics(run)
    >>> columns["eval"]["step"]
    [20]
    >>> sorted(key for key in columns["step"] if key.startswith("update_ratio"))
    ['update_ratio.C', 'update_ratio.W1', 'update_ratio.W2', 'update_ratio.b1', 'update_ratio.b2']
    """
    by_event: dict[str, list[Row]] = {}
    for row in read(find(str(run))).rows:
        event = row["name"] if row["event"] == "check" else row["event"]
        by_event.setdefault(event, []).append({key: row[key] for key in row if key != "event"})
    return {event: columns(rows) for event, rows in by_event.items()}
