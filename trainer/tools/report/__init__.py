"""Look at runs: a table in the terminal, report.html for one run, compare.html for several."""

import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

from trainer.errors import aligned, printable, say
from trainer.files import absolute, refuse_what_is_in_the_way, write_whole
from trainer.runs.folder import all_runs, find
from trainer.tools.report import compare
from trainer.tools.report.run import open_run

NEEDS = "the page needs matplotlib: pip install 'handmade-char-lm[report]'"
PAUSE = 3.0  # seconds between two pages that are watched, at least


class Page(type(Path())):  # type: ignore[misc]
    """The path of a page that has been written. A notebook shows the page itself."""

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self.read_text("utf-8"))}" style="width:100%;height:48rem;border:0"></iframe>'


def report(
    runs: str | Path | Sequence[str | Path] = (), watch: bool = False, tensorboard: str | None = None
) -> Path | None:
    """Print a table of runs, and draw a page about them: report.html of one run, compare.html of several.

    runs: a run's folder, a folder of runs of which all are meant, or several; left out, the newest run. `watch` prints
    and draws again every few seconds until the runs have ended. `tensorboard` is a folder for event files. Returns the
    path of the page, which shows itself in a notebook; None without matplotlib, which is said. Raises UserError for
    what is no run, or cannot be written.

    >>> page = trainer.report(run)  # doctest: +ELLIPSIS
    run ...
    >>> page.name
    'report.html'
    """
    named = [runs] if isinstance(runs, str | Path) else runs
    found = [folder for name in named for folder in all_runs(Path(name).expanduser(), "metrics.jsonl")]
    folders = list({absolute(folder): folder for folder in found}.values())  # each once
    if not named:
        folders = [find(None, "metrics.jsonl" if watch else "best.npz").parent]
        say(f"the report is of {folders[0]}, at step {open_run(folders[0]).steps_done:,}")
    began, (path, going_on) = time.monotonic(), show(folders, watch)
    while going_on:
        time.sleep(max(PAUSE, time.monotonic() - began))  # drawing takes half of the time at most
        began, (path, going_on) = time.monotonic(), show(folders, watch)
    if tensorboard is not None:
        from trainer.tools.tensorboard import export

        export([open_run(folder) for folder in folders], Path(tensorboard))
    return path


def show(folders: Sequence[Path], watch: bool) -> tuple[Path | None, bool]:
    """Print the table and write the page: its path, None without matplotlib, and whether to do it again."""
    from trainer.tools.report.page import page

    runs = compare.ranked([open_run(folder) for folder in folders])
    going_on = watch and any(run.running for run in runs)
    rows = compare.rows_of(runs, [printable(str(run.folder)) for run in runs])
    print("\n".join(aligned(rows) + [compare.APART] * compare.of_several_texts(runs)))
    alone = len(runs) == 1
    path = runs[0].folder / "report.html" if alone else compare.common_folder(runs) / "compare.html"
    refuse_what_is_in_the_way(path)  # before the drawing, which takes seconds
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        say(NEEDS)
        return None, going_on
    html = page(runs[0], going_on) if alone else compare.comparison(runs, going_on)
    write_whole(path, html.encode(errors="replace"))
    print(f"written to {printable(str(path))}", flush=True)
    return Page(path), going_on
