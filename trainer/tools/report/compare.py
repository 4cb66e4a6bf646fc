"""compare.html: several runs beside each other, sorted by their validation loss."""

import os
from collections.abc import Sequence
from html import escape
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from trainer import config
from trainer.core.ops import Array
from trainer.errors import printable
from trainer.tools.report import order, table, verdict
from trainer.tools.report.figures import COLOURS, figure, label_ends, marker, plain, smooth, thin
from trainer.tools.report.page import fill, problems
from trainer.tools.report.run import Run

FEW = 5  # keys that find room beside the results
MOST = 24  # curves that can be told apart by their labels
VALIDATION = "In nats. Look for the lowest end. Runs with one and the same curve share it: their dashes stand in turns."
BATCHES = "The mean of each thirtieth of the batches. Look for a run that is slower from the beginning, or restless."
DASH = 4.0  # points


def common_folder(folders: Sequence[Path]) -> Path:
    """The deepest folder in which all of these lie."""
    return Path(os.path.commonpath([folder.absolute().parent for folder in folders]))


def short_names(runs: Sequence[Run]) -> list[str]:
    """Of each path what tells the runs apart."""
    common = common_folder([run.folder for run in runs])
    return [printable(str(run.folder.absolute().relative_to(common))) for run in runs]


def comparison(groups: Sequence[Sequence[Run]], reload: bool = False) -> str:
    """The page, a part for each group of runs on one text, in the order in which they are given."""
    runs = [run for group in groups for run in group]
    names = short_names(runs)
    parts = [f"<h1>{len(runs)} runs compared</h1>"]
    if len(groups) > 1:
        parts.append(f"<p>{len(groups)} texts. {order.APART}</p>")
    left = iter(names)
    for group in groups:
        heading = f"<h2>{escape(order.text_of(group))}</h2>" if len(groups) > 1 else ""
        parts += [heading, *of_one_text(group, list(islice(left, len(group))))]
    parts += [f"<h3>{escape(name)}</h3>{problems(run)}" for run, name in zip(runs, names, strict=True) if run.problems]
    return fill(f"{len(runs)} runs: {common_folder([run.folder for run in runs]).name}", "\n".join(parts), reload)


def of_one_text(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """Which is best, a table, and the curves of runs whose losses can be compared."""
    figures: list[str] = []
    labels = curve_names(runs, names)
    overlay(figures, runs, labels, "Validation loss", VALIDATION, "eval", "val_loss")
    overlay(figures, runs, labels, "Batch loss", BATCHES, "step", "loss")
    curves = f'<h3>Curves</h3><section class="tall">{"".join(figures)}</section>'
    results = table.html(*columns(runs, names))
    return [f"<p>{escape(leader(runs, names))}</p>", results, settings(runs, names), curves]


def leader(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Which is best, and which are not to be trusted."""
    losses = [run.best.get("val_loss") for run in runs]
    sentences = []
    if losses[0] is not None:
        sentences.append(f"Lowest validation loss: {names[0]}, {losses[0]:.4f} nats.")
    wrong = [name for run, name in zip(runs, names, strict=True) if verdict.sentence(run)[0] == "bad"]
    if wrong:
        sentences.append(f"A check failed, or training diverged, in {', '.join(wrong)}.")
    return " ".join(sentences)


def columns(runs: Sequence[Run], names: Sequence[str]) -> tuple[list[str], list[list[object]]]:
    """Heads and rows: the name, the keys in which the configurations differ if they are few, then the results."""
    keys = differing(runs)
    keys = keys if len(keys) <= FEW else []
    heads = ["run", *keys, *table.HEADS[1:], "verdict"]
    rows = []
    for run, name in zip(runs, names, strict=True):
        settings = [value_of(run, key) for key in keys]
        word = {"good": "✓ right", "bad": "✗ wrong", "unknown": "not checked"}[verdict.sentence(run)[0]]
        rows.append([name, *settings, *table.summary(run)[1:], "diverged" if run.diverged else word])
    said = [k for k in range(len(heads)) if any(row[k] != "-" for row in rows)]
    return [heads[k] for k in said], [[row[k] for k in said] for row in rows]


def settings(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Where the configurations differ in many keys, a table of its own: a row for each key, a column for each run."""
    keys = differing(runs)
    if len(keys) <= FEW:
        return ""
    rows = [[key, *(value_of(run, key) for run in runs)] for key in keys]
    return f"<h3>Configurations, where they differ</h3>{table.html(['key', *names], rows, 'across')}"


def curve_names(runs: Sequence[Run], names: Sequence[str]) -> list[str]:
    """What tells the runs apart in few words: 'hidden 100, learning_rate 0.3', or their names where that does not."""
    keys = differing(runs)
    if not keys or len(keys) > 2:
        return list(names)
    said = [", ".join(f"{key.rpartition('.')[2]} {value_of(run, key)}" for key in keys) for run in runs]
    return [
        f"{words} ({name[-6:]})" if said.count(words) > 1 else words for words, name in zip(said, names, strict=True)
    ]


def value_of(run: Run, key: str) -> str:
    return printable(table.written(attrgetter(key)(run.config))) if run.config else "-"


def differing(runs: Sequence[Run]) -> list[str]:
    """The keys of the configuration in which the runs differ."""
    return [key for key in config.KEYS if len({value_of(run, key) for run in runs}) > 1]


def overlay(
    parts: list[str], runs: Sequence[Run], names: Sequence[str], title: str, caption: str, event: str, key: str
) -> None:
    """A curve for each run, named at its end; curves that are the same are drawn in turns."""
    drawn = []
    for run, name in list(zip(runs, names, strict=True))[:MOST]:
        x, y = run.numbers(event, "step"), run.numbers(event, key)
        if np.isfinite(y).any():
            drawn.append((name, *(smooth(x, y) if key == "loss" and len(x) > 60 else thin(x, y))))
    if not drawn:
        return
    if len(runs) > MOST:
        caption += f" The first {MOST} of {len(runs)} are drawn."
    with figure(parts, title, caption, height=max(3.1, 0.17 * len(drawn)), width=5.2) as picture:
        axes = picture.subplots()
        labels = []
        for k, (name, x, y) in enumerate(drawn):
            colour, style = COLOURS[k % len(COLOURS)], line_style(k, drawn)
            axes.plot(x, y, color=colour, linestyle=style, linewidth=1.3, marker=marker(x))
            labels.append((float(y[np.isfinite(y)][-1]), name, colour))
        axes.set(xlabel="step")
        limit(axes, [y for _, _, y in drawn])
        plain(axes)
        label_ends(axes, labels, gap=min(0.075, 0.98 / len(labels)))


def line_style(k: int, drawn: Sequence[tuple[str, Array, Array]]) -> Any:
    """A whole line, or of curves that are the same, dashes that leave room for the others'."""
    x, y = drawn[k][1:]
    same = [i for i, (_, a, b) in enumerate(drawn) if np.array_equal(a, x) and np.array_equal(b, y, equal_nan=True)]
    if len(same) == 1:
        return "-"
    return (DASH * same.index(k), (DASH, DASH * (len(same) - 1)))


def limit(axes: Any, curves: Sequence[Array]) -> None:
    """Leave out what towers above the rest: the beginning, and runs that diverged."""
    values = np.concatenate(curves)
    values = values[np.isfinite(values)]
    low, high = values.min(), np.percentile(values, 97, method="higher")
    pad = 0.05 * (high - low) or 0.01
    axes.set_ylim(low - pad, high + pad)
