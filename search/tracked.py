"""What MLflow keeps of a trial: its numbers and its tags."""

import math
from collections.abc import Iterator

from search.ranking import rank_trials
from textclf.records import TrialSummary

SHOWN_REASON = 500
SHOWN_DIGITS = 6  # after the point, of numbers that are read, not computed with: MLflow's columns cut long ones


def trial_metrics(trial: TrialSummary) -> Iterator[tuple[str, float, int]]:
    """(name, value, step): scores, folds by number, and curves by epoch, each fold's and their mean."""
    if trial.score is not None:
        yield "oof_score", trial.score, 0
    for standing in rank_trials([trial]):
        yield "fold_mean", round(standing.fold_mean, SHOWN_DIGITS), 0
        yield "fold_std", round(standing.fold_std, SHOWN_DIGITS), 0
    for fit, score in enumerate(trial.fold_scores):
        yield "fold_score", score, fit
    yield "seconds", round(trial.seconds, 2), 0
    if "n_parameters" in trial.attributes:
        yield "n_parameters", float(trial.attributes["n_parameters"]), 0
    by_epoch: dict[tuple[str, int], list[float]] = {}
    for point in trial.curves:
        for name in ("train_loss", "valid_loss", "valid_score"):
            if not math.isnan(point[name]):
                yield f"fold_{int(point['fit'])}/{name}", point[name], int(point["epoch"])
                by_epoch.setdefault((name, int(point["epoch"])), []).append(point[name])
    for (name, epoch), values in by_epoch.items():
        yield name, sum(values) / len(values), epoch


def trial_tags(trial: TrialSummary) -> dict[str, str]:
    """State, reason, seed and environment of a trial."""
    tags = {"optuna.trial_state": trial.outcome, "seed": str(trial.seed)}
    tags |= {f"env.{name}": value for name, value in trial.environment.items()}
    if trial.reason:
        tags["reason"] = trial.reason[:SHOWN_REASON]
    if trial.notes:
        tags["notes"] = "; ".join(trial.notes)
    return tags
