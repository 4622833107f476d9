"""Finished fits of a trial under way, kept in the prediction store, so that a long trial resumes at its next fit."""

import dataclasses
import io
from typing import Any

import numpy as np
import sqlalchemy as sa

from search.absence import find_fault, is_away
from search.spec import TrialSpec
from textclf.checkpoints import CheckpointKey, read_checkpoint, write_checkpoint
from textclf.crossval import EpochPoint, FitOutcome
from textclf.store import PredictionStore

LEAST_SECONDS = 2.0  # a fit that is faster than this is run again rather than kept
_ARRAYS = ("held_out_proba", "test_proba", "holdout_proba")


class FitCheckpoints:
    """Checkpoints of one trial; those of another specification are never found.

    A database that is away or damaged costs the checkpoint, not the trial: the coordinator will hear of it.
    """

    def __init__(self, store: PredictionStore, spec: TrialSpec, *, least_seconds: float = LEAST_SECONDS) -> None:
        self._store, self._spec, self._least_seconds = store, spec, least_seconds
        self._digest = spec.digest

    def read(self, fit_number: int) -> FitOutcome | None:
        """Give back what was written for a fit, or None."""
        try:
            found = read_checkpoint(self._store.engine, self._key(fit_number))
        except sa.exc.DBAPIError as error:
            if not _is_databases_fault(error):
                raise
            return None
        return None if found is None else unpack_outcome(*found)

    def write(self, fit_number: int, outcome: FitOutcome) -> None:
        """Keep the outcome of a finished fit, if it took long."""
        if outcome.curve[-1].seconds < self._least_seconds:
            return
        try:
            record, blob = pack_outcome(outcome)
            write_checkpoint(self._store.engine, self._key(fit_number), record, blob=blob)
        except sa.exc.IntegrityError:  # another worker, which was thought dead, wrote the same
            return
        except sa.exc.DBAPIError as error:
            if not _is_databases_fault(error):
                raise

    def _key(self, fit_number: int) -> CheckpointKey:
        return CheckpointKey(study=self._spec.study, number=self._spec.number, spec=self._digest, fit=fit_number)


def _is_databases_fault(error: Exception) -> bool:
    return is_away(error) or bool(find_fault(error))


def pack_outcome(outcome: FitOutcome) -> tuple[dict[str, Any], bytes]:
    """A JSON record and the arrays as the bytes of a NumPy archive."""
    record = {
        "curve": [dataclasses.asdict(point) for point in outcome.curve],
        "n_parameters": outcome.n_parameters,
        "notes": outcome.notes,
    }
    buffer = io.BytesIO()
    np.savez(buffer, **{name: getattr(outcome, name) for name in _ARRAYS})
    return record, buffer.getvalue()


def unpack_outcome(record: dict[str, Any], blob: bytes) -> FitOutcome:
    """The outcome that was packed, bit for bit."""
    with np.load(io.BytesIO(blob), allow_pickle=False) as arrays:
        return FitOutcome(
            **{name: arrays[name] for name in _ARRAYS},
            curve=tuple(EpochPoint(**point) for point in record["curve"]),
            n_parameters=record["n_parameters"],
            notes=tuple(record["notes"]),
        )
