"""Exact ranking scores of one 0/1 column, many times over: no argsort, and little sorting at all for a rare class.

Sorting packs each row into one integer: the bits of a probability, which sort like the probability, with the label as
lowest bit. Where one class is rare, rows are first counted in equal bins of [0, 1]; only bins that hold both classes
(for a threshold: that could hold the best cut) need their rows sorted. Both ways give the same number.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from textclf.arrays import FloatArray, IntArray
from textclf.metrics import score_decisions
from textclf.threshold import N_ROWS_ENOUGH, PLAIN_THRESHOLD, CountScore

N_BINS = 2**14
N_ROWS_TO_BIN = 4096
RARE = 0.2  # share of the rarer class up to which most bins hold one class only
EQUAL = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The labels of a column, laid out for ranking.

    bits: (n_rows,) uint64 of 0/1; positive: (n_positive,) rows that are 1
    """

    bits: NDArray[np.uint64]
    positive: IntArray

    @property
    def n_rows(self) -> int:
        """All rows."""
        return len(self.bits)

    @property
    def has_both(self) -> bool:
        """Whether both classes occur."""
        return 0 < len(self.positive) < len(self.bits)

    @property
    def is_worth_binning(self) -> bool:
        """Whether counting in bins saves more than it costs."""
        share = len(self.positive) / max(1, self.n_rows)
        return self.n_rows >= N_ROWS_TO_BIN and min(share, 1 - share) <= RARE


def make_truth(labels: IntArray) -> Truth:
    """Lay out the labels of one column: (n_rows,) of 0/1."""
    return Truth(bits=labels.astype(np.uint64), positive=np.flatnonzero(labels))


def packed(bits: NDArray[np.uint64], proba: FloatArray) -> NDArray[np.uint64]:
    """Rising integers that sort like the probabilities in [0, 2), whose top two bits are zero, then by label."""
    keys = np.add(proba, 0.0).view(np.uint64)  # adding zero turns -0.0 into 0.0, and copies
    keys <<= np.uint64(1)
    keys |= bits
    keys.sort()
    return keys


@dataclass(frozen=True, slots=True)
class Cuts:
    """Running counts at every distinct cut of one column, from the highest probability down.

    hits: true positives with all rows down to the cut called positive; called: rows called positive; both float64
    """

    hits: FloatArray
    called: FloatArray


def count_cuts(bits: NDArray[np.uint64], proba: FloatArray) -> Cuts:
    """Count hits at every distinct cut; both (n_rows,)."""
    ranked = packed(bits, proba)[::-1]
    order = ranked >> np.uint64(1)
    last_of_tie = np.flatnonzero(np.append(order[1:] != order[:-1], True))
    hits = np.cumsum(ranked & np.uint64(1), dtype=np.float64)[last_of_tie]
    return Cuts(hits, (last_of_tie + 1).astype(np.float64))


@dataclass(frozen=True, slots=True)
class Bins:
    """Rows in equal bins of [0, 1], rising.

    of_row: (n_rows,) int64; positive, negative: (n_bins,) float64 counts
    """

    of_row: IntArray
    positive: FloatArray
    negative: FloatArray


def count_bins(truth: Truth, proba: FloatArray) -> Bins:
    """Count both classes in every bin."""
    of_row = (proba * N_BINS).astype(np.int64)
    n_bins = max(N_BINS, int(of_row.max())) + 1
    positive = np.bincount(of_row[truth.positive], minlength=n_bins).astype(np.float64)
    return Bins(of_row, positive, np.bincount(of_row, minlength=n_bins) - positive)


def roc_auc(truth: Truth, proba: FloatArray) -> float:
    """Area under the ROC curve, ties counted half; NaN with one class. proba: (n_rows,) float64 in [0, 1]."""
    if not truth.has_both:
        return float("nan")
    wins = binned_wins(truth, proba) if truth.is_worth_binning else count_wins(truth.bits, proba)
    return wins / (len(truth.positive) * (truth.n_rows - len(truth.positive)))


def count_wins(bits: NDArray[np.uint64], proba: FloatArray) -> float:
    """Pairs in which the positive row is above the negative one, ties counted half (Mann and Whitney 1947).

    A positive row at place p of the rising order, q-th of the positives, has p - q negatives below it. Within a tie
    the negatives come first, so half of the pairs in ties are taken off again.
    """
    ranked = packed(bits, proba)
    places = np.flatnonzero(ranked & np.uint64(1))
    wins = float(places.sum() - len(places) * (len(places) - 1) // 2)
    ranked >>= np.uint64(1)
    parted = ranked[1:] != ranked[:-1]
    if not parted.all():
        tie_of_row = np.concatenate([[0], np.cumsum(parted)])
        n_tied = np.bincount(tie_of_row).astype(np.float64)
        positive = np.bincount(tie_of_row[places], minlength=len(n_tied))
        wins -= float(positive @ (n_tied - positive)) / 2
    return wins


def binned_wins(truth: Truth, proba: FloatArray) -> float:
    """The same count: pairs from different bins by the bins' counts, pairs within a bin by its rows."""
    bins = count_bins(truth, proba)
    wins = float(bins.positive @ (np.cumsum(bins.negative) - bins.negative))
    mixed = (bins.positive * bins.negative) > 0
    rows = np.flatnonzero(mixed[bins.of_row])
    if len(rows) == 0:
        return wins
    positive, negative = bins.positive[mixed], bins.negative[mixed]
    across = float(positive @ (np.cumsum(negative) - negative))
    return wins + count_wins(truth.bits[rows], proba[rows]) - across


def average_precision(truth: Truth, proba: FloatArray) -> float:
    """Sum over cuts of precision times the gain in recall; NaN with one class."""
    if not truth.has_both:
        return float("nan")
    cuts = count_cuts(truth.bits, proba)
    return float(np.dot(np.diff(cuts.hits, prepend=0.0), cuts.hits / cuts.called) / len(truth.positive))


def best_cut_score(truth: Truth, proba: FloatArray, count_score: CountScore) -> float:
    """The score of decisions at their best threshold; at 0.5 with too few rows, as in ``textclf.threshold``."""
    n_rows, positive = truth.n_rows, len(truth.positive)
    if n_rows < N_ROWS_ENOUGH or not truth.has_both:
        return score_decisions(truth.bits[:, None].astype(np.int64), proba[:, None] >= PLAIN_THRESHOLD, count_score)
    if truth.is_worth_binning:
        return best_binned_score(truth, proba, count_score)
    cuts = count_cuts(truth.bits, proba)
    return float(np.max(count_score(cuts.hits, cuts.called, positive=positive, n_rows=n_rows)))


def best_binned_score(truth: Truth, proba: FloatArray, count_score: CountScore) -> float:
    """The same maximum: cuts between bins by the bins' counts, cuts inside by the rows of bins that could hold it.

    No cut inside a bin does better than calling all its positives and none of its negatives.
    """
    n_rows, n_positive = truth.n_rows, len(truth.positive)
    bins = count_bins(truth, proba)
    positive, negative = bins.positive[::-1], bins.negative[::-1]
    hits, called = np.cumsum(positive), np.cumsum(positive + negative)
    used = np.flatnonzero(called > 0)
    best = float(np.max(count_score(hits[used], called[used], positive=n_positive, n_rows=n_rows)))
    mixed = np.flatnonzero(positive * negative > 0)
    bounds = count_score(hits[mixed], (called - negative)[mixed], positive=n_positive, n_rows=n_rows)
    promising = mixed[bounds > best + EQUAL]
    if len(promising) == 0:
        return best
    is_promising = np.zeros(len(positive), dtype=bool)
    is_promising[promising] = True
    rows = np.flatnonzero(is_promising[::-1][bins.of_row])
    cuts = count_cuts(truth.bits[rows], proba[rows])
    # rows of the bins above that were not sorted are called as well
    sizes = (positive + negative)[promising]
    of_cut = np.searchsorted(np.cumsum(sizes), cuts.called)
    hits_above = hits[promising] - np.cumsum(positive[promising])
    called_above = called[promising] - np.cumsum(sizes)
    inside = count_score(
        cuts.hits + hits_above[of_cut], cuts.called + called_above[of_cut], positive=n_positive, n_rows=n_rows
    )
    return max(best, float(np.max(inside)))
