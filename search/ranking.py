"""Who leads a study, by how much against its spread, and what it cost: numbers from the prediction store alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textclf.records import StudyRecord, TrialSummary

SMALLEST_LOG_RATIO = 5  # of the largest to the smallest value, for a logarithmic scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A complete trial's place in its study.

    fold_std: standard deviation of its fold scores (n - 1)
    gap: the leader's score minus this one's
    gap_error: standard error of the mean paired difference of fold scores from the leader's; NaN with fewer than two
    """

    rank: int
    trial: TrialSummary
    score: float
    fold_mean: float
    fold_std: float
    gap: float
    gap_error: float

    @property
    def family(self) -> str:
        """The family of its model."""
        return family_of(self.trial)


def rank_trials(trials: Sequence[TrialSummary]) -> list[Standing]:
    """The complete trials, best first; of equal scores the earlier trial."""
    complete = sorted(
        ((trial.score, trial) for trial in trials if trial.outcome == "complete" and trial.score is not None),
        key=lambda pair: (-pair[0], pair[1].number),
    )
    if not complete:
        return []
    best_score, leader = complete[0]
    return [
        Standing(
            rank=place,
            trial=trial,
            score=score,
            fold_mean=_mean(trial.fold_scores),
            fold_std=_std(trial.fold_scores),
            gap=best_score - score,
            gap_error=_paired_error(leader.fold_scores, trial.fold_scores),
        )
        for place, (score, trial) in enumerate(complete, start=1)
    ]


def best_so_far(trials: Sequence[TrialSummary]) -> list[tuple[int, float]]:
    """(trial number, best score up to it) wherever a trial took the lead, in number order."""
    lead: list[tuple[int, float]] = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.outcome == "complete" and trial.score is not None and (not lead or trial.score > lead[-1][1]):
            lead.append((trial.number, trial.score))
    return lead


def count_outcomes(trials: Sequence[TrialSummary]) -> dict[str, int]:
    """How many trials are complete, pruned and failed."""
    return {outcome: sum(trial.outcome == outcome for trial in trials) for outcome in ("complete", "pruned", "failed")}


def family_of(trial: TrialSummary) -> str:
    """The family of a trial's model."""
    return str(trial.params.get("family", "model"))


def families_of(trials: Sequence[TrialSummary]) -> list[str]:
    """The families of some trials, in the order of their first trial."""
    return list(dict.fromkeys(family_of(trial) for trial in trials))


def searched(trials: Sequence[TrialSummary]) -> dict[str, list[str]]:
    """Per family, the parameters that differ between its trials, in their recorded order."""
    found: dict[str, list[str]] = {}
    for family in families_of(trials):
        params = [trial.params for trial in trials if family_of(trial) == family]
        names = dict.fromkeys(name for one in params for name in one)
        found[family] = [name for name in names if len({repr(one.get(name)) for one in params}) > 1]
    return found


def describe_params(params: Mapping[str, Any], names: Sequence[str]) -> str:
    """Parameters in one line.

    >>> describe_params({"lr_max": 0.0042213, "batch_size": 256}, ["batch_size", "lr_max"])
    'batch_size 256, lr_max 0.00422'
    """
    return ", ".join(f"{name} {show_value(params[name])}" for name in names if name in params)


def is_number(value: Any) -> bool:
    """Whether a parameter's value lies on a line."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_logarithmic(values: Sequence[float]) -> bool:
    """Whether numbers spread more evenly on a logarithmic scale than on a plain one, judged by their median."""
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    if low <= 0 or high < SMALLEST_LOG_RATIO * low:
        return False
    middle = float(np.median(values))
    plain, logarithmic = (middle - low) / (high - low), math.log(middle / low) / math.log(high / low)
    return abs(logarithmic - 0.5) < abs(plain - 0.5)


def show_value(value: Any) -> str:
    """A parameter's value with as many digits as one reads."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def share_done(trial: TrialSummary, study: StudyRecord) -> float:
    """How much of a trial's training was done when it ended, between 0 and 1; 0 where it never reported."""
    if trial.outcome == "complete":
        return 1.0
    return min(1.0, trial.reports[-1][0] / (100 * count_fits(study))) if trial.reports else 0.0


def count_fits(study: StudyRecord) -> int:
    """How many models a complete trial trains: one per repeat and fold."""
    return sum(len(np.unique(folds)) for folds in study.fold_of_row)


def seconds_saved(trials: Sequence[TrialSummary], study: StudyRecord) -> float:
    """What pruned trials would have taken beyond what they took, at their own pace."""
    shares = [(trial.seconds, share_done(trial, study)) for trial in trials if trial.outcome == "pruned"]
    return sum(seconds * (1 / share - 1) for seconds, share in shares if share > 0)


def show_seconds(seconds: float) -> str:
    """A duration as one says it.

    >>> show_seconds(4.21), show_seconds(95), show_seconds(7980)
    ('4.2 s', '1 min 35 s', '2 h 13 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def _defined(scores: Sequence[float]) -> list[float]:
    return [score for score in scores if not math.isnan(score)]


def _mean(scores: Sequence[float]) -> float:
    defined = _defined(scores)
    return float(np.mean(defined)) if defined else math.nan


def _std(scores: Sequence[float]) -> float:
    defined = _defined(scores)
    return float(np.std(defined, ddof=1)) if len(defined) > 1 else math.nan


def _paired_error(left: Sequence[float], right: Sequence[float]) -> float:
    if len(left) != len(right):
        return math.nan
    differences = _defined([a - b for a, b in zip(left, right, strict=True)])
    return float(np.std(differences, ddof=1) / math.sqrt(len(differences))) if len(differences) > 1 else math.nan
