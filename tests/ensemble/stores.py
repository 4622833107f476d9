"""Prediction stores filled with studies whose members are noise on the truth."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.ensemble.pools import BINARY, noisy_proba, truth
from textclf.arrays import array_digest
from textclf.config import Columns, Task
from textclf.records import StudyRecord, TrialOutcome, TrialRecord
from textclf.store import open_store

N_TEST = 60
N_HOLDOUT = 80


def make_study(
    task: Task = BINARY,
    *,
    name: str = "toy",
    metric: str = "roc_auc",
    n_rows: int = 240,
    has_ids: bool = True,
    with_holdout: bool = False,
    **changes: Any,
) -> StudyRecord:
    """A study of rows ``r0, r1, ...`` with four folds; test ids are ``007``-like, which numbers would spoil."""
    labels = truth(task, n_rows=n_rows, seed=1)
    folds = (np.random.default_rng(2).permutation(n_rows) % 4)[None]
    targets = task.class_names if task.kind == "multilabel" else ("label",)
    record: dict[str, Any] = {
        "name": name,
        "task": task,
        "columns": Columns(text="text", targets=targets, row_id="id" if has_ids else None),
        "metric": metric,
        "data_digest": "data" * 16,
        "fold_digest": array_digest(folds),
        "train_ids": tuple(f"r{row}" for row in range(n_rows)),
        "test_ids": tuple(f"{row:03d}" if has_ids else str(row) for row in range(N_TEST)),
        "labels": labels,
        "fold_of_row": folds,
        "holdout_ids": tuple(f"h{row}" for row in range(N_HOLDOUT)) if with_holdout else (),
        "holdout_labels": truth(task, n_rows=N_HOLDOUT, seed=3) if with_holdout else np.zeros(0, np.int64),
    }
    return StudyRecord(**(record | changes))


def make_trial(
    study: StudyRecord, number: int, *, knowledge: float = 1.0, outcome: TrialOutcome = "complete"
) -> TrialRecord:
    """A trial with this much knowledge of training, test and hold-out rows."""
    if outcome != "complete":
        return TrialRecord(study=study.name, number=number, outcome=outcome, params={}, seed=0, reason="told so")
    task = study.task
    hidden = truth(task, n_rows=len(study.test_ids), seed=4)
    return TrialRecord(
        study=study.name,
        number=number,
        outcome="complete",
        params={"family": "noise", "knowledge": knowledge},
        seed=0,
        score=knowledge,
        seconds=1.0,
        oof=noisy_proba(study.labels, task, knowledge=knowledge, seed=10 + number),
        test_proba=noisy_proba(hidden, task, knowledge=knowledge, seed=50 + number),
        holdout_proba=noisy_proba(study.holdout_labels, task, knowledge=knowledge, seed=90 + number)
        if study.holdout_ids
        else np.zeros((0, 0)),
    )


def fill(folder: Path, study: StudyRecord, trials: Sequence[TrialRecord]) -> Path:
    """Write a study and its trials to ``study.db`` in the folder; returns the folder."""
    with open_store(f"sqlite:///{folder / 'study.db'}") as store:
        store.write_study(study)
        for trial in trials:
            store.write_trial(trial)
    return folder


def toy_folder(folder: Path, task: Task = BINARY, *, n_trials: int = 4, **changes: Any) -> Path:
    """A folder with one study of a few complete trials, the later ones knowing less."""
    study = make_study(task, **changes)
    return fill(folder, study, [make_trial(study, k, knowledge=1.5 - 0.2 * k) for k in range(n_trials)])
