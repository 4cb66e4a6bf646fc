"""Look at runs: a table in the terminal, report.html for one run, compare.html for several."""

import os
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

from trainer.errors import UserError, aligned, printable, say
from trainer.files import write_whole
from trainer.runs.folder import all_runs, find
from trainer.tools.report.figures import require_matplotlib
from trainer.tools.report.pages import comparison, page, rank, table_of
from trainer.tools.report.run import Run, read_run

PAUSE = 3.0  # seconds between two pages that are watched


class Page(type(Path())):  # type: ignore[misc]
    """The path of a page that has been written. A notebook shows the page itself."""

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self.read_text("utf-8"))}" style="width:100%;height:48rem;border:0"></iframe>'


def report(
    runs: str | Path | Sequence[str | Path] = (), watch: bool = False, tensorboard: str | None = None
) -> Path | None:
    """Draw a page about runs, report.html of one run, compare.html of several, and print a table of them.

    runs: a run's folder, a folder of runs of which all are meant, a checkpoint, or several, among which other files are
    left out; by default the newest run. `watch` prints and draws again every few seconds until the runs have ended.
    `tensorboard` is a folder for event files. Returns the absolute path of the page, which shows itself in a notebook;
    None without matplotlib, which is said. Raises UserError for what is no run, or cannot be written.

    >>> page = trainer.report(run)  # doctest: +ELLIPSIS
    run ...
    >>> page.name
    'report.html'
    """
    folders = named([runs] if isinstance(runs, str | Path) else runs)
    if not folders:
        folders = [find(None, "metrics.jsonl" if watch else "best.npz").parent]
        say(f"the report is of {folders[0]}, at step {read_run(folders[0]).steps_done:,}")
    while True:
        opened = sorted(map(read_run, folders), key=rank)
        going_on = watch and any(run.running for run in opened)
        path = show(opened, going_on)
        if not going_on:
            break
        time.sleep(PAUSE)
    if tensorboard is not None:
        from trainer.tools.tensorboard import export

        export(opened, Path(tensorboard))
    return path


def named(runs: Sequence[str | Path]) -> list[Path]:
    """The run folders that are meant, each once."""
    paths = [Path(name).expanduser() for name in runs]
    paths = [path.parent if path.suffix == ".npz" else path for path in paths]
    folders = [path for path in paths if not path.is_file()]  # as by runs/names/*
    return list(dict.fromkeys(each for path in folders or paths for each in all_runs(path, "metrics.jsonl")))


def show(runs: Sequence[Run], going_on: bool) -> Path | None:
    """Write the page where all runs meet, then print the table, of which a reader may see only the first line.

    Returns the path of the page; None without matplotlib.
    """
    place = Path(os.path.commonpath([run.folder.absolute() for run in runs]))
    path: Page | None = Page(place / ("compare.html" if runs[1:] else "report.html"))
    try:
        require_matplotlib("the page")
    except UserError as error:
        say(str(error))
        path = None
    try:
        if path:
            write_whole(path, comparison(runs, place.name, going_on) if runs[1:] else page(runs[0], going_on))
    finally:
        print("\n".join(aligned(table_of(runs))))
    if path:
        print(f"written to {printable(str(path))}", flush=True)
    return path
