"""Read metrics.jsonl, believing nothing: every row is held against what its event may say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from trainer import regular
from trainer.core.model import NAMES
from trainer.errors import UserError
from trainer.runs.rows import BINS

Row = dict[str, Any]
LARGEST = 2**53  # a whole number up to here is one number in float64 too
DEEPEST = 8  # values within values; ours are four deep


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
    """A text; half of a surrogate pair is none, and can be written nowhere."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def is_by_name(value: Any) -> bool:
    """A number for each parameter."""
    return isinstance(value, dict) and set(value) <= set(NAMES) and all(map(is_number, value.values()))


def is_histograms(value: Any) -> bool:
    """{"h": {"counts": [32 numbers], "range": [low, high]}, "dh": ..., "dz": ...}."""
    return isinstance(value, dict) and set(value) <= {"h", "dh", "dz"} and all(map(is_histogram, value.values()))


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
    if not is_shallow(row, DEEPEST):
        return "it holds values within values, too many deep"
    for key, value in row.items():
        if key in RULES and not RULES[key](value):
            return f"{key} is {json.dumps(value)[:40]}"
    needed = list(NEEDED.get(row["event"], ()))
    if row["event"] == "check" and row.get("name") in PLACES:
        needed.append(PLACES[row["name"]])
    missing = [key for key in needed if key not in row]
    return f"{row['event']} without {missing[0]}" if missing else None


def is_shallow(value: Any, most: int) -> bool:
    """Whether at most so many lists and objects lie within each other."""
    if not isinstance(value, (dict, list)):
        return True
    inside = value.values() if isinstance(value, dict) else value
    return most > 0 and all(is_shallow(each, most - 1) for each in inside)


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
        data = regular.read(path)
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
