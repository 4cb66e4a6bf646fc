"""The search: a command, its processes that train the trials of Optuna's study, and what comes of them."""

import logging
import math
import random
import statistics
import time
import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
import yaml
from optuna.samplers import PartialFixedSampler, RandomSampler
from optuna.trial import Trial, TrialState

import trainer
from trainer import config as configuration
from trainer.errors import Diverged, RunFailed, UserError, aligned
from trainer.files import write_whole
from trainer.runs.folder import RUNS, check_name
from trainer.text import corpus
from trainer.tools.children import run_together
from trainer.tools.sweep import ranges

DONE = (TrialState.COMPLETE, TrialState.PRUNED)


def sweep(given: Namespace) -> None:
    """Search for better values of a configuration; print the table of trials, and write runs/NAME/best.yaml.

    Raises UserError for what the user can mend, RunFailed if every trial diverged. A signal ends it at once.
    """
    given.name = check_name(given.name or Path(given.config).stem)
    folder, plan = RUNS / given.name, ranges.read(given)
    given.storage = given.storage or f"sqlite:///{folder / 'sweep.db'}"
    settings = settings_of(plan)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        study = open_study(given)
        before = study.user_attrs.get("settings", settings)
        study.set_user_attr("settings", before)
        if differ := ", ".join(sorted({*before} ^ {*settings})):
            raise UserError(f"{given.name} was begun with other settings, {differ}; give the same, or another --name")
        optuna.storages.fail_stale_trials(study)
        for trial in study.get_trials(states=(TrialState.RUNNING,)):  # one that died before its first beat is not found
            study._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
        run_together(work, [vars(given) | {"job": job} for job in range(given.jobs)])
        optuna.storages.fail_stale_trials(study)
        conclude(study, plan, folder / "best.yaml")
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, RuntimeError) as error:
        why, where = str(error.__cause__ or error).strip().splitlines()[0], given.storage.rpartition("@")[2]
        raise UserError(f"the search stopped ({why}), {where}; give --storage a database that answers") from None


def settings_of(plan: ranges.Plan) -> list[str]:
    """What all trials have in common: of the text what it is, and not where."""
    spans = {"seed": plan.seeds, **plan.ranges, **plan.lists}
    text, tree = corpus.load(plan.first.data, plan.first.model.context), configuration.to_dict(plan.first)
    settings = [f"text {text.fingerprint}", *(f"{key}={span}" for key, span in spans.items())]
    for section in ("data", "model", "train", "check", "log"):
        settings += [f"{section}.{key}={value}" for key, value in tree[section].items() if key != "path"]
    return settings


def open_study(given: Namespace) -> optuna.Study:
    """The study, made if it is not there. Optuna offers the values again that were trained when a process died."""
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


def work(task: dict[str, Any]) -> None:
    """In a process: train one trial after another until all are done, here or elsewhere."""
    given = Namespace(**task)
    plan, study = ranges.read(given), open_study(given)
    while True:
        optuna.storages.fail_stale_trials(study)
        trials = study.get_trials(deepcopy=False)
        done = [trial.params for trial in trials if trial.state in DONE]
        left = [values for values in plan.combinations if values not in done]
        running = [trial.params for trial in trials if trial.state == TrialState.RUNNING]
        free = [values for values in left if values not in running]
        if free:
            study.sampler = PartialFixedSampler(free[given.job % len(free)], RandomSampler())
        elif left:
            time.sleep(1)  # what runs elsewhere may fail
            continue
        elif plan.combinations or len(done) >= given.trials:
            return
        try:
            study.optimize(lambda trial: objective(trial, plan, given), n_trials=1)
        except ValueError as error:
            if not str(error).startswith("Cannot tell"):  # else this process slept, and was taken for dead
                raise


def objective(trial: Trial, plan: ranges.Plan, given: Namespace) -> float:
    """The mean over the seeds of the validation loss, in nats per character; infinite if one diverged."""
    values: dict[str, Any] = {key: trial.suggest_categorical(key, texts) for key, texts in plan.lists.items()}
    for key, (low, high) in plan.ranges.items():
        suggest: Any = trial.suggest_int if isinstance(low, int) else trial.suggest_float
        # Of sizes and rates, each doubling is as likely as the next.
        values[key] = suggest(key, low, high, log=low > 0 and not key.endswith(("dropout", "momentum")))
    others = [t for t in trial.study.get_trials(deepcopy=False) if t.params == values and t.number != trial.number]
    if any(other.state == TrialState.RUNNING for other in others):
        time.sleep(random.random())
        return math.nan  # for Optuna it has failed
    # What was trained with the same values and seed before is not trained again.
    runs = {seed: run for other in others for seed, run in other.user_attrs.get("runs", {}).items()}
    for number, seed in enumerate(plan.seeds):
        if seed not in runs:
            runs[seed] = train(trial, plan.config(values, seed), number, given)
        trial.set_user_attr("runs", runs)
        _, loss, pruned_at = runs[seed]
        if pruned_at:
            trial.report(loss, pruned_at)
            raise optuna.TrialPruned
    return statistics.fmean(loss for _, loss, _ in runs.values())


def train(trial: Trial, config: configuration.Config, number: int, given: Namespace) -> tuple[str, float, int | None]:
    """Train the trial's run of that number: its folder, its loss, and after how many steps it was pruned."""
    steps, pruned_at = config.train.steps, None

    def on_eval(step: int, train_loss: float, val_loss: float) -> bool:
        nonlocal pruned_at
        trial.report(val_loss, number * steps + step)
        # In the first fifth of its steps, what holds a model back makes it slow too.
        if not given.no_pruning and steps // 5 <= step < steps and trial.should_prune():
            pruned_at = number * steps + step + 1
        return pruned_at is None

    try:
        folder = trainer.train(config, given.name, quiet=True, on_eval=on_eval)
    except Diverged as error:
        return str(error.run), math.inf, None
    return str(folder), trainer.metrics(folder)["end"]["val_loss"][-1], pruned_at


def conclude(study: optuna.Study, plan: ranges.Plan, path: Path) -> None:
    """Print the table, best first, and the importance of each key; write the best values as a configuration."""
    each = {str(trial.params): trial for trial in reversed(study.get_trials(states=DONE))}  # of equal ones the first
    order: list[Any] = sorted(each.values(), key=lambda trial: (trial.state.name, trial.value))
    keys = [*plan.lists, *plan.ranges]
    table = [["trial", "val loss", "ended", *keys, "run"]]
    for trial in order:
        ended = trial.state.name.lower() if math.isfinite(trial.value) else "diverged"
        values = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in map(trial.params.get, keys)]
        runs = ", ".join(run for run, *_ in trial.user_attrs["runs"].values())
        table.append([str(trial.number), f"{trial.value:.4f}", ended, *values, runs])
    print("\n".join(aligned(table)))
    complete = [trial for trial in order if trial.state == TrialState.COMPLETE and math.isfinite(trial.value)]
    if not complete:
        raise RunFailed(f"every trial diverged, {path.parent}; search smaller learning rates under another --name")
    if len(complete) >= 10 and len(keys) > 1:
        for key, share in optuna.importance.get_param_importances(study).items():
            print(f"importance  {share:4.0%}  {key}")
    best = complete[0]
    tree = configuration.to_dict(plan.config(best.params, plan.seeds[0]))
    told = f"# The best of {len(order)} trials of the sweep {study.study_name}: validation loss {best.value:.4f}.\n"
    write_whole(path, (told + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)).encode())
    print(f"best {best.value:.4f}: {path}")
