"""Which pruners a study may name, and the one made for k-fold: a paired test on the losses of held-out rows.

A pruner reads the frozen view that travels with its trial, so its decisions depend on the study alone.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial

from search.spec import Incumbent, TrialJob
from textclf.arrays import BoolArray, FloatArray
from textclf.errors import ConfigError, did_you_mean

NONE, PAIRED, PATIENT = "none", "paired", "patient"


class PairedLossPruner(BasePruner):
    """Stop a trial whose held-out rows lose clearly more than the same rows under the incumbent.

    After each fit but the last, d = loss of the row here - (1 + margin) * its loss under the incumbent, over all rows
    held out so far. One-sided test of mean(d) <= 0 by Student's t; its standard error is the larger of that over rows
    and that over fits, since the rows of a fit share one model. With K fits, look k = 1 .. K - 1 spends
    a(k / K) - a((k - 1) / K) of the error rate, a(t) = alpha * ln(1 + (e - 1) t) (Lan & DeMets 1983, their spending
    function of Pocock's kind). By the union bound over looks, a trial that is worse by no more than the margin is
    pruned with a probability of at most alpha, as far as rows stand for all rows and these fits for all fits.

    A five-fold study would have five numbers to compare; this has every row. The loss is the log loss whatever the
    metric, so a trial is pruned only where its reported metric is behind the incumbent's at this step as well.

    alpha: false-prune rate; margin: share of the incumbent's loss that a trial may be worse and still be of use to a
    blend; min_rows: no test on fewer
    """

    def __init__(
        self, *, incumbent: Incumbent | None = None, alpha: float = 0.05, margin: float = 0.1, min_rows: int = 200
    ) -> None:
        if not 0 < alpha < 1 or margin < 0 or min_rows < 2:
            raise ValueError(
                f"alpha={alpha}, margin={margin}, min_rows={min_rows}: 0 < alpha < 1, margin >= 0, rows >= 2"
            )
        self._incumbent = incumbent
        self._alpha, self._margin, self._min_rows = alpha, margin, min_rows
        self._excess: list[FloatArray] = []  # per finished fit, d of its rows
        self._n_fits = 0
        self.reason = ""

    def observe(self, losses: FloatArray, held_out: BoolArray, *, repeat: int, n_fits: int) -> None:
        """Take in a finished fit: the log loss (n_held_out,) of each row of the mask held_out (n_rows,)."""
        self._n_fits = n_fits
        if self._incumbent is not None:
            theirs = self._incumbent.row_losses[repeat][held_out]
            self._excess.append(losses - (1 + self._margin) * theirs)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:  # noqa: ARG002  Optuna's signature
        """Decide at the end of a fit; at any other step the answer is no."""
        n_done, step = len(self._excess), trial.last_step
        if self._incumbent is None or step is None or step != 100 * n_done or not 0 < n_done < self._n_fits:
            return False
        theirs = dict(self._incumbent.reports).get(step)
        if theirs is None or not trial.intermediate_values[step] < theirs:
            return False
        p_value = excess_p_value(self._excess) if sum(map(len, self._excess)) >= self._min_rows else 1.0
        limit = spent(n_done, self._n_fits, alpha=self._alpha) - spent(n_done - 1, self._n_fits, alpha=self._alpha)
        if p_value >= limit:
            return False
        self.reason = (
            f"loses more than {1 + self._margin:g} times what trial {self._incumbent.number} loses on the rows of "
            f"{n_done} of {self._n_fits} fits (p = {p_value:.1e}, limit {limit:.1e})"
        )
        return True


def excess_p_value(excess: list[FloatArray]) -> float:
    """One-sided p-value of mean <= 0 over all rows; excess: one array (n_held_out,) per fit."""
    from scipy.stats import t

    rows = np.concatenate(excess)
    if not np.isfinite(rows).all():
        return 1.0
    errors = [float(rows.std(ddof=1) / math.sqrt(len(rows)))]
    if len(excess) > 1:
        means = np.array([part.mean() for part in excess])
        errors.append(float(means.std(ddof=1) / math.sqrt(len(means))))
    error, mean = max(errors), float(rows.mean())
    return float(t.sf(mean / error, df=len(rows) - 1)) if error > 0 else float(mean <= 0)


def spent(n_looks: int, n_fits: int, *, alpha: float) -> float:
    """How much of the false-prune rate the first looks may spend together."""
    return alpha * math.log1p((math.e - 1) * n_looks / n_fits)


def _patient(*, wrapped: str = "median", wrapped_kwargs: Mapping[str, Any] | None = None, **kwargs: Any) -> BasePruner:
    return optuna.pruners.PatientPruner(PRUNERS[wrapped](**(wrapped_kwargs or {})), **{"patience": 1, **kwargs})


PRUNERS: dict[str, Callable[..., BasePruner]] = {
    PAIRED: PairedLossPruner,
    NONE: optuna.pruners.NopPruner,
    "median": optuna.pruners.MedianPruner,
    "percentile": optuna.pruners.PercentilePruner,
    "asha": optuna.pruners.SuccessiveHalvingPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "threshold": optuna.pruners.ThresholdPruner,
    "wilcoxon": optuna.pruners.WilcoxonPruner,
    PATIENT: _patient,
}


@dataclass(frozen=True, kw_only=True)
class PrunerChoice:
    """A pruner by name, with the options that a user gave it."""

    name: str = PAIRED
    kwargs: Mapping[str, Any]

    @property
    def reads_history(self) -> bool:
        """Whether it compares a trial with the reports of all earlier ones."""
        return self.name not in (NONE, PAIRED)

    @property
    def reads_incumbent(self) -> bool:
        """Whether it compares a trial with the rows of the best one."""
        return self.name == PAIRED

    def check(self) -> None:
        """Make one to see whether name and options are right; raises ConfigError that says which is not."""
        if self.name not in PRUNERS:
            hint = did_you_mean(self.name, PRUNERS)
            raise ConfigError(f"--pruner: {self.name!r} is not one of {', '.join(PRUNERS)}{hint}")
        known = [name for name in inspect.signature(PRUNERS[self.name]).parameters if name != "incumbent"]
        for key in self.kwargs:
            if key not in known and self.name != PATIENT:
                hint = did_you_mean(key, known) or f"; known: {', '.join(known) or 'none'}"
                raise ConfigError(f"--pruner-kwargs: {self.name} has no option {key!r}{hint}")
        try:
            make_pruner(self.name, self.kwargs, incumbent=None)
        except (TypeError, ValueError, KeyError) as error:
            raise ConfigError(f"--pruner-kwargs: {self.name} does not take {dict(self.kwargs)} ({error})") from None


def pruner_of(job: TrialJob) -> BasePruner:
    """The pruner of a trial."""
    return make_pruner(job.pruner, job.pruner_kwargs or {}, incumbent=job.incumbent)


def make_pruner(name: str, kwargs: Mapping[str, Any], *, incumbent: Incumbent | None) -> BasePruner:
    """A fresh pruner by name."""
    known = {"incumbent": incumbent} if name == PAIRED else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna marks some pruners as experimental
        return PRUNERS[name](**known, **kwargs)
