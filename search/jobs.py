"""From a trial as it was asked for to the job that a worker runs, with what its pruner may see."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optuna.trial import FrozenTrial

from search.incumbents import Incumbents
from search.pruning import NONE, PrunerChoice
from search.sampler import SamplerChoice
from search.spec import TrialJob, TrialSpec
from search.view import CONFIG, FrozenView
from textclf.records import StudyRecord, TrialSummary


@dataclass(frozen=True, kw_only=True)
class SearchRules:
    """What decides which trials a study has, beside its data and its space.

    lag: trial n sees the results of trials 0 .. n - lag, so that lag trials can run at one time
    first_trials: values of the first trials, by their names in Optuna; the sampler fills in what they leave out. They
        are never pruned: one good setting of each family is what makes a pool diverse
    """

    seed: int
    lag: int = 4
    sampler: SamplerChoice = field(default_factory=lambda: SamplerChoice(kwargs={}))
    pruner: PrunerChoice = field(default_factory=lambda: PrunerChoice(kwargs={}))
    first_trials: tuple[Mapping[str, Any], ...] = ()
    device: str = "cpu"
    threads: int = 1

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "SearchRules":
        """The rules that a study's record holds; of its first trials the number alone is of use."""
        return cls(
            seed=settings["seed"],
            lag=settings["lag"],
            sampler=SamplerChoice(name=settings["sampler"], kwargs=settings["sampler_kwargs"]),
            pruner=PrunerChoice(name=settings["pruner"], kwargs=settings["pruner_kwargs"]),
            first_trials=tuple(settings.get("first_trials", ())),
            device=settings["device"],
            threads=settings["threads"],
        )

    def to_settings(self) -> dict[str, Any]:
        """JSON values for the study's record."""
        return {
            "seed": self.seed,
            "lag": self.lag,
            "sampler": self.sampler.name,
            "sampler_kwargs": dict(self.sampler.kwargs),
            "pruner": self.pruner.name,
            "pruner_kwargs": dict(self.pruner.kwargs),
            "device": self.device,
            "threads": self.threads,
        }


@dataclass(frozen=True)
class Jobs:
    """Makes the jobs of one study."""

    study: StudyRecord
    rules: SearchRules
    view: FrozenView
    incumbents: Incumbents

    def spec(self, trial: FrozenTrial) -> TrialSpec:
        """What decides the bits of a trial."""
        return TrialSpec(
            study=self.study.name,
            number=trial.number,
            params=trial.user_attrs[CONFIG],
            seed=self.rules.seed,
            data_digest=self.study.data_digest,
            fold_digest=self.study.fold_digest,
            metric=self.study.metric,
            device=self.rules.device,
            threads=self.rules.threads,
        )

    def job(self, spec: TrialSpec, results: Mapping[int, TrialSummary]) -> TrialJob:
        """The trial with what its pruner may see; results: at least those its view shows."""
        is_first = spec.number < len(self.rules.first_trials)
        pruner = PrunerChoice(name=NONE, kwargs={}) if is_first else self.rules.pruner
        n_visible = self.view.n_visible(spec.number)
        return TrialJob(
            spec=spec,
            pruner=pruner.name,
            pruner_kwargs=dict(pruner.kwargs),
            history=self.view.history(spec.number, results) if pruner.reads_history else (),
            incumbent=self.incumbents.before(n_visible) if pruner.reads_incumbent else None,
        )
