"""report.html: the page of one run, a file that needs no other."""

from html import escape

import numpy as np

from trainer import files
from trainer.core.links import LINKS
from trainer.core.model import NAMES
from trainer.errors import UserError, printable
from trainer.runs.starting import same_text
from trainer.text import corpus as text
from trainer.text.corpus import Corpus
from trainer.tools.explain import walk
from trainer.tools.report import chain, curves, learned
from trainer.tools.report.compare import rows_of
from trainer.tools.report.figures import figure, framed
from trainer.tools.report.markup import fill, table
from trainer.tools.report.run import Run, progress, verdict

TEXT = 200_000  # characters of a text file that go into the page
LARGE = 100_000  # parameters, whose numerical gradients take more than a moment
KNOWN = {"": "", "train": "in the training text", "val": "in the validation text", "test": "in the test text"}


def page(run: Run, reload: bool = False) -> str:
    """The page of a run; what cannot be drawn is said, in words."""
    corpus, start = text_of(run), next(iter(run.of("start")), {})
    by = f" with the backward pass of {start['backward']}" if start.get("backward") else ""
    sections = of_the_log(run, corpus) | of_the_parameters(run, corpus, by)
    sections["Configuration"] = f"<pre>{escape(files.text(run.folder / 'config.yaml', TEXT))}</pre>"
    kind, sentence = verdict(run)
    heads, row = rows_of([run], [printable(run.name)])
    body = [
        f"<h1>{escape(printable(run.name + by))}</h1>",
        f'<p class="verdict {kind}">{escape(printable(sentence))}</p>',
        links(run),
        f"<p>{escape(printable(progress(run)))}</p>",
        table(heads, [row]),
        samples(run, corpus),
        *(f'<p class="undrawn">{escape(printable(problem))}</p>' for problem in run.problems),
        "<nav>" + "".join(f'<a href="#{name}">{name}</a>' for name in sections) + "</nav>",
        *(f'<h2 id="{name}">{name}</h2><section>{inside}</section>' for name, inside in sections.items()),
    ]
    return fill(printable(run.name + by), "\n".join(body), reload)


def text_of(run: Run) -> Corpus | None:
    """The text of the run, or a problem of it."""
    try:
        return same_text(run.checkpoint) if run.checkpoint else None
    except UserError as error:
        run.problems.append(str(error))
        return None


def links(run: Run) -> str:
    """The nine links in the order of the backward pass, each right or wrong; nothing where none was checked."""
    parts = []
    for name, link in LINKS.items():
        own = [row for row in run.gradients if row.get("of") == name]
        wrong = [row["step"] for row in own if not row.get("passed")]
        kind, mark = ("good", "✓ right") if own else ("unknown", "not checked")
        if wrong:
            kind, mark = "bad", f"✗ wrong at step {wrong[0]:,}"
        formula = escape(link.formula.partition(" = ")[2])
        parts.append(f'<li class="{kind}"><b>d{name}</b> <span>{mark}</span><small>{formula}</small></li>')
    return f'<ol class="links">{"".join(parts)}</ol>' if run.gradients else ""


def samples(run: Run, corpus: Corpus | None) -> str:
    """The samples; of a list each is marked that stands in the text."""
    found = files.text(run.folder / "samples.txt", TEXT)
    inside = f"<pre>{escape(found)}</pre>"
    if run.config and run.config.data.mode == "lines":
        lines = found.split("\n")[:-1]
        splits = text.standing(lines, corpus) if corpus else [""] * len(lines)
        marked = [(printable(line), KNOWN[split]) for line, split in zip(lines, splits, strict=True)]
        items = "".join(f'<li data-where="{where}">{escape(line) or "&nbsp;"}</li>' for line, where in marked)
        inside = f'<ul class="samples">{items}</ul>'
    return f"<h3>Samples</h3>{inside}" if found else ""


def of_the_log(run: Run, corpus: Corpus | None) -> dict[str, str]:
    """What the rows show: losses, checks, and where there are any, steps and evaluations."""
    levels = {"log V": float(np.log(run.checkpoint.sizes.V))} if run.checkpoint else {}
    levels |= learned.entropies(corpus) if corpus else {}
    loss = figure("Loss", curves.losses, run, levels, height=3.7)
    sections = {"Losses and checks": loss + figure("Error over tolerance", curves.errors, run)}
    if run.of("step"):
        updates, gradients = ({name: f"{key}_ratio.{name}" for name in NAMES} for key in ("update", "grad"))
        sections["How it learns"] = (
            figure("Update : data", curves.over_steps, run, updates, True)
            + figure("Gradient : data", curves.over_steps, run, gradients, True)
            + figure("Gradient norm", curves.over_steps, run, {"norm": "grad_norm"}, height=2.4)
            + figure("Saturated units", curves.over_steps, run, {"share": "saturated"}, height=2.4)
        )
    if run.of("eval"):
        drawn = [figure(f"{name} over time", curves.distribution, run, name, height=2.6) for name in ("h", "dh", "dz")]
        sections["Distributions over time"] = "".join(drawn)
    return sections


def of_the_parameters(run: Run, corpus: Corpus | None, by: str) -> dict[str, str]:
    """The chain and the embeddings."""
    if run.checkpoint is None:
        return {}
    p, vocabulary, K = run.checkpoint.parameters, run.checkpoint.vocabulary, run.checkpoint.sizes.K
    if not np.isfinite(p.flat).all():
        run.problems.append("No figure of the parameters: they are not finite")
        return {}
    sections, ids = {}, corpus.ids if corpus else np.zeros(0, int)
    if corpus and by:
        words = f"Not drawn: this run was trained{by}, and the chain is that of this program"
        sections["The chain, forward and back"] = f'<p class="undrawn">{escape(words)}</p>'
    elif corpus:
        pair = walk(p, vocabulary, learned.neighbours(corpus, K), p.flat.size < LARGE)
        broken = [str(row.get("of")) for row in run.gradients if not row.get("passed")]
        title = f"At step {run.checkpoint.step:,}, by the derivatives of this program"
        drawn = framed(title, chain.caption(pair), chain.picture(pair, broken), "wide")
        sections["The chain, forward and back"] = drawn
    drawn = figure("Embeddings, by cosine", learned.cosines, p.C, vocabulary, ids, height=4.6)
    return sections | {"What it learned": drawn}
