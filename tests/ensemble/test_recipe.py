"""Recipes choose members by rule and calibrate what they blend."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss

from ensemble.calibration import CALIBRATIONS, fit_isotonic, fit_temperature
from ensemble.mixtures import Evidence
from ensemble.recipe import Recipe
from tests.ensemble.pools import BINARY, LABELS, TASKS, THREE, evidence, noisy_proba, truth
from textclf.errors import ConfigError


def test_the_best_members_are_chosen_best_first() -> None:
    """Two of four are the two with the best log loss."""
    known = evidence(knowledge=(0.5, 2.0, 1.0, 1.5))

    assert Recipe(top=2, redundant=0.999).choose(known).tolist() == [1, 3]


def test_a_near_copy_of_a_better_member_is_passed_over() -> None:
    """The worse of two members with correlation above the bar makes room for the next, and stays with the bar at 1."""
    known = evidence(metric="roc_auc", knowledge=(2.0, 1.0, 0.5))
    wobble = np.random.default_rng(0).normal(0, 1e-3, known.proba[0].shape)
    proba = np.concatenate([known.proba, np.clip(known.proba[:1] + wobble, 0, 1)])
    assert np.corrcoef(proba[0, :, 1], proba[3, :, 1])[0, 1] > 0.999
    crowd = Evidence(proba=proba, labels=known.labels, fold_of_row=known.fold_of_row, metric=known.metric, seed=0)

    assert set(Recipe(top=2, redundant=1.0).choose(crowd)) == {0, 3}
    assert set(Recipe(top=2, redundant=0.999).choose(crowd)) in ({0, 1}, {3, 1})


def test_members_left_out_have_no_weight() -> None:
    """Weights cover all members, zero for those not considered."""
    known = evidence(knowledge=(0.5, 2.0, 1.0, 1.5))
    weights = Recipe(method="mean", top=2).fit(known).weights

    assert weights.tolist() == [0.0, 0.5, 0.0, 0.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "median"}, "method: 'median' is not one of best, mean"),
        ({"calibrate": "plat"}, "calibrate: 'plat' is not one of none, temperature, isotonic"),
        ({"top": 0}, "top: 0 members cannot be blended; give 1 or more"),
        ({"redundant": 0.0}, r"redundant: 0.0 is not a correlation in \(0, 1\]"),
    ],
)
def test_a_wrong_recipe_is_refused(options: dict[str, object], message: str) -> None:
    """Each wrong option is named with what is allowed."""
    with pytest.raises(ConfigError, match=message):
        Recipe(**options)  # type: ignore[arg-type]


def test_temperature_undoes_a_known_temperature() -> None:
    """Calibrated logits made three times too large come back by a temperature of three."""
    labels = truth(THREE, n_rows=4000, seed=1)
    proba = noisy_proba(labels, THREE, knowledge=1.0, seed=2)
    honest = fit_temperature(labels, proba).apply(proba)
    sharp = honest**3 / (honest**3).sum(axis=1, keepdims=True)

    assert fit_temperature(labels, sharp).temperatures == pytest.approx([3.0], rel=0.02)


def test_isotonic_is_that_of_scikit_learn() -> None:
    """The calibrated positive column is scikit-learn's isotonic regression, kept off 0 and 1."""
    labels = truth(BINARY, n_rows=300, seed=1)
    proba = noisy_proba(labels, BINARY, knowledge=1.0, seed=2)
    plain = IsotonicRegression(y_min=1 / 302, y_max=301 / 302, out_of_bounds="clip").fit(proba[:, 1], labels)

    assert fit_isotonic(labels, proba).apply(proba)[:, 1] == pytest.approx(plain.predict(proba[:, 1]))


@pytest.mark.parametrize("name", CALIBRATIONS)
@pytest.mark.parametrize("kind", TASKS)
def test_calibration_lowers_the_log_loss_of_overconfident_members(name: str, kind: str) -> None:
    """Overconfident probabilities get a lower log loss on other rows, and stay probabilities, for every task."""
    task = TASKS[kind]  # type: ignore[index]
    labels = truth(task, n_rows=2000, seed=3)
    soft = noisy_proba(labels, task, knowledge=1.0, seed=4)
    proba = soft**4 / (soft**4 + (1 - soft) ** 4) if task is LABELS else soft**4 / (soft**4).sum(axis=1, keepdims=True)
    learn, judge = np.arange(2000) % 2 == 0, np.arange(2000) % 2 == 1

    better = CALIBRATIONS[name](labels[learn], proba[learn]).apply(proba[judge])

    def loss(some: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
        if task is LABELS:
            return float(np.mean([log_loss(labels[judge, j], some[:, j]) for j in range(2)]))
        return float(log_loss(labels[judge], some))

    assert loss(better) < loss(proba[judge]) - 0.02
    assert task is LABELS or better.sum(axis=1) == pytest.approx(1)
