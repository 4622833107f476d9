"""Weights found by search: greedy selection with replacement, hill climbing, CMA-ES.

All maximise the metric itself on mixtures of probabilities, through ``ensemble.scoring``.
"""

import numpy as np

from ensemble.mixtures import Evidence, WeightedMean
from ensemble.scoring import Objective, make_objective
from textclf.arrays import FloatArray, IntArray
from textclf.errors import ConfigError

N_ROUNDS = 25  # more rounds bring nothing
N_BAGS = 10
SHARE_OF_BAG = 0.5
SMALLEST_STEP = 1 / 128
N_CLIMBS = 200
N_EVALUATIONS_PER_MEMBER = 25
FEWEST_EVALUATIONS = 300
SMALLEST_GAIN = 1e-12


def greedy(evidence: Evidence) -> WeightedMean:
    """Greedy ensemble selection with replacement (Caruana et al. 2004): 25 rounds, the best prefix."""
    return WeightedMean(greedy_weights(objective_of(evidence)))


def bagged_greedy(evidence: Evidence) -> WeightedMean:
    """The mean weights of 10 greedy selections, each from a random half of the members (Caruana et al. 2004)."""
    objective = objective_of(evidence)
    n_members = evidence.n_members
    rng = np.random.default_rng(evidence.seed)
    weights = np.zeros(n_members)
    for _ in range(N_BAGS):
        bag = np.sort(rng.permutation(n_members)[: max(1, round(SHARE_OF_BAG * n_members))])
        weights[bag] += greedy_weights(Objective(members=objective.members[bag], score=objective.score)) / N_BAGS
    return WeightedMean(weights)


def objective_of(evidence: Evidence) -> Objective:
    """The metric on mixtures of the evidence's members."""
    return make_objective(evidence.metric, evidence.labels, evidence.proba)


def greedy_weights(objective: Objective, *, n_rounds: int = N_ROUNDS) -> FloatArray:
    """Add, round by round, the member that helps the sum most; weights of the shortest best prefix.

    returns: (n_members,) float64, multiples of 1 / length of the prefix
    """
    total = np.zeros(objective.members.shape[1:])
    picked: list[int] = []
    scores: list[float] = []
    for size in range(1, n_rounds + 1):
        candidates = defined(objective.score((total + objective.members) / size))
        picked.append(int(np.argmax(candidates)))
        scores.append(float(candidates[picked[-1]]))
        total += objective.members[picked[-1]]
    n_best = int(np.argmax(scores)) + 1
    return np.bincount(picked[:n_best], minlength=len(objective.members)) / n_best


def defined(scores: FloatArray) -> FloatArray:
    """Undefined scores rank below all others."""
    return np.where(np.isnan(scores), -np.inf, scores)


def hill_climb(evidence: Evidence) -> WeightedMean:
    """From the best member on, shift a share of the weight to the member that gains most; halve it when none does."""
    objective = objective_of(evidence)
    best = int(np.argmax(defined(objective.score(objective.members))))
    weights = np.eye(evidence.n_members)[best]
    mix = objective.members[best]
    score, step = float(objective.score(mix[None])[0]), 0.5
    for _ in range(N_CLIMBS):
        candidates = defined(objective.score((1 - step) * mix + step * objective.members))
        best = int(np.argmax(candidates))
        if candidates[best] > score + SMALLEST_GAIN:
            score = float(candidates[best])
            mix = (1 - step) * mix + step * objective.members[best]
            weights = (1 - step) * weights + step * np.eye(evidence.n_members)[best]
        else:
            step /= 2
        if step < SMALLEST_STEP:
            break
    return WeightedMean(weights)


def evolve(evidence: Evidence) -> WeightedMean:
    """CMA-ES (Hansen 2016) on weights that are clipped at zero and normalised to sum one, from equal weights.

    Without the normalisation it overfits ranking metrics (Purucker and Beel 2023). ConfigError without ``cmaes``.
    """
    try:
        from cmaes import CMA
    except ImportError:
        raise ConfigError(
            "method: cmaes needs the package of that name; install it with pip install 'textclf-search[cmaes]', "
            "or choose another method"
        ) from None
    n_members = evidence.n_members
    best = np.full(n_members, 1 / n_members)
    if n_members == 1:
        return WeightedMean(best)
    objective = objective_of(evidence)
    best_score = defined(objective.score_weights(best[None]))[0]
    bounds = np.tile([0.0, 1.0], (n_members, 1))
    search = CMA(mean=best, sigma=1 / n_members, bounds=bounds, seed=evidence.seed % 2**32)
    n_evaluations = max(FEWEST_EVALUATIONS, N_EVALUATIONS_PER_MEMBER * n_members)
    for _ in range(-(-n_evaluations // search.population_size)):
        asked = np.stack([search.ask() for _ in range(search.population_size)])
        weights = on_simplex(asked)
        scores = defined(objective.score_weights(weights))
        search.tell([(x, -score) for x, score in zip(asked, scores, strict=True)])
        if scores.max() > best_score + SMALLEST_GAIN:
            best_score, best = scores.max(), weights[int(np.argmax(scores))]
        if search.should_stop():
            break
    return WeightedMean(best)


def on_simplex(points: FloatArray) -> FloatArray:
    """Rows clipped at zero and scaled to sum one; (n_points, n_members)."""
    positive = np.maximum(points, 0.0)
    total = positive.sum(axis=1, keepdims=True)
    equal = np.full_like(positive, 1 / positive.shape[1])
    return np.divide(positive, total, out=equal, where=total > 0)


def rank_members(evidence: Evidence) -> IntArray:
    """Members from the best score on this evidence to the worst: (n_members,) int64; equal ones keep their order."""
    objective = objective_of(evidence)
    return np.argsort(-defined(objective.score(objective.members)), kind="stable")
