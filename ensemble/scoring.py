"""A metric made ready to score many mixtures of the same members on the same rows, fast.

A mixture of members only enters a score through a few numbers per row: the probability of the truth for the log loss,
the probability of "yes" for the ROC AUC. They are gathered once and are linear in the members, so that a search adds
small arrays and never sees a probability table again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ensemble.confusion import SCORES_OF_CONFUSION, ScoreOfConfusion, confusion
from ensemble.ranking import Truth, average_precision, best_cut_score, make_truth, roc_auc
from textclf.arrays import FloatArray, IntArray
from textclf.measures import SMALLEST_PROBA, mean_of_defined
from textclf.metrics import Metric
from textclf.threshold import positive_columns

ScoreMixes = Callable[[FloatArray], FloatArray]

N_FACTORS = 16  # probabilities multiplied before one logarithm: SMALLEST_PROBA**16 is still a normal float


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a search for weights maximises.

    members: (n_members, n_columns, n_rows) float64; mixtures with weights that sum to one are mixed from them
    score: (n_mixes, n_columns, n_rows) -> (n_mixes,) float64, higher is better, NaN where undefined
    """

    members: FloatArray
    score: ScoreMixes

    def score_weights(self, weights: FloatArray) -> FloatArray:
        """Score mixtures given by their weights: (n_mixes, n_members), rows sum to one -> (n_mixes,)."""
        flat = self.members.reshape(len(self.members), -1)
        return self.score((weights @ flat).reshape(len(weights), *self.members.shape[1:]))


def make_objective(metric: Metric, labels: IntArray, proba: FloatArray) -> Objective:
    """Prepare a metric for members' OOF probabilities; a metric with a threshold is scored at its best one.

    labels: (n_rows,) or (n_rows, n_labels); proba: (n_members, n_rows, n_outputs) float64
    """
    if metric.name == "log_loss":
        return Objective(members=proba_of_truth(labels, proba), score=mean_log)
    if metric.count_score is not None:
        return by_column(labels, proba, partial(best_cut_score, count_score=metric.count_score))
    if metric.name in RANKING_SCORES:
        return by_column(labels, proba, RANKING_SCORES[metric.name])
    if labels.ndim == 1 and metric.name in SCORES_OF_CONFUSION:
        return by_confusion(labels, proba, SCORES_OF_CONFUSION[metric.name])
    return Objective(
        members=np.ascontiguousarray(proba.transpose(0, 2, 1)),
        score=lambda mixes: np.array([metric.score(labels, mix.T) for mix in mixes]),
    )


def proba_of_truth(labels: IntArray, proba: FloatArray) -> FloatArray:
    """The probability that each member gives to what is true: (n_members, n_columns, n_rows)."""
    if labels.ndim == 1:
        return np.ascontiguousarray(proba[:, np.arange(len(labels)), labels][:, None, :])
    return np.ascontiguousarray(np.where(labels == 1, proba, 1.0 - proba).transpose(0, 2, 1))


def mean_log(truths: FloatArray) -> FloatArray:
    """Minus the log loss of each mixture, with one logarithm per 16 probabilities.

    truths: (n_mixes, n_columns, n_rows) float64
    """
    flat = np.clip(truths.reshape(len(truths), -1), SMALLEST_PROBA, 1.0)
    n_even = flat.shape[1] // N_FACTORS * N_FACTORS
    products = flat[:, :n_even].reshape(len(flat), N_FACTORS, -1).prod(axis=1)
    return np.asarray((np.log(products).sum(axis=1) + np.log(flat[:, n_even:]).sum(axis=1)) / flat.shape[1])


def by_column(labels: IntArray, proba: FloatArray, score_column: Callable[[Truth, FloatArray], float]) -> Objective:
    """An objective that is the mean over columns (labels, or classes against the rest) of a score of each."""
    if labels.ndim == 1 and proba.shape[2] > 2:
        columns, yes = (labels[:, None] == np.arange(proba.shape[2])).astype(np.int64), proba
    else:
        columns = positive_columns(labels, proba[0])[0]
        yes = proba[:, :, 1:] if labels.ndim == 1 else proba
    truths = [make_truth(column) for column in columns.T]

    def score(mixes: FloatArray) -> FloatArray:
        return np.array(
            [mean_of_defined([score_column(*pair) for pair in zip(truths, mix, strict=True)]) for mix in mixes]
        )

    return Objective(members=np.ascontiguousarray(yes.transpose(0, 2, 1)), score=score)


def by_confusion(labels: IntArray, proba: FloatArray, score_confusion: ScoreOfConfusion) -> Objective:
    """An objective that looks only at how often each class is taken for each."""
    n_classes = proba.shape[2]

    def score(mixes: FloatArray) -> FloatArray:
        return np.array([score_confusion(confusion(labels, decided, n_classes)) for decided in most_probable(mixes)])

    return Objective(members=np.ascontiguousarray(proba.transpose(0, 2, 1)), score=score)


def most_probable(mixes: FloatArray) -> IntArray:
    """The most probable class of each row, the first among equals: (n_mixes, n_classes, n_rows) -> (n_mixes, n_rows).

    One pass per class along contiguous rows: several times faster than argmax along a short axis.
    """
    highest = mixes[:, 0].copy()
    decided = np.zeros(highest.shape, dtype=np.int64)
    for label in range(1, mixes.shape[1]):
        decided[mixes[:, label] > highest] = label
        np.maximum(highest, mixes[:, label], out=highest)
    return decided


RANKING_SCORES: dict[str, Callable[[Truth, FloatArray], float]] = {
    "roc_auc": roc_auc,
    "average_precision": average_precision,
}
