"""Whether the test rows look like the rows the blend was found on, seen through the blend's probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textclf.arrays import FloatArray

LARGE_STATISTIC = 0.1  # averaging fold models alone moves test probabilities by less
CRITICAL = 1.95  # times sqrt(1/n + 1/m): the Kolmogorov-Smirnov test at 0.1%
LARGE_SHIFT = 0.25  # of the rarer side's share
N_ERRORS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftLine:
    """One output: its mean probability on OOF and on test rows, and the Kolmogorov-Smirnov statistic between them."""

    output: str
    oof_mean: float
    test_mean: float
    statistic: float
    warnings: tuple[str, ...]


def check_drift(class_names: Sequence[str], oof: FloatArray, test: FloatArray) -> tuple[DriftLine, ...]:
    """Compare class balance and score distribution; oof: (n_rows, n_outputs), test: (n_test, n_outputs) float64.

    A line carries a warning when the statistic is above 0.1 and no accident, or when the mean moves by a quarter of
    the rarer side's share and by four standard errors. Two classes make one line, of the second.
    """
    first = 1 if len(class_names) == 2 and np.allclose(oof.sum(axis=1), 1) else 0
    return tuple(
        compare_output(class_names[column], oof[:, column], test[:, column])
        for column in range(first, len(class_names))
    )


def compare_output(output: str, oof: FloatArray, test: FloatArray) -> DriftLine:
    """Compare one output's probabilities; oof: (n_rows,), test: (n_test,)."""
    statistic = kolmogorov_smirnov(oof, test)
    before, after = float(oof.mean()), float(test.mean())
    error = float(np.sqrt(oof.var() / len(oof) + test.var() / len(test)))
    warnings = []
    if statistic > max(LARGE_STATISTIC, CRITICAL * np.sqrt(1 / len(oof) + 1 / len(test))):
        warnings.append(f"probabilities of {output!r} are distributed otherwise on test rows (KS {statistic:.2f})")
    if abs(after - before) > max(LARGE_SHIFT * min(before, 1 - before), N_ERRORS * error):
        warnings.append(f"the mean probability of {output!r} is {after:.3f} on test rows, {before:.3f} out of fold")
    return DriftLine(output=output, oof_mean=before, test_mean=after, statistic=statistic, warnings=tuple(warnings))


def kolmogorov_smirnov(left: FloatArray, right: FloatArray) -> float:
    """Largest distance between the two empirical distribution functions."""
    points = np.concatenate([left, right])
    below_left = np.searchsorted(np.sort(left), points, side="right") / len(left)
    below_right = np.searchsorted(np.sort(right), points, side="right") / len(right)
    return float(np.abs(below_left - below_right).max())
