"""report.html: the page of one run, a file that needs no other."""

from dataclasses import fields
from html import escape
from importlib.resources import files
from string import Template

from trainer import config, regular
from trainer.config import Config
from trainer.errors import printable
from trainer.text import corpus as text
from trainer.tools.report import curves, learned, strip, table, verdict
from trainer.tools.report.figures import framed
from trainer.tools.report.learned import Learned
from trainer.tools.report.run import Run
from trainer.tools.walk import walk

RELOAD = 4  # seconds
ERRORS = (
    "The largest error of each check over its tolerance, a column for each checked step; beside it the worst. Green is"
    " within, the darker the closer; red is outside. A wrong link and all that is made from it are red; those made"
    " before it stay green."
)
KNOWN = {"train": "training", "val": "validation", "test": "test"}
TEXT = 200_000  # characters of a text file that go into the page


def fill(title: str, body: str, reload: bool = False) -> str:
    """A whole page from the template."""
    folder = files("trainer.tools.report")
    refresh = f'<meta http-equiv="refresh" content="{RELOAD}">\n' if reload else ""
    style = folder.joinpath("style.css").read_text("utf-8")
    template = Template(folder.joinpath("page.html").read_text("utf-8"))
    return template.substitute(title=escape(title), style=style, body=body, refresh=refresh)


def page(run: Run, reload: bool = False) -> str:
    """The page of a run; what cannot be drawn is said, in words."""
    found = learned.read(run)
    kind, sentence = verdict.sentence(run)
    log = of_the_log(run, found)
    summary = list(zip(table.HEADS, table.summary(run), strict=True))
    parameters = of_the_parameters(run, found) if found else ""
    samples = of_the_samples(run, found)
    sections = [
        f"<h1>{escape(printable(run.name))}</h1>",
        f'<p class="verdict {kind}">{escape(printable(sentence))}</p><p>{escape(verdict.training(run))}</p>',
        verdict.links(run),
        table.facts([(head, word) for head, word in summary[1:] if word != "-"]),
        problems(run),
        *log,
        parameters,
        samples,
        settings(run),
    ]
    losses = run.best.get("val_loss")
    return fill(title_of(run, kind, losses), "\n".join(sections), reload)


def title_of(run: Run, kind: str, loss: float | None) -> str:
    """What stands in the browser's tab: the run and the most important word about it."""
    if run.diverged:
        word = "diverged"
    elif kind == "bad":
        word = "a check failed"
    elif loss is None:
        word = "no evaluation yet"
    else:
        word = f"validation {loss:.4f}"
    return f"{printable(run.name)}: {word}"


def problems(run: Run) -> str:
    """What could not be read or drawn."""
    lines = "".join(f"<li>{escape(printable(problem))}</li>" for problem in run.problems)
    return f"<h2>Not all can be shown</h2><ul>{lines}</ul>" if lines else ""


def section(heading: str, parts: list[str]) -> str:
    return f"<h2>{heading}</h2><section>{''.join(parts)}</section>" if parts else ""


def of_the_log(run: Run, found: Learned | None) -> list[str]:
    """Losses, checks, ratios, distributions."""
    loss, flow, spread = list[str](), list[str](), list[str]()
    curves.losses(loss, run, found.levels if found else {})
    picture = strip.errors(run.rows("check"))
    if picture:
        made = table.html(("check", "made", "failed"), table.tallies(run))
        counts = f"<details><summary>How often each was made</summary>{made}</details>"
        loss.append(framed("Error over tolerance", ERRORS, picture + counts))
    curves.ratios(flow, run)
    curves.levels(flow, run)
    curves.distributions(spread, run)
    return [
        section("Losses and checks", loss),
        section("How it learns", flow),
        section("Distributions over time", spread),
    ]


def of_the_parameters(run: Run, found: Learned) -> str:
    """The chain, then what a batch of the validation text shows, then the embeddings."""
    link, batch_parts, embedded = list[str](), list[str](), list[str]()
    checkpoint, batch = found.checkpoint, learned.batch_of(found, learned.EXAMPLES)
    learned.chain_figure(link, found, verdict.broken(run))
    if batch is not None:
        numbers = walk(checkpoint.parameters, checkpoint.vocabulary, batch, checkpoint.sizes, cross_check=False)
        learned.difference(batch_parts, found, numbers)
        learned.saturated(batch_parts, numbers)
        learned.gradients(batch_parts, numbers)
    learned.embeddings(embedded, found)
    return (
        section("The chain, forward and back", link)
        + section("A batch of the validation text", batch_parts)
        + section("What it learned", embedded)
    )


def of_the_samples(run: Run, found: Learned | None) -> str:
    """The samples; of a list each is marked that stands in the text."""
    written = regular.text(run.folder / "samples.txt", TEXT)
    if not written:
        return ""
    corpus = found.corpus if found else None
    if run.config is None or run.config.data.mode != "lines":
        return f"<h2>Samples</h2><pre>{escape(written)}</pre>"
    lines = written.split("\n")[:-1]
    splits = text.standing(lines, corpus) if corpus else ["" for _ in lines]
    items = []
    for line, split in zip(lines, splits, strict=True):
        where = f"in the {KNOWN[split]} text" if split else ""
        items.append(f'<li data-where="{where}">{escape(printable(line)) or "&nbsp;"}</li>')
    return f'<h2>Samples</h2><ul class="samples">{"".join(items)}</ul>'


def settings(run: Run) -> str:
    """What differs from the defaults, then the whole configuration and the environment, folded."""
    parts = ["<h2>Configuration</h2>"]
    if run.config:
        parts.append(table.facts([(key, table.written(value)) for key, value in unusual(run.config)]))
    written = regular.text(run.folder / "config.yaml", TEXT)
    parts.append(f"<details><summary>All of it</summary><pre>{escape(written)}</pre></details>")
    start = next(iter(run.rows("start")), {})
    known = [(key, table.written(value)) for key, value in start.items() if key not in ("event", "time")]
    parts.append(f"<details><summary>Environment</summary>{table.facts(known)}</details>")
    return "".join(parts)


def unusual(own: Config) -> list[tuple[str, object]]:
    """The keys whose value is not the default, with the path of the text, which has none."""
    usual = config.build({"data": {"path": "-"}}, "the defaults")
    pairs = []
    for part in fields(own):
        value, default = getattr(own, part.name), getattr(usual, part.name)
        if not hasattr(value, "__dataclass_fields__"):
            pairs += [(part.name, value)] if value != default else []
            continue
        for key in fields(value):
            given = getattr(value, key.name)
            if given != getattr(default, key.name):
                pairs.append((f"{part.name}.{key.name}", given))
    return pairs
