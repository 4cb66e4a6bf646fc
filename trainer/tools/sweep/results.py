"""What a sweep has found: the table, the importance of each key, and the best values as a configuration."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from trainer import config as configuration
from trainer.errors import printable
from trainer.runs.files import write_whole
from trainer.tools.sweep.ranges import Plan, with_values

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def best_of(places: "Mapping[int, FrozenTrial]") -> "FrozenTrial | None":
    """The trial with the lowest validation loss, of those that were trained to the end and did not diverge."""
    trained = [trial for trial in places.values() if trial.state.name == "COMPLETE" and math.isfinite(loss_of(trial))]
    return min(trained, key=loss_of, default=None)


def loss_of(trial: "FrozenTrial") -> float:
    """Its last validation loss, in nats per character; infinite if it diverged."""
    return math.inf if trial.value is None else float(trial.value)


def in_words(values: Mapping[str, Any]) -> str:
    """Values as they can be typed, numbers to four digits: train.dropout=0.25 model.hidden=300"""
    return " ".join(f"{key}={short(value)}" for key, value in values.items())


def short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))


def table(plan: Plan, places: "Mapping[int, FrozenTrial]") -> str:
    """All trials that have ended, best first: number, validation loss, how it ended, values, run."""
    header = ["trial", "val loss", "ended", *plan.spans, "run"]
    order = sorted(places.items(), key=lambda item: (item[1].state.name != "COMPLETE", loss_of(item[1])))
    rows = [header]
    for place, trial in order:
        values = [short(trial.params[key]) for key in plan.spans]
        loss, run = f"{loss_of(trial):.4f}", printable(str(trial.user_attrs.get("run", "-")))
        rows.append([str(place), loss, how_it_ended(trial), *values, run])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def how_it_ended(trial: "FrozenTrial") -> str:
    if trial.state.name == "PRUNED":
        return f"pruned at {trial.last_step}"
    return "done" if math.isfinite(loss_of(trial)) else "diverged"


def importances(plan: Plan, places: "Mapping[int, FrozenTrial]") -> dict[str, float]:
    """How much of what tells good trials from others is told by each key (PED-ANOVA), the largest first.

    Empty where too few trials were trained to the end.
    """
    import optuna

    study = optuna.create_study()
    study.add_trials(list(places.values()))
    trained = [trial for trial in places.values() if trial.state.name == "COMPLETE"]
    if len(plan.spans) < 2 or len({loss_of(trial) for trial in trained if math.isfinite(loss_of(trial))}) < 2:
        return {}
    return optuna.importance.get_param_importances(study)


def write_best(plan: Plan, name: str, best: "FrozenTrial", trials: int, path: Path) -> None:
    """The best values with all others, ready for --config."""
    tree = configuration.to_dict(with_values(plan.config, best.params))
    told = f"# The best of {trials} trials of the sweep {name}: validation loss {best.value:.4f} nats per character.\n"
    write_whole(path, (told + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)).encode())
