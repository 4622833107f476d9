"""What workers call: a trial of a study on its kept inputs."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from search.checkpoint import FitCheckpoints
from search.objective import run_trial
from search.spec import TrialJob
from search.worker import Hooks
from textclf.errors import RunError
from textclf.inputs import Inputs, load_inputs
from textclf.records import TrialRecord
from textclf.store import PredictionStore


@dataclass(frozen=True)
class InputsFolder:
    """Where a worker on this machine finds the inputs: memory-mapped, so that all workers share one copy."""

    path: Path


def run_study_trial(
    job: TrialJob, hooks: Hooks, shared: Inputs | InputsFolder, *, storage_url: str | None
) -> TrialRecord:
    """Run a trial; its finished fits are kept where storage_url says.

    Raises RunError where the inputs are not those of the study.
    """
    inputs = _load(shared.path) if isinstance(shared, InputsFolder) else shared
    spec = job.spec
    if (inputs.data_digest, inputs.folds.digest) != (spec.data_digest, spec.fold_digest):
        raise RunError(f"trial {spec.number}: the inputs here are not those of study {spec.study!r} (digests differ)")
    if storage_url is None:
        return run_trial(job, inputs, hooks=hooks)
    store = PredictionStore(storage_url)
    try:
        return run_trial(job, inputs, hooks=hooks, checkpoints=FitCheckpoints(store, spec))
    finally:
        store.close()


@lru_cache(maxsize=1)
def _load(folder: Path) -> Inputs:
    return load_inputs(folder)
