"""The fewest members within a loss of score."""

from pathlib import Path

import numpy as np
import pytest

from ensemble import blend_study, recipe
from ensemble.blend import BLENDS
from ensemble.crossfit import cross_fit
from ensemble.mixtures import Evidence
from ensemble.package import thin_result
from ensemble.recipe import Recipe
from ensemble.thin import thin_out
from tests.ensemble.pools import evidence
from tests.ensemble.stores import toy_folder
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


def test_auto_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To ship fewer members the way that "auto" took is kept, which a choice for every candidate would cost dearly."""
    result = blend_study(toy_folder(tmp_path), method="auto")

    def refuse(known: Evidence) -> str:
        raise AssertionError("the way is chosen already")

    monkeypatch.setattr(recipe, "choose_way", refuse)
    monkeypatch.setitem(BLENDS, "auto", refuse)
    thin = thin_result(result, tolerance=0.01)

    assert result.evaluation.blend.recipe.method == "auto"
    assert 1 <= len(thin.places) <= result.evaluation.n_members
    with pytest.raises(AssertionError, match="chosen already"):
        blend_study(tmp_path, method="auto")
