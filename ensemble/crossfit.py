"""Cross-fitting: a blend and its thresholds are found on all folds but one and judged on that one.

Scores are means over folds, weighted by rows. Pooling all rows into one ranking instead would mix blends of different
folds: their scales differ, and a ROC AUC of the mixture falls below that of every blend in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.mixtures import Blend, Evidence
from textclf.arrays import FloatArray, IntArray
from textclf.metrics import Thresholds

Fit = Callable[[Evidence], Blend]


@dataclass(frozen=True, kw_only=True)
class CrossFit:
    """Honest predictions of a way to blend.

    proba: (n_repeats, n_rows, n_outputs) float64, every row blended by weights found without its fold
    cuts: (n_repeats, n_rows, n_columns) float64, the thresholds likewise; None when the metric has none
    score: mean over repeats and folds; fold_scores: per repeat and fold, NaN where the metric is undefined
    """

    proba: FloatArray
    cuts: FloatArray | None
    score: float
    fold_scores: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A blend found on all rows, for rows to come.

    score: mean over the same folds, on the very rows it was found on, which flatters
    """

    blend: Blend
    thresholds: Thresholds | None
    score: float


def learn(fit: Fit, evidence: Evidence) -> tuple[Blend, Thresholds | None]:
    """Find a blend, and the thresholds that suit it, on the evidence."""
    blend = fit(evidence)
    return blend, evidence.metric.best_thresholds(evidence.labels, blend.apply(evidence.proba))


def fit_all(fit: Fit, evidence: Evidence) -> Fitted:
    """Find a blend and its thresholds on all rows."""
    blend, thresholds = learn(fit, evidence)
    proba = blend.apply(evidence.proba)
    scores = [
        evidence.metric.score(evidence.labels[rows], proba[rows], thresholds)
        for folds in evidence.fold_of_row
        for rows in rows_of_folds(folds)
    ]
    return Fitted(
        blend=blend, thresholds=thresholds, score=float(mean_over_folds(scores, sizes_of_folds(evidence.fold_of_row)))
    )


def cross_fit(fit: Fit, evidence: Evidence) -> CrossFit:
    """Predict every row by a blend that was found without its fold.

    Whatever ``fit`` decides (which members, which weights, which calibration) is decided anew for each fold.
    """
    metric, labels = evidence.metric, evidence.labels
    n_repeats, n_rows = evidence.fold_of_row.shape
    proba = np.empty((n_repeats, *evidence.proba.shape[1:]))
    n_columns = 1 if labels.ndim == 1 else labels.shape[1]
    cuts = np.zeros((n_repeats, n_rows, n_columns)) if metric.uses_threshold else None
    scores = []
    for repeat, folds in enumerate(evidence.fold_of_row):
        for held_out in rows_of_folds(folds):
            blend, thresholds = learn(fit, evidence.without(held_out, repeat=repeat))
            proba[repeat, held_out] = blend.apply(evidence.proba[:, held_out])
            if cuts is not None:
                cuts[repeat, held_out] = thresholds
            scores.append(metric.score(labels[held_out], proba[repeat, held_out], thresholds))
    return CrossFit(
        proba=proba,
        cuts=cuts,
        score=float(mean_over_folds(scores, sizes_of_folds(evidence.fold_of_row))),
        fold_scores=tuple(scores),
    )


def rows_of_folds(fold_of_row: IntArray) -> list[IntArray]:
    """Row numbers of each fold of one repeat."""
    return [np.flatnonzero(fold_of_row == fold) for fold in np.flatnonzero(np.bincount(fold_of_row))]


def sizes_of_folds(fold_of_row: IntArray) -> FloatArray:
    """Rows of each fold, repeat by repeat; fold_of_row: (n_repeats, n_rows)."""
    counts = np.concatenate([np.bincount(folds) for folds in fold_of_row])
    return counts[counts > 0].astype(np.float64)


def mean_over_folds(fold_scores: Sequence[float] | FloatArray, sizes: FloatArray) -> FloatArray:
    """Mean of the fold scores that are defined, weighted by the rows of their folds; NaN when none is.

    fold_scores: (n_repeats * n_folds,) or (n_repeats * n_folds, n_resamples); sizes: (n_repeats * n_folds,)
    """
    scores = np.asarray(fold_scores, dtype=np.float64)
    known = ~np.isnan(scores)
    weights = known * sizes.reshape(-1, *[1] * (scores.ndim - 1))
    total = weights.sum(axis=0)
    mean = (np.where(known, scores, 0.0) * weights).sum(axis=0) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, mean, np.nan)
