"""One trial: a pure function that reports, prunes, fails and stops as it should, and resumes from its checkpoints."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from search.checkpoint import FitCheckpoints, pack_outcome, unpack_outcome
from search.objective import run_trial
from search.spec import Incumbent, Progress, TrialJob, TrialSpec
from search.studytrial import InputsFolder, run_study_trial
from search.worker import DiskFull, Hooks, TrialStopped
from tests.builders import make_inputs
from textclf.arrays import array_digest
from textclf.crossval import EpochPoint, FitOutcome
from textclf.errors import RunError
from textclf.families import config_dict, parse_config
from textclf.inputs import Inputs, save_inputs
from textclf.metrics import row_losses
from textclf.protocols import DivergedError
from textclf.records import TrialRecord, trial_digest
from textclf.store import PredictionStore, open_store

SMALL_DAN = {"family": "dan", "dense_size": 8, "batch_size": 16, "n_epochs": 2, "lr_max": 0.02}
SILENT = Hooks(tell=lambda _: None, should_stop=lambda: False)


def spec_of(inputs: Inputs, *, number: int = 3, **changes: Any) -> TrialSpec:
    """A trial of a deep averaging network that trains in a moment."""
    return TrialSpec(
        study="study",
        number=number,
        params=config_dict(parse_config({**SMALL_DAN, **changes}, source="test")),
        seed=5,
        data_digest=inputs.data_digest,
        fold_digest=inputs.folds.digest,
        metric="roc_auc",
    )


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    """A toy study of 120 rows in three folds."""
    return make_inputs()


@pytest.fixture(scope="module")
def record(inputs: Inputs) -> TrialRecord:
    """What the trial gives."""
    return run_trial(TrialJob(spec=spec_of(inputs)), inputs, hooks=SILENT)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PredictionStore]:
    """An empty prediction store."""
    with open_store(f"sqlite:///{tmp_path}/store.db") as opened:
        yield opened


def test_a_trial_is_a_pure_function(inputs: Inputs, record: TrialRecord) -> None:
    """The same specification gives the same bits, whatever was computed before."""
    run_trial(TrialJob(spec=spec_of(inputs, dropout=0.4)), inputs, hooks=SILENT)
    again = run_trial(TrialJob(spec=spec_of(inputs)), inputs, hooks=SILENT)

    assert trial_digest(again) == trial_digest(record)
    assert {name: array_digest(array) for name, array in again.arrays().items()} == {
        name: array_digest(array) for name, array in record.arrays().items()
    }


def test_the_record_is_complete(inputs: Inputs, record: TrialRecord) -> None:
    """Scores, thresholds, curves and environment are there, and the arrays have the shapes of the study."""
    assert record.outcome == "complete"
    assert record.oof.shape == (120, 2)
    assert record.test_proba.shape == (30, 2)
    assert len(record.fold_scores) == 3
    assert len(record.curves) == 6
    assert record.environment["threads"] == "1"
    assert record.attributes["n_parameters"] > 100


def test_reports_meet_at_the_ends_of_folds(inputs: Inputs, record: TrialRecord) -> None:
    """Step 100 k is the end of fit k whatever the epochs; the value is the mean of the scores of the fits so far."""
    finals = [point["valid_score"] for point in record.curves if point["epoch"] == 1]
    first = [point["valid_score"] for point in record.curves if point["epoch"] == 0]

    assert [step for step, _ in record.reports] == [50, 100, 150, 200, 250, 300]
    assert [value for _, value in record.reports[1::2]] == pytest.approx(
        [finals[0], np.mean(finals[:2]), np.mean(finals)]
    )
    assert record.reports[2][1] == pytest.approx((finals[0] + first[1]) / 2)


def test_a_pruned_trial_keeps_what_it_reported(inputs: Inputs, record: TrialRecord) -> None:
    """It ends after the fold that decided, says why, and has no predictions."""
    losses = row_losses(inputs.labels, record.oof, inputs.task)[np.newaxis]
    unbeatable = Incumbent(number=0, row_losses=losses / 50, reports=((100, 1.0), (200, 1.0), (300, 1.0)))
    job = TrialJob(spec=spec_of(inputs), pruner="paired", pruner_kwargs={"min_rows": 30}, incumbent=unbeatable)
    pruned = run_trial(job, inputs, hooks=SILENT)

    assert pruned.outcome == "pruned"
    assert pruned.reports == record.reports[:2]
    assert pruned.curves == tuple(
        {**point, "seconds": mine["seconds"]} for point, mine in zip(record.curves, pruned.curves, strict=False)
    )
    assert "trial 0" in pruned.reason
    assert pruned.score is None
    assert pruned.oof.size == 0


def test_row_losses_of_repeats_are_kept(record: TrialRecord) -> None:
    """With repeats the mean prediction hides what each fit lost, so the losses are stored; without, they follow."""
    repeated = make_inputs(n_rows=60, n_repeats=2)
    trial = run_trial(TrialJob(spec=spec_of(repeated)), repeated, hooks=SILENT)

    assert trial.extra["row_losses"].shape == (2, 60)
    assert np.isfinite(trial.extra["row_losses"]).all()
    assert "row_losses" not in record.extra


@pytest.mark.parametrize(
    ("raised", "outcome", "words"),
    [
        (DivergedError("loss is nan"), "failed", "diverged: loss is nan"),
        (ZeroDivisionError("by three"), "failed", "ZeroDivisionError: by three"),
    ],
)
def test_failures_of_a_trial_are_results(inputs: Inputs, raised: Exception, outcome: str, words: str) -> None:
    """A diverged training and a bug in a family are recorded with their reason; a bug with its traceback."""

    def objective(*_: Any, **__: Any) -> Any:
        raise raised

    failed = run_trial(TrialJob(spec=spec_of(inputs)), inputs, hooks=SILENT, objective=objective)

    assert failed.outcome == outcome
    assert words in failed.reason


@pytest.mark.parametrize(
    ("raised", "heard"),
    [
        (MemoryError(), MemoryError),
        (OSError(5, "Input/output error"), OSError),
        (OSError(28, "No space left on device"), DiskFull),
        (RunError("the cache cannot be written"), DiskFull),
    ],
)
def test_failures_of_the_machine_are_not(inputs: Inputs, raised: Exception, heard: type[Exception]) -> None:
    """Memory and disk are not the parameters' doing: the error goes up, and the trial can be tried again.

    A full disk is found under whatever was made of it.
    """

    def objective(*_: Any, **__: Any) -> Any:
        raise raised from OSError(122, "Disk quota exceeded") if isinstance(raised, RunError) else None

    with pytest.raises(heard):
        run_trial(TrialJob(spec=spec_of(inputs)), inputs, hooks=SILENT, objective=objective)


def test_a_trial_stops_at_its_next_epoch(inputs: Inputs) -> None:
    """Asked to stop, it ends with TrialStopped and no record."""
    heard: list[Progress] = []
    hooks = Hooks(tell=heard.append, should_stop=lambda: len(heard) == 3)

    with pytest.raises(TrialStopped):
        run_trial(TrialJob(spec=spec_of(inputs)), inputs, hooks=hooks)

    assert [(progress.fit_number, progress.epoch) for progress in heard] == [(0, 0), (0, 1), (1, 0)]


def test_threads_are_those_of_the_specification(inputs: Inputs) -> None:
    """The record says the threads it ran with, and the process has its own back afterwards."""
    before = torch.get_num_threads()
    trial = run_trial(TrialJob(spec=dataclasses.replace(spec_of(inputs), threads=2)), inputs, hooks=SILENT)

    assert trial.environment["threads"] == "2"
    assert torch.get_num_threads() == before


def test_a_stopped_trial_resumes_at_its_next_fit(inputs: Inputs, record: TrialRecord, store: PredictionStore) -> None:
    """Finished fits come from the store, the rest is trained, and the bits are those of a trial that ran through."""
    spec = spec_of(inputs)
    heard: list[Progress] = []
    hooks = Hooks(tell=heard.append, should_stop=lambda: len(heard) == 3)
    with pytest.raises(TrialStopped):
        run_trial(TrialJob(spec=spec), inputs, hooks=hooks, checkpoints=FitCheckpoints(store, spec, least_seconds=0))

    read: list[int] = []

    class Spy(FitCheckpoints):
        def read(self, fit_number: int) -> FitOutcome | None:
            found = super().read(fit_number)
            read.extend([fit_number] if found else [])
            return found

    resumed = run_trial(TrialJob(spec=spec), inputs, hooks=SILENT, checkpoints=Spy(store, spec, least_seconds=0))

    assert read == [0, 1]  # it was stopped when it told of the end of its second fit
    assert trial_digest(resumed) == trial_digest(record)
    assert array_digest(resumed.oof) == array_digest(record.oof)
    assert array_digest(resumed.test_proba) == array_digest(record.test_proba)


def test_checkpoints_of_another_specification_are_not_found(inputs: Inputs, store: PredictionStore) -> None:
    """Another seed, or another parameter, and the fit is run."""
    spec = spec_of(inputs)
    outcome = an_outcome()
    FitCheckpoints(store, spec, least_seconds=0).write(0, outcome)

    assert FitCheckpoints(store, spec).read(0) is not None
    assert FitCheckpoints(store, dataclasses.replace(spec, seed=6)).read(0) is None
    assert FitCheckpoints(store, spec_of(inputs, dropout=0.3)).read(0) is None


def test_fast_fits_are_not_kept(inputs: Inputs, store: PredictionStore) -> None:
    """Writing would cost more than running again."""
    spec = spec_of(inputs)
    FitCheckpoints(store, spec, least_seconds=10).write(0, an_outcome(seconds=9.9))
    FitCheckpoints(store, spec, least_seconds=10).write(1, an_outcome(seconds=10.1))

    assert FitCheckpoints(store, spec).read(0) is None
    assert FitCheckpoints(store, spec).read(1) is not None


def test_an_outcome_survives_packing() -> None:
    """Arrays come back bit for bit, NaN and empty ones included, and the curve with its numbers."""
    outcome = an_outcome()
    again = unpack_outcome(*pack_outcome(outcome))

    for name in ("held_out_proba", "test_proba", "holdout_proba"):
        assert array_digest(getattr(again, name)) == array_digest(getattr(outcome, name))
    assert repr(again.curve) == repr(outcome.curve)
    assert (again.n_parameters, again.notes) == (outcome.n_parameters, outcome.notes)


def test_workers_refuse_other_inputs(inputs: Inputs, tmp_path: Path) -> None:
    """A worker with the inputs of another study says so instead of computing nonsense."""
    folder = save_inputs(make_inputs(seed=9), tmp_path / "inputs")

    with pytest.raises(RunError, match="digests differ"):
        run_study_trial(TrialJob(spec=spec_of(inputs)), SILENT, InputsFolder(folder), storage_url=None)


def test_kept_inputs_give_the_same_bits(inputs: Inputs, record: TrialRecord, tmp_path: Path) -> None:
    """A trial on memory-mapped inputs equals one on inputs in memory."""
    folder = save_inputs(inputs, tmp_path / "inputs")
    trial = run_study_trial(TrialJob(spec=spec_of(inputs)), SILENT, InputsFolder(folder), storage_url=None)

    assert array_digest(trial.oof) == array_digest(record.oof)


def test_equal_parameters_have_equal_digests(inputs: Inputs) -> None:
    """Name and number do not decide a trial's bits; parameters, seed, data, metric, device and threads do."""
    spec = spec_of(inputs)

    assert dataclasses.replace(spec, number=9, study="other").digest == spec.digest
    for change in (
        {"seed": 6},
        {"data_digest": "x"},
        {"fold_digest": "x"},
        {"metric": "f1"},
        {"device": "cuda"},
        {"threads": 2},
    ):
        assert dataclasses.replace(spec, **change).digest != spec.digest


def an_outcome(*, seconds: float = 1.0) -> FitOutcome:
    """What a fit leaves behind."""
    rng = np.random.default_rng(0)
    held_out = rng.random((7, 2))
    held_out[3] = np.nan
    point = EpochPoint(
        repeat=0,
        fold=1,
        epoch=0,
        n_epochs=1,
        train_loss=0.1 + 0.2,
        valid_loss=1 / 3,
        valid_score=float("nan"),
        seconds=seconds,
    )
    return FitOutcome(
        held_out_proba=held_out,
        test_proba=rng.random((3, 2)),
        holdout_proba=np.zeros((0, 2)),
        curve=(point,),
        n_parameters=12,
        notes=("a note",),
    )
