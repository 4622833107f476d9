"""The fast scores of mixtures are the plain scores of the same mixtures."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ensemble.scoring import average_precision, make_objective, roc_auc
from tests.ensemble.pools import TASKS, evidence
from textclf.metrics import METRICS, fitted_score

CASES = [(name, kind) for name in METRICS for kind in sorted(METRICS[name].kinds)]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_metric_scores_mixtures_as_it_scores_predictions(name: str, kind: str) -> None:
    """Random mixtures score as the metric says of their means, at the best threshold where there is one."""
    known = evidence(TASKS[kind], metric=name)  # type: ignore[index]
    weights = np.random.default_rng(1).dirichlet(np.ones(4), size=6)
    expected = [fitted_score(known.metric, known.labels, np.tensordot(w, known.proba, 1)) for w in weights]

    found = make_objective(known.metric, known.labels, known.proba).score_weights(weights)

    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n_values", [2, 7, 1000])
def test_rankings_with_ties_are_those_of_scikit_learn(n_values: int) -> None:
    """Ties count half in the ROC AUC and enter the average precision together, however many there are."""
    rng = np.random.default_rng(n_values)
    labels, proba = (rng.random(400) < 0.2).astype(np.float64), rng.integers(0, n_values, 400) / n_values

    assert roc_auc(labels, proba) == pytest.approx(roc_auc_score(labels, proba), abs=1e-12)
    assert average_precision(labels, proba) == pytest.approx(average_precision_score(labels, proba), abs=1e-12)


def test_rankings_see_the_last_bit_and_minus_zero() -> None:
    """Neighbouring floats are told apart, and -0.0 ties with 0.0."""
    labels = np.array([0.0, 1.0])

    assert roc_auc(labels, np.array([0.3, np.nextafter(0.3, 1)])) == 1.0
    assert roc_auc(labels, np.array([np.nextafter(0.3, 1), 0.3])) == 0.0
    assert roc_auc(labels, np.array([0.0, -0.0])) == 0.5


def test_a_metric_nobody_made_fast_is_scored_all_the_same() -> None:
    """A metric outside the fast paths falls back to its own function."""
    known = evidence(metric="brier")

    assert make_objective(known.metric, known.labels, known.proba).score_weights(np.eye(4)) == pytest.approx(
        [known.metric.score(known.labels, member) for member in known.proba]
    )


def test_one_class_has_no_ranking() -> None:
    """With one class the fast ranking scores are NaN, as the plain ones are."""
    assert np.isnan(roc_auc(np.zeros(5), np.linspace(0, 1, 5)))
    assert np.isnan(average_precision(np.ones(5), np.linspace(0, 1, 5)))
