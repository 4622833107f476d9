"""What a submission was made from, as JSON beside it."""

import hashlib
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ensemble.study import BlendResult

FORMAT = 1
RECORDED_PACKAGES = ("textclf-search", "numpy", "scipy", "scikit-learn", "sqlalchemy")


def provenance_path(submission: Path) -> Path:
    """``out/submission.csv`` has its provenance in ``out/submission.provenance.json``."""
    return submission.with_suffix(".provenance.json")


def describe(result: "BlendResult", *, submission: Path, text: str) -> dict[str, Any]:
    """Everything that made a submission, in JSON values: weights, trials, digests, scores, command, versions.

    text: the submission's content, whose SHA-256 is recorded
    """
    study = result.pool.study
    return {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": result.command,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in RECORDED_PACKAGES}},
        "submission": {
            "file": submission.name,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "n_rows": len(result.plan.rows),
            "columns": list(result.plan.header),
            "values": result.plan.values,
        },
        "study": {
            "storage": result.storage,
            "names": list(result.pool.data_digests),
            "data_digests": dict(result.pool.data_digests),
            "fold_digest": study.fold_digest,
            "task": study.task.kind,
            "class_names": list(study.task.class_names),
            "n_rows": len(study.train_ids),
            "n_complete_trials": result.pool.n_complete,
        },
        **describe_scores(result),
        "members": [describe_member(result, int(place)) for place in result.chosen],
        "correlation": result.diversity.correlation.tolist(),
        "disagreement": result.diversity.disagreement.tolist(),
    }


def describe_scores(result: "BlendResult") -> dict[str, Any]:
    """The recipe and what it is worth, in JSON values; undefined scores are null."""
    recipe, blend = result.evaluation.blend.recipe, result.evaluation.blend
    scores = {
        judged.name: {
            name: finite(getattr(judged, name))
            for name in ("cross_fitted", "low", "high", "fitted", "optimism", "gain", "gain_low", "gain_high")
        }
        for judged in result.evaluation.judged
    }
    holdout = result.holdout
    return {
        "recipe": {
            "method": recipe.method,
            "way": blend.resolved.method,
            "top": recipe.top,
            "redundant": recipe.redundant,
            "calibrate": recipe.calibrate,
            "seed": result.seed,
        },
        "metric": result.metric.name,
        "scores": scores,
        "selection_bias": finite(result.evaluation.selection_bias),
        "thresholds": None if blend.found.thresholds is None else list(blend.found.thresholds),
        "holdout": None
        if holdout is None
        else {"n_rows": holdout.n_rows, "score": finite(holdout.score), "low": holdout.low, "high": holdout.high},
        "drift": [
            {"output": line.output, "oof_mean": line.oof_mean, "test_mean": line.test_mean, "ks": line.statistic}
            for line in result.drift
        ],
    }


def describe_member(result: "BlendResult", place: int) -> dict[str, Any]:
    """One member the blend considered, in JSON values."""
    member = result.pool.members[place]
    return {
        "study": member.study,
        "trial": member.number,
        "weight": float(result.weights[place]),
        "oof_score": finite(member.score),
        "lost_without": finite(float(result.lost_without[place])),
        "digests": dict(member.digests),
        "params": dict(member.params),
    }


def finite(value: float) -> float | None:
    """The number, or None where JSON has no word for it."""
    return float(value) if np.isfinite(value) else None
