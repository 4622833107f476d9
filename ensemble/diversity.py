"""How members differ, and what each brings to a blend."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ensemble.crossfit import Fit, cross_fit
from ensemble.mixtures import Evidence
from ensemble.recipe import standardised
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


def contributions(fit: Fit, evidence: Evidence, *, weights: FloatArray) -> FloatArray:
    """Cross-fitted score lost when a member is left out and the rest is blended anew.

    weights: (n_members,); members without weight are not tried and get NaN; returns (n_members,) float64
    """
    lost = np.full(evidence.n_members, np.nan)
    tried = np.flatnonzero(weights > 0)
    if len(tried) < 2:
        return lost
    whole = cross_fit(fit, evidence).score
    everyone = np.arange(evidence.n_members)
    for member in tried:
        lost[member] = whole - cross_fit(fit, evidence.only(np.delete(everyone, member))).score
    return lost
