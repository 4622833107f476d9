"""Calibration of blended probabilities: found on OOF rows, and cross-fitted with the blend it belongs to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ensemble.mixtures import Blend, Evidence, evidence_of, normalised, squash
from textclf.arrays import FloatArray, IntArray
from textclf.measures import losses_of_rows

LOG_TEMPERATURES = (-3.0, 3.0)  # e**-3 to e**3


class Calibration(Protocol):
    """A map from probabilities to better calibrated ones, row by row."""

    def apply(self, proba: FloatArray) -> FloatArray:
        """Map (n_rows, n_outputs) to the same shape."""
        ...


@dataclass(frozen=True, slots=True)
class Temperature:
    """Logits divided by a temperature (Guo et al. 2017): one for all classes, or one per label.

    temperatures: (1,) or (n_labels,) float64; above 1 the probabilities become less extreme
    """

    temperatures: FloatArray
    one_class_per_row: bool

    def apply(self, proba: FloatArray) -> FloatArray:
        """See Calibration."""
        logits = evidence_of(proba, one_class_per_row=self.one_class_per_row)
        return squash(logits / self.temperatures, one_class_per_row=self.one_class_per_row)


@dataclass(frozen=True, slots=True)
class Isotonic:
    """A rising step function per output, joined by lines (Zadrozny and Elkan 2002); classes are scaled to sum one.

    inputs, outputs: per output the corner points, rising; with two classes only the second output's
    """

    inputs: tuple[FloatArray, ...]
    outputs: tuple[FloatArray, ...]
    one_class_per_row: bool

    def apply(self, proba: FloatArray) -> FloatArray:
        """See Calibration."""
        first = proba.shape[1] - len(self.inputs)
        pairs = zip(proba.T[first:], self.inputs, self.outputs, strict=True)
        mapped = np.column_stack([np.interp(*triple) for triple in pairs])
        if first:
            return np.column_stack([1 - mapped[:, 0], mapped[:, 0]])
        return normalised(mapped) if self.one_class_per_row else mapped


Calibrate = Callable[[IntArray, FloatArray], Calibration]


def fit_temperature(labels: IntArray, proba: FloatArray) -> Temperature:
    """The temperature with the lowest log loss; labels (n_rows,) or (n_rows, n_labels), proba (n_rows, n_outputs)."""
    from scipy.optimize import minimize_scalar

    def best(some_labels: IntArray, some_proba: FloatArray) -> float:
        def loss(log_temperature: float) -> float:
            scaled = Temperature(np.exp([log_temperature]), some_labels.ndim == 1).apply(some_proba)
            return float(losses_of_rows(some_labels, scaled).mean())

        return float(np.exp(minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded").x))

    if labels.ndim == 1:
        return Temperature(np.array([best(labels, proba)]), one_class_per_row=True)
    columns = range(labels.shape[1])
    return Temperature(np.array([best(labels[:, [j]], proba[:, [j]]) for j in columns]), one_class_per_row=False)


def fit_isotonic(labels: IntArray, proba: FloatArray) -> Isotonic:
    """Isotonic regression of the truth on each output, kept away from 0 and 1 by one row's worth."""
    from sklearn.isotonic import IsotonicRegression

    n_rows, n_outputs = proba.shape
    truth = labels if labels.ndim == 2 else (labels[:, None] == np.arange(n_outputs)).astype(np.int64)
    first = 1 if labels.ndim == 1 and n_outputs == 2 else 0
    least = 1 / (n_rows + 2)
    inputs, outputs = [], []
    for column in range(first, n_outputs):
        curve = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
        curve.fit(proba[:, column], truth[:, column])
        inputs.append(np.asarray(curve.X_thresholds_, dtype=np.float64))
        outputs.append(np.asarray(curve.y_thresholds_, dtype=np.float64))
    return Isotonic(tuple(inputs), tuple(outputs), labels.ndim == 1)


CALIBRATIONS: dict[str, Calibrate] = {"temperature": fit_temperature, "isotonic": fit_isotonic}


@dataclass(frozen=True, slots=True)
class CalibratedBlend:
    """A blend whose probabilities are calibrated after mixing."""

    inner: Blend
    calibration: Calibration

    @property
    def weights(self) -> FloatArray:
        """See Blend."""
        return self.inner.weights

    def apply(self, proba: FloatArray) -> FloatArray:
        """See Blend."""
        return self.calibration.apply(self.inner.apply(proba))


def calibrated(blend: Blend, evidence: Evidence, *, name: str) -> CalibratedBlend:
    """The blend with a calibration found on the same evidence; name: one of CALIBRATIONS."""
    return CalibratedBlend(blend, CALIBRATIONS[name](evidence.labels, blend.apply(evidence.proba)))
