"""Bootstrap scores from counts are the plain scores of the repeated rows, and the intervals cover."""

import numpy as np
import pytest

from ensemble.blend import get_blend
from ensemble.crossfit import CrossFit, cross_fit, mean_over_folds, sizes_of_folds
from ensemble.resampling import bootstrap, draw_counts, interval, score_folds, strata_of
from tests.ensemble.pools import BINARY, TASKS, evidence
from textclf.metrics import METRICS, get_metric

CASES = [(name, kind) for name in METRICS for kind in sorted(METRICS[name].kinds)]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_counted_scores_are_those_of_repeated_rows(name: str, kind: str) -> None:
    """Scoring counts equals scoring the rows written out that often, fold by fold, ties and all."""
    known = evidence(TASKS[kind], metric=name, n_rows=120)  # type: ignore[index]
    rounded = np.round(known.proba, 2)
    judged = cross_fit(get_blend("best"), type(known)(**{**vars(known), "proba": rounded}))
    counts = next(draw_counts(strata_of(known.labels), seed=5, n_resamples=3))
    expected = []
    for one in counts.astype(int):
        fold_scores = []
        for fold in range(4):
            rows = np.repeat(np.arange(120), np.where(known.fold_of_row[0] == fold, one, 0))
            cuts = None if judged.cuts is None else judged.cuts[0, rows]
            fold_scores.append(known.metric.score(known.labels[rows], judged.proba[0, rows], cuts))
        expected.append(float(mean_over_folds(fold_scores, sizes_of_folds(known.fold_of_row))))

    found = score_folds(known.metric, known.labels, judged, fold_of_row=known.fold_of_row)(counts)

    assert found == pytest.approx(expected, abs=1e-12)


def test_resamples_keep_the_size_of_every_class() -> None:
    """Rows are drawn within their class; a multilabel row within those of its rarest label."""
    labels = np.repeat([0, 1, 2], [50, 9, 3])
    blocks = np.concatenate(list(draw_counts(strata_of(labels), seed=1, n_resamples=60)))

    assert blocks.shape == (60, 62)
    assert all((blocks[:, labels == k].sum(axis=1) == n).all() for k, n in enumerate((50, 9, 3)))
    assert strata_of(np.array([[1, 1], [1, 0], [0, 0], [1, 1]])).tolist() == [0, 1, 2, 0]


def test_the_interval_covers_what_is_true() -> None:
    """The 95% interval of an accuracy of 0.7 known by construction covers it about 95 times in 100."""
    metric, covered = get_metric("accuracy", BINARY), 0
    for seed in range(100):
        right = np.random.default_rng(seed).random(400) < 0.7
        labels = np.arange(400) % 2
        decided = np.where(right, labels, 1 - labels)
        judged = CrossFit(proba=np.eye(2)[decided][None], cuts=None, score=0.0, fold_scores=())
        scores = bootstrap(metric, labels, [judged], fold_of_row=(np.arange(400) % 2)[None], seed=seed, n_resamples=200)
        low, high = interval(scores[0])
        covered += low <= 0.7 <= high

    assert 88 <= covered <= 99


def test_differences_are_paired() -> None:
    """The same prediction twice differs by nothing on every resample, however wide its own interval."""
    known = evidence(metric="roc_auc")
    judged = cross_fit(get_blend("mean"), known)
    first, second = bootstrap(
        known.metric, known.labels, [judged, judged], fold_of_row=known.fold_of_row, seed=0, n_resamples=50
    )

    assert (first == second).all()
    assert first.std() > 0.005
