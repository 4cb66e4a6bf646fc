"""The pages, each a file that needs no other: report.html of one run, compare.html of several; and their table."""

from collections.abc import Sequence
from html import escape

import numpy as np

from trainer.core.links import LINKS
from trainer.core.model import Batch
from trainer.errors import UserError, printable
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.starting import same_text
from trainer.runs.summary import sample_lines
from trainer.text import corpus as text
from trainer.text.corpus import SPLITS, Corpus
from trainer.tools.explain import walk
from trainer.tools.report import chain
from trainer.tools.report.curves import SECTIONS, overlay
from trainer.tools.report.figures import figure, fill, svg, table
from trainer.tools.report.run import Run, progress, verdict, written

TEXT = 200_000  # characters of a text file that go into the page
MOST = 24  # curves that can be told apart
FEW = 4  # keys whose values name a curve
ABOUT = (
    "The lowest validation loss comes first, and what failed or diverged comes last. Losses can only be compared within"
    " one text."
)
CAPTION = (
    "In nats, of a sample of the validation text. Look for the lowest end. The scale ends 15 % above the lowest loss;"
    " what is worse, or goes on for more than twice as long as most, runs out of it. ↑ marks what lies above it, - what"
    f" was never evaluated. Of more than {MOST} runs the best {MOST} are drawn."
)


def table_of(runs: Sequence[Run]) -> list[list[str]]:
    """Heads and rows: folders, the values that differ, results; without columns in which nothing stands.

    A run without an end shows its best evaluation.
    """
    rows = []
    for run, own in zip(runs, differences(runs), strict=True):
        row = {"run": str(run.folder)} | own | {"checks": verdict(run)[1], "steps": str(run.steps_done)}
        for split in SPLITS:
            loss = run.best.get(f"{split}_loss")
            row[split] = "-" if loss is None else f"{loss:.4f}"
        speed = run.column("step", "steps_per_second")[1]
        rows.append(row | {"steps/s": f"{np.median(speed):.0f}" if speed.size else "-"})
    heads = [head for head in rows[0] if any(row[head] != "-" for row in rows)]
    return [heads, *([printable(row[head]) for head in heads] for row in rows)]


def differences(runs: Sequence[Run]) -> list[dict[str, str]]:
    """Of each run the settings in which the runs differ, as far as they are known; log and checks change no result."""
    keys = dict.fromkeys(key for run in runs for key in run.settings if not key.startswith(("log.", "check.")))
    differ = [key for key in keys if len({run.settings[key] for run in runs if key in run.settings}) > 1]
    return [{key: run.settings.get(key, "-") for key in differ} for run in runs]


def rank(run: Run) -> tuple[bool, float]:
    """The lowest validation loss first; then who has none, and at last what failed."""
    return verdict(run)[0] == "bad", run.best.get("val_loss") or np.inf


def comparison(runs: Sequence[Run], name: str, reload: bool) -> bytes:
    """The page of runs in a folder of this name: which is best, the table, and the curves of validation."""
    values, caption = differences(runs), CAPTION
    labels = [", ".join(own.values()) for own in values]
    if len(values[0]) <= FEW and len(set(labels)) == len(runs):
        caption += f" Each curve is named by its {', '.join(values[0])}."
    else:
        labels = [run.name for run in runs]
    curves = [(f"{label}:", run.column("eval", "val_loss")) for label, run in zip(labels, runs, strict=True)]
    words = printable(" ".join([ABOUT, *(f"{run.problem}." for run in runs if run.problem)]))
    drawn = figure("Validation loss", caption, svg, overlay, curves[:MOST])
    body = f"<p>{escape(words)}</p>{table(*table_of(runs))}<section>{drawn}</section>"
    return fill(f"{len(runs)} runs: {name}", body, reload)


def page(run: Run, reload: bool) -> bytes:
    """The page of a run; what cannot be drawn is said, in words."""
    if run.checkpoint:
        try:
            run.corpus = same_text(run.checkpoint)
            run.problem = run.corpus.unseen
        except UserError as error:
            run.problem = str(error)
    sections = {}
    for event, (section, figures) in SECTIONS.items():
        if run.of(event):
            drawn = [figure(title, caption, svg, draw, run, *keys) for title, (draw, *keys, caption) in figures.items()]
            sections[section] = "".join(drawn)
    if run.checkpoint and run.corpus:
        about = f"At step {run.checkpoint.step:,}, by the derivatives of this program"
        picture = figure(about, chain.CAPTION, the_chain, run.checkpoint, run.corpus)
        sections["The chain, forward and back"] = picture
    sections["Configuration"] = f"<pre>{escape(written(run.folder / 'config.yaml')[:TEXT])}</pre>"
    kind, _, sentence = verdict(run)
    body = [
        f'<p class="verdict {kind}">{escape(printable(sentence))}</p>',
        links(run),
        f"<p>{escape(printable(progress(run)))}</p>",
        table(*table_of([run])),
        samples(run),
        f'<p class="undrawn">{escape(printable(run.problem))}</p>' * bool(run.problem),
        "<nav>" + "".join(f'<a href="#{name}">{name}</a>' for name in sections) + "</nav>",
        *(f'<h2 id="{name}">{name}</h2><section>{inside}</section>' for name, inside in sections.items()),
    ]
    own = run.checkpoint and run.checkpoint.backward
    return fill(run.name + f" with the backward pass of {own}" * bool(own), "\n".join(body), reload)


def links(run: Run) -> str:
    """The nine links in the order of the backward pass, each right or wrong; nothing where none was checked."""
    gradients, parts = [row for row in run.of("gradient") if row.get("of")], ""
    wrong = {row["of"]: row["step"] for row in reversed(gradients) if not row.get("passed")}  # the first step stays
    for name, link in LINKS.items():
        kind, mark = ("bad", f"✗ wrong at step {wrong[name]:,}") if name in wrong else ("good", "✓ right")
        formula = escape(link.formula.partition(" = ")[2])
        parts += f'<li class="{kind}"><b>d{name}</b> <span>{mark}</span><small>{formula}</small></li>'
    return f'<ol class="links">{parts}</ol>' if gradients else ""


def samples(run: Run) -> str:
    """The samples; of a list each with a word on where it stands in the text."""
    found, kind = written(run.folder / "samples.txt")[:TEXT], ""
    if run.corpus and run.corpus.lines:
        found, kind = "\n".join(sample_lines(found.split("\n")[:-1], run.corpus)), " class=listed"
    return f"<h3>Samples</h3><pre{kind}>{escape(found)}</pre>" if found else ""


def the_chain(checkpoint: Checkpoint, corpus: Corpus) -> str:
    """Two examples of the validation text, or where there is none of the training text, forward and back."""
    if own := checkpoint.backward:
        raise ValueError(f"this run was trained with {own}, and the chain is that of this program")
    start, end = corpus.splits["val" if "val" in corpus.splits else "train"]
    places = np.arange(start, min(start + 4, end))[-2:]  # not the first, whose contexts are all boundaries
    batch = Batch(*text.windows(corpus, places, checkpoint.sizes.K))
    return chain.picture(walk(checkpoint, batch))
