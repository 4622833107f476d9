"""The exact best cut on a probability, for scores that count right and wrong decisions (F1, MCC).

One sort visits every distinct cut: with the rows in falling order of probability, the decisions "first k rows are
positive" are all there are, and running counts score them together.
"""

from typing import Protocol

import numpy as np

from textclf.arrays import BoolArray, FloatArray, IntArray

N_ROWS_ENOUGH = 50  # below this, a tuned cut is worse than the plain one
PLAIN_THRESHOLD = 0.5
EQUAL = 1e-12  # scores nearer than this differ by rounding only


class CountScore(Protocol):
    """A score of decisions told by four counts, each a number or an array: higher is better, NaN where undefined.

    It must not fall when one more positive row is called positive, nor rise when one more negative row is.
    """

    def __call__(
        self, true_positive: FloatArray, predicted: FloatArray, *, positive: float, n_rows: float
    ) -> FloatArray:
        """Score decisions with these many hits, rows called positive, rows that are positive, and rows."""
        ...


def f1_of_counts(true_positive: FloatArray, predicted: FloatArray, *, positive: float, n_rows: float) -> FloatArray:
    """F1 of the positive class; NaN where no row is positive."""
    del n_rows
    if positive == 0:
        return np.full(np.shape(true_positive), np.nan)
    return np.asarray(2.0 * true_positive / (predicted + positive), dtype=np.float64)


def mcc_of_counts(true_positive: FloatArray, predicted: FloatArray, *, positive: float, n_rows: float) -> FloatArray:
    """Matthews correlation coefficient; 0 where every row is called alike, NaN where every row is alike."""
    if positive in (0, n_rows):
        return np.full(np.shape(true_positive), np.nan)
    covariance = n_rows * true_positive - predicted * positive
    variance = predicted * (n_rows - predicted) * positive * (n_rows - positive)
    return np.asarray(np.divide(covariance, np.sqrt(np.maximum(variance, 1.0))), dtype=np.float64)


def find_threshold(labels: IntArray | BoolArray, proba: FloatArray, count_score: CountScore) -> float:
    """The cut t for which the decisions ``proba >= t`` score highest.

    The cut lies midway between the two neighbouring probabilities that it parts; among equal scores the cut nearest
    to 0.5 is taken. With fewer than 50 rows, or rows of one class only, it is 0.5.

    labels: (n_rows,) of 0/1; proba: (n_rows,) float64 in [0, 1]

    >>> labels = np.repeat([0, 1], 40)
    >>> find_threshold(labels, np.where(labels == 1, 0.3, 0.1), f1_of_counts)
    0.2
    """
    positive = int(np.count_nonzero(labels))
    if len(labels) < N_ROWS_ENOUGH or positive in (0, len(labels)):
        return PLAIN_THRESHOLD
    order = np.argsort(-proba, kind="stable")
    ranked = proba[order]
    last_of_tie = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True))
    true_positive = np.cumsum(np.asarray(labels, dtype=np.float64)[order])[last_of_tie]
    scores = count_score(true_positive, (last_of_tie + 1).astype(np.float64), positive=positive, n_rows=len(labels))
    cuts = midway(lower=np.append(ranked[last_of_tie[:-1] + 1], 0.0), upper=ranked[last_of_tie])
    best = np.flatnonzero(scores >= scores.max() - EQUAL)
    return float(cuts[best[np.argmin(np.abs(cuts[best] - PLAIN_THRESHOLD))]])


def midway(*, lower: FloatArray, upper: FloatArray) -> FloatArray:
    """The middle of each gap, such that ``upper >= middle > lower`` even between neighbouring floats."""
    middle = lower + (upper - lower) / 2
    return np.where(middle > lower, middle, upper)


def find_thresholds(labels: IntArray, proba: FloatArray, count_score: CountScore) -> tuple[float, ...]:
    """One best cut for a binary task, one per label for a multilabel task.

    labels: (n_rows,) or (n_rows, n_labels) of 0/1; proba: (n_rows, n_outputs) float64 (binary: the second column)
    """
    columns, scores = positive_columns(labels, proba)
    return tuple(find_threshold(column, score, count_score) for column, score in zip(columns.T, scores.T, strict=True))


def positive_columns(labels: IntArray, proba: FloatArray) -> tuple[IntArray, FloatArray]:
    """Labels and probabilities of "yes", each (n_rows, n_columns): one column if binary, n_labels if multilabel."""
    if labels.ndim == 1:
        return labels[:, None], proba[:, 1:]
    return labels, proba


def decide(proba: FloatArray, thresholds: "tuple[float, ...] | FloatArray") -> BoolArray:
    """Say yes where the probability reaches its threshold.

    proba: (n_rows, n_columns) of "yes"; thresholds: n_columns, or (n_rows, n_columns) when each row has its own
    """
    return proba >= np.asarray(thresholds, dtype=np.float64)
