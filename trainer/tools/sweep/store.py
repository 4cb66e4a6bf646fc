"""The trials of a sweep in a database that all its processes share, through Optuna's relational storage.

Each trial bears a number, `place`, which is not Optuna's own: when one dies (nobody has given a sign of life for it any
more), it is marked as failed, and another trial is added in its place. Two processes may add one for the same place at
once; only the first that has not failed counts, the same one for everybody, and only one process can take it.
"""

import json
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.errors import UserError
from trainer.tools.sweep.connection import connect, shown
from trainer.tools.sweep.ranges import Span, distributions

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

ATTEMPTS = 5  # how often the process of a trial may die before the sweep gives up
SETTINGS = "settings"  # the study's attribute that holds what all its processes have to agree on


@dataclass(frozen=True)
class Address:
    """Where the trials lie: all that another process needs to open the store."""

    url: str
    name: str
    heartbeat: int = 10  # seconds between two signs of life
    grace: int = 60  # seconds without one after which a trial has died


class TakenOver(Exception):
    """The trial was given up for dead, and is no longer ours."""


class Store:
    """The trials of one sweep, as one process sees them."""

    def __init__(self, address: Address, create: bool = False) -> None:
        """Open the store, and if asked make what is missing there. Raises UserError if it cannot be reached."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self.where = shown(address.url)
        self.storage = connect(address.url, address.heartbeat, address.grace, create)
        with self.reachable():
            self.study = optuna.create_study(study_name=address.name, storage=self.storage, load_if_exists=True)
            self.study_id = self.storage.get_study_id_from_name(address.name)

    @contextmanager
    def reachable(self) -> Iterator[None]:
        """UserError in one line for what the database refuses; TakenOver for a trial that has ended elsewhere."""
        import optuna
        import sqlalchemy

        try:
            yield
        except optuna.exceptions.UpdateFinishedTrialError:
            raise TakenOver from None
        except (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError) as error:
            why = str(error.__cause__ or error).strip().splitlines()[0]
            raise UserError(
                f"the store does not answer ({why}), {self.where}; the same command goes on when it does"
            ) from None

    def agree(self, settings: Mapping[str, str]) -> None:
        """Keep what all processes of the sweep have to agree on. Raises UserError if it differs."""
        with self.reachable():
            attributes = self.storage.get_study_user_attrs(self.study_id)
            if SETTINGS not in attributes:
                self.storage.set_study_user_attr(self.study_id, SETTINGS, json.dumps(settings))
                attributes = self.storage.get_study_user_attrs(self.study_id)
        before = json.loads(attributes[SETTINGS])
        for key in [*before, *settings]:
            if before.get(key) != settings.get(key):
                was, given = before.get(key, "left out"), settings.get(key, "left out")
                raise UserError(
                    f"this sweep was begun with {key} {was}, and {given} is asked for, {self.where};"
                    " give what it was begun with, or another --name"
                )

    def places(self) -> "dict[int, FrozenTrial]":
        """The trials that count, by place, in the order of the places. Raises UserError for one that died too often."""
        with self.reachable():
            trials = self.storage.get_all_trials(self.study_id, deepcopy=False)
        found: dict[int, FrozenTrial] = {}
        deaths: Counter[int] = Counter()
        for trial in sorted(trials, key=lambda trial: trial.number):
            place = trial.user_attrs.get("place")
            if place is None:
                continue  # no trial of ours
            if trial.state.name != "FAIL":
                found.setdefault(place, trial)
            elif "why" not in trial.user_attrs:
                deaths[place] += 1
        for place, count in deaths.items():
            if count >= ATTEMPTS and place not in found:
                raise UserError(
                    f"the process of trial {place} died {count} times, {self.where};"
                    " look whether the memory is too small for it, and begin again with another --name"
                )
        return dict(sorted(found.items()))

    def add(self, place: int, values: Mapping[str, Any], spans: Mapping[str, Span]) -> None:
        """Add a trial that waits for a process to take it; if another process has been faster, take it back."""
        import optuna

        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.WAITING,
            params=dict(values),
            distributions=distributions(spans),
            user_attrs={"place": place},
        )
        with self.reachable():
            added = self.storage.create_new_trial(self.study_id, trial)
        if self.places()[place]._trial_id != added:
            self.withdraw(added)

    def withdraw(self, trial_id: int) -> None:
        """Take back a trial that does not count."""
        import optuna

        with suppress(TakenOver), self.reachable():
            self.storage.set_trial_user_attr(trial_id, "why", "superfluous")
            self.storage.set_trial_state_values(trial_id, optuna.trial.TrialState.FAIL)

    def tidy(self) -> None:
        """Take back trials that wait though another has ended in their place: who added them died at that moment."""
        places = self.places()
        with self.reachable():
            trials = self.storage.get_all_trials(self.study_id, deepcopy=False)
        for trial in trials:
            if trial.state.name == "WAITING" and has_ended(places.get(trial.user_attrs.get("place", -1))):
                self.withdraw(trial._trial_id)

    def take(self, trials: int) -> "FrozenTrial | None":
        """A trial that waited and is ours alone from here on; None if none of the first `trials` waits."""
        import optuna

        for place, trial in self.places().items():
            if place >= trials or trial.state.name != "WAITING":
                continue
            self.beat(trial)  # first: one that runs and has never given a sign of life is not found when it dies
            with self.reachable():
                try:
                    ours = self.storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.RUNNING)
                except optuna.exceptions.UpdateFinishedTrialError:
                    ours = False  # another process has taken it, and ended it
            if ours:
                return trial
        return None

    def beat(self, trial: "FrozenTrial") -> None:
        """Give a sign of life for a trial."""
        with self.reachable():
            self.storage.record_heartbeat(trial._trial_id)

    def report(self, trial: "FrozenTrial", step: int, loss: float) -> None:
        """Tell a validation loss on the way. Raises TakenOver."""
        with self.reachable():
            self.storage.set_trial_intermediate_value(trial._trial_id, step, loss)

    def note(self, trial: "FrozenTrial", key: str, value: str) -> None:
        """Write something beside a trial. Raises TakenOver."""
        with self.reachable():
            self.storage.set_trial_user_attr(trial._trial_id, key, value)

    def end(self, trial: "FrozenTrial", state: str, loss: float | None = None) -> None:
        """The trial is COMPLETE, PRUNED, or FAIL, with its loss. Raises TakenOver."""
        import optuna

        with self.reachable():
            values = None if loss is None else [loss]
            self.storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState[state], values)

    def bury(self) -> None:
        """Mark the trials as failed for which nobody has given a sign of life within the time of grace."""
        import optuna

        with self.reachable():
            optuna.storages.fail_stale_trials(self.study)


def has_ended(trial: "FrozenTrial | None") -> bool:
    return trial is not None and trial.state.is_finished()
