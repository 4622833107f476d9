"""Cross-fitting: honest on noise, exact against doing it by hand, and blind to the fold it judges."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from ensemble.blend import BLENDS, get_blend
from ensemble.crossfit import cross_fit, fit_all, mean_over_folds, sizes_of_folds
from ensemble.mixtures import Evidence, WeightedMean
from ensemble.recipe import Recipe
from tests.ensemble.pools import BINARY, TASKS, THREE, evidence


@pytest.mark.parametrize("metric", ["roc_auc", "f1", "accuracy"])
def test_noise_is_worth_chance_when_cross_fitted_and_more_when_fitted(metric: str) -> None:
    """Thirty pools of pure noise: greedy weights fitted on their own rows beat chance, cross-fitted ones do not."""
    fitted, honest = [], []
    for seed in range(30):
        known = evidence(metric=metric, knowledge=(0.0,) * 12, n_rows=160, seed=seed)
        recipe = Recipe(method="greedy", top=8)
        fitted.append(fit_all(recipe.fit, known).score)
        honest.append(cross_fit(recipe.fit, known).score)
    chance = {"roc_auc": 0.5, "accuracy": 0.5, "f1": 2 / 3}[metric]  # F1 of calling half of all rows, all called
    error = np.std(honest) / np.sqrt(30)

    assert np.mean(honest) < chance + 3 * error
    assert np.mean(fitted) > np.mean(honest) + 5 * error
    assert metric == "f1" or np.mean(honest) == pytest.approx(chance, abs=3 * error)


def test_each_fold_is_judged_by_weights_and_cut_of_the_others() -> None:
    """By hand: the best member and its best cut on three folds, scored on the fourth, averaged."""
    known = evidence(metric="f1", knowledge=(1.0, 1.1), n_rows=120)
    scores = []
    for fold in range(4):
        others, held_out = known.fold_of_row[0] != fold, known.fold_of_row[0] == fold
        cuts = [(member, cut) for member in range(2) for cut in known.proba[member, others, 1]]
        member, cut = max(
            cuts, key=lambda pair: f1_score(known.labels[others], known.proba[pair[0], others, 1] >= pair[1])
        )
        below = known.proba[member, others, 1]
        cut = (cut + below[below < cut].max()) / 2
        scores.append(f1_score(known.labels[held_out], known.proba[member, held_out, 1] >= cut))

    assert cross_fit(get_blend("best"), known).fold_scores == pytest.approx(scores)


@pytest.mark.parametrize("name", BLENDS)
def test_a_fold_never_sees_its_own_labels(name: str) -> None:
    """Flipping the labels of one fold leaves that fold's honest predictions as they were, and moves others'."""
    known = evidence(metric="f1", knowledge=(1.5, 1.3, 1.2, 1.0))
    fold = known.fold_of_row[0] == 2
    flipped = Evidence(
        proba=known.proba,
        labels=np.where(fold, 1 - known.labels, known.labels),
        fold_of_row=known.fold_of_row,
        metric=known.metric,
        seed=known.seed,
    )
    recipe = Recipe(method=name, calibrate="temperature")
    before, after = cross_fit(recipe.fit, known), cross_fit(recipe.fit, flipped)

    assert (after.proba[0, fold] == before.proba[0, fold]).all()
    assert before.cuts is not None
    assert after.cuts is not None
    assert (after.cuts[0, fold] == before.cuts[0, fold]).all()
    assert (after.proba[0, ~fold] != before.proba[0, ~fold]).any()


def test_a_blend_that_fits_nothing_is_not_optimistic() -> None:
    """The plain mean scores the same fitted and cross-fitted when no threshold is tuned."""
    for task in TASKS.values():
        known = evidence(task, metric="roc_auc")

        assert cross_fit(get_blend("mean"), known).score == pytest.approx(fit_all(get_blend("mean"), known).score)


def test_folds_of_different_scale_are_not_ranked_against_each_other() -> None:
    """A way whose scale differs from fold to fold is as good as its folds, not as the jumble of them."""
    known = evidence(metric="roc_auc", knowledge=(3.0,))
    sizes = iter([1.0, 0.5, 0.25, 0.125])

    def rescale(evidence: Evidence) -> WeightedMean:
        return WeightedMean(np.array([next(sizes)]))

    judged = cross_fit(rescale, known)

    assert judged.score == pytest.approx(cross_fit(get_blend("mean"), known).score)
    assert known.metric.score(known.labels, judged.proba[0]) < judged.score - 0.02


def test_repeats_are_judged_each_by_its_own_folds() -> None:
    """Two repeats give twice the fold scores, the second ones those of its own plan."""
    known = evidence(THREE, metric="accuracy")
    other = np.roll(known.fold_of_row, 1)
    both, second = (
        cross_fit(
            get_blend("greedy"),
            Evidence(proba=known.proba, labels=known.labels, fold_of_row=plan, metric=known.metric, seed=0),
        )
        for plan in (np.concatenate([known.fold_of_row, other]), other)
    )

    assert both.proba.shape[0] == 2
    assert both.fold_scores[4:] == second.fold_scores
    assert both.score == pytest.approx(np.mean(both.fold_scores))


def test_the_mean_over_folds_counts_rows_and_skips_the_undefined() -> None:
    """Folds of 3, 1 and 2 rows with scores 1, 0 and NaN average to 3/4."""
    assert mean_over_folds([1.0, 0.0, np.nan], sizes_of_folds(np.array([[0, 0, 0, 1, 2, 2]]))) == 0.75


def test_choosing_the_best_of_many_is_judged_too() -> None:
    """Taking the best of thirty noise members looks better than chance until the choice is cross-fitted."""
    gaps, honest = [], []
    for seed in range(20):
        known = evidence(BINARY, metric="accuracy", knowledge=(0.0,) * 30, n_rows=120, seed=seed)
        recipe = Recipe(method="best", top=1)
        honest.append(cross_fit(recipe.fit, known).score)
        gaps.append(fit_all(recipe.fit, known).score - honest[-1])

    assert np.mean(gaps) > 0.05
    assert np.mean(honest) == pytest.approx(0.5, abs=3 * np.std(honest) / np.sqrt(20))


@pytest.mark.parametrize("name", BLENDS)
def test_two_folds_are_enough(name: str) -> None:
    """Every way can be judged with two folds, the one that judges others included."""
    judged = cross_fit(get_blend(name), evidence(metric="roc_auc", n_folds=2, n_rows=100))

    assert 0.5 < judged.score < 1
    assert len(judged.fold_scores) == 2
