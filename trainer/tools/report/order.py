"""The order of several runs: those on one text together, in each text the lowest validation loss first."""

import math
from collections.abc import Sequence

from trainer.errors import printable
from trainer.tools.report.run import Run, TextOf, is_finite
from trainer.tools.report.table import written

APART = "Losses are compared within one text: another text is easier or harder to predict."


def by_text(opened: Sequence[Run]) -> list[list[Run]]:
    """The runs of each text, the texts in the order in which they are met; unknown ones count as one, the last."""
    groups: dict[TextOf | None, list[Run]] = {}
    for run in opened:
        groups.setdefault(run.text, []).append(run)
    known = [group for text, group in groups.items() if text]
    return [by_validation(group) for group in [*known, groups.get(None, [])] if group]


def by_validation(opened: Sequence[Run]) -> list[Run]:
    """The lowest validation loss first; runs without one last."""

    def loss(run: Run) -> float:
        value = run.best.get("val_loss")
        return value if is_finite(value) else math.inf

    return sorted(opened, key=loss)


def text_of(runs: Sequence[Run]) -> str:
    """What tells the text of these runs from others: the files, which may have changed since, and what was in them."""
    text = runs[0].text
    if text is None:
        return "Text unknown: no checkpoint can be read"
    files = ", ".join(dict.fromkeys(written(run.config.data.path) for run in runs if run.config)) or "unknown file"
    return f"Text {printable(files)}: {text.mode}, V = {text.characters}, SHA-256 {text.fingerprint[:8]}"
