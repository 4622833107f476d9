"""The fast scores of mixtures are the plain scores of the same mixtures."""

import numpy as np
import pytest

from ensemble.scoring import make_objective, most_probable
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


def test_a_metric_nobody_made_fast_is_scored_all_the_same() -> None:
    """A metric outside the fast paths falls back to its own function."""
    known = evidence(metric="brier")

    assert make_objective(known.metric, known.labels, known.proba).score_weights(np.eye(4)) == pytest.approx(
        [known.metric.score(known.labels, member) for member in known.proba]
    )


def test_the_first_of_equally_probable_classes_is_decided() -> None:
    """Decisions are numpy's argmax, ties included."""
    mixes = np.random.default_rng(0).integers(0, 3, (4, 5, 60)) / 3

    assert (most_probable(mixes) == mixes.argmax(axis=1)).all()
