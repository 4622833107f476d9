"""The coordinator: asks for trials, submits them, commits what comes back, and tells it in number order.

A trial's commit point is one transaction of the prediction store. Optuna's tables and MLflow follow it, in this order,
and are brought up to date at the next start where a crash came between.
"""

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, Protocol

from search.environments import EnvironmentWatch
from search.executors import TrialExecutor
from search.incumbents import Incumbents
from search.interruption import Interruption
from search.jobs import Jobs, SearchRules
from search.lease import Lease
from search.mirror import OptunaMirror
from search.patience import Patience
from search.quiet import quiet_optuna
from search.setbacks import Setbacks
from search.spec import COPY_OF, DIVERGED, TrialJob, TrialSpec
from search.view import FrozenView, Suggest
from search.worker import DiskFull, Runner, TrialStopped
from textclf.errors import RunError
from textclf.records import StudyRecord, TrialRecord, TrialSummary
from textclf.store import PredictionStore

SECONDS_PER_TICK = 0.1


class Listener(Protocol):
    """Hears how a study goes; a progress display, for example."""

    def recovered(self, trials: Sequence[TrialSummary]) -> None:
        """Results of earlier runs are there; once, before any trial."""

    def submitted(self, spec: TrialSpec) -> None:
        """A trial was given to a worker."""

    def finished(self, record: TrialRecord) -> None:
        """A trial's result is in the store."""

    def said(self, line: str) -> None:
        """Something happened that a person should know."""

    def ticked(self) -> None:
        """Time has passed."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When to stop: n_trials in all, over every run of the study; seconds of this run after which none is begun."""

    n_trials: int
    timeout: float | None = None
    retries: int = 2


@dataclass(kw_only=True)
class Coordinator:
    """Runs a study to its budget. The caller holds the study's lease."""

    study: StudyRecord
    rules: SearchRules
    suggest: Suggest
    run_trial: Runner
    store: PredictionStore
    mirror: OptunaMirror
    executor: TrialExecutor
    listener: Listener
    patience: Patience
    interruption: Interruption
    lease: Lease | None = None
    record: Callable[[TrialRecord], None] = lambda _: None

    def __post_init__(self) -> None:
        self._results: dict[int, TrialSummary] = {}  # without curves and arrays
        self._untold: dict[int, TrialRecord] = {}
        self._n_finished = 0  # trials 0 .. n_finished - 1 have results
        self._n_told = 0  # trials 0 .. n_told - 1 stand in Optuna's tables and MLflow
        self._running: dict[Future[TrialRecord], TrialJob] = {}
        self._waiting: deque[TrialJob] = deque()
        self._first_with: dict[str, list[int]] = {}
        self._setbacks = Setbacks(tell=self.listener.said, longest=self.patience.longest)
        self._environments = EnvironmentWatch(tell=self.listener.said)
        self._view = FrozenView(lag=self.rules.lag, sampler_of=self._sampler_of)
        self._incumbents = Incumbents(self.study, self.store)
        self._jobs = Jobs(self.study, self.rules, self._view, self._incumbents)

    @property
    def results(self) -> Mapping[int, TrialSummary]:
        """Finished trials by number, without curves and arrays."""
        return self._results

    def run(self, budget: Budget) -> None:
        """Run trials until the budget is used; returns early where the study was interrupted.

        Raises RunError where the study cannot go on: too many failures in a row, database away, lease lost.
        """
        deadline = None if budget.timeout is None else time.monotonic() + budget.timeout
        if self.executor.blocks:
            self.interruption.then(self.executor.stop)
        with quiet_optuna():
            self._recover()
            try:
                while not self._is_over():
                    if self.executor.blocks:
                        self._tell()
                    self._submit(budget, is_late=deadline is not None and time.monotonic() >= deadline)
                    self._tell()  # records are written while workers are busy
                    if not self._running and not self._waiting:
                        break
                    self._collect(budget)
                self._drain(budget)
            finally:
                self.executor.shutdown(wait=True, cancel_futures=True)

    def _sampler_of(self, number: int) -> Any:
        return self.rules.sampler.for_trial(number, study_seed=self.rules.seed)

    def _is_over(self) -> bool:
        self.listener.ticked()
        if self.lease is not None and self.lease.lost:
            raise RunError(self.lease.lost)
        return self.interruption.requested

    def _recover(self) -> None:
        """Put back what earlier runs left: results are told where they were not, the rest runs again."""
        asked = self.patience(self.mirror.trials)
        finished = self.patience(lambda: self.store.trials(self.study.name))
        for result in finished:
            self._environments.recall(result)
        stored = {result.number: _slim(result) for result in finished}
        self._check_records(asked, stored)
        self._view.restore(asked)
        self._results |= stored
        self._n_told = next((trial.number for trial in asked if trial.number not in stored), len(asked))
        for trial in asked:
            spec = self._jobs.spec(trial)
            if trial.number not in stored:
                self._begin(spec)
                continue
            self._note_result(spec, stored[trial.number])
            if not trial.state.is_finished():
                self.patience(lambda number=trial.number: self.mirror.finish(stored[number]))  # type: ignore[misc]
        if asked:
            self.listener.recovered(list(stored.values()))
            again = f", {len(self._waiting)} run again" if self._waiting else ""
            self.listener.said(f"continuing the study: {len(stored)} trials are there{again}")

    def _check_records(self, asked: Any, stored: Mapping[int, TrialSummary]) -> None:
        numbers = [trial.number for trial in asked]
        lost = sorted(stored.keys() - set(numbers))
        lost += [trial.number for trial in asked if trial.state.is_finished() and trial.number not in stored]
        if numbers != list(range(len(numbers))) or lost:
            raise RunError(
                f"study {self.study.name!r}: Optuna's tables and the prediction store disagree about trial "
                f"{lost[0] if lost else len(numbers)}; restore the database, or start a new study name"
            )

    def _submit(self, budget: Budget, *, is_late: bool) -> None:
        """Keep the workers busy: first with what has to run again, then with new trials."""
        if is_late:
            self._waiting.clear()  # they run again when the study goes on
        while len(self._running) < self.executor.n_workers and not is_late and not self._setbacks.is_paused:
            if self.interruption.requested:
                return
            if self._waiting:
                self._start(self._waiting.popleft())
                continue
            number = self._view.next_number
            if number >= budget.n_trials or not self._is_due(number):
                return
            first = self.rules.first_trials
            fixed = first[number] if number < len(first) else {}
            trial = self._view.ask(self.suggest, self._results, fixed=fixed)
            self.patience(lambda trial=trial: self.mirror.create(trial))  # type: ignore[misc]
            self._begin(self._jobs.spec(trial))

    def _is_due(self, number: int) -> bool:
        while self._n_finished in self._results:
            self._n_finished += 1
        return self._view.n_visible(number) <= self._n_finished

    def _begin(self, spec: TrialSpec) -> None:
        """Put a trial in line, or copy the result of an earlier one with equal parameters."""
        earlier = self._repeated(spec)
        if earlier is None:
            self._waiting.append(self.patience(lambda: self._jobs.job(spec, self._results)))
        else:
            self._commit(spec, self._copy_result(spec, earlier))

    def _start(self, job: TrialJob) -> None:
        self.listener.submitted(job.spec)
        self._running[self.executor.submit(self.run_trial, job)] = job

    def _collect(self, budget: Budget) -> None:
        """Take in what has finished, in whatever order."""
        self.interruption.raise_again()
        if not self._running:
            time.sleep(SECONDS_PER_TICK)
        done, _ = wait(self._running, timeout=SECONDS_PER_TICK, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=lambda future: self._running[future].spec.number):
            job = self._running.pop(future)
            error = future.exception()
            if error is None:
                self._commit(job.spec, future.result())
            elif isinstance(error, DiskFull):
                self._waiting.appendleft(job)
                if not self.interruption.requested:
                    self._setbacks.meet_full_disk(job.spec.number, error)
            elif not isinstance(error, TrialStopped):
                failed = self._setbacks.lose(job, error, retries=budget.retries)
                if failed is None:
                    self._waiting.appendleft(job)
                else:
                    self._commit(job.spec, failed)

    def _commit(self, spec: TrialSpec, record: TrialRecord) -> None:
        self.patience(lambda: self.store.write_trial(record))
        self._results[record.number] = _slim(record)
        self._untold[record.number] = record
        self._note_result(spec, record)
        self._setbacks.get_over(record.number)
        self._environments.meet(record)
        self.listener.finished(record)

    def _note_result(self, spec: TrialSpec, result: TrialSummary) -> None:
        self._incumbents.add(result)
        if result.outcome == "complete" or result.reason.startswith(DIVERGED):  # a pruned one, seen later, may go on
            self._first_with.setdefault(spec.digest, []).append(result.number)

    def _tell(self) -> None:
        """Bring Optuna's tables and MLflow up to date, in number order."""
        while self._n_told in self._results:
            record = self._untold.pop(self._n_told, None)
            self._n_told += 1
            if record is not None:
                self.patience(lambda record=record: self.mirror.finish(record))  # type: ignore[misc]
                self.record(record)
                self._setbacks.count(record)

    def _drain(self, budget: Budget) -> None:
        """Interrupted: let running trials end at their next epoch, keeping those that finish meanwhile."""
        if self._running:
            self.executor.stop()
        while self._running:
            self.listener.ticked()
            self._collect(budget)
        self._tell()

    def _repeated(self, spec: TrialSpec) -> int | None:
        """The first trial in the frozen view that has the same specification and a result to copy."""
        n_visible = self._view.n_visible(spec.number)
        return min((number for number in self._first_with.get(spec.digest, ()) if number < n_visible), default=None)

    def _copy_result(self, spec: TrialSpec, earlier: int) -> TrialRecord:
        result = self.patience(lambda: self.store.read_trial(self.study.name, earlier))
        note = f"has the parameters of trial {earlier}: its stored result was used"
        attributes = {**result.attributes, COPY_OF: earlier}
        return dataclasses.replace(
            result, number=spec.number, seconds=0.0, notes=(*result.notes, note), attributes=attributes
        )


def _slim(result: TrialSummary) -> TrialSummary:
    """What the coordinator keeps in memory of every trial."""
    dropped = ("curves", "digests", "environment", "notes")
    kept = [field.name for field in dataclasses.fields(TrialSummary) if field.name not in dropped]
    return TrialSummary(**{name: getattr(result, name) for name in kept})
