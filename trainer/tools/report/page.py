"""report.html: the page of one run, a file that needs no other."""

from html import escape

import numpy as np

from trainer import files
from trainer.core.links import LINKS
from trainer.core.model import Batch
from trainer.core.ops import Array
from trainer.errors import UserError, printable
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.starting import same_text
from trainer.runs.summary import sample_lines
from trainer.text import corpus as text
from trainer.text.corpus import Corpus
from trainer.tools.explain import walk
from trainer.tools.report import chain, curves
from trainer.tools.report.compare import rows_of
from trainer.tools.report.figures import figure, fill, framed, table
from trainer.tools.report.run import Run, looked_at, progress, verdict

TEXT = 200_000  # characters of a text file that go into the page
LARGE = 100_000  # parameters, whose numerical gradients take more than a moment


def page(run: Run, reload: bool = False) -> bytes:
    """The page of a run; what cannot be drawn is said, in words."""
    corpus = text_of(run)
    sections = of_the_log(run, corpus)
    if run.checkpoint and corpus:
        sections["The chain, forward and back"] = the_chain(run, run.checkpoint, corpus)
    sections["Configuration"] = f"<pre>{escape(files.text(run.folder / 'config.yaml', TEXT))}</pre>"
    title = printable(run.name) + f" with the backward pass of {printable(run.backward)}" * bool(run.backward)
    kind, _, sentence = verdict(run)
    notes = [*run.problems, *([corpus.unseen] if corpus and corpus.unseen else [])]
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="verdict {kind}">{escape(printable(sentence))}</p>',
        links(run),
        f"<p>{escape(printable(progress(run)))}</p>",
        table(*rows_of([run])),
        samples(run, corpus),
        *(f'<p class="undrawn">{escape(printable(note))}</p>' for note in notes),
        "<nav>" + "".join(f'<a href="#{name}">{name}</a>' for name in sections) + "</nav>",
        *(f'<h2 id="{name}">{name}</h2><section>{inside}</section>' for name, inside in sections.items()),
    ]
    return fill(title, "\n".join(body), reload)


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
        wrong = [row["step"] for row in run.gradients if row.get("of") == name and not row.get("passed")]
        kind, mark = ("bad", f"✗ wrong at step {wrong[0]:,}") if wrong else ("good", "✓ right")
        formula = escape(link.formula.partition(" = ")[2])
        parts.append(f'<li class="{kind}"><b>d{name}</b> <span>{mark}</span><small>{formula}</small></li>')
    return f'<ol class="links">{"".join(parts)}</ol>' if run.gradients else ""


def samples(run: Run, corpus: Corpus | None) -> str:
    """The samples; of a list each with a word on where it stands in the text."""
    found, listed = files.text(run.folder / "samples.txt", TEXT).split("\n")[:-1], bool(corpus and corpus.lines)
    shown = "\n".join(sample_lines(found, corpus) if corpus and listed else found)
    return f"<h3>Samples</h3><pre{' class=listed' * listed}>{escape(shown)}</pre>" if found else ""


def of_the_log(run: Run, corpus: Corpus | None) -> dict[str, str]:
    """What the rows show: losses, checks, and where there are any, steps and evaluations."""
    levels = {"log V": float(np.log(run.checkpoint.sizes.V))} if run.checkpoint else {}
    levels |= entropies(corpus) if corpus else {}
    sections = {"Losses and checks": figure(
        "Loss", "In nats; evaluations are of a sample of each split. Look for validation below the bigram line, which"
        " counting pairs of characters reaches, and still falling: where it rises while training falls, the text is"
        " learned by heart. A wrong gradient need not show here: many a mistake only makes training a little worse."
        " What lies above 1.25 log V is cut off.",
        curves.losses, run, levels, height=3.7,
    ) + figure(
        "Error over tolerance", "The largest error of each check over its tolerance, at the steps that were checked,"
        " and beside it the worst of all. Green is within, the darker the closer; red is outside. A wrong link and all"
        " that is made from it are red; what was made before it stays green. Where nothing is drawn, the log has no"
        " row: it keeps those of the first hundred checked steps, of the first checked step in each log.every steps,"
        " and all that failed or were the worst so far.",
        curves.errors, run,
    )}  # fmt: skip
    if run.of("step"):
        sections["How it learns"] = figure(
            "Update : data", "How far a step moves a tensor, relative to its size; nothing below 1e-5 is drawn. Look"
            " for curves within a factor of a hundred of 1e-3. They fall with the learning rate, at the end of some"
            " schedules to nothing; the output weights W2 begin small, and biases at zero, so theirs begin high.",
            curves.ratios, run, "update_ratio",
        ) + figure(
            "Gradient : data", "How large a gradient is, relative to its tensor; small tensors, as W2 and the biases,"
            " stand above the others. Look for a tensor that drifts away from the others: a factor that is missing"
            " shifts its curve by that factor.",
            curves.ratios, run, "grad_ratio",
        ) + figure(
            "Gradient norm", "Of all gradients together. Look for a level that changes slowly; single peaks are single"
            " hard batches.",
            curves.level, run, "grad_norm", height=2.4,
        ) + figure(
            "Saturated units", "The share of hidden units with |h| > 0.99, through which almost no gradient passes. In"
            " a sound training it climbs slowly, while the weights grow, to a quarter or a third. Look for a level"
            " below a half.",
            curves.level, run, "saturated", height=2.4,
        )  # fmt: skip
    if run.of("eval"):
        words = {
            "h": "The hidden units; here and below the height is by powers of ten. Piles at -1 and 1 are saturated"
            " units, of which a trained model has some. Look for a floor between them that stays.",
            "dh": "The gradient that reaches the hidden units. Look for a width that changes slowly over the steps.",
            "dz": "The same after the slope of tanh, 1 - h². Look for a shape narrower than dh: saturated units add to"
            " the peak at zero.",
        }
        drawn = [figure(f"{name} over time", words[name], curves.distribution, run, name, height=2.6) for name in words]
        sections["Distributions over time"] = "".join(drawn)
    return sections


def entropies(corpus: Corpus) -> dict[str, float]:
    """What counting reaches on the training text: H(next), and H(next | previous) = H(both) - H(previous), in nats."""

    def entropy(ids: Array) -> float:
        counts = np.unique(ids, return_counts=True)[1]
        return float(np.log(len(ids)) - counts @ np.log(counts) / len(ids))

    start, end = corpus.splits["train"]
    after, before = (corpus.ids[start - k : end - k].astype(np.int64) for k in (0, 1))
    both = before * len(corpus.vocabulary) + after
    return {"unigram": entropy(after), "bigram": entropy(both) - entropy(before)}


def the_chain(run: Run, checkpoint: Checkpoint, corpus: Corpus) -> str:
    """Two examples of the validation text, or where there is none of the training text, forward and back."""
    if run.backward:
        words = f"Not drawn: this run was trained with {run.backward}, and the chain is that of this program"
        return f'<p class="undrawn">{escape(words)}</p>'
    start, end = corpus.splits["val" if "val" in corpus.splits else "train"]
    places = np.arange(start, min(start + 4, end))[-2:]  # not the first, whose contexts are all boundaries
    batch = Batch(*text.windows(corpus, places, checkpoint.sizes.K))
    pair = walk(checkpoint.parameters, checkpoint.vocabulary, batch, checkpoint.parameters.flat.size < LARGE)
    broken = [looked_at(row) for row in run.gradients if not row.get("passed")]
    title = f"At step {checkpoint.step:,}, by the derivatives of this program"
    return framed(title, chain.CAPTION, chain.picture(pair._replace(broken=broken)), "wide")
