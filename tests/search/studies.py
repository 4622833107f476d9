"""Finished studies that were never run: records as the search writes them, drawn from a seed."""

from typing import Any

import numpy as np

from tests.builders import TASKS
from textclf.arrays import FloatArray, IntArray
from textclf.config import Columns
from textclf.metrics import get_metric, score_oof
from textclf.records import StudyRecord, TrialRecord
from textclf.store import PredictionStore

N_ROWS, N_TEST, N_FOLDS, N_EPOCHS = 300, 40, 5, 4
METRIC_OF = {"binary": "f1", "multiclass": "log_loss", "multilabel": "roc_auc"}
FAMILIES = ("bilstm_bigru", "textcnn", "tfidf_logreg")


def make_study(kind: str = "binary", *, name: str = "quora", n_rows: int = N_ROWS) -> StudyRecord:
    """What the trials share."""
    rng = np.random.default_rng(5)
    task = TASKS[kind]
    if kind == "multilabel":
        labels = (rng.random((n_rows, 3)) < [0.5, 0.2, 0.1]).astype(np.int64)
    else:
        labels = rng.choice(task.n_outputs, n_rows, p=[0.8, 0.2] if kind == "binary" else [0.5, 0.3, 0.2])
    return StudyRecord(
        name=name,
        task=task,
        columns=Columns(text="text", targets=task.class_names if kind == "multilabel" else ("label",), row_id="id"),
        metric=METRIC_OF[kind],
        data_digest="d" * 64,
        fold_digest="f" * 64,
        train_ids=tuple(f"row{number}" for number in range(n_rows)),
        test_ids=tuple(f"test{number}" for number in range(N_TEST)),
        labels=labels.astype(np.int64),
        fold_of_row=(np.arange(n_rows) % N_FOLDS)[np.newaxis].astype(np.int64),
        settings={"seed": 1, "lag": 4},
    )


def make_trial(study: StudyRecord, number: int) -> TrialRecord:
    """A complete trial; every seventh from number 3 on is pruned, number 11 failed."""
    rng = np.random.default_rng([7, number])
    params = draw_params(FAMILIES[0 if number % 2 else number // 2 % 3], rng)
    strength = 0.5 + 0.3 * rng.random() + (0.2 if params["family"] == "bilstm_bigru" else 0.0)
    seconds = float(rng.uniform(3, 6) if params["family"] == "tfidf_logreg" else rng.uniform(60, 200))
    base: dict[str, Any] = {
        "study": study.name,
        "number": number,
        "params": params,
        "seed": 1,
        "environment": ENVIRONMENT,
    }
    if number == 11:
        return TrialRecord(**base, outcome="failed", seconds=7.0, reason="diverged: the loss is NaN at epoch 2")
    proba = draw_proba(study, strength, rng)
    metric = get_metric(study.metric, study.task)
    scored = score_oof(metric, study.labels, proba, study.fold_of_row)
    curves = tuple(
        curve_point(fit, epoch, scored.fold_scores[fit]) for fit in range(N_FOLDS) for epoch in range(N_EPOCHS)
    )
    means = [float(np.mean(scored.fold_scores[: fit + 1])) for fit in range(N_FOLDS)]
    reports = tuple((100 * (fit + 1), mean) for fit, mean in enumerate(means))
    if number % 7 == 3:
        reason = "loses more than 1.1 times what trial 0 loses on the rows of 2 of 5 fits (p = 1.0e-04, limit 9e-03)"
        ended: dict[str, Any] = {
            "outcome": "pruned",
            "reports": reports[:2],
            "reason": reason,
            "curves": curves[: 2 * N_EPOCHS],
        }
        return TrialRecord(**base, **ended, seconds=seconds * 0.4)
    return TrialRecord(
        **base,
        outcome="complete",
        score=scored.score,
        fold_scores=scored.fold_scores,
        thresholds=scored.thresholds,
        reports=reports,
        curves=curves,
        seconds=seconds,
        attributes={"n_parameters": 250_000},
        oof=proba,
        test_proba=draw_proba(study, strength, rng)[:N_TEST],
    )


ENVIRONMENT = {"python": "3.11.9", "torch": "2.13.0", "device": "cpu", "threads": "2", "engine": "native-avx512"}


def draw_params(family: str, rng: np.random.Generator) -> dict[str, object]:
    """Parameters as a space would suggest them, fixed ones among them."""
    if family == "tfidf_logreg":
        return {
            "family": family,
            "cleaning": "none",
            "c": float(10 ** rng.uniform(-1, 1)),
            "char_ngrams": int(rng.choice([0, 5])),
        }
    sizes = {"hidden_size": int(rng.choice([32, 64, 96]))} if family == "bilstm_bigru" else {"n_filters": 100}
    rates = {"lr_max": float(10 ** rng.uniform(-3, -2)), "dropout": float(rng.uniform(0, 0.5))}
    return {"family": family, "cleaning": "none", **sizes, **rates, "batch_size": int(rng.choice([128, 256, 512]))}


def draw_proba(study: StudyRecord, strength: float, rng: np.random.Generator) -> FloatArray:
    """Probabilities that lean towards the truth; (n_rows, n_outputs)."""
    truth = study.labels if study.labels.ndim == 2 else one_hot(study.labels, study.task.n_outputs)
    logits = strength * (2 * truth - 1) + rng.normal(size=truth.shape) * 1.5 - 0.5
    if study.task.kind == "multilabel":
        return np.asarray(1 / (1 + np.exp(-logits)))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def one_hot(labels: IntArray, n_classes: int) -> IntArray:
    """(n_rows, n_classes) of 0/1."""
    return (labels[:, None] == np.arange(n_classes)).astype(np.int64)


def curve_point(fit: int, epoch: int, fold_score: float) -> dict[str, float]:
    """One validated epoch."""
    left = 0.8 ** (epoch + 1)
    return {
        "fit": fit,
        "repeat": 0,
        "fold": fit,
        "epoch": epoch,
        "train_loss": 0.1 + 0.3 * left,
        "valid_loss": 0.2 + 0.2 * left + 0.004 * fit,
        "valid_score": fold_score - 0.1 * left,
        "seconds": 10.0 * (epoch + 1),
    }


def write_study(
    url: str, kind: str = "binary", *, n_trials: int = 24, name: str = "quora", n_rows: int = N_ROWS
) -> StudyRecord:
    """A finished study in a store of its own."""
    store = PredictionStore(url)
    store.create_tables()
    study = make_study(kind, name=name, n_rows=n_rows)
    store.write_study(study)
    for number in range(n_trials):
        store.write_trial(make_trial(study, number))
    store.close()
    return study
