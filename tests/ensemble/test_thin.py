"""The fewest members within a loss of score."""

import numpy as np
import pytest

from ensemble.crossfit import cross_fit
from ensemble.mixtures import Evidence
from ensemble.recipe import Recipe
from ensemble.thin import thin_out
from tests.ensemble.pools import evidence
from textclf.errors import ConfigError

MEAN = Recipe(method="mean")


def score_of(known: Evidence, places: list[int]) -> float:
    """The cross-fitted score of the plain mean of some members."""
    return cross_fit(MEAN.fit, known.only(np.array(places))).score


@pytest.mark.parametrize("tolerance", [0.0, 0.002, 0.02])
def test_no_further_member_can_go(tolerance: float) -> None:
    """The score is within the tolerance, and without any of those kept it would not be."""
    known = evidence(n_rows=400)

    thin = thin_out(known, MEAN, tolerance=tolerance)

    kept = thin.places.tolist()
    assert thin.score == pytest.approx(score_of(known, kept))
    assert thin.full_score == pytest.approx(score_of(known, list(range(known.n_members))))
    assert thin.score >= thin.full_score - tolerance
    for member in kept:
        fewer = [place for place in kept if place != member]
        assert not fewer or score_of(known, fewer) < thin.full_score - tolerance


def test_a_large_tolerance_leaves_one_member() -> None:
    """There is always something to ship, and its weight is one."""
    known = evidence(n_rows=200)
    thin = thin_out(known, MEAN, tolerance=10.0)

    assert len(thin.places) == 1
    np.testing.assert_array_equal(thin.found.blend.weights, np.eye(known.n_members)[thin.places[0]])
    np.testing.assert_array_equal(thin.found.blend.apply(known.proba), known.proba[thin.places[0]])


@pytest.mark.parametrize("tolerance", [-0.1, float("nan")])
def test_a_negative_tolerance_is_refused(tolerance: float) -> None:
    """A loss of score is zero or more."""
    with pytest.raises(ConfigError, match="--model-tolerance"):
        thin_out(evidence(), MEAN, tolerance=tolerance)
