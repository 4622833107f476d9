"""Blend a study from Python: members in, an honest evaluation and a submission out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ensemble.diversity import Diversity, compare_members, contributions
from ensemble.drift import DriftLine, check_drift
from ensemble.evaluate import Evaluation, HoldoutScore, evaluate, score_holdout
from ensemble.files import check_writable, write_whole
from ensemble.members import Pool, read_pool
from ensemble.mixtures import Evidence
from ensemble.provenance import describe, provenance_path
from ensemble.recipe import REDUNDANT, Recipe
from ensemble.submission import SubmissionPlan, plan_submission, render_submission
from ensemble.values import Values
from textclf.arrays import FloatArray, IntArray
from textclf.errors import ConfigError
from textclf.metrics import Metric, get_metric
from textclf.place import only_study, open_study_store, shown_url

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True, repr=False)
class BlendResult:
    """A blend, what it is worth, and what it was made from.

    chosen: (n_chosen,) int64 places in ``pool.members`` of those the blend considered, best first
    lost_without: (n_members,) float64 cross-fitted score lost when a member is left out; NaN where it has no weight
    test_proba: (n_test, n_outputs) float64 in the study's test order
    submission: the file that was written, if any
    """

    pool: Pool
    metric: Metric
    evaluation: Evaluation
    chosen: IntArray
    diversity: Diversity
    lost_without: FloatArray
    test_proba: FloatArray
    drift: tuple[DriftLine, ...]
    holdout: HoldoutScore | None
    plan: SubmissionPlan
    seed: int
    storage: str
    command: str
    submission: Path | None = None

    def __repr__(self) -> str:
        """The scores and the members that count; the arrays are attributes."""
        blend, single = self.evaluation.blend, self.evaluation.judged[0]
        shares = sorted((self.weights[place], self.pool.names[place]) for place in np.flatnonzero(self.weights))
        members = ", ".join(f"{name} {share:.2f}" for share, name in reversed(shares))
        told = [
            f"{blend.name}: {self.metric.name} {blend.cross_fitted:.5f} ({blend.low:.5f} to {blend.high:.5f})",
            f"best single {single.cross_fitted:.5f}",
            f"members {members}",
        ]
        if self.submission is not None:
            told.append(f"submission {self.submission}")
        return f"<BlendResult of {self.pool.study.name!r}, {'; '.join(told)}>"

    @property
    def weights(self) -> FloatArray:
        """(n_members,) float64 shares of the members of the pool."""
        return self.evaluation.blend.found.blend.weights

    @property
    def leaderboard(self) -> "pd.DataFrame":
        """Best single member, plain mean and blend, with scores, 95% intervals, optimism and gain."""
        import pandas as pd

        columns = ("cross_fitted", "low", "high", "fitted", "optimism", "gain", "gain_low", "gain_high")
        rows = [{name: getattr(judged, name) for name in ("name", *columns)} for judged in self.evaluation.judged]
        return pd.DataFrame(rows).set_index("name")

    @property
    def members(self) -> "pd.DataFrame":
        """The members considered: weight, OOF score, score lost without it, seconds, parameters."""
        import pandas as pd

        rows = [
            {
                "member": self.pool.members[place].name,
                "weight": self.weights[place],
                "oof_score": self.pool.members[place].score,
                "lost_without": self.lost_without[place],
                "seconds": self.pool.members[place].seconds,
                **self.pool.members[place].params,
            }
            for place in self.chosen
        ]
        return pd.DataFrame(rows).set_index("member")

    @property
    def correlation(self) -> "pd.DataFrame":
        """Correlation of the members considered."""
        import pandas as pd

        return pd.DataFrame(self.diversity.correlation, index=self.diversity.names, columns=self.diversity.names)


def blend_study(
    output: Path | str | None = None,
    *,
    storage: str | None = None,
    study_name: str | Sequence[str] | None = None,
    method: str = "greedy",
    top: int = 10,
    redundant: float = REDUNDANT,
    calibrate: str = "none",
    metric: str | None = None,
    sample_submission: Path | str | None = None,
    submission: Path | str | None = None,
    values: Values | Literal["auto"] = "auto",
    holdout: bool = False,
    exclude: Collection[int] = (),
    seed: int = 0,
    command: str = "",
) -> BlendResult:
    """Blend the complete trials of a study and judge the blend.

    output: the study's folder, which holds ``study.db``; or storage: a SQLAlchemy URL
    study_name: may be left out when there is one study; several on the same rows are blended together
    submission: where to write the submission, and its provenance beside it; nothing is written without it

    Raises ConfigError, DataError or RunError for whatever is the user's to mend, before anything is written.

    >>> result = blend_study("runs/quora", sample_submission="sample_submission.csv")  # doctest: +SKIP
    >>> result.leaderboard.loc["blend (greedy)", "cross_fitted"]  # doctest: +SKIP
    """
    recipe = Recipe(method=method, top=top, redundant=redundant, calibrate=calibrate)
    target = None if submission is None else Path(submission)
    if target is not None:
        check_writable(target)
    with open_study_store(output, storage=storage) as store:
        names = [study_name] if isinstance(study_name, str) else list(study_name or [only_study(store)])
        pool, shown_storage = read_pool(store, names, exclude=exclude), shown_url(store)
    measured = get_metric(metric or pool.study.metric, pool.study.task)
    sample = None if sample_submission is None else Path(sample_submission)
    plan = plan_submission(pool.study, measured, sample=sample, values=values)
    if holdout and not pool.study.holdout_ids:
        raise ConfigError(f"--holdout: study {pool.study.name!r} set no rows apart; leave the option out")
    result = judge(
        pool, recipe, metric=measured, plan=plan, holdout=holdout, seed=seed, storage=shown_storage, command=command
    )
    return result if target is None else write_result(result, target)


def judge(
    pool: Pool,
    recipe: Recipe,
    *,
    metric: Metric,
    plan: SubmissionPlan,
    holdout: bool,
    seed: int,
    storage: str,
    command: str,
) -> BlendResult:
    """Find, evaluate and explain the blend."""
    study = pool.study
    known = pool.evidence(metric, seed=seed)
    evaluation = evaluate(known, recipe)
    found = evaluation.blend.found.blend
    chosen = recipe.choose(known)
    test_proba = found.apply(pool.test_proba)
    return BlendResult(
        pool=pool,
        metric=metric,
        evaluation=evaluation,
        chosen=chosen,
        diversity=compare_members([pool.names[place] for place in chosen], known.only(chosen)),
        lost_without=contributions(evaluation.blend.resolved, known, weights=found.weights),
        test_proba=test_proba,
        drift=check_drift(study.task.class_names, found.apply(known.proba), test_proba),
        holdout=judge_holdout(pool, evaluation, metric=metric, seed=seed) if holdout else None,
        plan=plan,
        seed=seed,
        storage=storage,
        command=command,
    )


def judge_holdout(pool: Pool, evaluation: Evaluation, *, metric: Metric, seed: int) -> HoldoutScore:
    """Score the blend on the rows that no trial saw."""
    labels = pool.study.holdout_labels
    apart = Evidence(
        proba=pool.holdout_proba,
        labels=labels,
        fold_of_row=np.zeros((1, len(labels)), dtype=np.int64),
        metric=metric,
        seed=seed,
    )
    return score_holdout(metric, evaluation.blend, apart)


def write_result(result: BlendResult, target: Path) -> BlendResult:
    """Write the submission and its provenance."""
    import dataclasses
    import json

    text = render_submission(
        result.plan,
        result.pool.study,
        result.test_proba,
        thresholds=result.evaluation.blend.found.thresholds,
        delimiter="\t" if target.suffix == ".tsv" else ",",
    )
    record = json.dumps(describe(result, submission=target, text=text), indent=2, ensure_ascii=False)
    write_whole(provenance_path(target), record + "\n")
    write_whole(target, text)
    return dataclasses.replace(result, submission=target)
