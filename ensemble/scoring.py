"""A metric made ready to score many mixtures of the same members on the same rows, fast.

A mixture of members only enters a score through a few numbers per row: the probability of the truth for the log loss,
the probability of "yes" for the ROC AUC. They are gathered once and are linear in the members, so that a search adds
small arrays and never sees a probability table again. Rankings sort one packed integer per row (the bits of a
probability, which sort like the probability, with the label as lowest bit), so no argsort and no gather is needed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble.confusion import SCORES_OF_CONFUSION, ScoreOfConfusion, confusion
from textclf.arrays import FloatArray, IntArray
from textclf.measures import SMALLEST_PROBA, mean_of_defined
from textclf.metrics import Metric, score_decisions
from textclf.threshold import N_ROWS_ENOUGH, PLAIN_THRESHOLD, CountScore, positive_columns

ScoreMixes = Callable[[FloatArray], FloatArray]
ScoreColumn = Callable[[FloatArray, FloatArray], float]

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
        return by_column(labels, proba, best_decisions(metric.count_score))
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


def by_column(labels: IntArray, proba: FloatArray, score_column: ScoreColumn) -> Objective:
    """An objective that is the mean over columns (labels, or classes against the rest) of a score of each."""
    if labels.ndim == 1 and proba.shape[2] > 2:
        columns, yes = (labels[:, None] == np.arange(proba.shape[2])).astype(np.int64), proba
    else:
        columns = positive_columns(labels, proba[0])[0]
        yes = proba[:, :, 1:] if labels.ndim == 1 else proba
    truths = np.ascontiguousarray(columns.T.astype(np.float64))

    def score(mixes: FloatArray) -> FloatArray:
        return np.array(
            [mean_of_defined([score_column(*pair) for pair in zip(truths, mix, strict=True)]) for mix in mixes]
        )

    return Objective(members=np.ascontiguousarray(yes.transpose(0, 2, 1)), score=score)


def by_confusion(labels: IntArray, proba: FloatArray, score_confusion: ScoreOfConfusion) -> Objective:
    """An objective that looks only at how often each class is taken for each."""
    n_classes = proba.shape[2]

    def score(mixes: FloatArray) -> FloatArray:
        return np.array([score_confusion(confusion(labels, mix.argmax(axis=0), n_classes)) for mix in mixes])

    return Objective(members=np.ascontiguousarray(proba.transpose(0, 2, 1)), score=score)


@dataclass(frozen=True, slots=True)
class Cuts:
    """Running counts at every distinct cut of one column, from the highest probability down.

    hits: true positives with all rows down to the cut called positive; called: rows called positive; both float64
    """

    hits: FloatArray
    called: FloatArray


def count_cuts(labels: FloatArray, proba: FloatArray) -> Cuts:
    """Count hits at every distinct cut by one sort of packed integers.

    labels: (n_rows,) float64 of 0/1; proba: (n_rows,) float64 in [0, 2)
    """
    ranked = np.sort(packed(labels, proba))[::-1]
    order = ranked >> np.uint64(1)
    last_of_tie = np.flatnonzero(np.append(order[1:] != order[:-1], True))
    hits = np.cumsum(ranked & np.uint64(1), dtype=np.float64)[last_of_tie]
    return Cuts(hits, (last_of_tie + 1).astype(np.float64))


def packed(labels: FloatArray, proba: FloatArray) -> NDArray[np.uint64]:
    """Integers that sort like the probabilities, with the label as lowest bit: both top bits of such floats are 0."""
    keys = np.add(proba, 0.0).view(np.uint64)  # adding zero turns -0.0 into 0.0
    keys <<= np.uint64(1)
    keys |= labels.astype(np.uint64)
    return keys


def roc_auc(labels: FloatArray, proba: FloatArray) -> float:
    """Area under the ROC curve, ties counted half; NaN with one class.

    The Mann-Whitney count: a positive row at place p of the rising order, q-th of the positives, has p - q negatives
    below it. Within a tie the negatives come first, so half of the pairs in ties are taken off again.
    """
    n_positive = int(labels.sum())
    n_negative = len(labels) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    ranked = packed(labels, proba)
    ranked.sort()
    places = np.flatnonzero(ranked & np.uint64(1))
    wins = float(places.sum() - n_positive * (n_positive - 1) // 2)
    ranked >>= np.uint64(1)
    parted = ranked[1:] != ranked[:-1]
    if not parted.all():
        tie_of_row = np.concatenate([[0], np.cumsum(parted)])
        n_tied = np.bincount(tie_of_row).astype(np.float64)
        positive = np.bincount(tie_of_row[places], minlength=len(n_tied))
        wins -= float(positive @ (n_tied - positive)) / 2
    return wins / (n_positive * n_negative)


def average_precision(labels: FloatArray, proba: FloatArray) -> float:
    """Sum over cuts of precision times the gain in recall; NaN with one class."""
    n_positive = labels.sum()
    if n_positive in (0, len(labels)):
        return float("nan")
    cuts = count_cuts(labels, proba)
    return float(np.dot(np.diff(cuts.hits, prepend=0.0), cuts.hits / cuts.called) / n_positive)


def best_decisions(count_score: CountScore) -> ScoreColumn:
    """The score at the best threshold; at 0.5 with too few rows, as in ``textclf.threshold``."""

    def score(labels: FloatArray, proba: FloatArray) -> float:
        n_positive = int(labels.sum())
        if len(labels) < N_ROWS_ENOUGH or n_positive in (0, len(labels)):
            return score_decisions(labels[:, None].astype(np.int64), proba[:, None] >= PLAIN_THRESHOLD, count_score)
        cuts = count_cuts(labels, proba)
        return float(np.max(count_score(cuts.hits, cuts.called, positive=n_positive, n_rows=len(labels))))

    return score


RANKING_SCORES: dict[str, ScoreColumn] = {"roc_auc": roc_auc, "average_precision": average_precision}
