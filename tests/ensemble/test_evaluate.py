"""Evaluations, diversity and drift say what is so."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import ks_2samp

from ensemble.crossfit import cross_fit
from ensemble.diversity import compare_members, contributions
from ensemble.drift import check_drift, kolmogorov_smirnov
from ensemble.evaluate import evaluate, score_holdout
from ensemble.mixtures import Evidence
from ensemble.recipe import Recipe
from ensemble.report import gain_line
from tests.ensemble.pools import BINARY, LABELS, THREE, evidence
from textclf.config import Task


def test_the_three_are_judged_by_the_same_rules() -> None:
    """Best single, plain mean and blend, each with an interval around its score and optimism as the gap."""
    known = evidence(metric="roc_auc", knowledge=(1.0, 0.9, 0.8, 0.8))
    found = evaluate(known, Recipe(), n_resamples=100)

    assert [one.name for one in found.judged] == ["best single", "plain mean", "blend (greedy)"]
    for one in found.judged:
        assert one.low < one.cross_fitted < one.high
        assert one.optimism == pytest.approx(one.fitted - one.cross_fitted)
        assert one.gain == pytest.approx(one.cross_fitted - found.judged[0].cross_fitted)
    assert found.blend.gain_low > 0
    assert (found.judged[0].gain_low, found.judged[0].gain_high) == (0.0, 0.0)


def test_a_blend_that_is_worse_than_its_best_member_is_called_that() -> None:
    """With what to do instead; a gain, or one that may be none, is told as such."""
    blend = evaluate(evidence(metric="roc_auc", knowledge=(1.0, 0.9, 0.8, 0.8)), Recipe(), n_resamples=100).blend
    worse = dataclasses.replace(blend, gain=-0.07, gain_low=-0.14, gain_high=-0.01)
    chosen = dataclasses.replace(worse, recipe=dataclasses.replace(blend.recipe, method="auto"))

    assert "gains +" in gain_line(blend)
    assert "gains -0.07" in gain_line(dataclasses.replace(worse, gain_high=0.01))
    assert gain_line(worse).startswith("[red]the blend (greedy) loses 0.07000 to the best single member")
    assert gain_line(worse).endswith("submit that member alone, or try --method auto")
    assert gain_line(chosen).endswith("submit that member alone")


def test_the_best_of_many_equals_is_charged_for_the_choice() -> None:
    """Of forty members that know nothing the best looks good; the bias of choosing it is positive on average."""
    biases = []
    for seed in range(12):
        known = evidence(metric="roc_auc", knowledge=(0.0,) * 40, n_rows=120, seed=seed)
        biases.append(evaluate(known, Recipe(top=3), n_resamples=2).selection_bias)

    assert np.mean(biases) > 3 * np.std(biases) / np.sqrt(12)


def test_a_clear_winner_costs_nothing_to_choose() -> None:
    """Where every fold agrees on the best member there is no selection bias."""
    known = evidence(metric="roc_auc", knowledge=(3.0, 0.5, 0.4))

    assert evaluate(known, Recipe(), n_resamples=2).selection_bias == 0.0


def test_the_hold_out_is_scored_with_the_blend_and_cut_that_ship() -> None:
    """By hand: the blend's F1 at its threshold on rows set apart."""
    known = evidence(metric="f1", knowledge=(1.5, 1.0), n_rows=400)
    apart = evidence(metric="f1", knowledge=(1.5, 1.0), n_rows=100, n_folds=1, seed=5)
    blend = evaluate(known, Recipe(), n_resamples=2).blend
    assert blend.found.thresholds is not None
    decided = blend.found.blend.apply(apart.proba)[:, 1] >= blend.found.thresholds[0]
    hits = np.sum(decided & (apart.labels == 1))

    scored = score_holdout(known.metric, blend, apart)

    assert scored.score == pytest.approx(2 * hits / (decided.sum() + apart.labels.sum()))
    assert scored.low < scored.score < scored.high
    assert scored.n_rows == 100


@pytest.mark.parametrize("task", [THREE, LABELS], ids=["multiclass", "multilabel"])
def test_the_hold_out_is_scored_on_every_task(task: object) -> None:
    """Hold-out scores exist for several classes and for several labels with a threshold each."""
    metric = "macro_f1" if task is THREE else "f1"
    known, apart = (
        evidence(task, metric=metric, n_folds=n, seed=seed)  # type: ignore[arg-type]
        for n, seed in ((4, 0), (1, 5))
    )
    scored = score_holdout(known.metric, evaluate(known, Recipe(), n_resamples=2).blend, apart)

    assert scored.low < scored.score < scored.high


def test_correlation_is_pearson_over_outputs() -> None:
    """Correlations are numpy's, averaged over outputs; a member correlates fully with itself."""
    known = evidence(LABELS, metric="roc_auc")
    found = compare_members("abcd", known)
    by_output = [np.corrcoef(known.proba[:, :, j]) for j in range(2)]

    assert found.correlation == pytest.approx(np.mean(by_output, axis=0))
    assert found.correlation.diagonal() == pytest.approx(1.0)


def test_disagreement_counts_decisions() -> None:
    """Members that differ on two of four rows disagree by a half, at each member's own threshold."""
    proba = np.array([[0.1, 0.2, 0.8, 0.9], [0.1, 0.8, 0.2, 0.9]])
    known = Evidence(
        proba=np.stack([1 - proba, proba], axis=2),
        labels=np.array([0, 0, 1, 1]),
        fold_of_row=np.array([[0, 1, 0, 1]]),
        metric=evidence(metric="accuracy").metric,
        seed=0,
    )

    assert compare_members("ab", known).disagreement.tolist() == [[0.0, 0.5], [0.5, 0.0]]


def test_a_member_is_worth_what_the_blend_loses_without_it() -> None:
    """Leaving out a weighted member is a cross-fit without it; one without weight is not tried."""
    known = evidence(metric="log_loss", knowledge=(2.0, 1.5, 0.0))
    recipe = Recipe(method="logistic")
    fit, weights = recipe.fit, np.array([0.6, 0.4, 0.0])
    lost = contributions(recipe, known, weights=weights)
    without_first = cross_fit(fit, known.only(np.array([1, 2]))).score

    assert lost[0] == pytest.approx(cross_fit(fit, known).score - without_first)
    assert lost[0] > lost[1] > 0
    assert np.isnan(lost[2])
    assert np.isnan(contributions(recipe, known, weights=np.array([1.0, 0.0, 0.0]))).all()


@pytest.mark.parametrize(
    ("task", "metric", "recipe"),
    [
        (BINARY, "f1", Recipe(top=3)),
        (BINARY, "roc_auc", Recipe(method="rank", top=4, redundant=0.6)),
        (THREE, "log_loss", Recipe(method="logistic", top=3, calibrate="temperature")),
        (LABELS, "log_loss", Recipe(method="bagged", top=5)),
    ],
)
def test_contributions_are_those_of_brute_force(task: Task, metric: str, recipe: Recipe) -> None:
    """What each fold reuses changes nothing: the loss is that of a whole cross-fit of the pool without the member."""
    known = evidence(task, metric=metric, knowledge=(1.6, 1.5, 1.5, 1.4, 1.4, 1.3, 0.2), n_rows=240)
    other = np.roll(known.fold_of_row, 7, axis=1)
    known = dataclasses.replace(known, fold_of_row=np.concatenate([known.fold_of_row, other]))
    whole, everyone = cross_fit(recipe.fit, known).score, np.arange(7)
    slow = [whole - cross_fit(recipe.fit, known.only(np.delete(everyone, member))).score for member in everyone]

    lost = contributions(recipe, known, weights=np.full(7, 1 / 7))

    np.testing.assert_allclose(lost, slow, atol=1e-12)
    assert np.count_nonzero(lost) >= 3  # some members are missed, some never chosen
    assert lost[6] == 0


def test_the_drift_statistic_is_that_of_scipy() -> None:
    """The Kolmogorov-Smirnov distance equals scipy's, ties included."""
    rng = np.random.default_rng(0)
    left, right = np.round(rng.random(200), 1), np.round(rng.random(90) ** 2, 1)

    assert kolmogorov_smirnov(left, right) == pytest.approx(ks_2samp(left, right).statistic)


def test_drift_is_noticed_and_likeness_is_not() -> None:
    """Rows of the same kind pass; a doubled share of positives is told by both signs."""
    rng = np.random.default_rng(0)
    same, other, shifted = rng.beta(1, 9, 4000), rng.beta(1, 9, 1000), rng.beta(2, 8, 1000)
    oof, like, unlike = (np.column_stack([1 - p, p]) for p in (same, other, shifted))

    (quiet,) = check_drift(BINARY.class_names, oof, like)
    (loud,) = check_drift(BINARY.class_names, oof, unlike)

    assert quiet.warnings == ()
    assert len(loud.warnings) == 2
    assert loud.output == "yes"
    assert loud.test_mean == pytest.approx(0.2, abs=0.02)


def test_every_class_and_label_has_its_drift_line() -> None:
    """Three classes make three lines, two labels two, though they do not sum to one."""
    three, labels = evidence(THREE).proba[0], evidence(LABELS).proba[0]

    assert [line.output for line in check_drift(THREE.class_names, three, three)] == ["a", "b", "c"]
    assert [line.output for line in check_drift(LABELS.class_names, labels, labels)] == ["x", "y"]
