"""What a blend is once it has been found: plain numbers that turn members' probabilities of any rows into one.

A row's blend depends on that row alone, so OOF rows, test rows and rows met years later are treated alike.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from textclf.arrays import FloatArray, IntArray
from textclf.metrics import Metric

SMALLEST = 1e-6  # probabilities are kept this far from 0 and 1 before a logarithm that weights will multiply


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a blend may learn from.

    proba: (n_members, n_rows, n_outputs) float64, out of fold
    labels: (n_rows,) int64, or (n_rows, n_labels) int64 of 0/1
    fold_of_row: (n_repeats, n_rows) int64, the folds that the members were trained on
    """

    proba: FloatArray
    labels: IntArray
    fold_of_row: IntArray
    metric: Metric
    seed: int

    @property
    def n_members(self) -> int:
        """How many members there are to blend."""
        return len(self.proba)

    def without(self, held_out: IntArray, *, repeat: int) -> "Evidence":
        """All rows but these, with the folds of one repeat."""
        rows = np.delete(np.arange(len(self.labels)), held_out)
        return Evidence(
            proba=self.proba[:, rows],
            labels=self.labels[rows],
            fold_of_row=self.fold_of_row[repeat : repeat + 1, rows],
            metric=self.metric,
            seed=self.seed,
        )

    def only(self, members: IntArray) -> "Evidence":
        """The same rows with some of the members."""
        return Evidence(
            proba=self.proba[members],
            labels=self.labels,
            fold_of_row=self.fold_of_row,
            metric=self.metric,
            seed=self.seed,
        )


class Blend(Protocol):
    """A found blend."""

    @property
    def weights(self) -> FloatArray:
        """(n_members,) float64, not negative, sum one: how much each member counts."""
        ...

    def apply(self, proba: FloatArray) -> FloatArray:
        """Blend (n_members, n_rows, n_outputs) into (n_rows, n_outputs), all float64 probabilities."""
        ...


@dataclass(frozen=True, slots=True)
class WeightedMean:
    """The weighted arithmetic mean of probabilities."""

    weights: FloatArray

    def apply(self, proba: FloatArray) -> FloatArray:
        """See Blend."""
        return weighted_sum(self.weights, proba)


def weighted_sum(weights: FloatArray, proba: FloatArray) -> FloatArray:
    """Sum of the members with weight, one after the other: the same bits whatever the number of threads."""
    total = np.zeros(proba.shape[1:])
    for weight, member in zip(weights, proba, strict=True):
        if weight != 0:
            total += weight * member
    return total


@dataclass(frozen=True, slots=True)
class RankMean:
    """The weighted mean of ranks: each probability becomes the share of OOF probabilities below it.

    values, ranks: per member and column the distinct OOF probabilities, rising, and the mean rank of each in (0, 1).
    With two classes the second column is ranked and the first is its complement; several classes are scaled to sum 1.
    """

    weights: FloatArray
    values: tuple[tuple[FloatArray, ...], ...]
    ranks: tuple[tuple[FloatArray, ...], ...]
    one_class_per_row: bool

    def apply(self, proba: FloatArray) -> FloatArray:
        """See Blend."""
        two_classes = self.one_class_per_row and proba.shape[2] == 2
        columns = proba[:, :, 1:] if two_classes else proba
        ranked = np.empty_like(columns)
        for member in range(len(columns)):
            for column in range(columns.shape[2]):
                known = self.values[member][column], self.ranks[member][column]
                ranked[member, :, column] = np.interp(columns[member, :, column], *known)
        mean = weighted_sum(self.weights, ranked)
        if two_classes:
            return np.column_stack([1 - mean[:, 0], mean[:, 0]])
        return normalised(mean) if self.one_class_per_row else mean


def learn_ranks(weights: FloatArray, proba: FloatArray, *, one_class_per_row: bool) -> RankMean:
    """Remember each member's OOF distribution; proba: (n_members, n_rows, n_outputs)."""
    columns = proba[:, :, 1:] if one_class_per_row and proba.shape[2] == 2 else proba
    values, ranks = [], []
    for member in columns:
        pairs = [np.unique(column, return_counts=True) for column in member.T]
        values.append(tuple(value for value, _ in pairs))
        ranks.append(tuple((np.cumsum(counts) - counts / 2) / len(member) for _, counts in pairs))
    return RankMean(weights, tuple(values), tuple(ranks), one_class_per_row)


def normalised(proba: FloatArray) -> FloatArray:
    """Rows scaled to sum to one; a row of zeros becomes uniform."""
    total = proba.sum(axis=1, keepdims=True)
    uniform = np.full_like(proba, 1 / proba.shape[1])
    return np.divide(proba, total, out=uniform, where=total > 0)


@dataclass(frozen=True, slots=True)
class LogPool:
    """A logarithmic opinion pool: a sum of log probabilities (log odds for labels) with a bias per output.

    coefficients: (n_members,) not negative, of any sum; bias: (n_outputs,)
    """

    coefficients: FloatArray
    bias: FloatArray
    one_class_per_row: bool

    @property
    def weights(self) -> FloatArray:
        """The coefficients' shares; equal ones if all are zero."""
        total = self.coefficients.sum()
        return self.coefficients / total if total > 0 else np.full(len(self.coefficients), 1 / len(self.coefficients))

    def apply(self, proba: FloatArray) -> FloatArray:
        """See Blend."""
        scores = weighted_sum(self.coefficients, evidence_of(proba, one_class_per_row=self.one_class_per_row))
        return squash(scores + self.bias, one_class_per_row=self.one_class_per_row)


def evidence_of(proba: FloatArray, *, one_class_per_row: bool) -> FloatArray:
    """Log probabilities, or log odds of labels, of the same shape."""
    clipped = np.clip(proba, SMALLEST, 1 - SMALLEST)
    return np.asarray(np.log(clipped) if one_class_per_row else np.log(clipped) - np.log1p(-clipped))


def squash(scores: FloatArray, *, one_class_per_row: bool) -> FloatArray:
    """Softmax over outputs, or the logistic function of each; (..., n_outputs)."""
    if not one_class_per_row:
        return np.asarray(0.5 * (1 + np.tanh(scores / 2)))
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
