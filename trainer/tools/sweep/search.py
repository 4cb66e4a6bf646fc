"""The search: Optuna's study, which proposes what is trained, here or elsewhere, and what comes of it.

Optuna is an extra: each function that needs it imports it.
"""

import logging
import math
import random
import statistics
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trainer
from trainer import config as configuration
from trainer.errors import Diverged, RunFailed, UserError, aligned
from trainer.files import write_whole
from trainer.runs.metrics import to_yaml
from trainer.text import corpus
from trainer.tools.sweep.ranges import Plan

if TYPE_CHECKING:
    import optuna

GRACE = 10  # seconds without a sign of life, of which there is one every other, after which a process is dead
DONE = "COMPLETE", "PRUNED"


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Raise UserError where a store does not answer."""
    import optuna
    import sqlalchemy

    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, RuntimeError) as error:
        why, where = str(error.__cause__ or error).strip().splitlines()[0], url.rpartition("@")[2]
        raise UserError(f"the search stopped ({why}), {where}; give --storage a database that answers") from None


def open_study(name: str, url: str, plan: Plan) -> "optuna.Study":
    """The study, made if it is not there. Values in ranges that were trained when a process died are tried again."""
    import optuna
    import sqlalchemy

    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    logging.getLogger("optuna").handlers[0].addFilter(lambda told: told.levelno == logging.INFO and "Trial" in told.msg)
    sqlite = url.startswith("sqlite")
    options = {"connect_args": {"timeout": 60, "isolation_level": None} if sqlite else {}}
    again = optuna.storages.RetryHeartbeatStaleTrialCallback() if plan.ranges else None
    alive: Any = {"heartbeat_interval": 2, "grace_period": GRACE, "heartbeat_stale_trial_callback": again}
    try:
        storage = optuna.storages.RDBStorage(url, options, **alive)
    except sqlalchemy.exc.DBAPIError:
        time.sleep(1 + random.random())  # another process may be making the tables
        storage = optuna.storages.RDBStorage(url, options, **alive)
    if sqlite:  # where two processes that read that a trial waits could both take it; other databases lock the row
        sqlalchemy.event.listen(storage.engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
    return optuna.create_study(storage=storage, study_name=name, load_if_exists=True)


def settings(plan: Plan) -> list[str]:
    """What all trials of a study share, `section.key=value`; of the text what it is, not where."""
    text = corpus.load(plan.first.data, plan.first.model.context)
    own = {**plan.ranges, **plan.lists, "data.path": text.fingerprint, "seed": plan.seeds}
    common = configuration.flatten(asdict(plan.first)) | own
    return [f"{key}={value}" for key, value in common.items()]


def require_same(study: "optuna.Study", settings: list[str]) -> None:
    """Raise UserError if the study was begun with other settings."""
    before = study.user_attrs.get("settings", settings)
    study.set_user_attr("settings", before)
    if differ := ", ".join(sorted({*before} - {*settings})):
        raise UserError(f"{study.study_name} was begun with {differ}; give the same, or another --name")


def is_running(trial: "optuna.trial.FrozenTrial") -> bool:
    """Whether it has given a sign of life and not ended: what died before its first would never be found dead."""
    # A copy has the number of the first.
    return trial.state.name == "RUNNING" and trial.user_attrs.get("alive") == trial.number


def work(study: "optuna.Study", plan: Plan, pruning: bool, worker: int) -> None:
    """In the process of that number: train one trial after another until all are done, here or elsewhere."""
    import optuna

    # In the first fifth of its steps, what holds a model back makes it slow too.
    pruner = optuna.pruners.MedianPruner(n_warmup_steps=plan.first.train.steps // 5)
    study.pruner = pruner if pruning else optuna.pruners.NopPruner()
    while True:
        trials = study.get_trials(False)
        done = [trial.params for trial in trials if trial.state.name in DONE]
        begun = [trial.params for trial in trials if is_running(trial)]
        left = [values for values in plan.combinations if values not in done]
        free = [values for values in left if values not in begun]
        if left and not free:  # what runs elsewhere may die
            time.sleep(1)
            optuna.storages.fail_stale_trials(study)
        elif free or (plan.ranges and len(done) < plan.trials):
            given = free[worker % len(free)] if free else {}
            study.sampler = optuna.samplers.PartialFixedSampler(given, optuna.samplers.TPESampler())
            study.optimize(lambda trial: objective(trial, plan), n_trials=1)
        else:
            return


def objective(trial: "optuna.Trial", plan: Plan) -> float:
    """The mean over the seeds of the validation loss, in nats per character; infinite if one diverged."""
    import optuna

    trial.study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
    trial.set_user_attr("alive", trial.number)
    values: dict[str, Any] = {key: trial.suggest_categorical(key, texts) for key, texts in plan.lists.items()}
    for key, (low, high) in plan.ranges.items():
        suggest: Any = trial.suggest_int if isinstance(low, int) else trial.suggest_float
        # Of sizes and rates, each doubling is as likely as the next.
        values[key] = suggest(key, low, high, log=low > 0 and not key.endswith(("dropout", "momentum")))
    others = trial.study.get_trials(False)
    equal = [other for other in others if other.params == values and other.number != trial.number]
    if any(is_running(other) or (plan.combinations and other.state.name in DONE) for other in equal):
        time.sleep(random.random())  # it is trained elsewhere, from just now on
        return math.nan  # for Optuna it has failed
    # What was trained with the same values and seed before is not trained again.
    runs = {seed: run for other in equal for seed, run in other.user_attrs.get("runs", {}).items()}
    for number, seed in enumerate(plan.seeds):
        config = plan.config(values, seed)
        if seed not in runs:
            runs[seed] = train(trial, config, number * config.train.steps)
        trial.set_user_attr("runs", runs)
        _, loss, pruned = runs[seed]
        if pruned:
            trial.report(loss, (number + 1) * config.train.steps)
            raise optuna.TrialPruned
    return statistics.fmean(loss for _, loss, _ in runs.values())


def train(trial: "optuna.Trial", config: configuration.Config, before: int) -> tuple[str, float, bool]:
    """Train one run of a trial, after so many steps of its others: its folder, its loss, and whether it was pruned."""
    pruned = False

    def on_eval(step: int, train_loss: float, val_loss: float) -> bool:
        nonlocal pruned
        trial.report(val_loss, before + step)
        pruned = step < config.train.steps and bool(trial.should_prune())
        return not pruned

    try:
        folder = trainer.train(config, trial.study.study_name, quiet=True, on_eval=on_eval)
    except Diverged as error:
        return str(error.run), math.inf, False
    return str(folder), trainer.metrics(folder)["end"]["val_loss"][-1], pruned


def conclude(study: "optuna.Study", plan: Plan, path: Path) -> None:
    """Print the table, best first, and the importance of each key; write the best values as a configuration."""
    import optuna

    of_equal_ones_the_first = {
        str(trial.params): trial for trial in reversed(study.get_trials(False)) if trial.state.name in DONE
    }
    order: list[Any] = sorted(of_equal_ones_the_first.values(), key=lambda trial: (trial.state.name, trial.value))
    keys = [*plan.lists, *plan.ranges]
    table = [["trial", "val loss", "ended", *keys, "run"]]
    for trial in order:
        how = "diverged" if trial.value == math.inf else trial.state.name.lower()
        values = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in map(trial.params.get, keys)]
        runs = ", ".join(run for run, *_ in trial.user_attrs["runs"].values())
        table.append([str(trial.number), f"{trial.value:.4f}", how, *values, runs])
    print("\n".join(aligned(table)))
    complete = [trial for trial in order if trial.state.name == "COMPLETE" and trial.value < math.inf]
    if not complete:
        raise RunFailed(f"every trial diverged, {path.parent}; search smaller learning rates under another --name")
    if len(complete) >= 10:
        for key, share in optuna.importance.get_param_importances(study).items():
            print(f"importance  {share:4.0%}  {key}")
    write_whole(path, to_yaml(plan.config(complete[0].params, plan.seeds[0])).encode())
    print(f"best {complete[0].value:.4f}: {path}")
