"""What is recorded of a study and of its finished trials."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from textclf.arrays import FloatArray, IntArray, text_digest
from textclf.config import Columns, Task
from textclf.errors import RunError

TrialOutcome = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """What all trials of a study share.

    train_ids: (n_rows,) in file order; test_ids: (n_test,) in file order
    labels: (n_rows,) int64, or (n_rows, n_labels) int64 of 0/1 for multilabel
    fold_of_row: (n_repeats, n_rows) int64
    holdout_ids, holdout_labels: rows set apart that no trial saw; empty without a hold-out
    settings: whatever the search decided once for the study (seed, lag, sampler, space, ...), JSON values
    report: what a person was told about the data when the study began, line by line; decides nothing
    """

    name: str
    task: Task
    columns: Columns
    metric: str
    data_digest: str
    fold_digest: str
    train_ids: tuple[str, ...]
    test_ids: tuple[str, ...]
    labels: IntArray
    fold_of_row: IntArray
    holdout_ids: tuple[str, ...] = ()
    holdout_labels: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    settings: Mapping[str, Any] = field(default_factory=dict)
    report: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrialSummary:
    """A finished trial without its arrays.

    score: on all OOF rows, higher is better; None unless complete
    fold_scores: one per fit (repeat-major); NaN where the metric is undefined on the fold
    thresholds: per output column (binary: one), found on all OOF rows, for the test rows; None where none is used
    reports: (step, value) in the order reported
    curves: one mapping per fit and epoch
    digests: SHA-256 of each array by name
    environment: versions, device, threads, engine
    reason: why it was pruned or failed; empty when complete
    attributes: JSON values by name: n_parameters, and what the search's pruner noted
    """

    study: str
    number: int
    outcome: TrialOutcome
    params: Mapping[str, Any]
    seed: int
    score: float | None = None
    fold_scores: tuple[float, ...] = ()
    thresholds: tuple[float, ...] | None = None
    reports: tuple[tuple[int, float], ...] = ()
    curves: tuple[Mapping[str, float], ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    notes: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrialRecord(TrialSummary):
    """A finished trial with its arrays.

    oof: (n_rows, n_outputs) float64, rows in file order; empty unless complete
    test_proba: (n_test, n_outputs) float64, mean over the fold models
    holdout_proba: (n_holdout, n_outputs) float64, mean over the fold models; empty without a hold-out
    extra: further arrays by name (per-row losses of a pruned trial, for example)
    """

    oof: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    test_proba: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    holdout_proba: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array by the name it is stored under."""
        named: dict[str, NDArray[Any]] = {
            "oof": self.oof,
            "test_proba": self.test_proba,
            "holdout_proba": self.holdout_proba,
        }
        return {**{name: array for name, array in named.items() if array.size}, **self.extra}


def trial_digest(record: TrialSummary) -> str:
    """One digest over everything a trial decided: equal digests mean equal trials, whatever the clock said."""
    decided = (record.outcome, dict(record.params), record.seed, record.score, record.fold_scores, record.reports)
    return text_digest(repr(decided), *(f"{name}={record.digests[name]}" for name in sorted(record.digests)))


def refuse_other_study(there: StudyRecord, wanted: StudyRecord) -> None:
    """Raise RunError where a study that is there is not the one that is wanted, in data, folds or settings."""
    facts, wanted_facts = _facts(there), _facts(wanted)
    for what, old in facts.items():
        new = wanted_facts[what]
        if old != new:
            raise RunError(
                f"study {wanted.name!r} exists with {what} {old}, this run has {new}; "
                "give the same files and options, or another --study-name"
            )
    for key in sorted(there.settings.keys() | wanted.settings.keys()):
        old, new = there.settings.get(key), wanted.settings.get(key)
        if json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True):
            raise RunError(
                f"study {wanted.name!r} exists with {key} = {old}, this run has {new}; "
                "give the same value, or another --study-name"
            )


def _facts(record: StudyRecord) -> dict[str, Any]:
    """What tells two studies apart, in words where there are some: a digest says only that something differs."""
    return {
        "task": record.task,
        "columns": record.columns,
        "number of training rows": len(record.train_ids),
        "number of test rows": len(record.test_ids),
        "metric": record.metric,
        "data digest": record.data_digest,
        "number of folds": int(record.fold_of_row.max(initial=-1)) + 1,
        "number of repeats": len(record.fold_of_row),
        "seed": record.settings.get("seed"),
        "fold digest": record.fold_digest,
    }
