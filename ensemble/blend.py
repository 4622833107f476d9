"""The ways to blend, by name: a way is a function from evidence to a blend.

A new one is a function here or elsewhere, and a line in BLENDS.
"""

from dataclasses import replace

import numpy as np

from ensemble.crossfit import Fit, cross_fit
from ensemble.mixtures import Blend, Evidence, RankMean, WeightedMean, learn_ranks
from ensemble.selection import bagged_greedy, evolve, greedy, hill_climb, rank_members
from ensemble.stacking import non_negative_linear, non_negative_logistic
from textclf.errors import ConfigError, did_you_mean

N_PARTS = 3


def best(evidence: Evidence) -> WeightedMean:
    """The single member that scores highest."""
    return WeightedMean(np.eye(evidence.n_members)[rank_members(evidence)[0]])


def mean(evidence: Evidence) -> WeightedMean:
    """All members alike."""
    return WeightedMean(np.full(evidence.n_members, 1 / evidence.n_members))


def rank_mean(evidence: Evidence) -> RankMean:
    """All members' ranks alike, which forgives members of different calibration."""
    weights = np.full(evidence.n_members, 1 / evidence.n_members)
    return learn_ranks(weights, evidence.proba, one_class_per_row=evidence.labels.ndim == 1)


def auto(evidence: Evidence) -> Blend:
    """The way with the best cross-fitted score, or a simpler one that ties with it.

    A tie is a gap within one standard error of the paired fold differences. The choice is made on the evidence alone,
    so that cross-fitting this function judges the choice as well.
    """
    return BLENDS[choose_way(evidence)](evidence)


def choose_way(evidence: Evidence) -> str:
    """Name of the way that ``auto`` takes."""
    if len(np.unique(evidence.fold_of_row)) < 2:  # one of two folds is held out: any split of OOF rows will do
        n_rows = len(evidence.labels)
        evidence = replace(evidence, fold_of_row=(np.arange(n_rows) % N_PARTS)[None])
    judged = {name: cross_fit(BLENDS[name], evidence) for name in SIMPLEST_FIRST}
    leader = max(judged.values(), key=lambda way: -np.inf if np.isnan(way.score) else way.score)
    for name, way in judged.items():
        if leader.score - way.score <= standard_error(np.subtract(leader.fold_scores, way.fold_scores)):
            return name
    return SIMPLEST_FIRST[0]


def standard_error(differences: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
    """Standard error of the mean of the differences that are defined; zero when there are not two."""
    known = differences[~np.isnan(differences)]
    return float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else 0.0


SIMPLEST_FIRST = ("best", "mean", "rank", "greedy", "nnls", "logistic")  # the others cost more and win no more often

BLENDS: dict[str, Fit] = {
    "best": best,
    "mean": mean,
    "rank": rank_mean,
    "greedy": greedy,
    "bagged": bagged_greedy,
    "hill": hill_climb,
    "nnls": non_negative_linear,
    "logistic": non_negative_logistic,
    "cmaes": evolve,
    "auto": auto,
}


def get_blend(name: str) -> Fit:
    """The way of this name; ConfigError with a suggestion for an unknown one."""
    if name not in BLENDS:
        raise ConfigError(f"method: {name!r} is not one of {', '.join(BLENDS)}{did_you_mean(name, BLENDS)}")
    return BLENDS[name]
