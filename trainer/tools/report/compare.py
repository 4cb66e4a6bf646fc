"""Several runs beside each other, sorted by their validation loss: the table of the terminal, and compare.html."""

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from trainer import config
from trainer.errors import printable
from trainer.runs.metrics import flatten
from trainer.tools.report.figures import along_steps, figure, fill, table
from trainer.tools.report.run import Run, is_finite, verdict

MOST = 24  # curves that can be told apart
FEW = 4  # keys whose values name a curve
APART = "Not all are known to be of one text, and losses can only be compared within one."


def ranked(runs: Sequence[Run]) -> list[Run]:
    """The lowest validation loss first; then those without one, and at last those that failed."""

    def place(run: Run) -> tuple[bool, float]:
        loss = run.best.get("val_loss")
        return verdict(run)[0] == "bad", loss if is_finite(loss) else np.inf

    return sorted(runs, key=place)


def results(run: Run) -> dict[str, str]:
    """A run in a few words; a run without an end shows its best evaluation."""
    losses = [run.best.get(f"{split}_loss") for split in ("train", "val", "test")]
    train, val, test = (f"{loss:.4f}" if is_finite(loss) else "-" for loss in losses)
    _, speed = run.column("step", "steps_per_second")
    return {
        "backward": run.backward or "-",
        "checks": verdict(run)[1],
        "steps": str(run.steps_done),
        "train": train,
        "validation": val,
        "test": test,
        "steps/s": f"{np.median(speed):.0f}" if speed.size else "-",
    }


def settings_of(run: Run) -> dict[str, str]:
    """The configuration as text, numbers to four digits."""
    tree = flatten(config.to_dict(run.config)) if run.config else {}
    return {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in tree.items()}


def differences(runs: Sequence[Run]) -> list[dict[str, str]]:
    """Of each run the settings in which the runs differ; log and checks change no result."""
    settings = [settings_of(run) for run in runs]
    keys = [key for key in config.KEYS if not key.startswith(("log.", "check."))]
    differ = [key for key in keys if len({own.get(key) for own in settings}) > 1]
    return [{key: own.get(key, "-") for key in differ} for own in settings]


def rows_of(runs: Sequence[Run]) -> list[list[str]]:
    """A table with its heads: folders, the values that differ, results; without columns in which nothing stands."""
    own = zip(runs, differences(runs), strict=True)
    rows = [{"run": str(run.folder)} | values | results(run) for run, values in own]
    heads = [head for head in rows[0] if any(row[head] != "-" for row in rows)]
    return [heads, *([printable(row[head]) for head in heads] for row in rows)]


def of_several_texts(runs: Sequence[Run]) -> bool:
    """Whether not all are known to be of one text."""
    texts = {run.checkpoint.fingerprint if run.checkpoint else None for run in runs}
    return len(runs) > 1 and (len(texts) > 1 or None in texts)


def common_folder(runs: Sequence[Run]) -> Path:
    """The deepest folder in which all of these lie."""
    return Path(os.path.commonpath([run.folder.absolute().parent for run in runs]))


def comparison(runs: Sequence[Run], reload: bool = False) -> bytes:
    """The page: which run is best, the table, and the curves of validation."""
    said = ["The lowest validation loss comes first, and what failed or diverged comes last."]
    said += [APART] * of_several_texts(runs)
    said += [f"{problem}." for run in runs for problem in run.problems]
    drawn = figure(
        "Validation loss", "In nats, of a sample of the validation text. Look for the lowest end. The scale is that of"
        f" the better half; what is worse, or goes on for more than twice as long as most, runs out of it. Of more than"
        f" {MOST} runs the best {MOST} are drawn.",
        overlay, runs, height=max(3.1, 0.5 + 0.16 * min(len(runs), MOST)),
    )  # fmt: skip
    title, words = f"{len(runs)} runs: {printable(common_folder(runs).name)}", printable(" ".join(said))
    body = f"<h1>{escape(title)}</h1><p>{escape(words)}</p>{table(*rows_of(runs))}<section>{drawn}</section>"
    return fill(title, body, reload)


def overlay(picture: Any, runs: Sequence[Run]) -> None:
    """A curve for each run, at a scale of the better half: what diverges, or is much longer, runs out of it."""
    values = differences(runs)
    named = len(values[0]) <= FEW and len(set(map(str, values))) == len(runs)  # by the values that differ
    curves = [
        (f"{', '.join(own.values()) if named else run.name}:", run.column("eval", "val_loss"))
        for run, own in zip(runs, values, strict=True)
    ]
    title = ",\n".join(key.rpartition(".")[2] for key in values[0]) if named else None
    axes, drawn = along_steps(picture, curves[:MOST], title=title)
    half = drawn[: (len(drawn) + 1) // 2]  # the runs are sorted
    low = min(y.min() for _, y in drawn)
    high = max(y[min(1, len(y) - 1) :].max() for _, y in half)  # where there are others, the first is far above
    pad, ends = 0.05 * (high - low) or 0.01, [x[-1] for x, _ in drawn]
    axes.set(ylim=(low - pad, high + pad), xlim=(0, 1.02 * min(max(ends), 2 * np.median(ends))))
