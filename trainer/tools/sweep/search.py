"""The command: propose trials, keep the workers busy, and end when the last trial has ended."""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from trainer import config as configuration
from trainer.errors import RunFailed, UserError
from trainer.runs.files import naming
from trainer.runs.folder import RUNS, check_name
from trainer.runs.signals import interruptible
from trainer.text import corpus as text
from trainer.tools.sweep import ranges, results
from trainer.tools.sweep.connection import url_of_file
from trainer.tools.sweep.proposals import learns_from, propose
from trainer.tools.sweep.ranges import Plan
from trainer.tools.sweep.store import Address, Store, has_ended
from trainer.tools.sweep.worker import Task
from trainer.tools.sweep.workers import Workers

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def sweep(
    config: str, overrides: Sequence[str], name: str | None, trials: int, jobs: int, url: str | None, pruning: bool
) -> None:
    """Search for better values of a configuration; print the table of trials, and write runs/NAME/best.yaml.

    Raises UserError for what the user can mend, RunFailed if a check failed or every trial diverged, KeyboardInterrupt
    after Ctrl-C or SIGTERM.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UserError("a sweep needs Optuna, which is not installed; pip install 'handmade-char-lm[sweep]'")
    for option, count in (("--trials", trials), ("--jobs", jobs)):
        if count < 1:
            raise UserError(f"{option} is {count}, on the command line; give 1 or more")
    name = check_name(Path(config).stem if name is None else name)
    folder = RUNS / name
    plan = ranges.read(config, overrides)
    address = Address(url or url_of_file(folder / "sweep.db"), name)
    places = search(Task(plan, address, name, trials, pruning), jobs)

    print(results.table(plan, places))
    for key, share in results.importances(plan, places).items():
        print(f"importance  {share:4.0%}  {key}")
    best = results.best_of(places)
    if best is None:
        raise RunFailed(f"every trial diverged, {folder}; search smaller learning rates under another --name")
    results.write_best(plan, name, best, len(places), folder / "best.yaml")
    print(f"best {best.value:.4f}: {folder / 'best.yaml'}")


def search(task: Task, jobs: int) -> "dict[int, FrozenTrial]":
    """Run trials until so many of the sweep have ended, here or elsewhere; return those that have, by place.

    Raises UserError for what the user can mend, RunFailed if a check failed, KeyboardInterrupt after Ctrl-C, SIGTERM.
    """
    fingerprint = read_text(task.plan)
    with naming(RUNS / task.name):
        (RUNS / task.name).mkdir(parents=True, exist_ok=True)
    store = Store(task.address, create=True)
    store.agree(settings(task, fingerprint))
    bar = tqdm(total=task.trials, unit="trial", disable=None, dynamic_ncols=True)  # None: hidden without a terminal
    with bar, interruptible(lambda message: bar.write(message, sys.stderr)) as signals, Workers(task, jobs) as workers:
        while True:
            store.bury()
            places = store.places()
            show(bar, task.trials, places)
            ended = sum(has_ended(places.get(place)) for place in range(task.trials))
            if ended == task.trials:
                store.tidy()
                return {place: trial for place, trial in places.items() if has_ended(trial)}
            if signals:
                raise KeyboardInterrupt("interrupted; the same command goes on")
            offer(store, task, places, jobs)
            workers.keep()


def read_text(plan: Plan) -> str:
    """The text's fingerprint. Raises UserError for one that many processes cannot read, or without validation split."""
    data = plan.config.data
    if data.path == "-":
        raise UserError("data.path is -, and a sweep reads its text many times; give a file")
    if data.split[1] == 0:
        raise UserError("data.split leaves nothing for validation, and a sweep goes by its loss; give it a share")
    return text.load(data, plan.config.model.context).fingerprint


def settings(task: Task, fingerprint: str) -> dict[str, str]:
    """What all processes of a sweep have to agree on, key by key: all but the path, which may differ by machine."""
    tree = configuration.to_dict(task.plan.config)
    found = {"seed": str(tree.pop("seed"))}
    for section, values in tree.items():
        found |= {f"{section}.{name}": str(value) for name, value in values.items()}
    found |= {key: str(span) for key, span in task.plan.spans.items()}
    del found["data.path"]
    return found | {"pruning": "on" if task.pruning else "off", "the text's fingerprint": fingerprint}


def offer(store: Store, task: Task, places: "Mapping[int, FrozenTrial]", jobs: int) -> None:
    """Add trials until each worker of ours finds one, as far as what they learn from is known."""
    waiting = sum(trial.state.name == "WAITING" for place, trial in places.items() if place < task.trials)
    for place in range(task.trials):
        if waiting >= jobs:
            return
        known = [places.get(earlier) for earlier in range(learns_from(place))]
        if place in places or not all(map(has_ended, known)):
            continue
        learned = [trial for trial in known if trial is not None]
        store.add(place, propose(task.plan.spans, task.plan.config.seed, place, learned), task.plan.spans)
        waiting += 1


def show(bar: Any, total: int, places: "Mapping[int, FrozenTrial]") -> None:
    """Trials done and pruned, the best loss and its values."""
    ended = [trial for trial in places.values() if has_ended(trial)]
    bar.n = min(len(ended), total)
    pruned = sum(trial.state.name == "PRUNED" for trial in ended)
    words = f"{pruned} pruned"
    best = results.best_of(places)
    if best is not None:
        words += f", best {best.value:.4f}: {results.in_words(best.params)}"
    bar.set_postfix_str(words, refresh=False)
    bar.refresh()
