"""Thresholds are the exact best cuts, checked against trying every cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, matthews_corrcoef

from textclf.arrays import FloatArray, IntArray
from textclf.threshold import decide, f1_of_counts, find_threshold, find_thresholds, mcc_of_counts, midway

SKLEARN = {f1_of_counts: lambda y, d: f1_score(y, d, zero_division=0.0), mcc_of_counts: matthews_corrcoef}


def coarse(seed: int, *, n_rows: int, n_values: int) -> tuple[IntArray, FloatArray]:
    """Labels and probabilities with many ties."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n_rows) < 0.3).astype(np.int64)
    labels[:2] = 0, 1
    return labels, rng.integers(0, n_values, n_rows) / n_values


@pytest.mark.parametrize("count_score", SKLEARN)
@given(seed=st.integers(0, 10_000), n_rows=st.integers(50, 90), n_values=st.integers(1, 40))
@settings(max_examples=12, deadline=None)
def test_no_cut_beats_the_found_one(count_score: object, seed: int, n_rows: int, n_values: int) -> None:
    """Trying a cut below, above and between all probabilities finds nothing better than the sorted search."""
    labels, proba = coarse(seed, n_rows=n_rows, n_values=n_values)
    score = SKLEARN[count_score]  # type: ignore[index]
    tried = [score(labels, proba >= cut) for cut in np.append(np.unique(proba), 0.0)]

    found = find_threshold(labels, proba, count_score)  # type: ignore[arg-type]

    assert score(labels, proba >= found) == pytest.approx(max(tried), abs=1e-12)


def test_the_cut_lies_midway_between_its_neighbours() -> None:
    """Positives at .8 and negatives at .6 are parted at .7."""
    labels = np.repeat([0, 1], 30)

    assert find_threshold(labels, np.where(labels == 1, 0.8, 0.6), f1_of_counts) == pytest.approx(0.7)


def test_neighbouring_floats_are_still_parted() -> None:
    """Two probabilities with no float between them end on two sides of the cut."""
    upper = np.nextafter(0.3, 1)
    cut = midway(lower=np.array([0.3]), upper=np.array([upper]))[0]

    assert not cut <= 0.3
    assert upper >= cut


@pytest.mark.parametrize(
    ("labels", "proba"),
    [
        (np.repeat([0, 1], [30, 19]), np.repeat([0.1, 0.2], [30, 19])),
        (np.zeros(60, np.int64), np.full(60, 0.2)),
        (np.ones(60, np.int64), np.full(60, 0.2)),
    ],
)
def test_too_little_evidence_means_one_half(labels: IntArray, proba: FloatArray) -> None:
    """Under 50 rows, or with one class only, nothing is tuned."""
    assert find_threshold(labels, proba, f1_of_counts) == 0.5


def test_fifty_rows_are_enough_to_tune() -> None:
    """The guard ends at 50 rows: the same picture one row larger moves the cut."""
    labels = np.repeat([0, 1], [30, 20])

    assert find_threshold(labels, np.where(labels == 1, 0.2, 0.1), f1_of_counts) == pytest.approx(0.15)


def test_each_label_has_its_own_cut() -> None:
    """Two labels at different levels are cut at different places; binary cuts the second column."""
    labels = np.repeat([[0, 0], [1, 1]], 30, axis=0)
    proba = np.where(labels == 1, [0.4, 0.9], [0.2, 0.7])

    assert find_thresholds(labels, proba, mcc_of_counts) == pytest.approx((0.3, 0.8))
    assert find_thresholds(labels[:, 0], np.c_[1 - proba[:, 0], proba[:, 0]], f1_of_counts) == pytest.approx((0.3,))


def test_a_row_at_its_threshold_is_positive() -> None:
    """Decisions are ``>=``, for one cut per column and for one per row."""
    proba = np.array([[0.3], [0.5]])

    assert decide(proba, (0.5,)).tolist() == [[False], [True]]
    assert decide(proba, np.array([[0.2], [0.6]])).tolist() == [[True], [False]]
