"""The metrics a user can name. Every score is higher-is-better: losses are negated.

Where a score is undefined it is NaN: a fold with one class has no ROC AUC. Column-wise means (multilabel, one class
against the rest) leave undefined columns out, so a fold without a rare label scores the labels it has. A NaN
probability makes every score NaN.
"""

from dataclasses import dataclass, replace

import numpy as np

from textclf.arrays import BoolArray, FloatArray, IntArray
from textclf.config import Task, TaskKind
from textclf.errors import ConfigError, did_you_mean
from textclf.measures import (
    Measure,
    accuracy,
    average_precision,
    balanced_accuracy,
    column_wise,
    losses_of_rows,
    macro_f1,
    matthews,
    mean_of_defined,
    negative_brier,
    negative_log_loss,
    roc_auc,
    row_wise,
    weighted_kappa,
)
from textclf.threshold import (
    PLAIN_THRESHOLD,
    CountScore,
    decide,
    f1_of_counts,
    find_thresholds,
    mcc_of_counts,
    positive_columns,
)

Thresholds = tuple[float, ...]
ANY_KIND: frozenset[TaskKind] = frozenset({"binary", "multiclass", "multilabel"})
ONE_CLASS_PER_ROW: frozenset[TaskKind] = frozenset({"binary", "multiclass"})
YES_OR_NO: frozenset[TaskKind] = frozenset({"binary", "multilabel"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A named score.

    kinds: the tasks it is defined for
    count_score: when given, the score comes from decisions at a threshold, through these counts
    measure: otherwise, scores labels against probabilities
    """

    name: str
    description: str
    kinds: frozenset[TaskKind]
    measure: Measure | None = None
    count_score: CountScore | None = None

    @property
    def uses_threshold(self) -> bool:
        """Whether the score depends on a cut that has to be found."""
        return self.count_score is not None

    def score(self, labels: IntArray, proba: FloatArray, thresholds: Thresholds | FloatArray | None = None) -> float:
        """Score probabilities, higher is better.

        labels: (n_rows,) class indices, or (n_rows, n_labels) of 0/1; proba: (n_rows, n_outputs) float64
        thresholds: for a metric with thresholds, one per decision column (binary 1, multilabel n_labels), or a row of
            them per row; 0.5 when left out
        """
        if not len(labels) or not np.isfinite(proba).all():
            return float("nan")
        if self.count_score is None:
            assert self.measure is not None, self.name
            return self.measure(labels, proba)
        columns, yes = positive_columns(labels, proba)
        cuts = (PLAIN_THRESHOLD,) * yes.shape[1] if thresholds is None else thresholds
        return score_decisions(columns, decide(yes, cuts), self.count_score)

    def best_thresholds(self, labels: IntArray, proba: FloatArray) -> Thresholds | None:
        """The cuts that score highest on these very rows; None when the metric has none."""
        return None if self.count_score is None else find_thresholds(labels, proba, self.count_score)


def score_decisions(labels: IntArray, decided: BoolArray, count_score: CountScore) -> float:
    """Mean over columns of a score of 0/1 decisions; both (n_rows, n_columns)."""
    hits = np.count_nonzero(decided & (labels == 1), axis=0).astype(np.float64)
    called = np.count_nonzero(decided, axis=0).astype(np.float64)
    positive = np.count_nonzero(labels, axis=0)
    scores = [
        float(count_score(hits[j], called[j], positive=int(positive[j]), n_rows=len(labels)))
        for j in range(labels.shape[1])
    ]
    return mean_of_defined(scores)


def row_losses(labels: IntArray, proba: FloatArray, task: Task) -> FloatArray:
    """Log loss of each row, in nats; multilabel: the mean over labels.

    labels: (n_rows,) or (n_rows, n_labels); proba: (n_rows, n_outputs) float64; returns (n_rows,) float64
    """
    if (labels.ndim == 2) != (task.kind == "multilabel"):
        raise ValueError(f"labels of shape {labels.shape} are not those of a {task.kind} task")
    return losses_of_rows(labels, proba)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="f1",
            description="F1 of the positive class at its best threshold; multilabel: the mean over labels",
            kinds=YES_OR_NO,
            count_score=f1_of_counts,
        ),
        Metric(
            name="roc_auc",
            description="area under the ROC curve; several classes or labels: mean of each against the rest",
            kinds=ANY_KIND,
            measure=column_wise(roc_auc),
        ),
        Metric(
            name="log_loss",
            description="minus the log loss in nats; multilabel: mean over labels",
            kinds=ANY_KIND,
            measure=negative_log_loss,
        ),
        Metric(
            name="accuracy",
            description="share of rows whose most probable class is right; multilabel: of labels right at 0.5",
            kinds=ANY_KIND,
            measure=row_wise(accuracy),
        ),
        Metric(
            name="macro_f1",
            description="unweighted mean of the F1 of each class, the most probable class being predicted",
            kinds=ONE_CLASS_PER_ROW,
            measure=row_wise(macro_f1),
        ),
        Metric(
            name="average_precision",
            description="area under the precision-recall steps; several classes or labels: mean over them",
            kinds=ANY_KIND,
            measure=column_wise(average_precision),
        ),
        Metric(
            name="mcc",
            description="Matthews correlation at its best threshold; multiclass: of the most probable class",
            kinds=ANY_KIND,
            measure=row_wise(matthews),
            count_score=mcc_of_counts,
        ),
        Metric(
            name="balanced_accuracy",
            description="mean recall of the classes, the most probable class being predicted",
            kinds=ONE_CLASS_PER_ROW,
            measure=row_wise(balanced_accuracy),
        ),
        Metric(
            name="brier",
            description="minus the mean squared error of the probabilities; multiclass: summed over classes",
            kinds=ANY_KIND,
            measure=negative_brier,
        ),
        Metric(
            name="qwk",
            description="Cohen's kappa with quadratic weights, for ordered classes in their recorded order",
            kinds=ONE_CLASS_PER_ROW,
            measure=row_wise(weighted_kappa),
        ),
    )
}


def get_metric(name: str, task: Task) -> Metric:
    """The metric of this name as it is for this task; raises ConfigError for an unknown or unfit one."""
    if name not in METRICS:
        raise ConfigError(f"metric: {name!r} is not one of {', '.join(METRICS)}{did_you_mean(name, METRICS)}")
    metric = METRICS[name]
    if task.kind not in metric.kinds:
        fit = [other.name for other in METRICS.values() if task.kind in other.kinds]
        raise ConfigError(f"metric: {name} is not defined for a {task.kind} task; choose one of {', '.join(fit)}")
    return replace(metric, count_score=None) if task.kind == "multiclass" else metric


def fitted_score(metric: Metric, labels: IntArray, proba: FloatArray) -> float:
    """The score at the thresholds that score highest on these very rows, which flatters: for curves, not for claims."""
    if not np.isfinite(proba).all():
        return float("nan")
    return metric.score(labels, proba, metric.best_thresholds(labels, proba))


@dataclass(frozen=True, slots=True, kw_only=True)
class OofScore:
    """What out-of-fold probabilities are worth.

    score: on all rows, every row decided by thresholds found without its fold; with repeated folds the mean of that
    fold_scores: one per repeat and fold, in that order; NaN where a fold has one class and the metric needs two
    thresholds: found on all rows, for rows to come; None when the metric has none
    fitted: the score at those thresholds on the rows they were found on, which flatters
    """

    score: float
    fold_scores: tuple[float, ...]
    thresholds: Thresholds | None
    fitted: float


def score_oof(metric: Metric, labels: IntArray, proba: FloatArray, fold_of_row: IntArray) -> OofScore:
    """Score OOF probabilities, with thresholds found on all folds but one and applied to that one.

    labels: (n_rows,) or (n_rows, n_labels); proba: (n_rows, n_outputs); fold_of_row: (n_rows,) or (n_repeats, n_rows)
    """
    thresholds = metric.best_thresholds(labels, proba) if np.isfinite(proba).all() else None
    scores, fold_scores = [], []
    for folds in np.atleast_2d(fold_of_row):
        cuts = None if thresholds is None else cross_fitted_thresholds(metric, labels, proba, fold_of_row=folds)
        scores.append(metric.score(labels, proba, cuts))
        for fold in np.flatnonzero(np.bincount(folds)):
            held_out = folds == fold
            fold_scores.append(
                metric.score(labels[held_out], proba[held_out], None if cuts is None else cuts[held_out])
            )
    return OofScore(
        score=float(np.mean(scores)),
        fold_scores=tuple(fold_scores),
        thresholds=thresholds,
        fitted=fitted_score(metric, labels, proba),
    )


def cross_fitted_thresholds(
    metric: Metric, labels: IntArray, proba: FloatArray, *, fold_of_row: IntArray
) -> FloatArray:
    """For every row, the cuts found on the folds that do not hold it: (n_rows, n_columns) float64.

    fold_of_row: (n_rows,) int64, one repeat
    """
    n_columns = 1 if labels.ndim == 1 else labels.shape[1]
    cuts = np.full((len(labels), n_columns), PLAIN_THRESHOLD)
    for fold in np.flatnonzero(np.bincount(fold_of_row)):
        held_out = fold_of_row == fold
        found = metric.best_thresholds(labels[~held_out], proba[~held_out])
        if found is not None:
            cuts[held_out] = found
    return cuts
