"""Several runs beside each other, sorted by their validation loss: the table of the terminal, and compare.html."""

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from statistics import median_low
from typing import Any

import numpy as np

from trainer.config import KEYS, flatten
from trainer.errors import printable
from trainer.text.corpus import SPLITS
from trainer.tools.report.curves import HIGH
from trainer.tools.report.figures import along_steps, figure, fill, svg, table
from trainer.tools.report.run import Run, verdict

MOST = 24  # curves that can be told apart
FEW = 4  # keys whose values name a curve
ABOUT = (
    "The lowest validation loss comes first, and what failed or diverged comes last. Losses can only be compared within"
    " one text."
)
CAPTION = (
    "In nats, of a sample of the validation text. Look for the lowest end. The scale is that of the better half, at"
    " most up to 1.25 log V; what is worse, or goes on for more than twice as long as most, runs out of it. ↑ marks"
    f" what lies above it, - what was never evaluated. Of more than {MOST} runs the best {MOST} are drawn."
)


def ranked(runs: Sequence[Run]) -> list[Run]:
    """The lowest validation loss first; then those without one, and at last those that failed."""
    return sorted(
        runs, key=lambda run: (verdict(run)[0] == "bad", (loss := run.best.get("val_loss")) is None, loss or 0.0)
    )


def differences(runs: Sequence[Run]) -> list[dict[str, str]]:
    """Of each run the settings in which the runs differ, numbers to four digits; log and checks change no result.

    A setting beside those of the configuration is the text itself, by the beginning of its fingerprint.
    """
    settings = []
    for run in runs:
        known = run.checkpoint
        settings.append(flatten(asdict(known.config)) | {"text": known.fingerprint[:8]} if known else {})
    keys = [key for key in (*KEYS, "text") if not key.startswith(("log.", "check."))]
    differ = [key for key in keys if len({str(own.get(key)) for own in settings}) > 1]
    texts = [{key: own.get(key, "-") for key in differ} for own in settings]
    return [{key: f"{x:.4g}" if isinstance(x, float) else str(x) for key, x in own.items()} for own in texts]


def rows_of(runs: Sequence[Run]) -> list[list[str]]:
    """A table with its heads: folders, the values that differ, results; without columns in which nothing stands.

    A run without an end shows its best evaluation.
    """
    rows = []
    for run, own in zip(runs, differences(runs), strict=True):
        row = {"run": str(run.folder)} | own | {"backward": run.backward or "-", "checks": verdict(run)[1]}
        row["steps"], speed = str(run.steps_done), run.column("step", "steps_per_second")[1]
        for split in SPLITS:
            loss = run.best.get(f"{split}_loss")
            row[split] = "-" if loss is None else f"{loss:.4f}"
        rows.append(row | {"steps/s": f"{np.median(speed):.0f}" if speed.size else "-"})
    heads = [head for head in rows[0] if any(row[head] != "-" for row in rows)]
    return [heads, *([printable(row[head]) for head in heads] for row in rows)]


def comparison(runs: Sequence[Run], name: str, reload: bool = False) -> bytes:
    """The page of runs in a folder of this name: which is best, the table, and the curves of validation."""
    words = printable(" ".join([ABOUT, *(f"{run.problem}." for run in runs if run.problem)]))
    drawn = figure("Validation loss", CAPTION, svg, overlay, runs)
    body = f"<p>{escape(words)}</p>{table(*rows_of(runs))}<section>{drawn}</section>"
    return fill(f"{len(runs)} runs: {name}", body, reload)


def overlay(picture: Any, runs: Sequence[Run]) -> None:
    """A curve for each run, at a scale of the better half: what diverges, or is much longer, runs out of it."""
    values = differences(runs)
    named = len(values[0]) <= FEW and len(set(map(str, values))) == len(runs)  # by the values that differ
    curves = [
        (f"{', '.join(own.values()) if named else run.name}:", run.column("eval", "val_loss"))
        for run, own in zip(runs, values, strict=True)
    ][:MOST]
    picture.set_figheight(4.4)  # room for the names
    axes = along_steps(picture, curves)
    if named:
        picture.legends[0].set_title(",\n".join(key.rpartition(".")[2] for key in values[0]))
    drawn = [points for _, points in curves if points.size]
    low, most = axes.dataLim.y0, HIGH * runs[0].log_V
    high = median_low(y[1:].max(initial=y[-1]) for _, y in drawn)  # the first is far above the others
    if low < most:
        high = min(high, most)
    pad, ends = 0.05 * (high - low) or 0.01, [x[-1] for x, _ in drawn]
    axes.set(ylim=(low - pad, high + pad), xlim=(0, 1.02 * min(max(ends), 2 * np.median(ends))))
    for label, (_, (_, y)) in zip(picture.legends[0].texts, curves, strict=True):
        if y.size and y.min() > high + pad:
            label.set_text(f"{label.get_text()} ↑")
