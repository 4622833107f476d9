"""Ways to blend: means, ranks, stacking, and the one that chooses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from ensemble.blend import BLENDS, choose_way, get_blend
from ensemble.mixtures import Evidence, LogPool, learn_ranks
from tests.ensemble.pools import BINARY, LABELS, TASKS, THREE, evidence
from textclf.errors import ConfigError


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("name", BLENDS)
def test_every_way_gives_probabilities_on_every_task(name: str, kind: str) -> None:
    """Weights are shares, blended rows are probabilities, and a row's blend ignores the rows beside it."""
    task = TASKS[kind]  # type: ignore[index]
    known = evidence(task, metric="roc_auc", n_rows=120)
    blend = get_blend(name)(known)
    fresh = evidence(task, metric="roc_auc", n_rows=40, seed=9).proba
    proba = blend.apply(fresh)

    assert blend.weights.shape == (4,)
    assert blend.weights.sum() == pytest.approx(1)
    assert (blend.weights >= 0).all()
    assert ((proba >= 0) & (proba <= 1)).all()
    assert kind == "multilabel" or proba.sum(axis=1) == pytest.approx(1)
    assert blend.apply(fresh[:, 5:6]) == pytest.approx(proba[5:6])


def test_an_unknown_way_is_answered_with_the_nearest() -> None:
    """A typing slip is met with a suggestion."""
    with pytest.raises(ConfigError, match=r"'gredy' is not one of best, .*did you mean greedy\?"):
        get_blend("gredy")


def test_the_mean_is_the_mean() -> None:
    """The plain mean of (.2, .8) and (.6, .4) is (.4, .6)."""
    known = evidence(knowledge=(1.0, 1.0))

    blended = get_blend("mean")(known).apply(np.array([[[0.2, 0.8]], [[0.6, 0.4]]]))

    assert blended == pytest.approx(np.array([[0.4, 0.6]]))


def test_the_best_member_is_chosen_by_the_metric() -> None:
    """The member that knows most has all the weight."""
    assert BLENDS["best"](evidence(knowledge=(0.5, 2.0, 1.0))).weights.tolist() == [0.0, 1.0, 0.0]


@given(seed=st.integers(0, 500), n_values=st.integers(2, 60))
@settings(max_examples=10, deadline=None)
def test_ranks_are_mean_ranks(seed: int, n_values: int) -> None:
    """On the rows it learned from, a rank mean of one member is scipy's average rank, ties included."""
    column = np.random.default_rng(seed).integers(0, n_values, 50) / n_values
    proba = np.column_stack([1 - column, column])[None]

    ranked = learn_ranks(np.ones(1), proba, one_class_per_row=True).apply(proba)

    assert ranked[:, 1] == pytest.approx((rankdata(column) - 0.5) / 50)


def test_ranks_forgive_a_member_of_another_calibration() -> None:
    """Squeezing a member's probabilities by any rising function leaves the rank mean where it was."""
    known = evidence(metric="roc_auc")
    squeezed = known.proba.copy()
    squeezed[1, :, 1] = squeezed[1, :, 1] ** 5
    squeezed[1, :, 0] = 1 - squeezed[1, :, 1]
    other = Evidence(
        proba=squeezed, labels=known.labels, fold_of_row=known.fold_of_row, metric=known.metric, seed=known.seed
    )

    blended = BLENDS["rank"](other).apply(squeezed)

    assert blended == pytest.approx(BLENDS["rank"](known).apply(known.proba))


def test_linear_stacking_is_non_negative_least_squares() -> None:
    """The weights are scipy's NNLS of the truth on all members' columns, scaled to sum one."""
    known = evidence(THREE, knowledge=(1.5, 1.0, 0.2))
    plain = nnls(known.proba.reshape(3, -1).T, np.eye(3)[known.labels].ravel())[0]

    assert BLENDS["nnls"](known).weights == pytest.approx(plain / plain.sum(), abs=1e-6)


@pytest.mark.parametrize("name", ["nnls", "logistic"])
def test_stacking_survives_repeated_members(name: str) -> None:
    """Two equal members are no singular system; together they count as one."""
    known = evidence(knowledge=(1.5, 1.0))
    twice = known.only(np.array([0, 1, 1]))

    blended = BLENDS[name](twice).apply(twice.proba)

    assert blended == pytest.approx(BLENDS[name](known).apply(known.proba), abs=0.01)


def test_logistic_stacking_is_logistic_regression_where_all_coefficients_are_positive() -> None:
    """With two classes it is scikit-learn's regression on log odds, the small ridge apart."""
    known = evidence(knowledge=(2.0, 1.5), n_rows=2000)
    odds = np.log(known.proba[:, :, 1] / known.proba[:, :, 0]).T
    plain = LogisticRegression(C=1e6, tol=1e-8).fit(odds, known.labels)

    found = BLENDS["logistic"](known)

    assert isinstance(found, LogPool)
    assert found.coefficients == pytest.approx(plain.coef_[0], abs=0.02)
    assert found.apply(known.proba)[:, 1] == pytest.approx(plain.predict_proba(odds)[:, 1], abs=0.01)


def test_logistic_stacking_gives_noise_no_negative_vote() -> None:
    """A member that is wrong on purpose gets coefficient zero, not a negative one."""
    known = evidence(LABELS, knowledge=(2.0, -1.0))

    assert BLENDS["logistic"](known).weights.tolist() == [1.0, 0.0]


def test_auto_prefers_the_simpler_way_on_a_tie() -> None:
    """Copies of one member are blended no better than taken alone, so the best one is taken alone."""
    known = evidence(BINARY, metric="roc_auc", knowledge=(1.0,)).only(np.array([0, 0, 0]))

    assert choose_way(known) == "best"


def test_auto_takes_what_wins_clearly() -> None:
    """Independent members of equal knowledge are averaged rather than chosen from."""
    known = evidence(metric="log_loss", knowledge=(1.0,) * 8, n_rows=1000)

    assert choose_way(known) not in ("best", "rank")
