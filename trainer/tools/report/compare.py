"""Several runs beside each other, sorted by their validation loss: the table of the terminal, and compare.html."""

import json
import os
from collections.abc import Sequence
from html import escape
from itertools import product
from math import inf
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from trainer import config
from trainer.errors import printable
from trainer.tools.report.figures import COLOURS, along_steps, curve, figure, legend
from trainer.tools.report.markup import fill, table
from trainer.tools.report.run import DIVERGED, Run, is_finite, severity, verdict

STYLES = ("-", "--", ":", "-.")  # with six colours, 24 curves that can be told apart
FEW = 4  # keys whose values name a curve
APART = "Not all are of one text, and losses can only be compared within one."


def results(run: Run) -> dict[str, str]:
    """A run in a few words; a run without an end shows its best evaluation."""
    losses = [run.best.get(f"{split}_loss") for split in ("train", "val", "test")]
    train, val, test = (f"{loss:.4f}" if is_finite(loss) else "-" for loss in losses)
    speed = run.numbers("step", "steps_per_second")
    words = {"good": "✓ right", "bad": "✗ wrong", "unknown": "-"}[verdict(run)[0]]
    return {
        "gradients": "diverged" if DIVERGED in run.last_words else words,
        "steps": f"{run.steps_done}" + ("" if run.of("end") or not run.config else f"/{run.config.train.steps}"),
        "train": train,
        "validation": val,
        "test": test,
        "steps/s": f"{np.nanmedian(speed):.0f}" if np.isfinite(speed).any() else "-",
        "error / tolerance": f"{max(map(severity, run.gradients)):.2g}" if run.gradients else "-",  # of gradients
    }


def ranked(runs: Sequence[Run]) -> list[Run]:
    """The lowest validation loss first; those without one last."""

    def loss(run: Run) -> float:
        value = run.best.get("val_loss")
        return value if is_finite(value) else inf

    return sorted(runs, key=loss)


def value_of(run: Run, key: str) -> str:
    """A setting as a configuration file has it, numbers to four digits: true, 0.1, [0.8, 0.1, 0.1]."""
    if run.config is None:
        return "-"
    value = attrgetter(key)(run.config)
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def of_several_texts(runs: Sequence[Run]) -> bool:
    return len({run.checkpoint.fingerprint for run in runs if run.checkpoint}) > 1


def differing(runs: Sequence[Run]) -> list[str]:
    """The keys of the configuration in which the runs differ, but for those of the log."""
    keys = [key for key in config.KEYS if not key.startswith("log.")]
    return [key for key in keys if len({value_of(run, key) for run in runs}) > 1]


def rows_of(runs: Sequence[Run], names: Sequence[str]) -> list[list[str]]:
    """A table with its heads: names, the values that differ, results; without columns in which nothing stands."""
    keys = differing(runs)
    rows = [["run", *keys, *results(runs[0])]]
    for run, name in zip(runs, names, strict=True):
        rows.append([name, *(value_of(run, key) for key in keys), *results(run).values()])
    said = [k for k in range(len(rows[0])) if any(row[k] != "-" for row in rows[1:])]
    return [[row[k] for k in said] for row in rows]


def common_folder(runs: Sequence[Run]) -> Path:
    """The deepest folder in which all of these lie."""
    return Path(os.path.commonpath([run.folder.absolute().parent for run in runs]))


def comparison(runs: Sequence[Run], reload: bool = False) -> str:
    """The page: which run is best, the table, and the curves of validation."""
    common = common_folder(runs)
    names = [printable(str(run.folder.absolute().relative_to(common))) for run in runs]
    wrong = [name for run, name in zip(runs, names, strict=True) if verdict(run)[0] == "bad"]
    said = [f"Lowest validation loss: {names[0]}, {results(runs[0])['validation']} nats."]
    if wrong:
        said.append(f"A check failed, or training diverged, in {', '.join(wrong)}.")
    if of_several_texts(runs):
        said.append(APART)
    said += [f"{printable(problem)}." for run in runs for problem in run.problems]
    heads, *rows = rows_of(runs, names)
    curves = figure("Validation loss", overlay, runs, names, height=max(3.1, 0.5 + 0.16 * len(runs)))
    title = f"{len(runs)} runs: {printable(common.name)}"
    body = f"<h1>{escape(title)}</h1><p>{escape(' '.join(said))}</p>{table(heads, rows)}<section>{curves}</section>"
    return fill(title, body, reload)


def overlay(picture: Any, runs: Sequence[Run], names: Sequence[str]) -> str:
    """A curve for each run, at a scale of the better half: what diverges, or is much longer, runs out of it."""
    axes, drawn, keys = picture.subplots(), [], differing(runs)
    named = len(keys) in range(1, FEW + 1)  # by their values
    for run, name, (style, colour) in zip(runs, names, product(STYLES, COLOURS), strict=False):
        x, y = run.numbers("eval", "step"), run.numbers("eval", "val_loss")
        label = ", ".join(value_of(run, key) for key in keys) if named else name
        if np.isfinite(y).any():
            drawn.append((x, curve(axes, x, y, f"{label}:", ".4g", color=colour, linestyle=style)))
    if all(len(y) < 2 for _, y in drawn):
        raise ValueError("no run has two evaluations; the table has what there is")
    ends = [x[-1] for x, _ in drawn]
    right = max(end for end in ends if end <= 2 * np.median(ends))
    half = drawn[: (len(drawn) + 1) // 2]  # the runs are sorted
    low, high = min(np.nanmin(y) for _, y in drawn), max(np.nanmax(y[1:], initial=-inf) for _, y in half)
    pad = 0.05 * (high - low) or 0.01
    axes.set(ylim=(low - pad, high + pad), xlim=(0, 1.02 * right))
    along_steps(axes)
    title = ",\n".join(key.rpartition(".")[2] for key in keys) if named else None
    legend(picture, title)
    outside = sum(bool(np.nanmax(y[1:], initial=-inf) > high or x[-1] > right) for x, y in drawn)
    words = f"{len(drawn)} of {len(runs)} are drawn. " if len(drawn) < len(runs) else ""
    return words + (f"Of these {outside} run out of the scale, which is that of the better half." if outside else "")
