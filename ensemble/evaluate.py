"""What a blend is worth beside the best single member and the plain mean, each judged by cross-fitting."""

from dataclasses import dataclass

import numpy as np

from ensemble.crossfit import CrossFit, Fitted, cross_fit, fit_all
from ensemble.mixtures import Evidence
from ensemble.recipe import Recipe
from ensemble.resampling import N_RESAMPLES, bootstrap, interval
from textclf.arrays import FloatArray
from textclf.metrics import Metric

BEST_SINGLE, PLAIN_MEAN = "best single", "plain mean"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A recipe and what it is worth.

    resolved: the recipe with the way that "auto" took on all rows in its place
    cross_fitted: mean over folds of the score on the fold that the recipe did not see; low, high: its 95% interval
    fitted: the same mean with everything found on all rows; optimism: fitted minus cross-fitted
    gain: cross-fitted score minus that of the best single member, on the same resamples for its interval
    """

    name: str
    recipe: Recipe
    resolved: Recipe
    cross_fitted: float
    low: float
    high: float
    fitted: float
    gain: float
    gain_low: float
    gain_high: float
    crossfit: CrossFit
    found: Fitted

    @property
    def optimism(self) -> float:
        """How much the fitted score flatters."""
        return self.fitted - self.cross_fitted


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The best single member, the plain mean and the asked blend, in this order.

    selection_bias: how much the score of the best of all members flatters, because it is the best of so many
    n_members: how many there were to choose from
    """

    judged: tuple[Judged, Judged, Judged]
    selection_bias: float
    n_members: int

    @property
    def blend(self) -> Judged:
        """The asked blend."""
        return self.judged[-1]


def evaluate(evidence: Evidence, recipe: Recipe, *, n_resamples: int = N_RESAMPLES) -> Evaluation:
    """Judge a recipe beside the best single member and the plain mean of the same number of members.

    The best single member is a recipe as well: for every fold it is chosen on the other folds, so that its
    cross-fitted score pays for the choice among all members. What the choice is worth on paper only is the selection
    bias: over folds, the mean score of the overall best minus that of the one chosen without the fold.
    """
    recipes = {
        BEST_SINGLE: Recipe(method="best", top=1, redundant=1.0, calibrate=recipe.calibrate),
        PLAIN_MEAN: Recipe(method="mean", top=recipe.top, redundant=recipe.redundant, calibrate=recipe.calibrate),
        f"blend ({recipe.method})": recipe,
    }
    honest = [cross_fit(one.fit, evidence) for one in recipes.values()]
    resolved = [one.resolved(evidence) for one in recipes.values()]
    found = [fit_all(one.fit, evidence) for one in resolved]
    resampled = bootstrap(
        evidence.metric,
        evidence.labels,
        honest,
        fold_of_row=evidence.fold_of_row,
        seed=evidence.seed,
        n_resamples=n_resamples,
    )
    judged = tuple(
        make_judged(
            name, (one, resolved[i]), crossfit=honest[i], found=found[i], single=honest[0], resampled=resampled[[i, 0]]
        )
        for i, (name, one) in enumerate(recipes.items())
    )
    assert len(judged) == 3
    overall_best = evidence.only(np.flatnonzero(found[0].blend.weights))
    return Evaluation(
        judged=judged,
        selection_bias=cross_fit(recipes[BEST_SINGLE].fit, overall_best).score - honest[0].score,
        n_members=evidence.n_members,
    )


def make_judged(
    name: str,
    recipes: tuple[Recipe, Recipe],
    *,
    crossfit: CrossFit,
    found: Fitted,
    single: CrossFit,
    resampled: FloatArray,
) -> Judged:
    """Put scores and intervals together.

    recipes: as asked and as resolved; resampled: (2, n_resamples), this recipe's scores and the best single's
    """
    low, high = interval(resampled[0])
    gain_low, gain_high = interval(resampled[0] - resampled[1])
    return Judged(
        name=name,
        recipe=recipes[0],
        resolved=recipes[1],
        cross_fitted=crossfit.score,
        low=low,
        high=high,
        fitted=found.score,
        gain=crossfit.score - single.score,
        gain_low=gain_low,
        gain_high=gain_high,
        crossfit=crossfit,
        found=found,
    )


@dataclass(frozen=True, kw_only=True)
class HoldoutScore:
    """The blend on rows that no trial ever saw; low, high: 95% interval of this score."""

    n_rows: int
    score: float
    low: float
    high: float


def score_holdout(metric: Metric, judged: Judged, holdout: Evidence) -> HoldoutScore:
    """Score the blend that would be shipped, once, on the hold-out rows.

    holdout: the members' hold-out probabilities and labels, with one fold that holds every row
    """
    proba = judged.found.blend.apply(holdout.proba)
    n_columns = 1 if holdout.labels.ndim == 1 else holdout.labels.shape[1]
    thresholds = judged.found.thresholds
    cuts = None if thresholds is None else np.tile(thresholds, (1, len(proba), 1)).reshape(1, len(proba), n_columns)
    score = metric.score(holdout.labels, proba, thresholds)
    as_judged = CrossFit(proba=proba[None], cuts=cuts, score=score, fold_scores=(score,))
    resampled = bootstrap(metric, holdout.labels, [as_judged], fold_of_row=holdout.fold_of_row, seed=holdout.seed)
    low, high = interval(resampled[0])
    return HoldoutScore(n_rows=len(proba), score=score, low=low, high=high)
