"""Scores of labels against probabilities, each a plain function; scikit-learn computes all but the obvious ones.

labels: (n_rows,) class indices, or (n_rows, n_labels) of 0/1; proba: (n_rows, n_outputs) float64
"""

from collections.abc import Callable, Sequence

import numpy as np

from textclf.arrays import FloatArray, IntArray
from textclf.threshold import PLAIN_THRESHOLD, positive_columns

Measure = Callable[[IntArray, FloatArray], float]

SMALLEST_PROBA = float(np.finfo(np.float64).eps)


def mean_of_defined(scores: Sequence[float]) -> float:
    """Mean of the scores that are not NaN; NaN when there is none."""
    defined = [score for score in scores if not np.isnan(score)]
    return float(np.mean(defined)) if defined else float("nan")


def column_wise(score_column: Callable[[IntArray, FloatArray], float]) -> Measure:
    """Lift a score of one 0/1 column to any task: binary, each class against the rest, or each label."""

    def measure(labels: IntArray, proba: FloatArray) -> float:
        if labels.ndim == 1 and proba.shape[1] > 2:
            columns, yes = (labels[:, None] == np.arange(proba.shape[1])).astype(np.int64), proba
        else:
            columns, yes = positive_columns(labels, proba)
        both = (columns.min(axis=0) == 0) & (columns.max(axis=0) == 1)
        return mean_of_defined([score_column(columns[:, j], yes[:, j]) for j in np.flatnonzero(both)])

    return measure


def row_wise(score_column: Callable[[IntArray, IntArray], float]) -> Measure:
    """Lift a score of decided classes to any task: the most probable class, or each label at 0.5."""

    def measure(labels: IntArray, proba: FloatArray) -> float:
        if labels.ndim == 1:
            return score_column(labels, proba.argmax(axis=1))
        decided = (proba >= PLAIN_THRESHOLD).astype(np.int64)
        return mean_of_defined([score_column(labels[:, j], decided[:, j]) for j in range(labels.shape[1])])

    return measure


def roc_auc(labels: IntArray, proba: FloatArray) -> float:
    """Area under the ROC curve of one column."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, proba))


def average_precision(labels: IntArray, proba: FloatArray) -> float:
    """Average precision of one column."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, proba))


def accuracy(labels: IntArray, decided: IntArray) -> float:
    """Share of right decisions."""
    return float(np.mean(labels == decided))


def macro_f1(labels: IntArray, decided: IntArray) -> float:
    """Unweighted mean of the F1 of each class that occurs or is predicted."""
    from sklearn.metrics import f1_score

    return float(f1_score(labels, decided, average="macro", zero_division=0.0))


def balanced_accuracy(labels: IntArray, decided: IntArray) -> float:
    """Mean recall of the classes that occur."""
    from sklearn.metrics import recall_score

    return float(recall_score(labels, decided, labels=np.unique(labels), average="macro"))


def matthews(labels: IntArray, decided: IntArray) -> float:
    """Matthews correlation of classes; NaN where every row has one class."""
    from sklearn.metrics import matthews_corrcoef

    return float("nan") if len(np.unique(labels)) < 2 else float(matthews_corrcoef(labels, decided))


def weighted_kappa(labels: IntArray, decided: IntArray) -> float:
    """Cohen's kappa with quadratic weights, on the recorded order of the classes; NaN where every row has one class."""
    from sklearn.metrics import cohen_kappa_score

    return (
        float("nan") if len(np.unique(labels)) < 2 else float(cohen_kappa_score(labels, decided, weights="quadratic"))
    )


def losses_of_rows(labels: IntArray, proba: FloatArray) -> FloatArray:
    """Log loss of each row; the task is told by the shape of the labels."""
    if labels.ndim == 1:
        chosen = np.take_along_axis(proba, labels[:, None], axis=1)[:, 0]
        return np.asarray(-np.log(np.clip(chosen, SMALLEST_PROBA, 1.0)), dtype=np.float64)
    chosen = np.where(labels == 1, proba, 1.0 - proba)
    return np.asarray(-np.log(np.clip(chosen, SMALLEST_PROBA, 1.0)).mean(axis=1), dtype=np.float64)


def negative_log_loss(labels: IntArray, proba: FloatArray) -> float:
    """Minus the mean log loss."""
    return -float(losses_of_rows(labels, proba).mean())


def negative_brier(labels: IntArray, proba: FloatArray) -> float:
    """Minus the mean squared error of the probabilities; multiclass: summed over classes (Brier 1950)."""
    if labels.ndim == 1 and proba.shape[1] > 2:
        return -float(np.square(proba - np.eye(proba.shape[1])[labels]).sum(axis=1).mean())
    columns, yes = positive_columns(labels, proba)
    return -float(np.square(yes - columns).mean())
