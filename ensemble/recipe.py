"""From all members to a blend: which members, which way, which calibration, decided together.

Cross-fitting a recipe judges all three decisions, the choice of the best members among many trials included.
"""

from dataclasses import dataclass, replace

import numpy as np

from ensemble.blend import choose_way, get_blend
from ensemble.calibration import CALIBRATIONS, calibrated
from ensemble.mixtures import Blend, Evidence
from ensemble.selection import rank_members
from textclf.arrays import FloatArray, IntArray
from textclf.errors import ConfigError, did_you_mean

REDUNDANT = 0.999


@dataclass(frozen=True, slots=True)
class ChosenBlend:
    """A blend of some of the members; the others have no weight.

    chosen: (n_chosen,) int64 places among all members; inner: the blend of those
    """

    chosen: IntArray
    inner: Blend
    n_members: int

    @property
    def weights(self) -> FloatArray:
        """See Blend."""
        weights = np.zeros(self.n_members)
        weights[self.chosen] = self.inner.weights
        return weights

    def apply(self, proba: FloatArray) -> FloatArray:
        """See Blend."""
        return self.inner.apply(proba[self.chosen])


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to make a blend.

    method: a name in ``ensemble.blend.BLENDS``; calibrate: "none" or a name in ``ensemble.calibration.CALIBRATIONS``
    top: members considered, the best on the evidence at hand
    redundant: a member correlated more than this with a better one is passed over
    """

    method: str = "greedy"
    top: int = 10
    redundant: float = REDUNDANT
    calibrate: str = "none"

    def __post_init__(self) -> None:
        get_blend(self.method)
        allowed = ["none", *CALIBRATIONS]
        if self.calibrate not in allowed:
            hint = did_you_mean(self.calibrate, allowed)
            raise ConfigError(f"calibrate: {self.calibrate!r} is not one of {', '.join(allowed)}{hint}")
        if self.top < 1:
            raise ConfigError(f"top: {self.top} members cannot be blended; give 1 or more")
        if not 0 < self.redundant <= 1:
            raise ConfigError(f"redundant: {self.redundant} is not a correlation in (0, 1]; 1 keeps every member")

    def resolved(self, evidence: Evidence) -> "Recipe":
        """The recipe with the way that "auto" takes on this evidence in its place."""
        if self.method != "auto":
            return self
        return replace(self, method=choose_way(evidence.only(self.choose(evidence))))

    def choose(self, evidence: Evidence) -> IntArray:
        """Places of the members to consider, best first."""
        return self.choose_ranked(evidence, rank_members(evidence))

    def choose_ranked(self, evidence: Evidence, ranking: IntArray) -> IntArray:
        """Places of the members to consider among those ranked, best first; ranking: (n_ranked,) places likewise."""
        return choose_members(evidence, ranking, top=self.top, redundant=self.redundant)

    def fit(self, evidence: Evidence) -> Blend:
        """Choose members, blend them and calibrate the blend on this evidence."""
        return self.fit_chosen(evidence, chosen=self.choose(evidence))

    def fit_chosen(self, evidence: Evidence, *, chosen: IntArray) -> Blend:
        """Blend these members and calibrate the blend on this evidence."""
        blend = ChosenBlend(chosen, get_blend(self.method)(evidence.only(chosen)), evidence.n_members)
        return blend if self.calibrate == "none" else calibrated(blend, evidence, name=self.calibrate)


def choose_members(evidence: Evidence, ranking: IntArray, *, top: int, redundant: float) -> IntArray:
    """The best members, best first, without those that nearly repeat a better one.

    ranking: (n_ranked,) places of members from the best score down, in which order they are visited

    One whose OOF probabilities correlate (Pearson, mean over outputs) more than ``redundant`` with an already chosen
    member is passed over, until ``top`` are chosen.
    """
    chosen: list[int] = []
    shapes: list[FloatArray] = []
    for member in ranking:
        if len(chosen) == top:
            break
        shape = standardised(evidence.proba[member])
        if redundant < 1 and any(float(shape @ other) > redundant for other in shapes):
            continue
        chosen.append(int(member))
        shapes.append(shape)
    return np.array(chosen, dtype=np.int64)


def standardised(proba: FloatArray) -> FloatArray:
    """A member as one vector such that the product of two of them is their mean correlation over outputs.

    proba: (n_rows, n_outputs) float64 -> (n_rows * n_outputs,) float64; a constant output correlates with nothing
    """
    centred = proba - proba.mean(axis=0)
    length = np.sqrt(np.square(centred).sum(axis=0))
    scale = np.where(length > 0, length, 1.0) * np.sqrt(proba.shape[1])
    return np.asarray(centred / scale).ravel()
