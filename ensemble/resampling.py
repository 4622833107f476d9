"""Bootstrap intervals: rows are drawn again with their honest predictions, within each class.

A resample is a count per row. Scores are computed from counts: sums of row losses, of hits, of confusions, or along
one ranking per prediction, so that hundreds of resamples cost about as much as a few plain scores.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ensemble.confusion import SCORES_OF_CONFUSION
from ensemble.crossfit import CrossFit, mean_over_folds, rows_of_folds, sizes_of_folds
from textclf.arrays import FloatArray, IntArray
from textclf.measures import losses_of_rows, mean_of_defined
from textclf.metrics import Metric
from textclf.threshold import CountScore, decide, positive_columns

N_RESAMPLES = 500
N_AT_ONCE = 25
INTERVAL = (2.5, 97.5)  # percentiles

ScoreCounts = Callable[[FloatArray], FloatArray]


def bootstrap(
    metric: Metric,
    labels: IntArray,
    judged: Sequence[CrossFit],
    *,
    fold_of_row: IntArray,
    seed: int,
    n_resamples: int = N_RESAMPLES,
) -> FloatArray:
    """Score each cross-fitted prediction on the same resamples, so that differences are paired.

    labels: (n_rows,) or (n_rows, n_labels); fold_of_row: (n_repeats, n_rows); returns (n_judged, n_resamples) float64
    """
    draws = draw_counts(strata_of(labels), seed=seed, n_resamples=n_resamples)
    scorers = [score_folds(metric, labels, one, fold_of_row=fold_of_row) for one in judged]
    return np.concatenate([[score(counts) for score in scorers] for counts in draws], axis=1)


def score_folds(metric: Metric, labels: IntArray, judged: CrossFit, *, fold_of_row: IntArray) -> ScoreCounts:
    """A function that scores (n_block, n_rows) counts of rows as ``cross_fit`` does: fold by fold, then the mean."""
    parts = []
    for repeat, folds in enumerate(fold_of_row):
        for rows in rows_of_folds(folds):
            cuts = None if judged.cuts is None else judged.cuts[repeat, rows]
            parts.append((rows, score_counts(metric, labels[rows], judged.proba[repeat, rows], cuts)))

    sizes = sizes_of_folds(fold_of_row)
    return lambda counts: mean_over_folds(np.stack([score(counts[:, rows]) for rows, score in parts]), sizes)


def interval(scores: FloatArray) -> tuple[float, float]:
    """The middle 95% of resampled scores."""
    low, high = np.nanpercentile(scores, INTERVAL)
    return float(low), float(high)


def strata_of(labels: IntArray) -> IntArray:
    """Rows that are drawn among each other: of one class, or with the same rarest label; (n_rows,) int64."""
    if labels.ndim == 1:
        return labels
    rarest_first = np.argsort(labels.sum(axis=0), kind="stable")
    has_any = labels.any(axis=1)
    return np.where(has_any, labels[:, rarest_first].argmax(axis=1), labels.shape[1])


def draw_counts(strata: IntArray, *, seed: int, n_resamples: int) -> Iterator[FloatArray]:
    """Yield blocks of resamples: (n_block, n_rows) float64, how often each row was drawn."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    for start in range(0, n_resamples, N_AT_ONCE):
        counts = np.zeros((min(N_AT_ONCE, n_resamples - start), len(strata)))
        for rows in groups:
            drawn = rng.integers(0, len(rows), size=(len(counts), len(rows)))
            for resample, places in enumerate(drawn):
                counts[resample, rows] = np.bincount(places, minlength=len(rows))
        yield counts


def score_counts(metric: Metric, labels: IntArray, proba: FloatArray, cuts: FloatArray | None) -> ScoreCounts:
    """A function that scores (n_block, n_rows) counts of rows, for one prediction of them."""
    if metric.count_score is not None and cuts is not None:
        return from_decisions(metric.count_score, labels, proba, cuts=cuts)
    if metric.name == "log_loss":
        losses = losses_of_rows(labels, proba)
        return lambda counts: -(counts @ losses) / counts.sum(axis=1)
    if metric.name in ("roc_auc", "average_precision"):
        return from_rankings(metric.name, labels, proba)
    if labels.ndim == 1 and metric.name in SCORES_OF_CONFUSION:
        return from_confusions(metric.name, labels, proba)

    def score(counts: FloatArray) -> FloatArray:
        rows = [np.repeat(np.arange(len(labels)), one.astype(np.int64)) for one in counts]
        return np.array([metric.score(labels[drawn], proba[drawn]) for drawn in rows])

    return score


def from_decisions(count_score: CountScore, labels: IntArray, proba: FloatArray, *, cuts: FloatArray) -> ScoreCounts:
    """Scores of decisions at fixed thresholds, from sums of hits."""
    columns, yes = positive_columns(labels, proba)
    decided = decide(yes, cuts).astype(np.float64)
    truth = columns.astype(np.float64)

    def score(counts: FloatArray) -> FloatArray:
        hits, called, positive = counts @ (decided * truth), counts @ decided, counts @ truth
        scores = np.empty_like(hits)
        for (i, j), n_positive in np.ndenumerate(positive):
            scores[i, j] = count_score(hits[i, j], called[i, j], positive=n_positive, n_rows=counts[i].sum())
        return np.array([mean_of_defined(list(one)) for one in scores])

    return score


def from_confusions(name: str, labels: IntArray, proba: FloatArray) -> ScoreCounts:
    """Scores of the most probable class, from sums of confusions."""
    n_classes = proba.shape[1]
    cells = labels * n_classes + proba.argmax(axis=1)

    def score(counts: FloatArray) -> FloatArray:
        sums = [np.bincount(cells, weights=one, minlength=n_classes**2).astype(np.float64) for one in counts]
        return np.array([SCORES_OF_CONFUSION[name](one.reshape(n_classes, n_classes)) for one in sums])

    return score


def from_rankings(name: str, labels: IntArray, proba: FloatArray) -> ScoreCounts:
    """ROC AUC or average precision along one ranking per column, ties shared."""
    if labels.ndim == 1 and proba.shape[1] > 2:
        columns, yes = (labels[:, None] == np.arange(proba.shape[1])).astype(np.int64), proba
    else:
        columns, yes = positive_columns(labels, proba)
    score_columns = [ranking_score(name, truth, column) for truth, column in zip(columns.T, yes.T, strict=True)]

    def score(counts: FloatArray) -> FloatArray:
        by_column = np.stack([one(counts) for one in score_columns])
        return np.array([mean_of_defined(list(scores)) for scores in by_column.T])

    return score


def ranking_score(name: str, labels: IntArray, proba: FloatArray) -> ScoreCounts:
    """One column's ROC AUC or average precision; labels, proba: (n_rows,)."""
    order = np.argsort(-proba, kind="stable")
    ranked = proba[order]
    first_of_tie = np.flatnonzero(np.append(True, ranked[1:] < ranked[:-1]))
    truth = labels[order].astype(np.float64)

    def score(counts: FloatArray) -> FloatArray:
        drawn = counts[:, order]
        positive = np.add.reduceat(drawn * truth, first_of_tie, axis=1)
        total = np.add.reduceat(drawn, first_of_tie, axis=1)
        hits, n_positive, n_rows = np.cumsum(positive, axis=1), positive.sum(axis=1), total.sum(axis=1)
        undefined = (n_positive == 0) | (n_positive == n_rows)
        if name == "roc_auc":
            area = ((total - positive) * (hits - positive / 2)).sum(axis=1)
            whole = n_positive * (n_rows - n_positive)
        else:
            area = (positive * hits / np.maximum(np.cumsum(total, axis=1), 1.0)).sum(axis=1)
            whole = n_positive
        return np.where(undefined, np.nan, area / np.where(undefined, 1.0, whole))

    return score
