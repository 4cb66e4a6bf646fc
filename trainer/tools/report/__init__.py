"""Look at runs: a table in the terminal, report.html for one run, compare.html for several."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from trainer.errors import UserError, printable
from trainer.runs.files import refuse_what_is_in_the_way, write_whole
from trainer.runs.folder import find, find_trained, holding
from trainer.tools.report import order, table
from trainer.tools.report.run import Run, open_run

NEEDS = "the page needs matplotlib: pip install 'handmade-char-lm[report]'"


def report(
    runs: str | Path | Sequence[str | Path] = (), watch: bool = False, tensorboard: str | None = None
) -> Path | None:
    """Print a table of runs, and draw a page about them.

    Parameters
    ----------
    runs
        A run's folder, a folder of runs of which all are meant, or several of them; left out, the newest run
        that has trained and did not fail, or to watch the newest of all.
    watch
        Print and draw again every few seconds, until the runs have ended.
    tensorboard
        A folder for event files that TensorBoard shows.

    Returns
    -------
    Path or None
        The page: report.html in the folder of the only run, compare.html in the folder that several share.
        None without matplotlib, which is said.

    Raises
    ------
    UserError
        For what is no run, or cannot be written.

    Examples
    --------
    >>> page = trainer.report(run)  # doctest: +ELLIPSIS
    run ...
    >>> page.name
    'report.html'
    """
    named = [runs] if isinstance(runs, (str, Path)) else runs
    folders = find_all(named) if named else [find_one(watch)]
    if watch:
        from trainer.tools.report.watch import watch_runs

        path = watch_runs(folders)
    else:
        opened = [open_run(folder) for folder in folders]
        print(shown(opened))
        path = draw(opened)
    if tensorboard is not None:
        from trainer.tools.tensorboard import export

        export([open_run(folder) for folder in folders], Path(tensorboard))
    return path


def find_one(watch: bool) -> Path:
    """Where no run is named: the newest that has trained and did not fail, or, to watch, the newest. It is said."""
    folder = find(None) if watch else find_trained(None)
    print(f"the report is of {printable(str(folder))}, at step {open_run(folder).steps_done:,}", file=sys.stderr)
    return folder


def find_all(run_names: Sequence[str | Path]) -> list[Path]:
    """The run folders that are meant, each once: of a folder of runs all of them."""
    found: list[Path] = []
    for name in run_names:
        folder = Path(name)
        if folder.is_dir() and not is_run(folder):
            inside = holding("metrics.jsonl", folder)
            if not inside:
                raise UserError(f"no run in this folder, {folder.absolute()}; train first, or give the path of a run")
            found += inside
        else:
            found.append(find(str(name)))
    return list({folder.absolute(): folder for folder in found}.values())


def is_run(folder: Path) -> bool:
    return any(os.path.exists(folder / file) for file in ("checkpoint.npz", "metrics.jsonl"))


def shown(opened: Sequence[Run]) -> str:
    """The table for a terminal, several runs by their validation loss, those on one text together."""
    groups = order.by_text(opened) if len(opened) > 1 else [opened]
    head, *lines = table.show([table.HEADS, *(table.summary(run) for group in groups for run in group)]).split("\n")
    if len(groups) == 1:
        return "\n".join([head, *lines])
    parts = [head]
    for group in groups:
        parts += [order.text_of(group), *lines[: len(group)]]
        lines = lines[len(group) :]
    return "\n".join([*parts, order.APART])


def draw(opened: Sequence[Run], reload: bool = False) -> Path | None:
    """Write the page; return its path, None without matplotlib, which is said."""
    try:
        from trainer.tools.report.figures import matplotlib

        matplotlib()
    except ModuleNotFoundError:
        print(NEEDS, file=sys.stderr)
        return None
    from trainer.tools.report.compare import common_folder, comparison
    from trainer.tools.report.page import page

    alone = len(opened) == 1
    path = opened[0].folder / "report.html" if alone else common_folder([r.folder for r in opened]) / "compare.html"
    refuse_what_is_in_the_way(path)  # before the drawing, which takes seconds
    html = page(opened[0], reload) if alone else comparison(order.by_text(opened), reload)
    write_whole(path, html.encode(errors="replace"))
    if not reload:
        print(f"written to {printable(str(path))}")
    return path
