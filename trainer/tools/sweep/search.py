"""The search: a command, its processes that train the trials of Optuna's study, and what comes of them."""

import logging
import math
import random
import statistics
import time
import warnings
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trainer
from trainer import config as configuration
from trainer.errors import Diverged, RunFailed, UserError, aligned
from trainer.files import write_whole
from trainer.runs.folder import RUNS, check_name
from trainer.text import corpus
from trainer.tools.children import run_together
from trainer.tools.sweep import ranges

if TYPE_CHECKING:
    import optuna


def sweep(given: Namespace) -> None:
    """Search for better values of a configuration; print the table of trials, and write runs/NAME/best.yaml.

    Raises UserError for what the user can mend, RunFailed if every trial diverged. A signal ends it at once.
    """
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    given.name = check_name(given.name or Path(given.config).stem)
    folder, plan = RUNS / given.name, ranges.read(given)
    given.storage = given.storage or f"sqlite:///{folder / 'sweep.db'}"
    text = corpus.load(plan.first.data, plan.first.model.context)  # what it is counts, not where
    common = configuration.flatten(asdict(plan.first)) | plan.ranges | plan.lists
    common |= {"data.path": text.fingerprint, "seed": plan.seeds}
    settings = [f"{key}={value}" for key, value in common.items()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        study = open_study(given)
        before = study.user_attrs.get("settings", settings)
        study.set_user_attr("settings", before)
        if differ := ", ".join(sorted({*before} ^ {*settings})):
            raise UserError(f"{given.name} was begun with other settings, {differ}; give the same, or another --name")
        for trial in trials_of(study, "RUNNING"):  # one that died before its first beat would not be found
            study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
        run_together(work, [vars(given) | {"job": job} for job in range(given.jobs)])
        conclude(study, plan, folder / "best.yaml")
    except (SQLAlchemyError, OptunaError, ImportError, RuntimeError) as error:
        why, where = str(error.__cause__ or error).strip().splitlines()[0], given.storage.rpartition("@")[2]
        raise UserError(f"the search stopped ({why}), {where}; give --storage a database that answers") from None


def open_study(given: Namespace) -> "optuna.Study":
    """The study, made if it is not there. Optuna offers the values again that were trained when a process died."""
    import optuna
    import sqlalchemy

    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    logging.getLogger("optuna").handlers[0].addFilter(lambda told: told.levelno == logging.INFO and "Trial" in told.msg)
    sqlite = given.storage.startswith("sqlite")
    options = {"connect_args": {"timeout": 60, "isolation_level": None} if sqlite else {}}
    again = optuna.storages.RetryHeartbeatStaleTrialCallback()
    alive: Any = {"heartbeat_interval": 2, "grace_period": 10, "heartbeat_stale_trial_callback": again}
    try:
        storage = optuna.storages.RDBStorage(given.storage, options, **alive)
    except sqlalchemy.exc.DBAPIError:
        time.sleep(1 + random.random())  # another process may be making the tables
        storage = optuna.storages.RDBStorage(given.storage, options, **alive)
    if sqlite:  # where two processes that read that a trial waits could both take it; other databases lock the row
        sqlalchemy.event.listen(storage.engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN IMMEDIATE"))
    return optuna.create_study(storage=storage, study_name=given.name, load_if_exists=True)


def trials_of(study: "optuna.Study", *states: str) -> "list[optuna.trial.FrozenTrial]":
    """The trials in these states; first those whose process died are closed, and their values wait for another."""
    from optuna.storages import fail_stale_trials

    fail_stale_trials(study)
    return [trial for trial in study.get_trials(deepcopy=False) if trial.state.name in states]


def work(task: dict[str, Any]) -> None:
    """In a process: train one trial after another until all are done, here or elsewhere."""
    from optuna.pruners import MedianPruner, NopPruner
    from optuna.samplers import PartialFixedSampler, RandomSampler

    given = Namespace(**task)
    plan, study = ranges.read(given), open_study(given)
    # In the first fifth of its steps, what holds a model back makes it slow too.
    study.pruner = NopPruner() if given.no_pruning else MedianPruner(n_warmup_steps=plan.first.train.steps // 5)
    while True:
        running = [trial.params for trial in trials_of(study, "RUNNING")]
        done = [trial.params for trial in trials_of(study, "COMPLETE", "PRUNED")]
        left = [values for values in plan.combinations if values not in done]
        free = [values for values in left if values not in running]
        if free:
            study.sampler = PartialFixedSampler(free[given.job % len(free)], RandomSampler())
        elif left or len(done) < given.trials <= len(done) + len(running):
            time.sleep(1)  # what runs elsewhere may fail
            continue
        elif plan.combinations or len(done) >= given.trials:
            return
        study.optimize(lambda trial: objective(trial, plan), n_trials=1)


def objective(trial: "optuna.Trial", plan: ranges.Plan) -> float:
    """The mean over the seeds of the validation loss, in nats per character; infinite if one diverged."""
    from optuna import TrialPruned

    values: dict[str, Any] = {key: trial.suggest_categorical(key, texts) for key, texts in plan.lists.items()}
    for key, (low, high) in plan.ranges.items():
        suggest: Any = trial.suggest_int if isinstance(low, int) else trial.suggest_float
        # Of sizes and rates, each doubling is as likely as the next.
        values[key] = suggest(key, low, high, log=low > 0 and not key.endswith(("dropout", "momentum")))
    others = [t for t in trial.study.get_trials(deepcopy=False) if t.params == values and t.number != trial.number]
    taken = ("RUNNING", "COMPLETE", "PRUNED") if plan.combinations else ("RUNNING",)  # by another process, just now
    if any(other.state.name in taken for other in others):
        time.sleep(random.random())
        return math.nan  # for Optuna it has failed
    # What was trained with the same values and seed before is not trained again.
    runs = {seed: run for other in others for seed, run in other.user_attrs.get("runs", {}).items()}
    for number, seed in enumerate(plan.seeds):
        if seed not in runs:
            config = plan.config(values, seed)
            runs[seed] = train(trial, config, number * config.train.steps)
        trial.set_user_attr("runs", runs)
        _, loss, pruned_at = runs[seed]
        if pruned_at:
            trial.report(loss, pruned_at)
            raise TrialPruned
    return statistics.fmean(loss for _, loss, _ in runs.values())


def train(trial: "optuna.Trial", config: configuration.Config, before: int) -> tuple[str, float, int | None]:
    """Train one run of a trial, after so many steps of its others: its folder, its loss, and where it was pruned."""
    pruned_at = None

    def on_eval(step: int, train_loss: float, val_loss: float) -> bool:
        nonlocal pruned_at
        trial.report(val_loss, before + step)
        if step < config.train.steps and trial.should_prune():
            pruned_at = before + step + 1
        return pruned_at is None

    try:
        folder = trainer.train(config, trial.study.study_name, quiet=True, on_eval=on_eval)
    except Diverged as error:
        return str(error.run), math.inf, None
    return str(folder), trainer.metrics(folder)["end"]["val_loss"][-1], pruned_at


def conclude(study: "optuna.Study", plan: ranges.Plan, path: Path) -> None:
    """Print the table, best first, and the importance of each key; write the best values as a configuration."""
    trials = reversed(trials_of(study, "COMPLETE", "PRUNED"))
    of_equal_ones_the_first = {str(trial.params): trial for trial in trials}.values()
    order: list[Any] = sorted(of_equal_ones_the_first, key=lambda trial: (trial.state.name, trial.value))
    keys = [*plan.lists, *plan.ranges]
    table = [["trial", "val loss", "ended", *keys, "run"]]
    for trial in order:
        values = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in map(trial.params.get, keys)]
        runs = ", ".join(run for run, *_ in trial.user_attrs["runs"].values())
        table.append([str(trial.number), f"{trial.value:.4f}", trial.state.name.lower(), *values, runs])
    print("\n".join(aligned(table)))
    complete = [trial for trial in order if trial.state.name == "COMPLETE" and math.isfinite(trial.value)]
    if not complete:
        raise RunFailed(f"every trial diverged, {path.parent}; search smaller learning rates under another --name")
    if len(complete) >= 10:
        from optuna.importance import get_param_importances

        for key, share in get_param_importances(study).items():
            print(f"importance  {share:4.0%}  {key}")
    write_whole(path, configuration.to_yaml(plan.config(complete[0].params, plan.seeds[0])).encode())
    print(f"best {complete[0].value:.4f}: {path}")
