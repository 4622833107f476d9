"""What a trial is, before it runs: a specification that decides its bits, and the job that carries it to a worker."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from textclf.arrays import FloatArray, text_digest
from textclf.config import NEWER_PARAMETERS

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

DIVERGED = "diverged"  # how the reason of a failed trial begins whose numbers left the real line: a result, no accident
COPY_OF = "copy_of"  # attribute of a result that was not run: the number of the trial it was copied from
SPEC_FORMAT = 1  # raise it when equal specifications no longer give equal bits: checkpoints of older ones are void


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """Everything that decides a trial's bits, on one kind of machine.

    params: the whole configuration of the family, "family" among the keys; JSON values
    seed: the study's; equal parameters therefore give equal results
    device: "cpu" or "cuda"; threads: of each worker
    """

    study: str
    number: int
    params: Mapping[str, Any]
    seed: int
    data_digest: str
    fold_digest: str
    metric: str
    device: str = "cpu"
    threads: int = 1

    @property
    def digest(self) -> str:
        """SHA-256 over all but the study's name and the trial's number, as hex.

        Trials of equal digests that run to their end have equal results. Where one is pruned depends on what it may see
        besides, so a pruned result stands for no other trial.
        """
        params = {name: value for name, value in self.params.items() if (name, value) not in NEWER_PARAMETERS.items()}
        decisive = {
            "format": SPEC_FORMAT,
            "params": params,
            "seed": self.seed,
            "data": self.data_digest,
            "folds": self.fold_digest,
            "metric": self.metric,
            "device": self.device,
            "threads": self.threads,
        }
        return text_digest(json.dumps(decisive, sort_keys=True))


@dataclass(frozen=True, kw_only=True)
class Incumbent:
    """The best complete trial that a trial may see, for the paired pruner.

    row_losses: (n_repeats, n_rows) float64, the log loss of each row when it was held out
    reports: (step, value) as it reported them
    """

    number: int
    row_losses: FloatArray
    reports: tuple[tuple[int, float], ...]


@dataclass(frozen=True, kw_only=True)
class TrialJob:
    """A specification with what pruning may see: the finished trials of the frozen view, and no later one.

    history: one frozen trial per earlier number, those outside the view without results; empty unless the pruner reads
    it. incumbent: None unless the pruner reads it, and before any trial is complete.
    """

    spec: TrialSpec
    pruner: str = "none"
    pruner_kwargs: Mapping[str, Any] | None = None
    history: "tuple[FrozenTrial, ...]" = ()
    incumbent: Incumbent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a running trial is, for people to look at."""

    number: int
    repeat: int
    fold: int
    epoch: int
    n_epochs: int
    n_fits: int
    fit_number: int
    score: float
