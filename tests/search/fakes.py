"""Stand-ins for the slow parts of a study: a space, an objective and a listener, all importable by worker processes.

Nothing here imports torch, so that a worker process starts in a second.
"""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from search.coordinator import Budget, Coordinator
from search.executors import InlineExecutor, ProcessExecutor, TrialExecutor
from search.interruption import Interruption
from search.jobs import SearchRules
from search.lease import hold_lease
from search.mirror import OptunaMirror
from search.patience import Patience
from search.pruning import PrunerChoice
from search.quiet import quiet_optuna
from search.sampler import SamplerChoice
from search.spec import Progress, TrialJob, TrialSpec
from search.worker import Hooks, Runner, TrialStopped
from textclf.config import Columns, Task
from textclf.records import StudyRecord, TrialRecord, TrialSummary, trial_digest
from textclf.store import PredictionStore

N_ROWS, N_FOLDS = 60, 5
TASK = Task(kind="binary", class_names=("no", "yes"))
LABELS = (np.arange(N_ROWS) % 3 == 0).astype(np.int64)
FOLDS = (np.arange(N_ROWS) * 7 % N_FOLDS)[np.newaxis].astype(np.int64)


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """A conditional space of two families, with every kind of parameter."""
    family = trial.suggest_categorical("family", ["net", "linear"])
    params: dict[str, Any] = {"family": family, "cleaning": trial.suggest_categorical("cleaning", ["none", "some"])}
    if family == "net":
        params["lr"] = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        params["dropout"] = trial.suggest_float("dropout", 0.0, 0.5)
        params["hidden"] = trial.suggest_int("hidden", 32, 128, step=32)
    else:
        params["c"] = trial.suggest_float("c", 0.1, 10.0, log=True)
    return params


def suggest_numbers(trial: optuna.Trial) -> dict[str, Any]:
    """A space of numbers alone, for samplers that know nothing else."""
    return {"x": trial.suggest_float("x", -2.0, 2.0), "y": trial.suggest_float("y", 0.0, 1.0)}


def quality(params: Mapping[str, Any]) -> float:
    """How good parameters are, between 0 and 1."""
    if params.get("family") == "net":
        return float(np.exp(-((np.log10(params["lr"]) + 2) ** 2) - (params["dropout"] - 0.2) ** 2))
    if params.get("family") == "linear":
        return float(0.8 * np.exp(-(np.log10(params["c"]) ** 2)))
    return float(np.exp(-(params["x"] ** 2) - (params["y"] - 0.5) ** 2))


def light_run(job: TrialJob, hooks: Hooks, shared: Any, *, seconds: float = 0.0, is_deaf: bool = False) -> TrialRecord:
    """A pure function of the job: predictions drawn from its digest, pruned where it is far behind the incumbent.

    is_deaf: it does not end when it is asked to
    """
    spec = job.spec
    rng = np.random.default_rng(int(spec.digest[:12], 16))
    good = quality(spec.params)
    reports = []
    for fold in range(N_FOLDS):
        end = time.monotonic() + seconds / N_FOLDS
        while True:
            if hooks.should_stop() and not is_deaf:
                raise TrialStopped(f"trial {spec.number}")
            if time.monotonic() >= end:
                break
            time.sleep(0.02)
        value = good + 0.01 * float(rng.standard_normal())
        reports.append((100 * (fold + 1), value))
        hooks.tell(_progress(spec.number, fold, value))
        if job.incumbent is not None and value < dict(job.incumbent.reports)[100 * (fold + 1)] - 0.3 and fold < 4:
            return _record(spec, reports, outcome="pruned", reason=f"behind trial {job.incumbent.number}")
    proba = np.clip(0.5 + (LABELS - 0.5) * good + 0.05 * rng.standard_normal(N_ROWS), 0.01, 0.99)
    oof = np.column_stack([1 - proba, proba])
    return _record(spec, reports, outcome="complete", score=good, oof=oof, test_proba=oof[:7])


def dying_run(job: TrialJob, hooks: Hooks, shared: Any, *, folder: str, number: int, times: int) -> TrialRecord:
    """As light_run, but the worker is killed when it runs one trial for the first times."""
    if job.spec.number == number:
        marks = list(Path(folder).glob("death-*"))
        if len(marks) < times:
            (Path(folder) / f"death-{len(marks)}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return light_run(job, hooks, shared)


def _record(spec: TrialSpec, reports: list[tuple[int, float]], **result: Any) -> TrialRecord:
    return TrialRecord(
        study=spec.study,
        number=spec.number,
        params=dict(spec.params),
        seed=spec.seed,
        reports=tuple(reports),
        seconds=0.1,
        **result,
    )


def _progress(number: int, fold: int, score: float) -> Progress:
    return Progress(
        number=number, repeat=0, fold=fold, epoch=0, n_epochs=1, n_fits=N_FOLDS, fit_number=fold, score=score
    )


@dataclass
class Ears:
    """A listener that remembers."""

    lines: list[str] = field(default_factory=list)
    submitted_numbers: list[int] = field(default_factory=list)
    records: list[TrialRecord] = field(default_factory=list)
    n_recovered: int = 0

    def recovered(self, trials: Sequence[TrialSummary]) -> None:
        """Remember how many there were."""
        self.n_recovered = len(trials)

    def submitted(self, spec: TrialSpec) -> None:
        """Remember the number."""
        self.submitted_numbers.append(spec.number)

    def finished(self, record: TrialRecord) -> None:
        """Remember the record."""
        self.records.append(record)

    def said(self, line: str) -> None:
        """Remember the line."""
        self.lines.append(line)

    def ticked(self) -> None:
        """Nothing to see."""


def study_record(name: str = "study", **settings: Any) -> StudyRecord:
    """What the fake trials share."""
    return StudyRecord(
        name=name,
        task=TASK,
        columns=Columns(text="text", targets=("label",)),
        metric="log_loss",
        data_digest="data",
        fold_digest="folds",
        train_ids=tuple(map(str, range(N_ROWS))),
        test_ids=tuple(map(str, range(7))),
        labels=LABELS,
        fold_of_row=FOLDS,
        settings=settings,
    )


def processes(n_workers: int) -> "partial[ProcessExecutor]":
    """Makes an executor of so many processes."""
    return partial(ProcessExecutor, environments=[{}] * n_workers)


def print_nothing(_: TrialRecord) -> None:
    """Record nowhere."""


@dataclass(kw_only=True)
class FakeStudy:
    """A study over the fake objective: run it as often as wanted, in one go or in pieces.

    executor: called with (shared, on_progress=...)
    """

    url: str
    n_trials: int
    executor: Any = InlineExecutor
    run_trial: Runner = light_run
    suggest: Any = suggest
    sampler: str = "tpe"
    sampler_kwargs: Mapping[str, Any] = field(default_factory=dict)
    pruner: str = "paired"
    pruner_kwargs: Mapping[str, Any] = field(default_factory=dict)
    lag: int = 4
    seed: int = 3
    retries: int = 2
    first_trials: tuple[Mapping[str, Any], ...] = ({"family": "net", "lr": 0.01}, {"family": "linear"})
    name: str = "study"
    ears: Ears = field(default_factory=Ears)
    shared: Any = None
    longest_absence: float = 60.0
    timeout: float | None = None
    record: Any = print_nothing

    def run(self) -> list[TrialSummary]:
        """Run to the budget; give back all finished trials."""
        store = PredictionStore(self.url)
        store.create_tables()
        store.write_study(study_record(self.name))
        with quiet_optuna():
            mirror = OptunaMirror(self.url, self.name)
        executor: TrialExecutor = self.executor(self.shared, on_progress=lambda _: None)
        try:
            with hold_lease(store.engine, self.name) as lease, Interruption(tell=self.ears.said) as interruption:
                self.coordinator(store, mirror, executor, interruption, lease).run(
                    Budget(n_trials=self.n_trials, retries=self.retries, timeout=self.timeout)
                )
            return store.trials(self.name)
        finally:
            mirror.close()
            store.close()

    def coordinator(self, store: Any, mirror: Any, executor: Any, interruption: Any, lease: Any = None) -> Coordinator:
        """Put the parts together."""
        return Coordinator(
            study=study_record(self.name),
            rules=SearchRules(
                seed=self.seed,
                lag=self.lag,
                sampler=SamplerChoice(name=self.sampler, kwargs=self.sampler_kwargs),
                pruner=PrunerChoice(name=self.pruner, kwargs=self.pruner_kwargs),
                first_trials=self.first_trials,
            ),
            suggest=self.suggest,
            run_trial=self.run_trial,
            store=store,
            mirror=mirror,
            executor=executor,
            listener=self.ears,
            patience=Patience(tell=self.ears.said, longest=self.longest_absence),
            interruption=interruption,
            lease=lease,
            record=self.record,
        )


def signature(trials: list[TrialSummary]) -> list[tuple[int, str, str]]:
    """What must be equal between two equal studies: outcome, parameters, score, reports and every array, by digest."""
    return [(trial.number, trial.outcome, trial_digest(trial)) for trial in trials]


def optuna_trials(url: str, name: str = "study") -> list[optuna.trial.FrozenTrial]:
    """The study as Optuna's own tools see it."""
    with quiet_optuna():
        return optuna.load_study(study_name=name, storage=url).trials
