"""Fit a trial's models again, bit for bit, and prove that they are the ones that were stored."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from textclf.arrays import FloatArray, array_digest
from textclf.config import TextConfig
from textclf.crossval import cross_validate
from textclf.determinism import environment, limit_threads
from textclf.errors import RunError
from textclf.families import parse_config
from textclf.inputs import Inputs
from textclf.metrics import get_metric
from textclf.protocols import Fitted
from textclf.records import StudyRecord, TrialRecord

EQUAL = 1e-6  # probabilities nearer than this differ by rounding only


@dataclass(frozen=True, kw_only=True)
class Retrained:
    """The fitted models of a trial, repeat by repeat and fold by fold.

    difference: largest distance of an OOF or test probability from the stored one; warning: why it is not zero
    """

    config: TextConfig
    fits: tuple[Fitted, ...]
    difference: float
    warning: str = ""


def retrain(trial: TrialRecord, study: StudyRecord, inputs: Inputs) -> Retrained:
    """Cross-validate a trial again, under its own seed, device and threads, and keep the models.

    Raises RunError where the probabilities are further than 1e-6 from the stored ones: on another kind of machine or
    with other versions a training may take another path, and its models would not be the ones that were judged.
    """
    device = str(study.settings.get("device", "cpu"))
    config = parse_config(trial.params, source=f"trial {trial.number}")
    fits: list[Fitted] = []
    with limit_threads(int(study.settings.get("threads", 1))), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the search told of what there was to tell
        run = cross_validate(
            inputs,
            config,
            metric=get_metric(study.metric, study.task),
            seed=trial.seed,
            device=device,
            on_fitted=fits.append,
        )
        here = environment(device)
    difference = farthest((run.oof, trial.oof), (run.test_proba, trial.test_proba))
    told = ""
    if array_digest(run.test_proba) != trial.digests["test_proba"] or difference > 0:
        told = differences(trial.environment, here)
        if not difference <= EQUAL:
            raise RunError(
                f"trial {trial.number} of study {study.name!r}: fitted again, its probabilities differ by up to "
                f"{difference:.1e} from the stored ones ({told}); export on a machine like the study's, or leave the "
                "trial out with --exclude"
            )
        told = (
            f"trial {trial.number} of study {study.name!r}: fitted again to {difference:.0e}, not bit for bit ({told})"
        )
    return Retrained(config=config, fits=tuple(fits), difference=difference, warning=told)


def farthest(*pairs: tuple[FloatArray, FloatArray]) -> float:
    """Largest distance between two arrays of a pair, over all pairs; infinite where shapes differ."""
    if any(left.shape != right.shape for left, right in pairs):
        return float("inf")
    return max(float(np.abs(left - right).max(initial=0.0)) for left, right in pairs)


def differences(recorded: Mapping[str, str], here: dict[str, str]) -> str:
    """What the record of a trial says of its machine, where this one differs.

    >>> differences({"torch": "2.13.0", "threads": "1"}, {"torch": "2.14.1", "threads": "1"})
    'torch 2.13.0 then, 2.14.1 here'
    """
    changed = [name for name in here if recorded.get(name, "unknown") != here[name]]
    told = [f"{name} {recorded.get(name, 'unknown')} then, {here[name]} here" for name in changed]
    return "; ".join(told) or "versions, processor and threads are the recorded ones"
