"""The MLflow record: every trial once, in the right state, and nothing left running."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from search.tracked import trial_metrics
from search.tracking import Tracking
from tests.search.fakes import LABELS, study_record
from textclf.records import StudyRecord, TrialRecord, TrialSummary
from textclf.store import PredictionStore, open_store

STUDY = study_record("study")


def trial(number: int, outcome: str = "complete", **changes: Any) -> TrialRecord:
    """A finished trial of two folds and two epochs."""
    curves = tuple(
        {"fit": fit, "epoch": epoch, "train_loss": 0.5, "valid_loss": 0.4 + fit, "valid_score": 0.8 + epoch}
        for fit in (0, 1)
        for epoch in (0, 1)
    )
    proba = np.where(LABELS == 1, 0.8, 0.3)
    complete: dict[str, Any] = {
        "score": 0.9 - number / 100,
        "fold_scores": (0.8, 0.6),
        "oof": np.column_stack([1 - proba, proba]),
        "test_proba": np.ones((7, 2)) / 2,
    }
    told: dict[str, Any] = complete if outcome == "complete" else {"reason": f"{outcome} for a reason"}
    record = TrialRecord(
        study=STUDY.name,
        number=number,
        outcome=outcome,  # type: ignore[arg-type]
        params={"family": "dan", "dropout": 0.1 * number},
        seed=3,
        curves=curves,
        environment={"torch": "2.13", "device": "cpu"},
        seconds=2.0,
        **told,
    )
    return dataclasses.replace(record, **changes)


@pytest.fixture
def uri(empty_mlflow: Path, tmp_path: Path) -> str:
    """A tracking store of this test's own."""
    copy = tmp_path / "mlflow.db"
    copy.write_bytes(empty_mlflow.read_bytes())
    return f"sqlite:///{copy}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PredictionStore]:
    """A store with the study and no trial."""
    with open_store(f"sqlite:///{tmp_path}/study.db") as opened:
        opened.write_study(STUDY)
        yield opened


class Record:
    """A tracking and what it warned of."""

    def __init__(self, uri: str, store: PredictionStore, folder: Path, study: StudyRecord = STUDY) -> None:
        self.warnings: list[str] = []
        self.uri, self.store = uri, store
        self.tracking = Tracking(uri, store, study, artifacts=folder / "artifacts", warn=self.warnings.append)

    def finish(self, *trials: TrialRecord) -> None:
        """Commit trials to the store and record them, as the coordinator does."""
        for one in trials:
            self.store.write_trial(one)
            self.tracking.record(one)

    def runs(self, stage: str) -> list[Any]:
        """All runs of a stage, those left running included, oldest trial first."""
        client = MlflowClient(self.uri)
        (experiment,) = [one for one in client.search_experiments() if one.name == STUDY.name]
        found = client.search_runs([experiment.experiment_id], f"tags.stage = '{stage}'")
        return sorted(found, key=lambda run: int(run.data.tags.get("optuna.trial_number", -1)))


@pytest.fixture
def record(uri: str, store: PredictionStore, tmp_path: Path) -> Record:
    """A tracking that has begun."""
    made = Record(uri, store, tmp_path)
    made.tracking.begin({"train": "folder/train.csv"})
    return made


def test_a_study_is_a_parent_with_a_child_per_trial(record: Record) -> None:
    """Names are numbers, states follow outcomes, and the parent says what the data was."""
    record.finish(trial(0), trial(1, "pruned"), trial(2, "failed"))
    record.tracking.end("FINISHED")
    (parent,), children = record.runs("study"), record.runs("trial")

    assert record.warnings == []
    assert [run.info.run_name for run in children] == ["trial 0", "trial 1", "trial 2"]
    assert [run.info.status for run in children] == ["FINISHED", "KILLED", "FAILED"]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert [run.data.tags.get("reason") for run in children] == [None, "pruned for a reason", "failed for a reason"]
    assert parent.info.status == "FINISHED"
    (data,) = parent.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("train.csv", STUDY.data_digest)
    assert "| 1 | 0 | 0.90000 |" in parent.data.tags["mlflow.note.content"]
    assert parent.data.metrics["best_oof_score"] == 0.9


def test_a_trial_is_recorded_in_full(record: Record) -> None:
    """Parameters, scores, environment and every curve with the epoch as step, mean over folds and each fold."""
    record.finish(trial(0))
    (run,) = record.runs("trial")
    client = MlflowClient(record.uri)
    history = {
        name: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }

    assert run.data.params == {"family": "dan", "dropout": "0.0"}
    assert run.data.tags["env.torch"] == "2.13"
    assert run.data.tags["optuna.trial_number"] == "0"
    assert history["oof_score"] == [(0, 0.9)]
    assert history["fold_mean"] == [(0, 0.7)]
    assert history["fold_std"] == [(0, pytest.approx(np.std([0.8, 0.6], ddof=1), abs=1e-6))]
    assert history["fold_score"] == [(0, 0.8), (1, 0.6)]
    assert history["fold_1/valid_loss"] == [(0, 1.4), (1, 1.4)]
    assert history["valid_loss"] == [(0, pytest.approx(0.9)), (1, pytest.approx(0.9))]
    assert history["valid_score"] == [(0, 0.8), (1, 1.8)]
    assert run.info.end_time - run.info.start_time == 2000


def test_every_trial_says_how_far_it_is_behind_the_leader(record: Record, tmp_path: Path) -> None:
    """A new leader moves all the others; what is right already is not written again, nor after a restart."""
    record.finish(trial(2), trial(3, "pruned"), trial(1, fold_scores=(0.9, 0.9)))
    record.tracking.end("KILLED")
    gaps = [(run.data.metrics.get("behind"), run.data.metrics.get("behind_error")) for run in record.runs("trial")]

    assert gaps == [
        (0.0, 0.0),
        (0.01, pytest.approx(0.1)),
        (None, None),
    ]  # of fold differences 0.1 and 0.3

    later = Record(record.uri, record.store, tmp_path)
    later.tracking.begin({"train": "folder/train.csv"})
    later.tracking.end("KILLED")
    later.finish(trial(0, fold_scores=(0.9, 0.9)))
    later.tracking.end("KILLED")
    client = MlflowClient(record.uri)
    written = {
        run.info.run_name: [point.value for point in client.get_metric_history(run.info.run_id, "behind")]
        for run in later.runs("trial")
    }

    assert later.warnings == []
    assert written == {"trial 0": [0.0], "trial 1": [0.0, 0.01], "trial 2": [0.0, 0.01, 0.02], "trial 3": []}


def test_what_a_killed_process_left_is_mended(record: Record, tmp_path: Path) -> None:
    """Killed between store and MLflow, or in the middle of a run: the next start records each trial once."""
    record.finish(trial(0))
    record.store.write_trial(trial(1))  # killed before it was recorded
    record.store.write_trial(trial(2))
    client = MlflowClient(record.uri)
    torn = client.create_run(  # killed while it was recorded
        record.tracking.experiment_id, tags={"stage": "trial", "study": "study", "optuna.trial_number": "2"}
    )
    client.log_param(torn.info.run_id, "dropout", "half")
    blend = client.create_run(record.tracking.experiment_id, tags={"stage": "blend", "study": "study"})

    second = Record(record.uri, record.store, tmp_path)
    second.tracking.begin({})
    second.tracking.end("KILLED")

    assert second.warnings == []
    children = second.runs("trial")
    assert [run.data.tags["optuna.trial_number"] for run in children] == ["0", "1", "2"]
    assert [run.info.status for run in children] == ["FINISHED"] * 3
    assert children[2].data.params["dropout"] == "0.2"
    assert [run.info.status for run in second.runs("study")] == ["KILLED"]
    assert client.get_run(torn.info.run_id).info.status == "KILLED"
    assert client.get_run(blend.info.run_id).info.status == "KILLED"


def test_recording_again_changes_nothing(record: Record, tmp_path: Path) -> None:
    """A second run of a finished study adds no run and keeps those that are there."""
    record.finish(trial(0), trial(1, "pruned"))
    record.tracking.end("KILLED")
    before = {run.info.run_id for run in record.runs("trial")}

    second = Record(record.uri, record.store, tmp_path)
    second.tracking.begin({})
    second.tracking.end("KILLED")

    assert {run.info.run_id for run in second.runs("trial")} == before
    assert len(second.runs("study")) == 1


def test_the_best_trials_get_figures(record: Record) -> None:
    """At the end of a study that was not interrupted, the parent and the best complete trials have theirs."""
    record.finish(*(trial(number) for number in range(7)), trial(7, "pruned"))
    record.tracking.end("FINISHED", texts=[f"text {row}" for row in range(len(STUDY.train_ids))])
    client = MlflowClient(record.uri)
    files = [[file.path for file in client.list_artifacts(run.info.run_id)] for run in record.runs("trial")]

    assert record.warnings == []
    assert [bool(found) for found in files] == [True] * 5 + [False] * 3
    assert "out_of_fold.png" in files[0]
    assert "leaderboard.csv" in [file.path for file in client.list_artifacts(record.runs("study")[0].info.run_id)]


def test_mlflow_that_fails_costs_a_warning(store: PredictionStore, uri: str, tmp_path: Path) -> None:
    """A store that cannot be used is named; when it can, the next run records what is missing."""
    away = Record("nowhere://mlflow", store, tmp_path)
    away.tracking.begin({})
    away.finish(trial(0))
    away.tracking.end("KILLED")
    assert len(away.warnings) >= 1
    assert all("MLflow does not record" in line for line in away.warnings)

    later = Record(uri, store, tmp_path)
    later.tracking.begin({})

    assert [run.info.status for run in later.runs("trial")] == ["FINISHED"]


def test_a_failure_in_the_middle_is_made_good_at_the_end(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """While MLflow is away trials are only stored; at the end they are all recorded, each once."""
    record.finish(trial(0))
    client = record.tracking._client
    with monkeypatch.context() as broken:
        broken.setattr(client, "log_batch", lambda *_, **__: 1 / 0)
        record.finish(trial(1))
        record.finish(trial(2))
    record.tracking.end("KILLED")

    assert len(record.warnings) == 1
    assert [run.data.tags["optuna.trial_number"] for run in record.runs("trial")] == ["0", "1", "2"]
    assert {run.info.status for run in record.runs("trial")} == {"FINISHED"}


def test_undefined_numbers_are_left_out() -> None:
    """A fold without a score, a curve without a value: the mean is over what is defined."""
    point = {"fit": 0, "epoch": 0, "train_loss": float("nan"), "valid_loss": 0.5, "valid_score": float("nan")}
    summary = TrialSummary(
        study="s",
        number=0,
        outcome="complete",
        params={},
        seed=0,
        score=0.5,
        fold_scores=(float("nan"), 0.5),
        curves=(point,),
    )
    named = dict.fromkeys(name for name, value, _ in trial_metrics(summary) if not np.isnan(value))

    assert list(named) == ["oof_score", "fold_mean", "fold_score", "seconds", "fold_0/valid_loss", "valid_loss"]


def test_large_curves_are_logged_in_pieces(record: Record) -> None:
    """MLflow takes a thousand numbers at a time; a trial may have more."""
    curves = tuple(
        {"fit": fit, "epoch": epoch, "train_loss": 0.5, "valid_loss": 0.4, "valid_score": 0.8}
        for fit in range(10)
        for epoch in range(40)
    )
    record.finish(trial(0, curves=curves))
    (run,) = record.runs("trial")

    assert len(MlflowClient(record.uri).get_metric_history(run.info.run_id, "fold_9/valid_score")) == 40
    assert run.info.status == "FINISHED"
