"""Small studies with real trials: what python -m search.run leaves in its folder, without the search."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.builders import make_inputs
from textclf.crossval import cross_validate
from textclf.determinism import environment, limit_threads
from textclf.families import parse_config
from textclf.inputs import Inputs, save_inputs
from textclf.metrics import get_metric
from textclf.records import StudyRecord, TrialRecord
from textclf.store import open_store
from textclf.table import Table

NET: dict[str, Any] = {"dense_size": 8, "batch_size": 16, "n_epochs": 2, "lr_max": 0.03}
PARAMS: dict[str, dict[str, Any]] = {
    "tfidf_logreg": {"char_ngrams": 3},
    "nbsvm": {"char_ngrams": 0},
    "bilstm_bigru": {**NET, "hidden_size": 6},
    "bilstm_attention": {**NET, "hidden_size": 6},
    "bilstm_bigru_keras": {**NET, "hidden_size": 6},
    "textcnn": {**NET, "n_filters": 6},
    "dan": NET,
}


def params_of(family: str, **changes: Any) -> dict[str, Any]:
    """Parameters that train in a moment."""
    return {"family": family, **PARAMS[family], **changes}


def columns_beside(inputs: Inputs) -> Inputs:
    """The toy study with an id, two numbers and a category beside the text, cells missing."""

    def widen(table: Table, seed: int) -> Table:
        rng = np.random.default_rng(seed)
        numeric = rng.normal(size=(len(table), 2))
        numeric[::7, 1] = np.nan
        categorical = rng.choice(["", "red", "blue"], (len(table), 1)).astype(object)
        return dataclasses.replace(table, numeric=numeric, categorical=categorical)

    columns = dataclasses.replace(inputs.columns, row_id="id", numeric=("size", "weight"), categorical=("colour",))
    return dataclasses.replace(inputs, columns=columns, train=widen(inputs.train, 1), test=widen(inputs.test, 2))


def run_study(
    folder: Path,
    trials: Sequence[Mapping[str, Any]],
    *,
    kind: str = "binary",
    metric: str = "log_loss",
    inputs: Inputs | None = None,
    name: str = "toy",
) -> Inputs:
    """Cross-validate each of the trials and leave a study's folder: study.db and inputs."""
    inputs = columns_beside(make_inputs(kind, n_rows=90)) if inputs is None else inputs
    measured = get_metric(metric, inputs.task)
    save_inputs(inputs, folder / "inputs" / inputs.key)
    study = StudyRecord(
        name=name,
        task=inputs.task,
        columns=inputs.columns,
        metric=metric,
        data_digest=inputs.data_digest,
        fold_digest=inputs.folds.digest,
        train_ids=inputs.train.row_ids,
        test_ids=inputs.test.row_ids,
        labels=np.asarray(inputs.labels),
        fold_of_row=inputs.folds.fold_of_row,
        settings={"device": "cpu", "threads": 1, "inputs": inputs.key},
    )
    with open_store(f"sqlite:///{folder / 'study.db'}") as store, limit_threads(1):
        store.write_study(study)
        for number, params in enumerate(trials):
            run = cross_validate(inputs, parse_config(params, source="test"), metric=measured, seed=3)
            store.write_trial(
                TrialRecord(
                    study=name,
                    number=number,
                    outcome="complete",
                    params=params,
                    seed=3,
                    score=run.score,
                    fold_scores=run.fold_scores,
                    thresholds=run.thresholds,
                    environment=environment("cpu"),
                    oof=run.oof,
                    test_proba=run.test_proba,
                    holdout_proba=run.holdout_proba,
                )
            )
    return inputs
