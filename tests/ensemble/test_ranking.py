"""Ranking scores by bins, by sorting and by scikit-learn are one number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef, roc_auc_score

from ensemble import ranking
from ensemble.ranking import average_precision, best_cut_score, make_truth, roc_auc
from textclf.arrays import FloatArray, IntArray
from textclf.threshold import f1_of_counts, find_threshold, mcc_of_counts

COUNT_SCORES = {f1_of_counts: f1_score, mcc_of_counts: matthews_corrcoef}


def column(seed: int, *, n_rows: int, n_values: int, share: float = 0.1) -> tuple[IntArray, FloatArray]:
    """Labels of a rare class and probabilities on a grid, so that ties and crowded bins are common."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n_rows) < share).astype(np.int64)
    labels[:2] = 0, 1
    noisy = np.clip(rng.beta(1, 6, n_rows) + 0.2 * labels * rng.random(n_rows), 0, 1)
    return labels, np.round(noisy * n_values) / n_values


@given(
    seed=st.integers(0, 10_000),
    n_values=st.sampled_from([1, 3, 50, 10_000, 10**9]),
    n_bins=st.sampled_from([1, 2, 30, 2**14]),
)
@settings(max_examples=40, deadline=None)
def test_bins_change_nothing(seed: int, n_values: int, n_bins: int) -> None:
    """ROC AUC, best F1 and best MCC are those of scikit-learn, by bins of any number and without them."""
    labels, proba = column(seed, n_rows=300, n_values=n_values)
    truth = make_truth(labels)
    area = pytest.approx(roc_auc_score(labels, proba), abs=1e-12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "N_BINS", n_bins)
        for n_rows_to_bin in (0, 10**9):
            patch.setattr(ranking, "N_ROWS_TO_BIN", n_rows_to_bin)
            assert make_truth(labels).is_worth_binning == (n_rows_to_bin == 0)
            assert roc_auc(truth, proba) == area
            for count_score, plain in COUNT_SCORES.items():
                best = plain(labels, proba >= find_threshold(labels, proba, count_score))
                assert best_cut_score(truth, proba, count_score) == pytest.approx(best, abs=1e-12)


def test_bins_serve_a_rare_class_of_many_rows_only() -> None:
    """Counting in bins is for thousands of rows with a rare class; small or balanced columns are sorted."""
    assert make_truth(column(0, n_rows=5000, n_values=9)[0]).is_worth_binning
    assert not make_truth(column(0, n_rows=500, n_values=9)[0]).is_worth_binning
    assert not make_truth(column(0, n_rows=5000, n_values=9, share=0.5)[0]).is_worth_binning


@pytest.mark.parametrize("n_values", [2, 7, 1000])
def test_average_precision_is_that_of_scikit_learn(n_values: int) -> None:
    """Ties enter together, however many there are."""
    labels, proba = column(n_values, n_rows=400, n_values=n_values)

    assert average_precision(make_truth(labels), proba) == pytest.approx(average_precision_score(labels, proba))


def test_rankings_see_the_last_bit_and_minus_zero() -> None:
    """Neighbouring floats are told apart, and -0.0 ties with 0.0."""
    truth = make_truth(np.array([0, 1]))

    assert roc_auc(truth, np.array([0.3, np.nextafter(0.3, 1)])) == 1.0
    assert roc_auc(truth, np.array([np.nextafter(0.3, 1), 0.3])) == 0.0
    assert roc_auc(truth, np.array([0.0, -0.0])) == 0.5


def test_one_class_has_no_ranking() -> None:
    """With one class the fast ranking scores are NaN, as the plain ones are."""
    assert np.isnan(roc_auc(make_truth(np.zeros(5, np.int64)), np.linspace(0, 1, 5)))
    assert np.isnan(average_precision(make_truth(np.ones(5, np.int64)), np.linspace(0, 1, 5)))


def test_few_rows_are_cut_at_one_half() -> None:
    """Under 50 rows the best cut is not searched, in step with the thresholds that will be used."""
    labels, proba = column(1, n_rows=40, n_values=100)

    assert best_cut_score(make_truth(labels), proba, f1_of_counts) == f1_score(labels, proba >= 0.5, zero_division=0.0)
