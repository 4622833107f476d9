"""Scores told by a confusion matrix alone, so that thousands of mixtures or resamples are scored from counts."""

from collections.abc import Callable

import numpy as np

from textclf.arrays import FloatArray, IntArray

ScoreOfConfusion = Callable[[FloatArray], float]


def confusion(labels: IntArray, decided: IntArray, n_classes: int) -> FloatArray:
    """Count how often each class (row) is taken for each (column): (n_classes, n_classes) float64."""
    counts = np.bincount(labels * n_classes + decided, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes).astype(np.float64)


def accuracy(counts: FloatArray) -> float:
    """Share of right decisions."""
    return float(counts.trace() / counts.sum())


def macro_f1(counts: FloatArray) -> float:
    """Unweighted mean of the F1 of each class that occurs or is predicted."""
    twice = counts.sum(axis=0) + counts.sum(axis=1)
    seen = twice > 0
    return float(np.mean(2 * counts.diagonal()[seen] / twice[seen]))


def balanced_accuracy(counts: FloatArray) -> float:
    """Mean recall of the classes that occur."""
    n_of = counts.sum(axis=1)
    occurs = n_of > 0
    return float(np.mean(counts.diagonal()[occurs] / n_of[occurs]))


def matthews(counts: FloatArray) -> float:
    """Matthews correlation of classes (Gorodkin 2004); NaN where every row has one class."""
    n_rows, true, called = counts.sum(), counts.sum(axis=1), counts.sum(axis=0)
    spread_true, spread_called = n_rows**2 - true @ true, n_rows**2 - called @ called
    if spread_true == 0:
        return float("nan")
    if spread_called == 0:
        return 0.0
    return float((counts.trace() * n_rows - true @ called) / np.sqrt(spread_true * spread_called))


def weighted_kappa(counts: FloatArray) -> float:
    """Cohen's kappa with quadratic weights; NaN where every row has one class."""
    true, called = counts.sum(axis=1), counts.sum(axis=0)
    if np.count_nonzero(true) < 2:
        return float("nan")
    steps = np.arange(len(counts), dtype=np.float64)
    cost = (steps[:, None] - steps) ** 2
    return float(1 - (cost * counts).sum() * counts.sum() / (cost * np.outer(true, called)).sum())


SCORES_OF_CONFUSION: dict[str, ScoreOfConfusion] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "balanced_accuracy": balanced_accuracy,
    "mcc": matthews,
    "qwk": weighted_kappa,
}
