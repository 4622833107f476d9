"""Which parameters decide the score: fANOVA (Hutter et al. 2014), as Optuna computes it, on complete trials.

Conditional spaces are taken apart: once over all families with what they share, and once within each family.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from search.ranking import families_of, family_of, is_logarithmic, is_number, searched
from textclf.records import TrialSummary

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST_TRIALS = 10
MOST_TRIALS = 300  # the forest's cost grows with the square; the latest ones are taken
N_TREES = 64
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Importances:
    """Shares of the variance of the score that a random forest explains, largest first; they sum to one.

    scope: a family, or "all families"; n_trials: how many were taken
    """

    scope: str
    n_trials: int
    shares: dict[str, float]


def find_importances(trials: Sequence[TrialSummary]) -> list[Importances]:
    """Importances over all families and within each one that has ten or more complete trials and something to tell."""
    complete = [trial for trial in trials if trial.outcome == "complete" and trial.score is not None]
    families = families_of(complete)
    scopes = {family: [trial for trial in complete if family_of(trial) == family] for family in families}
    names = searched(complete)
    if len(families) > 1:
        shared = set.intersection(*(set(trial.params) for trial in complete))
        differing = [
            name for name in complete[0].params if len({repr(trial.params.get(name)) for trial in complete}) > 1
        ]
        common = [name for name in differing if name in shared]
        names = {"all families": common if len(common) > 1 else [], **names}
        scopes = {"all families": complete, **scopes}
    return [
        Importances(
            scope=scope, n_trials=min(len(mine), MOST_TRIALS), shares=_shares(mine[-MOST_TRIALS:], names[scope])
        )
        for scope, mine in scopes.items()
        if len(mine) >= FEWEST_TRIALS and names[scope] and len({trial.score for trial in mine}) > 1
    ]


def _shares(trials: Sequence[TrialSummary], names: Sequence[str]) -> dict[str, float]:
    import optuna
    from optuna.importance import FanovaImportanceEvaluator

    from search.quiet import quiet_optuna

    distributions = {name: _distribution([trial.params[name] for trial in trials]) for name in names}
    with quiet_optuna():
        study = optuna.create_study(direction="maximize")
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params={name: _coordinate(trial.params[name], distributions[name]) for name in names},
                    distributions=distributions,
                    value=trial.score,
                )
                for trial in trials
            ]
        )
        evaluator = FanovaImportanceEvaluator(n_trees=N_TREES, seed=SEED)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in sorted(found.items(), key=lambda pair: -pair[1])}


def _distribution(values: Sequence[Any]) -> "BaseDistribution":
    """The range that values lie in; a parameter's own range may be wider, which changes nothing here."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(is_number(value) for value in values):
        return FloatDistribution(min(values), max(values), log=is_logarithmic(values))
    return CategoricalDistribution(sorted({str(value) for value in values}))


def _coordinate(value: Any, distribution: "BaseDistribution") -> Any:
    from optuna.distributions import FloatDistribution

    return float(value) if isinstance(distribution, FloatDistribution) else str(value)
