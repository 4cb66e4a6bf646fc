"""Read metrics.jsonl: every row held against what its event may say, and rows turned into columns."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer.errors import UserError
from trainer.model import NAMES
from trainer.ops import Array
from trainer.runs.folder import find

Row = dict[str, Any]
BINS = 32  # counts of a histogram
LARGEST = 2**53  # a whole number up to here is one number in float64 too


class Log(NamedTuple):
    """The rows of a run, and a sentence for each line that is none."""

    rows: list[Row]
    left_out: list[str]


def is_number(value: Any) -> bool:
    """A number, or null, which stands for one that is not finite."""
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and abs_fits(value))


def abs_fits(value: float) -> bool:
    """A whole number may be too large for a float; an infinite float is one."""
    return isinstance(value, float) or abs(value) <= LARGEST


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_by_name(value: Any) -> bool:
    """A number for each parameter."""
    return isinstance(value, dict) and set(value) <= set(NAMES) and all(map(is_number, value.values()))


def is_histograms(value: Any) -> bool:
    """{"h": {"counts": [32 numbers], "range": [low, high]}, "dh": ..., "dz": ...}."""
    return isinstance(value, dict) and all(map(is_histogram, value.values()))


def is_histogram(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("counts"), list)
        and isinstance(value.get("range"), list)
        and len(value["counts"]) == BINS
        and len(value["range"]) == 2
        and all(map(is_count, value["counts"]))
        and all(map(is_number, value["range"]))
    )


def is_tallies(value: Any) -> bool:
    """{NAME: {"run": ..., "failed": ..., "worst": ...}}."""
    return isinstance(value, dict) and all(
        isinstance(tally, dict) and is_count(tally.get("run")) and is_count(tally.get("failed"))
        and is_number(tally.get("worst"))
        for tally in value.values()
    )  # fmt: skip


Rule = Callable[[Any], bool]
NUMBERS = (
    "time", "loss", "epoch", "learning_rate", "grad_norm", "steps_per_second", "saturated",
    "train_loss", "val_loss", "test_loss", "best_step", "seconds",
    "value", "expected", "wrong", "kept", "bound", "shown", "max_abs_error", "max_rel_error", "rtol", "atol",
    "by_hand", "numerical", "predicted", "actual", "ratio", "loss_before", "loss_after",
)  # fmt: skip
RULES: dict[str, Rule] = {
    **dict.fromkeys(NUMBERS, is_number),
    "event": is_text,
    "step": is_count,
    "update_ratio": is_by_name,
    "grad_ratio": is_by_name,
    "histograms": is_histograms,
    "checks": is_tallies,
    "name": is_text,
    "passed": lambda value: isinstance(value, bool),
    "tensor": is_text,
    "place": is_text,
    "split": is_text,
}
NEEDED = {
    "start": (),
    "step": ("step",),
    "eval": ("step",),
    "check": ("step", "name", "passed"),
    "end": ("step",),
}  # the keys without which a row says nothing
PLACES = {"gradient": "tensor", "forward": "tensor", "dropout": "place", "evaluation": "split"}  # what a check was of


def fault(row: Any) -> str | None:
    """What is wrong with a row, None if nothing is. An event of another version of this program is none of ours."""
    if not isinstance(row, dict) or not is_text(row.get("event")):
        return "it is no object with an event"
    for key, value in row.items():
        if key in RULES and not RULES[key](value):
            return f"{key} is {json.dumps(value)[:40]}"
    needed = list(NEEDED.get(row["event"], ()))
    if row["event"] == "check" and row.get("name") in PLACES:
        needed.append(PLACES[row["name"]])
    missing = [key for key in needed if key not in row]
    return f"{row['event']} without {missing[0]}" if missing else None


def parse(line: bytes) -> Any:
    """The value in a line, None if it is no JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def read(folder: Path) -> Log:
    """The rows of a run; a last line without its end is being written and does not count.

    Raises UserError if the file cannot be read.
    """
    path = folder / "metrics.jsonl"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the metrics, {path.absolute()}: {error.strerror}; give a run folder") from None
    log = Log([], [])
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        row = parse(line)
        wrong = fault(row)
        if wrong is None:
            log.rows.append(row)
        else:
            log.left_out.append(f"line {number}: {wrong}")
    return log


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
