"""The study in Optuna's own tables: an exact copy of every trial, for resuming and for Optuna's own tools.

Numbers, parameters and distributions of trials that are under way live here; results follow from the prediction store.
"""

import contextlib
import dataclasses
from collections.abc import Sequence

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from search.view import tell
from textclf.errors import RunError
from textclf.records import TrialSummary


class OptunaMirror:
    """One study in an Optuna database.

    url: the prediction store's, as a SQLAlchemy URL (Optuna takes it for a template, in which braces stand twice)
    """

    def __init__(self, url: str, study_name: str) -> None:
        self._storage = RDBStorage(
            url.replace("{", "{{").replace("}", "}}"),
            engine_kwargs={"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {},
        )
        optuna.create_study(storage=self._storage, study_name=study_name, direction="maximize", load_if_exists=True)
        self._study_id, self._name = self._storage.get_study_id_from_name(study_name), study_name
        self._trial_ids: dict[int, int] = {}

    def close(self) -> None:
        """Give the connections back."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def trials(self) -> Sequence[FrozenTrial]:
        """All trials by number; raises RunError where another program has added some."""
        trials = sorted(self._storage.get_all_trials(self._study_id, deepcopy=False), key=lambda trial: trial.number)
        foreign = [trial.number for trial in trials if "config" not in trial.user_attrs]
        if foreign:
            raise RunError(
                f"study {self._name!r}: trial {foreign[0]} was added by another program; start a new study name"
            )
        return trials

    def create(self, trial: FrozenTrial) -> None:
        """Copy a running trial before it is submitted; one that is there already stays."""
        if self._find(trial.number) is not None:
            return
        trial_id = self._storage.create_new_trial(self._study_id, trial)
        if self._find(trial.number) != trial_id:
            raise RunError(f"study {self._name!r}: another program adds trials to it; run one program at a time")

    def finish(self, result: TrialSummary) -> None:
        """Tell the result of a trial; a finished one stays."""
        trial_id = self._find(result.number)
        if trial_id is None:
            raise RunError(f"study {self._name!r}: Optuna's tables have no trial {result.number}; restore the database")
        with contextlib.suppress(UpdateFinishedTrialError):
            tell(self._storage, trial_id, _fold_ends(result))

    def _find(self, number: int) -> int | None:
        if number not in self._trial_ids:
            try:
                trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
            except KeyError:
                return None
            self._trial_ids[number] = trial_id
        return self._trial_ids[number]


def _fold_ends(result: TrialSummary) -> TrialSummary:
    """The result with one report per fit: each is a transaction here, and all stand in the prediction store."""
    last = result.reports[-1:] if result.reports and result.reports[-1][0] % 100 else ()
    reports = tuple(report for report in result.reports if report[0] % 100 == 0) + last
    return dataclasses.replace(result, reports=reports)
