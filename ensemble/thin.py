"""The fewest members within a stated loss of score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.crossfit import Fitted, cross_fit, fit_all
from ensemble.mixtures import Evidence
from ensemble.recipe import ChosenBlend, Recipe
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
    full_score = score = cross_fit(recipe.fit, evidence).score
    kept = np.flatnonzero(fit_all(recipe.fit, evidence).blend.weights)
    while len(kept) > 1:
        fewer = [np.delete(kept, place) for place in range(len(kept))]
        scores = [cross_fit(recipe.fit, evidence.only(places)).score for places in fewer]
        best = int(np.nanargmax(scores))
        if scores[best] < full_score - tolerance:
            break
        kept, score = fewer[best], scores[best]
    found = fit_all(recipe.fit, evidence.only(kept))
    blend = ChosenBlend(kept, found.blend, evidence.n_members)
    return ThinBlend(
        places=kept,
        found=Fitted(blend=blend, thresholds=found.thresholds, score=found.score),
        score=score,
        full_score=full_score,
    )
