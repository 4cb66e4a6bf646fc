"""Look at runs: a table in the terminal, and report.html, one page of figures that needs no other file."""

import io
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from itertools import groupby, product
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer import checks, config, model, numerical, ops, runs, text
from trainer.errors import UserError, printable

HEADS = ("run", "steps", "train", "validation", "test", "bits/char", "steps/s", "checks", "failed", "gradient error")
INK = "#010203"  # stands for the page's own text colour in a figure
STYLE: Any = {
    **{f"{k}.color": INK for k in ("grid", "text", "xtick", "ytick")}, "axes.edgecolor": INK, "axes.labelcolor": INK,
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    "axes.grid": True, "grid.alpha": 0.12, "svg.fonttype": "none",
}  # fmt: skip
PAGE = """<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width"><title>
Report</title><style>:root { color-scheme: light dark; --bg: #fdfcf9; --ink: #23262b; --soft: #666b73; --line: #dedbd3 }
@media (prefers-color-scheme: dark) { :root { --bg: #15171b; --ink: #dcdfe4; --soft: #9aa0a9; --line: #33373e }
  svg { filter: brightness(1.3) } } h1, h2 { margin: 3rem 0 0; font-size: 1.2rem } h1 { font-size: 1.5rem }
body { background: var(--bg); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; overflow-wrap: anywhere;
  margin: 0 auto; max-width: 68rem; padding: 0 1rem 4rem } .Samples-lines { columns: 11rem } b { color: var(--ink) }
section { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1rem 3rem }
figure { margin: 1rem 0 0 } figcaption, p, th { color: var(--soft); font-size: .9rem }
svg { width: 100%; height: auto; display: block; margin-top: .4rem } svg text { font-family: system-ui, sans-serif }
div { overflow-x: auto; margin-top: 1rem } table { border-collapse: collapse; font-size: .9rem; overflow-wrap: normal }
th, td { border-bottom: 1px solid var(--line); padding: .35rem 1.2rem .35rem 0; text-align: right; font-weight: 400 }
:is(th, td):first-child { text-align: left } pre { font-size: .85rem; white-space: pre-wrap }</style>"""
Plot = tuple[str, str, str, dict[str, str], str]  # section, title, axis, rows and columns of the metrics, caption
PLOTS: list[Plot] = [
    ("Losses", "Loss", "linear", {"batch": "step loss", "train": "eval train_loss", "validation": "eval val_loss"},
     "In nats. Look for validation below the bigram line; with a wrong gradient it ends up higher."),
    ("Losses", "Learning rate", "linear", {"learning rate": "step learning_rate"},
     "Look for a loss that jumps where this is high: the rate is too high; a wrong gradient leaves no mark here."),
    ("The proof", "Error", "log", {n: f"{n} max_rel_error" for n in numerical.ORDER} | {"tolerance": "logits rtol"},
     "Of each gradient, relative. Look for curves far below the tolerance; a wrong gradient stands near 1."),
    ("The proof", "Sum of p - y", "log", {"largest": "sum_to_zero value", "tolerance": "sum_to_zero atol"},
     "Look for rounding alone, below the tolerance; if the y is forgotten the sum is that of p, 1 / B."),
    ("The proof", "Decrease", "points", {"descent": "descent predicted actual", "update": "update predicted actual"},
     "Of the loss, the actual one upward. Look for points along the diagonal; a wrong gradient strews them about."),
    ("Gradient flow", "Update : data", "log", {n: f"step {n}" for n in model.NAMES},
     "Look for curves side by side around 1e-3; a gradient that lacks a factor puts its tensor off by that factor."),
    ("Gradient flow", "Gradient norm", "linear", {"gradient norm": "step grad_norm"},
     "Look for a level that changes slowly; if the 1 / B of the mean is forgotten it stands B times as high."),
    ("Gradient flow", "Saturated units", "linear", {"saturated": "step saturated"},
     "The share of |h| > 0.99. Look for a level well below 1; if dz lacks its factor 1 - h² it can fall to 0."),
]  # fmt: skip
HEAT = "Look for blue, below zero, at the target, and orange for what it costs others; without y nothing is blue."


class Run(NamedTuple):
    folder: Path
    config: config.Config
    rows: dict[str, list[dict[str, Any]]]  # of the metrics, by tensor, else by check, else by event


def report(run_names: Sequence[str | None]) -> None:
    """Print the table, write report.html into the folder of the first run. Raises UserError for what is no run."""
    drawn = [read(runs.find(name)) for name in run_names or [None]]
    rows = [HEADS, *map(summary, drawn)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        print(first.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(others, widths[1:], strict=True)), sep="  ")
    path = drawn[0].folder / "report.html"
    try:
        runs.write_whole(path, page(drawn, table(rows)).encode(errors="replace"))
        print(f"written to {path}")
    except ModuleNotFoundError:
        print("report.html needs matplotlib: pip install 'handmade-char-lm[report]'", file=sys.stderr)


def read(folder: Path) -> Run:
    """A run's configuration and metrics, with nan for null and the update's decrease under the names of `descent`."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for raw in runs.read_metrics(folder):
        row = {key: np.nan if value is None else value for key, value in raw.items()} | raw.get("update_ratio", {})
        if row.get("name") == "update":
            row |= {"predicted": -row["predicted"], "actual": row["loss_before"] - row["loss_after"]}
        rows.setdefault(row.get("tensor") or row.get("name") or row["event"], []).append(row)
    return Run(folder, config.read(folder / "config.yaml"), rows)


def summary(run: Run) -> tuple[str, ...]:
    """The run's row of the table; a run without an end shows its best evaluation."""
    steps, evals, end = (run.rows.get(event, []) for event in ("step", "eval", "end"))
    best = [*end, *sorted(evals, key=lambda row: np.nan_to_num(row["val_loss"], nan=np.inf)), {}][0]
    done = max([0, *(row["step"] for row in evals), *(row["step"] + 1 for row in steps)])
    judged = [row["passed"] for rows in run.rows.values() for row in rows if "passed" in row]
    worst = [row["max_rel_error"] for name in numerical.ORDER for row in run.rows.get(name, [])]
    losses = [best.get(name) for name in ("train_loss", "val_loss", "test_loss")]
    losses.append(losses[2] and losses[2] / np.log(2))
    return (
        str(run.folder),
        "-" if not done else str(done) if end else f"{done}/{run.config.train.steps}",
        *("-" if loss is None else f"{loss:.4f}" for loss in losses),
        f"{np.median([row['steps_per_second'] for row in steps]):.0f}" if steps else "-",
        *((str(len(judged)), str(judged.count(False))) if judged else "--"),
        f"{np.max(worst):.1e}" if worst else "-",
    )


def table(rows: Sequence[Sequence[object]]) -> str:
    """A table with its head in the first row."""
    lines = ["".join(f"<{'td' if k else 'th'}>{escape(str(cell))}" for cell in row) for k, row in enumerate(rows)]
    return "<div><table><tr>" + "\n<tr>".join(lines) + "</table></div>"


@contextmanager
def figure(parts: list[str], title: str, caption: str, height: float = 3.1) -> Iterator[Any]:
    """Axes to draw on; then matplotlib's SVG joins the parts of the page, in the page's text colour and font."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    out = io.StringIO()
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a character that the font lacks: the browser has other fonts
        picture = Figure((5.6, height), layout="constrained")
        yield (axes := picture.add_subplot())
        if len(labels := axes.get_legend_handles_labels()[1]) > 1:
            picture.legend(loc="outside lower center", ncols=5 if len(max(labels, key=len)) < 12 else 2)
        picture.savefig(out, format="svg", transparent=True)
    svg = re.sub(r'(?s)^.*?(?=<svg)|<metadata.*?data>| id="\w+_\d+"', "", out.getvalue()).replace(INK, "currentColor")
    parts.append(f"<figure><figcaption><b>{title}.</b> {caption}</figcaption>{svg}</figure>")


def plot(parts: list[str], drawn: list[Run], spec: Plot, guides: dict[str, float]) -> None:
    """Curves over the steps, or points; several runs have a colour each. Without rows, nothing."""
    _, title, axis, curves, caption = spec
    if not any(source.split()[0] in run.rows for run in drawn for source in curves.values()):
        return
    with figure(parts, title, caption) as axes:
        for (i, run), (k, (name, source)) in product(enumerate(drawn), enumerate(curves.items())):
            kind, *keys = source.split()
            x, y = (np.array([row.get(key) for row in run.rows.get(kind, [])], float) for key in ["step", *keys][-2:])
            colour = INK if name == "tolerance" else f"C{i if len(drawn) > 1 else k}"
            every = np.arange(0, len(x), max(1, len(x) // 400))  # (n,)
            if axis == "linear" and len(x) > 100:  # the mean of each thirtieth, over a faint curve of all
                axes.plot(x[every], y[every], color=colour, linewidth=0.8, alpha=0.3)
                every = np.arange(0, len(x), len(x) // 30)
                x, y = (np.add.reduceat(a, every) / np.diff(every, append=len(a)) for a in (x, y))
            else:
                x, y = x[every], np.fmax.reduceat(np.where(y > 0, y, np.nan), every) if axis == "log" else y[every]
            style = "." if axis == "points" else "--" if name == "tolerance" else ".-" if len(x) < 25 else "-"
            label = name if len(drawn) == 1 else "_" if k or not len(x) else "/".join(run.folder.absolute().parts[-2:])
            axes.plot(x, y, style, color=colour, label=label)
        for name, value in guides.items():
            axes.axhline(value, color=INK, linewidth=0.8, linestyle=":")
            axes.annotate(name, (1.01, value), xycoords=("axes fraction", "data"), va="center", fontsize=8)
        axes.locator_params(axis="x", nbins=6)
        axes.set(xlabel="predicted" if axis == "points" else "step", yscale="log" if axis == "log" else "linear")
        if axis == "points":
            axes.axline((0, 0), slope=1, color=INK, linewidth=0.8, linestyle=":")


def entropies(corpus: text.Corpus) -> dict[str, float]:
    """What counting reaches on the training text: H(next), and H(next | previous) = H(both) - H(previous)."""
    start, end = corpus.splits["train"]
    after, before = (corpus.ids[start - k : end - k].astype(np.int64) for k in (0, 1))
    counts = [np.unique(ids, return_counts=True)[1] for ids in (after, before * len(corpus.vocabulary) + after, before)]
    H = [-float(n / n.sum() @ np.log(n / n.sum())) for n in counts]
    return {"unigram": H[0], "bigram": H[1] - H[2]}


def learned(parts: list[str], run: Run, levels: dict[str, float]) -> None:
    """The figures of the best parameters, as far as its files allow; and into `levels`, losses to compare with."""
    c = runs.load(runs.find_checkpoint(str(run.folder)))
    symbols = [{"\n": "↵", " ": "␣"}.get(character) or printable(character) for character in c.vocabulary]
    levels["log V"] = float(np.log(len(symbols)))
    shown = range(0, len(symbols), -(-len(symbols) // 100))  # a hundred of them can be read
    U, S, _ = np.linalg.svd(c.parameters.C - c.parameters.C.mean(axis=0), full_matrices=False)
    plane = np.pad(U * S, ((0, 0), (0, 1)))[:, :2]  # (V, 2)
    with figure(parts, "Embeddings", "Look for kindred characters together; a wrong dC strews them.", 4.5) as axes:
        axes.scatter(*plane.T, s=0)  # sets the limits
        for k in shown:
            axes.text(*plane[k], symbols[k], ha="center", va="center")
        axes.set(xlabel=f"first principal component, {S[0] ** 2 / (S @ S):.0%} of the variance", ylabel="second")
    corpus = text.load(c.config.data, c.sizes.K)
    if corpus.fingerprint != c.fingerprint:
        raise UserError(f"the text has changed since the run, {Path(c.config.data.path).absolute()}; restore it")
    levels |= entropies(corpus)
    batch = model.Batch(*text.windows(corpus, text.evenly(corpus, "val", 24), c.sizes.K))
    _, exps, total = ops.softmax(numerical.point(c.parameters, batch, c.sizes).logits)
    dlogits = ops.softmax_cross_entropy_backward(exps, total, batch.targets, 1.0)  # (B, V)
    rgba = np.where(dlogits[..., None] < 0, (0.2, 0.5, 0.85, 1), (0.9, 0.48, 0.2, 1))  # (B, V, 4)
    rgba[..., 3] = abs(dlogits) ** 0.5
    rows = ["".join(symbols[i] for i in x[-8:]) + " → " + symbols[y] for x, y in zip(*batch[:2], strict=True)]
    with figure(parts, "p - y", f"{HEAT} No row sums to more than {abs(dlogits.sum(axis=1)).max():.0e}.", 4.5) as axes:
        axes.imshow(rgba, aspect="auto", interpolation="none")
        axes.set_xticks(shown, symbols[:: shown.step], fontsize=min(9, 400 / len(shown)))
        axes.set_yticks(range(len(rows)), rows, parse_math=False, fontsize=8)
        axes.grid(False)


def page(drawn: list[Run], overview: str) -> str:
    """The whole page; what was learned, samples, configuration and environment are those of the first run."""
    first, mode, insight, levels = drawn[0], drawn[0].config.data.mode, list[str](), dict[str, float]()
    try:
        learned(insight, first, levels)
    except UserError as error:
        insight.append(f"<p>Not all can be drawn: {escape(str(error))}</p>")
    parts = [f"{PAGE}<h1>{escape(first.folder.absolute().parent.name)}</h1>", overview]
    if len(drawn) > 1:
        differ = [(key, *(attrgetter(key)(run.config) for run in drawn)) for key in config.KEYS]
        differ = [("", *(run.folder for run in drawn)), *(row for row in differ if len(set(row[1:])) > 1)]
        parts.append(f"<p>Each run has its colour.</p><h2>What differs</h2>{table(differ)}")
    for section, plots in groupby(PLOTS, itemgetter(0)):
        parts.append(f"<h2>{section}</h2><section>")
        for spec in plots:
            plot(parts, drawn, spec, {"Loss": levels, "Update : data": {"1e-3": 1e-3}}.get(spec[1], {}))
        if section == "The proof":
            judged = [(k, r, [checks.severity(x)[0] for x in r]) for k, r in first.rows.items() if "passed" in r[0]]
            tallies = [(k, len(r), sum(not x["passed"] for x in r), f"{np.max(worst):.1e}") for k, r, worst in judged]
            parts.append(table([("check", "run", "failed", "worst"), *tallies]))
        parts.append("</section>")
    parts += ["<h2>What it learned</h2><section>", *insight, "</section>"]
    for heading, path in ("Samples", first.folder / "samples.txt"), ("Configuration", first.folder / "config.yaml"):
        if path.exists():
            parts.append(
                f"<h2>{heading}</h2><pre class={heading}-{mode}>{escape(path.read_text('utf-8', 'replace'))}</pre>"
            )
    environment = list(first.rows.get("start", [{}])[0].items())[1:]
    return "\n".join([*parts, "<h2>Environment</h2>", table([("", ""), *environment])])
