"""report.html: the page of one run, a file that needs no other."""

from html import escape

import numpy as np

from trainer import files
from trainer.core.links import LINKS
from trainer.core.model import Batch
from trainer.errors import UserError, printable
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.starting import same_text
from trainer.runs.summary import sample_lines
from trainer.text import corpus as text
from trainer.text.corpus import Corpus
from trainer.tools.explain import walk
from trainer.tools.report import chain
from trainer.tools.report.compare import rows_of
from trainer.tools.report.curves import SECTIONS
from trainer.tools.report.figures import figure, fill, svg, table
from trainer.tools.report.run import Run, progress, verdict

TEXT = 200_000  # characters of a text file that go into the page
LARGE = 100_000  # parameters, whose numerical gradients take more than a moment


def page(run: Run, reload: bool = False) -> bytes:
    """The page of a run; what cannot be drawn is said, in words."""
    try:
        run.corpus = same_text(run.checkpoint) if run.checkpoint else None
        run.problem += run.corpus.unseen if run.corpus else ""
    except UserError as error:
        run.problem = str(error)
    sections = {}
    for event, (section, figures) in SECTIONS.items():
        if run.of(event):
            drawn = [figure(title, caption, svg, draw, run, *keys) for title, (draw, *keys, caption) in figures.items()]
            sections[section] = "".join(drawn)
    if run.checkpoint and run.corpus:
        about = f"At step {run.checkpoint.step:,}, by the derivatives of this program"
        picture = figure(about, chain.CAPTION, the_chain, run, run.checkpoint, run.corpus)
        sections["The chain, forward and back"] = picture
    sections["Configuration"] = f"<pre>{escape(files.text(run.folder / 'config.yaml', TEXT))}</pre>"
    title = run.name + f" with the backward pass of {run.backward}" * bool(run.backward)
    kind, _, sentence = verdict(run)
    body = [
        f'<p class="verdict {kind}">{escape(printable(sentence))}</p>',
        links(run),
        f"<p>{escape(printable(progress(run)))}</p>",
        table(*rows_of([run])),
        samples(run),
        f'<p class="undrawn">{escape(printable(run.problem))}</p>' * bool(run.problem),
        "<nav>" + "".join(f'<a href="#{name}">{name}</a>' for name in sections) + "</nav>",
        *(f'<h2 id="{name}">{name}</h2><section>{inside}</section>' for name, inside in sections.items()),
    ]
    return fill(title, "\n".join(body), reload)


def links(run: Run) -> str:
    """The nine links in the order of the backward pass, each right or wrong; nothing where none was checked."""
    parts, gradients = [], run.of("gradient")
    for name, link in LINKS.items():
        wrong = [row["step"] for row in gradients if row.get("of") == name and not row.get("passed")]
        kind, mark = ("bad", f"✗ wrong at step {wrong[0]:,}") if wrong else ("good", "✓ right")
        formula = escape(link.formula.partition(" = ")[2])
        parts.append(f'<li class="{kind}"><b>d{name}</b> <span>{mark}</span><small>{formula}</small></li>')
    return f'<ol class="links">{"".join(parts)}</ol>' if gradients else ""


def samples(run: Run) -> str:
    """The samples; of a list each with a word on where it stands in the text."""
    found, kind = files.text(run.folder / "samples.txt", TEXT), ""
    if run.corpus and run.corpus.lines:
        found, kind = "\n".join(sample_lines(found.split("\n")[:-1], run.corpus)), " class=listed"
    return f"<h3>Samples</h3><pre{kind}>{escape(found)}</pre>" if found else ""


def the_chain(run: Run, checkpoint: Checkpoint, corpus: Corpus) -> str:
    """Two examples of the validation text, or where there is none of the training text, forward and back."""
    if run.backward:
        raise ValueError(f"this run was trained with {run.backward}, and the chain is that of this program")
    start, end = corpus.splits["val" if "val" in corpus.splits else "train"]
    places = np.arange(start, min(start + 4, end))[-2:]  # not the first, whose contexts are all boundaries
    batch = Batch(*text.windows(corpus, places, checkpoint.sizes.K))
    pair = walk(checkpoint.parameters, checkpoint.vocabulary, batch, checkpoint.parameters.flat.size < LARGE)
    return chain.picture(pair)
