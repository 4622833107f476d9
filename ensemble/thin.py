"""The fewest members within a stated loss of score."""

from dataclasses import dataclass

import numpy as np

from ensemble.crossfit import Fitted, cross_fit, fit_all
from ensemble.mixtures import Evidence
from ensemble.recipe import ChosenBlend, Recipe
from ensemble.selection import defined
from textclf.arrays import IntArray
from textclf.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ThinBlend:
    """A blend of few members.

    places: (n_kept,) int64 among all members; score: cross-fitted, full_score: that of the blend it came from
    """

    places: IntArray
    found: Fitted
    score: float
    full_score: float


def thin_out(evidence: Evidence, recipe: Recipe, *, tolerance: float) -> ThinBlend:
    """Drop members one by one, each time the one whose loss costs least, while the score stays within tolerance.

    Each candidate is cross-fitted: weights and thresholds are found without the fold they are scored on. Which members
    to drop is chosen by these scores, so the score of the result flatters a little, by no more than the tolerance asks.
    Raises ConfigError for a negative tolerance.
    """
    if not tolerance >= 0:
        raise ConfigError(f"--model-tolerance: {tolerance} is not a loss of score; give 0 or more")
    full, full_score = fit_all(recipe.fit, evidence), cross_fit(recipe.fit, evidence).score
    places = np.flatnonzero(full.blend.weights)
    thin = ThinBlend(places=places, found=full, score=full_score, full_score=full_score)
    while len(places) > 1:
        fewer = [np.delete(places, dropped) for dropped in range(len(places))]
        scores = np.array([cross_fit(recipe.fit, evidence.only(kept)).score for kept in fewer])
        best = int(np.argmax(defined(scores)))
        if not scores[best] >= full_score - tolerance:
            break
        places = fewer[best]
        thin = ThinBlend(
            places=places,
            found=fit_some(recipe, evidence, places=places),
            score=float(scores[best]),
            full_score=full_score,
        )
    return thin


def fit_some(recipe: Recipe, evidence: Evidence, *, places: IntArray) -> Fitted:
    """A blend of some members, as a blend of all of which the others have no weight."""
    found = fit_all(recipe.fit, evidence.only(places))
    blend = ChosenBlend(places, found.blend, evidence.n_members)
    return Fitted(blend=blend, thresholds=found.thresholds, score=found.score)
