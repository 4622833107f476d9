"""Weights found by regression: non-negative linear and non-negative logistic stacking."""

import numpy as np

from ensemble.mixtures import Evidence, LogPool, WeightedMean, evidence_of, squash
from textclf.arrays import FloatArray, IntArray

RIDGE = 1e-4  # pulls logistic coefficients to equal ones; decides between members that tell the same


def non_negative_linear(evidence: Evidence) -> WeightedMean:
    """Non-negative least squares of the 0/1 truth on members' probabilities (Breiman 1996), scaled to sum one."""
    from scipy.optimize import nnls

    flat = evidence.proba.reshape(evidence.n_members, -1)
    truth = one_hot(evidence.labels, evidence.proba.shape[2]).ravel()
    gram = flat @ flat.T
    gram[np.diag_indices_from(gram)] *= 1 + 1e-10  # members that repeat each other leave it singular
    root = np.linalg.cholesky(gram)
    coefficients = nnls(root.T, np.linalg.solve(root, flat @ truth))[0]
    total = coefficients.sum()
    return WeightedMean(coefficients / total if total > 0 else np.full(len(flat), 1 / len(flat)))


def one_hot(labels: IntArray, n_outputs: int) -> FloatArray:
    """The truth as probabilities: (n_rows, n_outputs) float64."""
    return labels.astype(np.float64) if labels.ndim == 2 else np.eye(n_outputs)[labels]


def non_negative_logistic(evidence: Evidence) -> LogPool:
    """Logistic regression on log probabilities: one coefficient per member, at least zero, and a bias per output."""
    from scipy.optimize import minimize

    one_class_per_row = evidence.labels.ndim == 1
    n_members, n_rows, n_outputs = evidence.proba.shape
    inputs = evidence_of(evidence.proba, one_class_per_row=one_class_per_row)
    flat = inputs.reshape(n_members, -1)
    truth = one_hot(evidence.labels, n_outputs)

    def loss(free: FloatArray) -> tuple[float, FloatArray]:
        coefficients, bias = free[:n_members], free[n_members:]
        scores = (coefficients @ flat).reshape(n_rows, n_outputs) + bias
        proba = squash(scores, one_class_per_row=one_class_per_row)
        chosen = np.where(truth == 1, proba, 1.0 if one_class_per_row else 1 - proba)
        away = coefficients - 1 / n_members
        surplus = (proba - truth) / n_rows
        slope = np.append(flat @ surplus.ravel() + 2 * RIDGE * away, surplus.sum(axis=0) + 2 * RIDGE * bias)
        mean_loss = -np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).sum() / n_rows
        return float(mean_loss + RIDGE * (away @ away + bias @ bias)), slope

    start = np.append(np.full(n_members, 1 / n_members), np.zeros(n_outputs))
    bounds = [(0.0, None)] * n_members + [(None, None)] * n_outputs
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200})
    return LogPool(found.x[:n_members], found.x[n_members:], one_class_per_row)
