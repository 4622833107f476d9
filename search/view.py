"""The frozen view: what the sampler of trial n may know, which is the results of trials 0 .. n - lag and no more.

One in-memory Optuna study is carried from trial to trial. Trials whose results are not due yet stand in it as running,
with their parameters. What the view holds at trial n is a function of the study alone, not of how many workers ran, in
which order they finished, or how often the study was stopped.
"""

import copy
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from search.quiet import quiet_optuna
from textclf.records import TrialSummary

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

STUDY_ATTRIBUTES = "textclf:study_attrs"  # what the sampler noted in the study while it suggested this trial
ORDER = "textclf:order"  # parameters in the order of suggestion, which a database need not keep
CONFIG = "config"
VIEW_NAME = "view"
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}

Suggest = Callable[[optuna.Trial], dict[str, Any]]
"""Suggests parameters in a trial and returns the whole configuration."""


class FrozenView:
    """Asks for trials in number order, each under the view it is due.

    lag: trial n sees the results of trials 0 .. n - lag
    sampler_of: the sampler of a trial number
    """

    def __init__(self, *, lag: int, sampler_of: Callable[[int], "BaseSampler"]) -> None:
        self.lag = lag
        self._sampler_of = sampler_of
        self._storage = InMemoryStorage()
        with quiet_optuna():
            self._study = optuna.create_study(
                storage=self._storage, study_name=VIEW_NAME, direction="maximize", pruner=optuna.pruners.NopPruner()
            )
        self._study_id = self._storage.get_study_id_from_name(VIEW_NAME)
        self._asked: list[FrozenTrial] = []  # as they were asked; the study's own copies are told results
        self._n_told = 0

    @property
    def next_number(self) -> int:
        """The number of the trial that would be asked for next."""
        return len(self._asked)

    def n_visible(self, number: int) -> int:
        """How many trials' results a trial may see: those numbered below this."""
        return max(0, number - self.lag + 1)

    def restore(self, trials: Sequence[FrozenTrial]) -> None:
        """Put back the trials that an earlier run asked for, as they were asked."""
        for trial in trials:
            for key, value in trial.system_attrs.get(STUDY_ATTRIBUTES, {}).items():
                self._storage.set_study_system_attr(self._study_id, key, value)
            self._asked.append(as_asked(trial))
            self._storage.create_new_trial(self._study_id, self._asked[-1])

    def ask(self, suggest: Suggest, results: Mapping[int, TrialSummary], *, fixed: Mapping[str, Any]) -> FrozenTrial:
        """Suggest the next trial.

        results: finished trials by number; 0 .. n - lag must be among them
        fixed: values, by their names in Optuna, that the sampler has no say in
        returns: the running trial, its whole configuration under the user attribute "config"
        """
        number = self.next_number
        self.advance(self.n_visible(number), results)
        self._study.sampler = self._sampler_of(number)
        before = dict(self._storage.get_study_system_attrs(self._study_id))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # known-good settings may lie outside a range
            if fixed:
                self._study.enqueue_trial(dict(fixed))
            trial = self._study.ask()
            config = suggest(trial)
        assert trial.number == number
        frozen = copy.deepcopy(self._storage.get_trial(number))  # the only study of its storage: ids are numbers
        after = self._storage.get_study_system_attrs(self._study_id)
        changed = {key: value for key, value in after.items() if key not in before or before[key] != value}
        frozen.system_attrs[ORDER] = list(frozen.params)
        if changed:
            frozen.system_attrs[STUDY_ATTRIBUTES] = changed
        frozen.user_attrs[CONFIG] = config
        self._asked.append(as_asked(frozen))
        return frozen

    def advance(self, n_visible: int, results: Mapping[int, TrialSummary]) -> None:
        """Tell the view the results that are due."""
        while self._n_told < n_visible:
            tell(self._storage, self._n_told, results[self._n_told])
            self._n_told += 1

    def history(self, number: int, results: Mapping[int, TrialSummary]) -> tuple[FrozenTrial, ...]:
        """The trials before a number as its pruner may see them, those that are not due without results."""
        n_visible = self.n_visible(number)
        return tuple(
            finished(trial, results[trial.number]) if trial.number < n_visible else trial
            for trial in self._asked[:number]
        )


def as_asked(trial: FrozenTrial) -> FrozenTrial:
    """A trial as it was when it was asked for: running, without results."""
    order = trial.system_attrs.get(ORDER, list(trial.params))
    private = (STUDY_ATTRIBUTES, ORDER)
    return FrozenTrial(
        number=trial.number,
        trial_id=trial.number,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=trial.datetime_start,
        datetime_complete=None,
        params={name: trial.params[name] for name in order},
        distributions={name: trial.distributions[name] for name in order},
        user_attrs={},
        system_attrs={key: value for key, value in trial.system_attrs.items() if key not in private},
        intermediate_values={},
    )


def finished(trial: FrozenTrial, result: TrialSummary) -> FrozenTrial:
    """A trial with its result, as Optuna would hold it."""
    done = as_asked(trial)
    done.state = STATES[result.outcome]
    done.intermediate_values = dict(result.reports)
    done.value = told_value(result)
    done.datetime_complete = trial.datetime_start
    done.system_attrs |= result.attributes.get("pruner", {})
    return done


def told_value(result: TrialSummary) -> float | None:
    """The value a finished trial has in Optuna: its score, or its last report (if a number) where it was pruned."""
    if result.outcome != "pruned":
        return result.score
    last = result.reports[-1][1] if result.reports else math.nan
    return None if math.isnan(last) else last


def tell(storage: optuna.storages.BaseStorage, trial_id: int, result: TrialSummary) -> None:
    """Write a result to a running trial; what is there already is written again, which changes nothing.

    What the pruner noted stays in the result: no sampler reads it, and a trial must come back as it was asked. The
    sampler's after_trial is not called: none of the allowed ones does anything there without constraints.
    """
    for step, value in result.reports:
        storage.set_trial_intermediate_value(trial_id, step, value)
    told = told_value(result)
    storage.set_trial_state_values(trial_id, STATES[result.outcome], None if told is None else [told])
