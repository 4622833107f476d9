"""How members differ, and what each brings to a blend."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ensemble.crossfit import learn, mean_over_folds, rows_of_folds, sizes_of_folds
from ensemble.mixtures import Evidence
from ensemble.recipe import Recipe, standardised
from ensemble.selection import rank_members
from textclf.arrays import BoolArray, FloatArray, IntArray
from textclf.threshold import decide, positive_columns


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """Members beside each other, (n_members, n_members) float64.

    correlation: Pearson, of OOF probabilities, mean over outputs
    disagreement: share of decisions (rows; rows and labels if multilabel) on which two members differ
    """

    names: tuple[str, ...]
    correlation: FloatArray
    disagreement: FloatArray


def compare_members(names: Sequence[str], evidence: Evidence) -> Diversity:
    """Correlate all members and count where their decisions differ, each at its own best thresholds."""
    shapes = np.stack([standardised(member) for member in evidence.proba])
    decisions = np.stack([decisions_of(member, evidence) for member in evidence.proba])
    disagreement = np.array([[np.mean(left != right) for right in decisions] for left in decisions])
    return Diversity(names=tuple(names), correlation=shapes @ shapes.T, disagreement=disagreement)


def decisions_of(proba: FloatArray, evidence: Evidence) -> IntArray | BoolArray:
    """What a member decides: the most probable class, or yes or no at its best thresholds."""
    thresholds = evidence.metric.best_thresholds(evidence.labels, proba)
    if thresholds is not None:
        return decide(positive_columns(evidence.labels, proba)[1], thresholds)
    return proba.argmax(axis=1) if evidence.labels.ndim == 1 else proba >= 0.5


def contributions(recipe: Recipe, evidence: Evidence, *, weights: FloatArray) -> FloatArray:
    """Cross-fitted score lost when a member is left out and the rest is blended anew.

    weights: (n_members,); members without weight are not tried and get NaN; returns (n_members,) float64

    A cross-fit for each, but each fold ranks the pool once, and a member that it does not choose costs nothing: the
    time grows with the members of the blend, not with the pool.
    """
    lost = np.full(evidence.n_members, np.nan)
    tried = np.flatnonzero(weights > 0)
    if len(tried) < 2:
        return lost
    scores = [
        scores_without(recipe, evidence, held_out, repeat=repeat, tried=tried)
        for repeat, folds in enumerate(evidence.fold_of_row)
        for held_out in rows_of_folds(folds)
    ]
    means = mean_over_folds(np.array(scores), sizes_of_folds(evidence.fold_of_row))
    lost[tried] = means[0] - means[1:]
    return lost


def scores_without(
    recipe: Recipe, evidence: Evidence, held_out: IntArray, *, repeat: int, tried: IntArray
) -> list[float]:
    """Score of one fold with all members, then without each of those tried, found on the other folds."""
    known = evidence.without(held_out, repeat=repeat)
    ranking = rank_members(known)
    everyone = recipe.choose_ranked(known, ranking)

    def score(chosen: IntArray) -> float:
        blend, thresholds = learn(partial(recipe.fit_chosen, chosen=chosen), known)
        proba = blend.apply(evidence.proba[:, held_out])
        return evidence.metric.score(evidence.labels[held_out], proba, thresholds)

    whole = score(everyone)
    without = {
        member: recipe.choose_ranked(known, ranking[ranking != member]) for member in tried if member in everyone
    }
    return [whole, *(score(without[member]) if member in without else whole for member in tried)]
