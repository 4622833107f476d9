"""Searches for weights, against the book, brute force and invariants."""

import sys

import numpy as np
import pytest

from ensemble.mixtures import Evidence
from ensemble.scoring import make_objective
from ensemble.selection import bagged_greedy, evolve, greedy, greedy_weights, hill_climb
from tests.ensemble.pools import BINARY, LABELS, TASKS, THREE, evidence
from tests.oracles import greedy_by_the_book, weight_grid
from textclf.arrays import FloatArray
from textclf.errors import ConfigError
from textclf.metrics import fitted_score


def score_of(known: Evidence, weights: FloatArray) -> float:
    """The plain score of a weighted mean."""
    return fitted_score(known.metric, known.labels, np.tensordot(weights, known.proba, 1))


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        (BINARY, "roc_auc"),
        (BINARY, "f1"),
        (BINARY, "log_loss"),
        (THREE, "log_loss"),
        (THREE, "macro_f1"),
        (LABELS, "roc_auc"),
    ],
)
def test_greedy_is_the_algorithm_of_the_book(task: object, metric: str) -> None:
    """Incremental sums and fast scores choose what adding and scoring one by one chooses."""
    known = evidence(task, metric=metric, seed=4)  # type: ignore[arg-type]
    weights, score = greedy_by_the_book(
        known.proba, lambda proba: fitted_score(known.metric, known.labels, proba), n_rounds=25
    )

    found = greedy(known).weights

    assert score_of(known, found) == pytest.approx(score, abs=1e-12)
    assert found == pytest.approx(weights)


@pytest.mark.parametrize("search", [greedy, hill_climb, evolve])
@pytest.mark.parametrize(("kind", "metric"), [("binary", "roc_auc"), ("multiclass", "log_loss"), ("multilabel", "f1")])
def test_no_coarse_grid_beats_a_search(search: object, kind: str, metric: str) -> None:
    """Every weight vector in steps of a tenth scores at most a hair more than the found one."""
    known = evidence(TASKS[kind], metric=metric, knowledge=(1.5, 1.0, 0.7))  # type: ignore[index]
    objective = make_objective(known.metric, known.labels, known.proba)
    grid = objective.score_weights(np.stack(list(weight_grid(3, n_steps=10))))

    found = search(known).weights  # type: ignore[operator]

    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    assert score_of(known, found) > np.max(grid) - 0.004


@pytest.mark.parametrize("search", [greedy, hill_climb])
def test_the_order_of_members_does_not_matter(search: object) -> None:
    """Permuting the members permutes the weights."""
    known = evidence(metric="log_loss")
    order = np.array([2, 0, 3, 1])

    assert search(known.only(order)).weights == pytest.approx(search(known).weights[order])  # type: ignore[operator]


@pytest.mark.parametrize("search", [greedy, hill_climb])
def test_a_member_twice_changes_nothing(search: object) -> None:
    """A duplicate shares its twin's weight; the blend stays the same."""
    known = evidence(metric="log_loss")
    twice = known.only(np.array([0, 1, 2, 3, 0]))

    blended = search(twice).apply(twice.proba)  # type: ignore[operator]

    assert blended == pytest.approx(search(known).apply(known.proba))  # type: ignore[operator]


@pytest.mark.parametrize("search", [greedy, hill_climb, bagged_greedy, evolve])
def test_relabelled_classes_give_the_same_weights(search: object) -> None:
    """Renaming class 0 to 2 and so on moves columns, not weights."""
    known = evidence(THREE, metric="log_loss")
    other = Evidence(
        proba=np.ascontiguousarray(known.proba[:, :, ::-1]),
        labels=2 - known.labels,
        fold_of_row=known.fold_of_row,
        metric=known.metric,
        seed=known.seed,
    )

    assert search(other).weights == pytest.approx(search(known).weights, abs=1e-9)  # type: ignore[operator]


def test_greedy_keeps_the_shortest_best_prefix() -> None:
    """A perfect member alone is not diluted by later rounds."""
    known = evidence(metric="accuracy", knowledge=(50.0, 1.0))

    assert greedy(known).weights.tolist() == [1.0, 0.0]


def test_an_undefined_score_is_never_chosen() -> None:
    """A member whose score is NaN loses against any other."""
    known = evidence(metric="log_loss")
    objective = make_objective(known.metric, known.labels, known.proba)

    def with_holes(mixes: FloatArray) -> FloatArray:
        scores = objective.score(mixes)
        scores[0] = np.nan
        return scores

    assert greedy_weights(type(objective)(members=objective.members, score=with_holes))[0] == 0


def test_bags_spread_the_weight() -> None:
    """Bagging gives members a say that one greedy run leaves out, the same every time."""
    known = evidence(metric="accuracy", knowledge=(50.0, 1.0, 1.0, 1.0))
    weights = bagged_greedy(known).weights

    assert np.count_nonzero(weights) > np.count_nonzero(greedy(known).weights) == 1
    assert weights.sum() == pytest.approx(1)
    assert (bagged_greedy(known).weights == weights).all()


def test_cmaes_missing_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the message names the command that installs it."""
    monkeypatch.setitem(sys.modules, "cmaes", None)

    with pytest.raises(ConfigError, match=r"pip install 'textclf-search\[cmaes\]'"):
        evolve(evidence())


def test_cmaes_of_one_member_is_that_member() -> None:
    """There is nothing to search with one member."""
    assert evolve(evidence(knowledge=(1.0,))).weights.tolist() == [1.0]
