"""The objective: one trial, from its specification to its record. A pure function, wherever it runs."""

import math
import threading
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import optuna
from optuna.storages import InMemoryStorage

from search.absence import first_line, is_disk_full
from search.pruning import PairedLossPruner, pruner_of
from search.quiet import quiet_optuna
from search.spec import DIVERGED, Progress, TrialJob
from search.view import VIEW_NAME
from search.worker import DiskFull, Hooks, TrialStopped
from textclf.crossval import Checkpoints, FoldEvent, OofRun, cross_validate
from textclf.determinism import environment, limit_threads
from textclf.families import parse_config
from textclf.inputs import Inputs
from textclf.metrics import get_metric
from textclf.protocols import DivergedError
from textclf.records import TrialOutcome, TrialRecord

CrossValidate = Callable[..., OofRun]
_one_at_a_time = threading.Lock()  # thread counts and torch's generator belong to the process


def run_trial(
    job: TrialJob,
    inputs: Inputs,
    *,
    hooks: Hooks,
    checkpoints: Checkpoints | None = None,
    objective: CrossValidate = cross_validate,
) -> TrialRecord:
    """Cross-validate a configuration, reporting and pruning in Optuna's idiom.

    A diverged training and an error in the objective are results: the record says failed, and why. Raises what is not
    the trial's doing: TrialStopped, DiskFull, MemoryError, OSError.
    """
    spec = job.spec
    began = perf_counter()
    with _one_at_a_time, quiet_optuna(), warnings.catch_warnings(), limit_threads(spec.threads):
        warnings.simplefilter("ignore")
        reporter = _Reporter(job, hooks)
        run: OofRun | None = None
        outcome: TrialOutcome = "complete"
        reason = ""
        try:
            config = parse_config(spec.params, source=f"trial {spec.number}")
            run = objective(
                inputs,
                config,
                metric=get_metric(spec.metric, inputs.task),
                seed=spec.seed,
                device=spec.device,
                on_event=reporter.hear,
                checkpoints=checkpoints,
            )
        except optuna.TrialPruned as pruned:
            outcome, reason = "pruned", str(pruned)
        except DivergedError as error:
            outcome, reason = "failed", f"{DIVERGED}: {error}"
        except (TrialStopped, MemoryError):
            raise
        except Exception as error:  # a bug in one family must not end the study
            if is_disk_full(error):
                raise DiskFull(first_line(error)) from error
            if isinstance(error, OSError):
                raise
            outcome, reason = "failed", f"error: {traceback.format_exc()}"
        if run is not None and not math.isfinite(run.score):
            outcome, reason, run = "failed", f"{DIVERGED}: the score on all rows is {run.score}", None
        return TrialRecord(
            study=spec.study,
            number=spec.number,
            outcome=outcome,
            params=dict(spec.params),
            seed=spec.seed,
            reports=tuple(reporter.reports),
            environment=environment(spec.device),
            seconds=perf_counter() - began if run is None else run.seconds,
            reason=reason,
            **reporter.record(run),
            **_results(run),
        )


def _results(run: OofRun | None) -> dict[str, Any]:
    if run is None:
        return {}
    return {
        "score": run.score,
        "fold_scores": run.fold_scores,
        "thresholds": run.thresholds,
        "oof": run.oof,
        "test_proba": run.test_proba,
        "holdout_proba": run.holdout_proba,
        "notes": run.notes,
    }


@dataclass
class _Reporter:
    """Hears of every epoch: tells Optuna's trial and the worker's hooks, and ends the trial where either says so."""

    job: TrialJob
    hooks: Hooks
    reports: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pruner = pruner_of(self.job)
        self._storage = InMemoryStorage()
        study = optuna.create_study(
            storage=self._storage,
            study_name=VIEW_NAME,
            direction="maximize",
            pruner=self._pruner,
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
        study_id = self._storage.get_study_id_from_name(VIEW_NAME)
        for trial in self.job.history:
            self._storage.create_new_trial(study_id, trial)
        self._trial = study.ask()
        self._finals: list[float] = []
        self._row_losses: dict[int, Any] = {}
        self._curves: list[dict[str, float]] = []

    def hear(self, event: FoldEvent) -> None:
        """Report the epoch; raises TrialPruned or TrialStopped where the trial is to end."""
        point, n_fits = event.point, event.n_fits
        if self.hooks.should_stop():
            raise TrialStopped(f"trial {self.job.spec.number} was asked to stop")
        fit_number, final = len(self._finals), event.row_losses is not None
        defined = [score for score in (*self._finals, point.valid_score) if not math.isnan(score)]
        value = float(np.mean(defined)) if defined else math.nan
        step = 100 * fit_number + (100 if final else 100 * (point.epoch + 1) // point.n_epochs)
        self._curves.append(_curve_point(fit_number, point))
        if event.row_losses is not None:
            self._finals.append(point.valid_score)
            self._keep_losses(event)
        if not math.isnan(value) and (not self.reports or step > self.reports[-1][0]):
            self.reports.append((step, value))
            self._trial.report(value, step)
        self.hooks.tell(_progress(self.job.spec.number, event, fit_number=fit_number, score=value))
        if not (final and len(self._finals) == n_fits) and self._trial.should_prune():
            raise optuna.TrialPruned(self._reason(step))

    def record(self, run: OofRun | None) -> dict[str, Any]:
        """Curves, what the pruner noted, and row losses where the mean over repeats would hide them."""
        noted = self._storage.get_trial(len(self.job.history)).system_attrs  # ids are places in this storage
        attributes: dict[str, Any] = {"pruner": dict(noted)} if noted else {}
        if run is not None:
            attributes["n_parameters"] = run.n_parameters
        repeated = run is not None and len(self._row_losses) > 1
        extra = {"row_losses": np.stack(list(self._row_losses.values()))} if repeated else {}
        return {"curves": tuple(self._curves), "attributes": attributes, "extra": extra}

    def _keep_losses(self, event: FoldEvent) -> None:
        assert event.row_losses is not None
        losses = self._row_losses.setdefault(event.point.repeat, np.full(len(event.held_out), np.nan))
        losses[event.held_out] = event.row_losses
        if isinstance(self._pruner, PairedLossPruner):
            self._pruner.observe(event.row_losses, event.held_out, repeat=event.point.repeat, n_fits=event.n_fits)

    def _reason(self, step: int) -> str:
        told = self._pruner.reason if isinstance(self._pruner, PairedLossPruner) else ""
        return told or f"the {self.job.pruner} pruner ended it at step {step} with {self.reports[-1][1]:.6g}"


def _curve_point(fit_number: int, point: Any) -> dict[str, float]:
    return {
        "fit": fit_number,
        "repeat": point.repeat,
        "fold": point.fold,
        "epoch": point.epoch,
        "train_loss": point.train_loss,
        "valid_loss": point.valid_loss,
        "valid_score": point.valid_score,
        "seconds": point.seconds,
    }


def _progress(number: int, event: FoldEvent, *, fit_number: int, score: float) -> Progress:
    point = event.point
    return Progress(
        number=number,
        repeat=point.repeat,
        fold=point.fold,
        epoch=point.epoch,
        n_epochs=point.n_epochs,
        n_fits=event.n_fits,
        fit_number=fit_number,
        score=score,
    )
