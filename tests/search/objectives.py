"""A fake cross-validation for run_trial: everything around the training is real, and the training is arithmetic."""

from typing import Any

import numpy as np

from search.objective import run_trial
from search.spec import TrialJob
from search.worker import Hooks
from tests.search import fakes
from textclf.crossval import EpochPoint, FoldEvent, OnEvent, OofRun
from textclf.folds import FoldPlan
from textclf.inputs import Inputs
from textclf.metrics import Metric, row_losses
from textclf.records import TrialRecord
from textclf.table import Table

N_EPOCHS = 3


def make_fake_inputs() -> Inputs:
    """Inputs whose texts nobody reads."""

    def table(n_rows: int, first: int) -> Table:
        ids = tuple(str(first + row) for row in range(n_rows))
        nothing = np.zeros((n_rows, 0))
        return Table(row_ids=ids, texts=ids, numeric=nothing, categorical=nothing.astype(object))

    return Inputs(
        task=fakes.TASK,
        columns=fakes.study_record().columns,
        train=table(fakes.N_ROWS, 0),
        labels=fakes.LABELS,
        test=table(7, 1000),
        folds=FoldPlan(fold_of_row=fakes.FOLDS, n_folds=fakes.N_FOLDS, seed=0),
    )


def fake_cross_validate(
    inputs: Inputs, config: Any, *, metric: Metric, seed: int, on_event: OnEvent, **_: Any
) -> OofRun:
    """Predictions that are as good as the configuration's dropout is near 0.2, a little better with every epoch."""
    rng = np.random.default_rng(round(1e9 * config.dropout) + seed)
    good = float(np.exp(-20 * abs(config.dropout - 0.2)))
    oof = np.zeros((fakes.N_ROWS, 2))
    curve = []
    for fold in range(fakes.N_FOLDS):
        held_out = inputs.folds.fold_of_row[0] == fold
        labels = inputs.labels[held_out]
        noise = 0.02 * rng.standard_normal(len(labels))
        for epoch in range(N_EPOCHS):
            right = 0.5 + 0.45 * good * (epoch + 1) / N_EPOCHS
            yes = np.clip(np.where(labels == 1, right, 1 - right) + noise, 0.01, 0.99)
            proba = np.column_stack([1 - yes, yes])
            losses = row_losses(labels, proba, inputs.task)
            point = EpochPoint(
                repeat=0,
                fold=fold,
                epoch=epoch,
                n_epochs=N_EPOCHS,
                train_loss=1.0,
                valid_loss=float(losses.mean()),
                valid_score=-float(losses.mean()),
                seconds=0.0,
            )
            curve.append(point)
            final = losses if epoch == N_EPOCHS - 1 else None
            on_event(FoldEvent(point=point, n_fits=fakes.N_FOLDS, held_out=held_out, row_losses=final))
        oof[held_out] = proba
    return OofRun(
        oof=oof,
        test_proba=oof[:7],
        holdout_proba=np.zeros((0, 2)),
        score=metric.score(inputs.labels, oof),
        fold_scores=(0.0,) * fakes.N_FOLDS,
        thresholds=None,
        curve=tuple(curve),
        n_parameters=1,
        seconds=0.0,
        notes=(),
    )


def run_fake_trial(job: TrialJob, hooks: Hooks, shared: Any) -> TrialRecord:
    """A trial of a fake study through the real run_trial; the family decides nothing, the dropout everything."""
    import dataclasses

    dropout = job.spec.params.get("dropout", 0.3)
    params = {"family": "dan", "dropout": dropout}
    spec = dataclasses.replace(job.spec, params=params)
    record = run_trial(
        dataclasses.replace(job, spec=spec), make_fake_inputs(), hooks=hooks, objective=fake_cross_validate
    )
    return dataclasses.replace(record, params=dict(job.spec.params))
