"""The best complete trial before a number, with the losses of its held-out rows."""

import math

import numpy as np

from search.spec import Incumbent
from textclf.records import StudyRecord, TrialSummary
from textclf.store import PredictionStore

N_KEPT = 4  # losses in memory; the best changes seldom


class Incumbents:
    """Knows, for any number, which of the trials below it is best, whatever order they finish in."""

    def __init__(self, study: StudyRecord, store: PredictionStore) -> None:
        self._study, self._store = study, store
        self._results: dict[int, TrialSummary] = {}
        self._best_before: list[int | None] = [None]  # at k: the best of trials 0 .. k - 1
        self._best_score = -math.inf
        self._losses: dict[int, Incumbent] = {}

    def add(self, result: TrialSummary) -> None:
        """Hear of a finished trial."""
        self._results[result.number] = result
        while (number := len(self._best_before) - 1) in self._results:
            self._best_before.append(self._better(self._best_before[-1], self._results.pop(number)))

    def before(self, n_visible: int) -> Incumbent | None:
        """The best complete one of trials 0 .. n_visible - 1, the first of equals; None where none is complete."""
        number = self._best_before[n_visible]
        if number is None:
            return None
        if number not in self._losses:
            self._losses[number] = self._read(number)
            while len(self._losses) > N_KEPT:
                del self._losses[next(iter(self._losses))]
        return self._losses[number]

    def _better(self, best: int | None, result: TrialSummary) -> int | None:
        if result.outcome != "complete" or result.score is None or result.score <= self._best_score:
            return best
        self._best_score = result.score
        return result.number

    def _read(self, number: int) -> Incumbent:
        from textclf.metrics import row_losses

        trial = self._store.read_trial(self._study.name, number)
        losses = trial.extra.get("row_losses")
        if losses is None:
            losses = row_losses(self._study.labels, trial.oof, self._study.task)[np.newaxis]
        return Incumbent(number=number, row_losses=losses, reports=trial.reports)
