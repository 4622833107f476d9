"""Slow, obvious versions to compare the fast ones with."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from textclf.arrays import FloatArray

ScoreProba = Callable[[FloatArray], float]


def greedy_by_the_book(proba: FloatArray, score: ScoreProba, *, n_rounds: int) -> tuple[FloatArray, float]:
    """Ensemble selection as Caruana et al. (2004) tell it, one mean and one score at a time.

    proba: (n_members, n_rows, n_outputs); returns the weights of the best prefix and its score
    """
    ensemble: list[int] = []
    best_score, best_weights = -np.inf, np.zeros(len(proba))
    for _ in range(n_rounds):
        trials = [score(np.mean([proba[member] for member in [*ensemble, new]], axis=0)) for new in range(len(proba))]
        ensemble.append(int(np.argmax(trials)))
        if max(trials) > best_score:
            best_score = max(trials)
            best_weights = np.array([ensemble.count(member) / len(ensemble) for member in range(len(proba))])
    return best_weights, best_score


def weight_grid(n_members: int, *, n_steps: int) -> Iterator[FloatArray]:
    """Every vector of weights that are multiples of 1 / n_steps and sum to one."""
    for cuts in itertools.combinations_with_replacement(range(n_steps + 1), n_members - 1):
        yield np.diff(np.array([0, *cuts, n_steps])) / n_steps
