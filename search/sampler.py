"""Which samplers keep the promise of an exact study, and how trial n gets its own.

Trial n is suggested by a fresh sampler, seeded from the study's seed and n, that looks at the frozen view. Whatever a
sampler keeps between trials it must therefore keep in the study or in its trials (TPE, CMA-ES, NSGA-II and QMC do), not
in itself.
"""

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textclf.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

LARGEST_SEED = 2**32  # numpy's RandomState, which Optuna uses, takes no larger one


def _tpe(seed: int, _study_seed: int, kwargs: Mapping[str, Any]) -> "BaseSampler":
    from optuna.samplers import TPESampler

    return TPESampler(**{"group": True, **kwargs}, seed=seed)  # conditional spaces are modelled family by family


def _random(seed: int, _study_seed: int, kwargs: Mapping[str, Any]) -> "BaseSampler":
    from optuna.samplers import RandomSampler

    return RandomSampler(**kwargs, seed=seed)


def _qmc(seed: int, study_seed: int, kwargs: Mapping[str, Any]) -> "BaseSampler":
    from optuna.samplers import QMCSampler, RandomSampler

    # one sequence for the study; its place in it stands in the study's attributes
    independent = RandomSampler(seed=seed)
    return QMCSampler(**kwargs, seed=study_seed, independent_sampler=independent, warn_independent_sampling=False)


def _cmaes(seed: int, _study_seed: int, kwargs: Mapping[str, Any]) -> "BaseSampler":
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(**kwargs, seed=seed, warn_independent_sampling=False)


def _gp(seed: int, _study_seed: int, kwargs: Mapping[str, Any]) -> "BaseSampler":
    from optuna.samplers import GPSampler

    return GPSampler(**kwargs, seed=seed, warn_independent_sampling=False)


def _nsga2(seed: int, _study_seed: int, kwargs: Mapping[str, Any]) -> "BaseSampler":
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(**kwargs, seed=seed)


SAMPLERS: dict[str, Callable[[int, int, Mapping[str, Any]], "BaseSampler"]] = {
    "tpe": _tpe,
    "random": _random,
    "qmc": _qmc,
    "cmaes": _cmaes,
    "gp": _gp,
    "nsga2": _nsga2,
}
REFUSED: dict[str, str] = {
    "grid": "it ends the study by itself and knows no conditional parameters",
    "bruteforce": "it ends the study by itself and needs a finite space",
    "nsga3": "it is made for several objectives, and a study here has one; nsga2 takes one",
    "partial_fixed": "fix a parameter in the space instead (--space: name = value)",
}


@dataclass(frozen=True, kw_only=True)
class SamplerChoice:
    """A sampler by name, with the options that a user gave it."""

    name: str = "tpe"
    kwargs: Mapping[str, Any]

    def for_trial(self, number: int, *, study_seed: int) -> "BaseSampler":
        """The sampler of one trial."""
        from textclf.determinism import derive_seed

        return self._make(derive_seed(study_seed, number) % LARGEST_SEED, study_seed % LARGEST_SEED)

    def check(self) -> None:
        """Make one to see whether name and options are right; raises ConfigError that says which is not."""
        if self.name in REFUSED:
            raise ConfigError(
                f"--sampler: {self.name} cannot keep a study exact: {REFUSED[self.name]}; "
                f"use one of {', '.join(SAMPLERS)}"
            )
        if self.name not in SAMPLERS:
            hint = did_you_mean(self.name, SAMPLERS)
            raise ConfigError(f"--sampler: {self.name!r} is not one of {', '.join(SAMPLERS)}{hint}")
        if "seed" in self.kwargs:
            raise ConfigError("--sampler-kwargs: seed is set for every trial from --seed; leave it out")
        try:
            sampler = self._make(0, 0)
        except (TypeError, ValueError, ImportError) as error:
            raise ConfigError(f"--sampler-kwargs: {self.name} does not take {dict(self.kwargs)} ({error})") from None
        known = inspect.signature(type(sampler)).parameters
        for key in self.kwargs:
            if key not in known:  # some samplers swallow unknown options
                raise ConfigError(f"--sampler-kwargs: {self.name} has no option {key!r}{did_you_mean(key, known)}")

    def _make(self, seed: int, study_seed: int) -> "BaseSampler":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna marks some options as experimental
            return SAMPLERS[self.name](seed, study_seed, self.kwargs)
