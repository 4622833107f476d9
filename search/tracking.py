"""MLflow: one parent run per study and one child per finished trial. The only import of mlflow.

A trial is recorded once it stands in the prediction store, with a handful of calls. Which trials are recorded is noted
beside the store, so a crash between the two leaves a trial that is recorded again, in a fresh run, at the next start.
MLflow that fails costs a warning: what is missing is recorded at the end or at the next start.
"""

import contextlib
import dataclasses
import math
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from search.artifacts import leaderboard_note, trial_note, write_study_artifacts, write_trial_artifacts
from search.gaps import Gaps
from search.ranking import rank_trials
from search.tracked import trial_metrics, trial_tags
from search.views import saved_views
from textclf.records import StudyRecord, TrialRecord, TrialSummary
from textclf.store import PredictionStore

STAGE, STUDY, NUMBER = "stage", "study", "optuna.trial_number"
STATES = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
METRICS_PER_BATCH = 1000  # MLflow's limits
PARAMS_PER_BATCH = 100
LONGEST_TAG = 5000
SECONDS_BETWEEN_NOTES = 20.0
N_DRAWN = 5  # best trials that get figures, at the end of a run
N_CURRENT = 50  # best trials whose distance from the leader is kept current while a study runs

_metadata = sa.MetaData()
_recorded = sa.Table(
    "textclf_recorded",
    _metadata,
    sa.Column("study", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("uri", sa.String(500), primary_key=True),
    sa.Column("run_id", sa.String(64), nullable=False),
)


class Tracking:
    """The MLflow record of one study.

    uri: tracking store; artifacts: folder for artifacts, or None where a server decides
    warn: hears a line when MLflow fails
    """

    def __init__(
        self,
        uri: str,
        store: PredictionStore,
        study: StudyRecord,
        *,
        artifacts: Path | None,
        warn: Callable[[str], None],
    ) -> None:
        self._uri, self._store, self._study, self._warn = uri, store, study, warn
        self._artifacts = artifacts
        self._source: Mapping[str, str] = {}
        self._client: Any = None
        self._experiment_id = ""
        self._parent_id = ""
        self._trials: dict[int, TrialSummary] = {}  # without curves and arrays
        self._gaps = Gaps()
        self._noted = -math.inf
        self._is_broken = False

    @property
    def experiment_id(self) -> str:
        """MLflow's id of the study's experiment; empty where MLflow failed."""
        return self._experiment_id

    def begin(self, source: Mapping[str, str]) -> None:
        """Open the parent run, close what a killed process left, and record what is missing.

        source: what the data set was read from, by name
        """
        self._source = source
        with self._forgiving():
            self._connect()
            self._sweep()
            self._open_parent()
            self._catch_up()

    def record(self, trial: TrialRecord) -> None:
        """Record a trial that has just finished."""
        self._trials[trial.number] = dataclasses.replace(_without_arrays(trial), curves=())
        if not self._is_broken:
            with self._forgiving():
                self._write(trial)
                if time.monotonic() > self._noted + SECONDS_BETWEEN_NOTES:
                    self._write_note()
                    self._write_gaps(n_most=N_CURRENT)

    def end(self, status: str, *, texts: Sequence[str] | None = None) -> None:
        """Record what is missing, draw the figures of a study that is done, and close the parent run.

        status: FINISHED, KILLED (interrupted) or FAILED; texts: of the training rows, for the tables of mistakes
        """
        self._is_broken = False
        with self._forgiving():
            if not self._parent_id:
                self.begin(self._source)
            self._catch_up()
            self._write_note()
            self._write_gaps(n_most=None if status == "FINISHED" else N_CURRENT)
            if status == "FINISHED":  # who interrupts a study does not wait for pictures
                self._log_figures(texts)
        with self._forgiving():
            if self._parent_id:
                self._client.set_terminated(self._parent_id, status=status)

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        """MLflow's failures are no reason to stop a study."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  MLflow raises whatever its store raises
            self._is_broken = True
            line = (str(error).splitlines() or [repr(error)])[0]
            self._warn(f"MLflow does not record ({line}); missing trials are recorded at the end or at the next start")

    def _connect(self) -> None:
        import logging

        logging.getLogger("alembic").setLevel(logging.WARNING)  # a line per migration of a new database
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        client = MlflowClient(self._uri)
        client.search_experiments(max_results=1)  # makes the tables where there are none
        _write_ahead(self._uri)
        experiment = client.get_experiment_by_name(self._study.name)
        if experiment is None:
            place = None if self._artifacts is None else self._artifacts.resolve().as_uri()
            self._experiment_id = client.create_experiment(self._study.name, artifact_location=place)
        else:
            self._experiment_id = experiment.experiment_id
        for key, view in saved_views(self._study).items():
            client.set_experiment_tag(self._experiment_id, key, view)
        self._client = client
        with self._store.engine.begin() as connection:
            _metadata.create_all(connection)

    def _sweep(self) -> None:
        """Close runs of this study that a killed process left running; trials among them are recorded afresh."""
        for run in self._search(f"attributes.status = 'RUNNING' AND tags.{STUDY} = '{self._study.name}'"):
            if run.data.tags.get(STAGE) == "trial":
                self._discard(run.info.run_id)
            elif run.data.tags.get(STAGE) != "study":
                self._client.set_terminated(run.info.run_id, status="KILLED")

    def _open_parent(self) -> None:
        found = self._search(f"tags.{STAGE} = 'study' AND tags.{STUDY} = '{self._study.name}'")
        if found:
            self._parent_id = found[0].info.run_id
            self._client.update_run(self._parent_id, status="RUNNING")
            return
        tags = {STAGE: "study", STUDY: self._study.name, "metric": self._study.metric}
        tags |= {f"setting.{key}": str(value)[:LONGEST_TAG] for key, value in self._study.settings.items()}
        run = self._client.create_run(self._experiment_id, tags=tags, run_name=f"{self._study.name} (study)")
        self._parent_id = run.info.run_id
        self._log_dataset(self._parent_id)

    def _catch_up(self) -> None:
        """Record finished trials that have no complete run."""
        done = self._run_ids()
        trials = self._store.trials(self._study.name)
        if done and not self._trials:
            runs = self._search(f"tags.{STAGE} = 'trial' AND tags.{STUDY} = '{self._study.name}'")
            self._gaps.read(runs, number_tag=NUMBER)
        for trial in trials:
            self._trials[trial.number] = dataclasses.replace(trial, curves=())
            if trial.number not in done:
                for run in self._search(f"tags.{STUDY} = '{self._study.name}' AND tags.`{NUMBER}` = '{trial.number}'"):
                    self._discard(run.info.run_id)
                self._write(trial)

    def _write(self, trial: TrialSummary) -> None:
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        run = self._client.create_run(
            self._experiment_id,
            start_time=now - int(trial.seconds * 1000),
            run_name=f"trial {trial.number}",
            tags={
                "mlflow.parentRunId": self._parent_id,
                STAGE: "trial",
                STUDY: self._study.name,
                NUMBER: str(trial.number),
            },
        )
        run_id = run.info.run_id
        self._gaps.forget(trial.number)
        values = [Metric(key, value, now, step) for key, value, step in trial_metrics(trial) if math.isfinite(value)]
        params = [Param(key, str(value)) for key, value in trial.params.items()]
        described = {**trial_tags(trial), "mlflow.note.content": trial_note(self._study, trial)}
        tags = [RunTag(key, value[:LONGEST_TAG]) for key, value in described.items()]
        self._client.log_batch(run_id, metrics=values[:METRICS_PER_BATCH], params=params[:PARAMS_PER_BATCH], tags=tags)
        for start in range(METRICS_PER_BATCH, len(values), METRICS_PER_BATCH):
            self._client.log_batch(run_id, metrics=values[start : start + METRICS_PER_BATCH])
        self._log_dataset(run_id)
        self._client.set_terminated(run_id, status=STATES[trial.outcome], end_time=now)
        if trial.outcome == "complete":
            best = max(other.score for other in self._trials.values() if other.score is not None)
            self._client.log_metric(self._parent_id, "best_oof_score", best, now, trial.number)
        with self._store.engine.begin() as connection:
            row = {"study": self._study.name, "number": trial.number, "uri": self._uri, "run_id": run_id}
            connection.execute(_recorded.insert().values(row))

    def _write_note(self) -> None:
        """Put the leaderboard on the parent."""
        trials = [self._trials[number] for number in sorted(self._trials)]
        self._client.set_tag(self._parent_id, "mlflow.note.content", leaderboard_note(self._study, trials))
        self._noted = time.monotonic()

    def _write_gaps(self, *, n_most: int | None = None) -> None:
        """Say of the best trials how far they are behind the leader."""
        standings = rank_trials(list(self._trials.values()))[:n_most]
        self._gaps.write(self._log_now, standings, self._run_ids())

    def _log_now(self, run_id: str, numbers: Mapping[str, float]) -> None:
        """Add numbers to a run, at the step of the trials so far."""
        from mlflow.entities import Metric

        now, step = int(time.time() * 1000), len(self._trials)
        self._client.log_batch(run_id, metrics=[Metric(name, value, now, step) for name, value in numbers.items()])

    def _log_figures(self, texts: Sequence[str] | None) -> None:
        """Draw the study, and the best trials that have no figures yet."""
        best = rank_trials(list(self._trials.values()))[:N_DRAWN]
        runs = self._run_ids()
        with tempfile.TemporaryDirectory() as folder:
            write_study_artifacts(Path(folder), self._study, [self._trials[number] for number in sorted(self._trials)])
            self._client.log_artifacts(self._parent_id, folder)
        for standing in best:
            run_id = runs.get(standing.trial.number)
            if run_id is None or self._client.list_artifacts(run_id):
                continue
            trial = self._store.read_trial(self._study.name, standing.trial.number)
            with tempfile.TemporaryDirectory() as folder:
                write_trial_artifacts(Path(folder), self._study, trial, texts=texts)
                self._client.log_artifacts(run_id, folder)

    def _run_ids(self) -> dict[int, str]:
        query = sa.select(_recorded.c.number, _recorded.c.run_id).where(*self._mine())
        with self._store.engine.connect() as connection:
            return {row.number: row.run_id for row in connection.execute(query)}

    def _mine(self) -> tuple[sa.ColumnElement[bool], ...]:
        return _recorded.c.study == self._study.name, _recorded.c.uri == self._uri

    def _log_dataset(self, run_id: str) -> None:
        import json

        from mlflow.entities import Dataset, DatasetInput, InputTag

        n_rows, n_test = len(self._study.train_ids), len(self._study.test_ids)
        data = Dataset(
            name=Path(self._source.get("train", self._study.name)).name,
            digest=self._study.data_digest[:32],
            source_type="local",
            source=json.dumps(dict(self._source)),
            profile=json.dumps({"num_rows": n_rows, "num_test_rows": n_test}),
        )
        self._client.log_inputs(run_id, [DatasetInput(data, tags=[InputTag("mlflow.data.context", "training")])])

    def _discard(self, run_id: str) -> None:
        self._client.set_terminated(run_id, status="KILLED")
        self._client.delete_run(run_id)

    def _search(self, query: str) -> list[Any]:
        found, token = [], None
        while True:
            page = self._client.search_runs([self._experiment_id], query, max_results=1000, page_token=token)
            found += page
            token = page.token
            if not token:
                return found


def _write_ahead(uri: str) -> None:
    """Let SQLite keep a write-ahead log: a trial is recorded twice as fast, and open pages do not hold it up."""
    if uri.startswith("sqlite:///"):
        connection = sqlite3.connect(uri.removeprefix("sqlite:///"), timeout=20)
        with contextlib.closing(connection):
            connection.execute("PRAGMA journal_mode=WAL")


def _without_arrays(trial: TrialRecord) -> TrialSummary:
    return TrialSummary(**{field.name: getattr(trial, field.name) for field in dataclasses.fields(TrialSummary)})
