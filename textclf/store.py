"""The prediction store: a trial's parameters, scores and arrays land in one transaction or not at all.

SQLAlchemy tables on SQLite or PostgreSQL, beside Optuna's own tables. Arrays are blobs with a SHA-256 each, checked on
reading, so no shared folder is needed and a crash leaves no half-written file. The store, not Optuna and not MLflow, is
the record of what has finished.
"""

import dataclasses
import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from textclf.arrays import FloatArray, IntArray, array_digest, text_digest
from textclf.config import Columns, Task
from textclf.errors import DataError, RunError, did_you_mean

FORMAT = 1  # raise it when a change moves predictions or the tables
TrialOutcome = Literal["complete", "pruned", "failed"]

_metadata = sa.MetaData()
_blob = sa.LargeBinary(length=2**31 - 1)
_studies = sa.Table(
    "textclf_studies",
    _metadata,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("format", sa.Integer, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
)
_trials = sa.Table(
    "textclf_trials",
    _metadata,
    sa.Column("study", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("score", sa.Float),
    sa.Column("record", sa.Text, nullable=False),
)
_arrays = sa.Table(
    "textclf_arrays",
    _metadata,
    sa.Column("study", sa.String(200), primary_key=True),
    sa.Column("owner", sa.Integer, primary_key=True),  # a trial's number, or STUDY_ARRAYS
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("dtype", sa.String(16), nullable=False),
    sa.Column("shape", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("blob", _blob, nullable=False),
)
_checkpoints = sa.Table(
    "textclf_checkpoints",
    _metadata,
    sa.Column("study", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("spec", sa.String(64), primary_key=True),  # digest of the trial's spec: another spec finds nothing
    sa.Column("fit", sa.Integer, primary_key=True),
    sa.Column("record", sa.Text, nullable=False),
    sa.Column("blob", _blob, nullable=False),
)
STUDY_ARRAYS = -1


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """What all trials of a study share.

    train_ids: (n_rows,) in file order; test_ids: (n_test,) in file order
    labels: (n_rows,) int64, or (n_rows, n_labels) int64 of 0/1 for multilabel
    fold_of_row: (n_repeats, n_rows) int64
    holdout_ids, holdout_labels: rows set apart that no trial saw; empty without a hold-out
    settings: whatever the search decided once for the study (seed, lag, sampler, space, ...), JSON values
    report: what a person was told about the data when the study began, line by line; decides nothing
    """

    name: str
    task: Task
    columns: Columns
    metric: str
    data_digest: str
    fold_digest: str
    train_ids: tuple[str, ...]
    test_ids: tuple[str, ...]
    labels: IntArray
    fold_of_row: IntArray
    holdout_ids: tuple[str, ...] = ()
    holdout_labels: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    settings: Mapping[str, Any] = field(default_factory=dict)
    report: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TrialSummary:
    """A finished trial without its arrays.

    score: on all OOF rows, higher is better; None unless complete
    fold_scores: one per fit (repeat-major); NaN where the metric is undefined on the fold
    thresholds: per output column (binary: one), found on all OOF rows, for the test rows; None where none is used
    reports: (step, value) in the order reported
    curves: one mapping per fit and epoch
    digests: SHA-256 of each array by name
    environment: versions, device, threads, engine
    reason: why it was pruned or failed; empty when complete
    attributes: JSON values by name: n_parameters, and what the search's pruner noted
    """

    study: str
    number: int
    outcome: TrialOutcome
    params: Mapping[str, Any]
    seed: int
    score: float | None = None
    fold_scores: tuple[float, ...] = ()
    thresholds: tuple[float, ...] | None = None
    reports: tuple[tuple[int, float], ...] = ()
    curves: tuple[Mapping[str, float], ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str = ""
    notes: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrialRecord(TrialSummary):
    """A finished trial with its arrays.

    oof: (n_rows, n_outputs) float64, rows in file order; empty unless complete
    test_proba: (n_test, n_outputs) float64, mean over the fold models
    holdout_proba: (n_holdout, n_outputs) float64, mean over the fold models; empty without a hold-out
    extra: further arrays by name (per-row losses of a pruned trial, for example)
    """

    oof: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    test_proba: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    holdout_proba: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array by the name it is stored under."""
        named: dict[str, NDArray[Any]] = {
            "oof": self.oof,
            "test_proba": self.test_proba,
            "holdout_proba": self.holdout_proba,
        }
        return {**{name: array for name, array in named.items() if array.size}, **self.extra}


class PredictionStore:
    """Studies, finished trials, their arrays, and checkpoints of trials under way.

    url: a SQLAlchemy URL, ``sqlite:///path/study.db`` or ``postgresql+psycopg://...``
    """

    def __init__(self, url: str) -> None:
        try:
            self.engine = sa.create_engine(url, connect_args=_connect_args(url))
        except (sa.exc.ArgumentError, ModuleNotFoundError) as error:
            raise DataError(
                f"--storage: {url!r} cannot be opened ({error}); use sqlite:///FILE or postgresql+psycopg://..."
            ) from None
        if url.startswith("sqlite"):
            sa.event.listen(self.engine, "connect", _tune_sqlite)

    def close(self) -> None:
        """Give the connections back; the store may not be used afterwards."""
        self.engine.dispose()

    def create_tables(self) -> None:
        """Make the tables where they are missing."""
        _metadata.create_all(self.engine)

    def study_names(self) -> list[str]:
        """Names of all studies, sorted; empty for a database without our tables."""
        if not sa.inspect(self.engine).has_table(_studies.name):
            return []
        with self.engine.connect() as connection:
            return sorted(connection.scalars(sa.select(_studies.c.name)))

    def write_study(self, record: StudyRecord) -> None:
        """Record a new study; one that is already there with the same content is left alone.

        Raises RunError when the name is taken by a study on other data, folds or settings.
        """
        if record.name in self.study_names():
            _refuse_other_study(self.read_study(record.name), record)
            return
        raw = {
            "task": dataclasses.asdict(record.task),
            "columns": dataclasses.asdict(record.columns),
            "metric": record.metric,
            "data_digest": record.data_digest,
            "fold_digest": record.fold_digest,
            "settings": dict(record.settings),
            "report": list(record.report),
        }
        arrays: dict[str, NDArray[Any]] = {
            "train_ids": _pack_strings(record.train_ids),
            "test_ids": _pack_strings(record.test_ids),
            "holdout_ids": _pack_strings(record.holdout_ids),
            "labels": record.labels,
            "fold_of_row": record.fold_of_row,
            "holdout_labels": record.holdout_labels,
        }
        with self.engine.begin() as connection:
            connection.execute(
                _studies.insert().values(name=record.name, format=FORMAT, record=json.dumps(raw, sort_keys=True))
            )
            _insert_arrays(connection, record.name, STUDY_ARRAYS, arrays)

    def read_study(self, name: str) -> StudyRecord:
        """Read what all trials of a study share; DataError when there is no such study."""
        names = self.study_names()
        if name not in names:
            known = f"studies there: {', '.join(names)}" if names else "there is no study yet"
            raise DataError(f"{_shown(self.engine)}: no study named {name!r}{did_you_mean(name, names)} ({known})")
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(_studies).where(_studies.c.name == name)).one()
            arrays = _select_arrays(connection, name, STUDY_ARRAYS)
        if row.format != FORMAT:
            raise DataError(
                f"study {name!r} has format {row.format}, this version writes {FORMAT}; start a new study name"
            )
        raw = json.loads(row.record)
        return StudyRecord(
            name=name,
            task=Task(kind=raw["task"]["kind"], class_names=tuple(raw["task"]["class_names"])),
            columns=Columns(**{key: _as_tuple(value) for key, value in raw["columns"].items()}),
            metric=raw["metric"],
            data_digest=raw["data_digest"],
            fold_digest=raw["fold_digest"],
            train_ids=_unpack_strings(arrays["train_ids"]),
            test_ids=_unpack_strings(arrays["test_ids"]),
            labels=arrays["labels"],
            fold_of_row=arrays["fold_of_row"],
            holdout_ids=_unpack_strings(arrays["holdout_ids"]),
            holdout_labels=arrays["holdout_labels"],
            settings=raw["settings"],
            report=tuple(raw["report"]),
        )

    def write_trial(self, record: TrialRecord) -> None:
        """Write a finished trial and drop its checkpoints, in one transaction.

        A trial that is there already is left as it is: the function is pure, so the two are equal.
        """
        arrays = record.arrays()
        raw = {name: getattr(record, name) for name in _JSON_FIELDS}
        raw["digests"] = {name: array_digest(array) for name, array in arrays.items()}
        key = (_trials.c.study == record.study) & (_trials.c.number == record.number)
        with self.engine.begin() as connection:
            if connection.execute(sa.select(_trials.c.number).where(key)).first():
                return
            connection.execute(
                _trials.insert().values(
                    study=record.study,
                    number=record.number,
                    outcome=record.outcome,
                    score=record.score,
                    record=json.dumps(raw, sort_keys=True),
                )
            )
            _insert_arrays(connection, record.study, record.number, arrays)
            connection.execute(
                _checkpoints.delete().where(
                    _checkpoints.c.study == record.study, _checkpoints.c.number == record.number
                )
            )

    def trials(self, study: str) -> list[TrialSummary]:
        """Every finished trial of a study, by number, without arrays."""
        query = sa.select(_trials).where(_trials.c.study == study).order_by(_trials.c.number)
        with self.engine.connect() as connection:
            return [TrialSummary(**_summary_fields(row)) for row in connection.execute(query)]

    def read_trial(self, study: str, number: int) -> TrialRecord:
        """Read one finished trial with its arrays; DataError when it is missing or a blob is damaged."""
        query = sa.select(_trials).where(_trials.c.study == study, _trials.c.number == number)
        with self.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                raise DataError(f"study {study!r} has no finished trial {number}")
            arrays = _select_arrays(connection, study, number)
        fields = _summary_fields(row)
        for name, digest in fields["digests"].items():
            if name not in arrays or array_digest(arrays[name]) != digest:
                raise DataError(
                    f"study {study!r}, trial {number}: array {name!r} is damaged or missing; restore the database"
                )
        fields |= {name: arrays.pop(name) for name in ("oof", "test_proba", "holdout_proba") if name in arrays}
        return TrialRecord(**fields, extra=arrays)

    def write_checkpoint(self, key: "CheckpointKey", record: Mapping[str, Any], blob: bytes) -> None:
        """Keep what one finished fit produced, so that a long trial resumes at its next fit."""
        row = dataclasses.asdict(key)
        with self.engine.begin() as connection:
            connection.execute(_checkpoints.delete().where(*(_checkpoints.c[name] == row[name] for name in row)))
            connection.execute(_checkpoints.insert().values(**row, record=json.dumps(dict(record)), blob=blob))

    def read_checkpoint(self, key: "CheckpointKey") -> tuple[dict[str, Any], bytes] | None:
        """Read what a finished fit produced; None when it was not kept."""
        row = dataclasses.asdict(key)
        query = sa.select(_checkpoints.c.record, _checkpoints.c.blob).where(
            *(_checkpoints.c[name] == row[name] for name in row)
        )
        with self.engine.connect() as connection:
            found = connection.execute(query).one_or_none()
        return None if found is None else (json.loads(found.record), found.blob)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointKey:
    """Which fit of which trial a checkpoint belongs to; spec is the digest of the trial's spec."""

    study: str
    number: int
    spec: str
    fit: int


_JSON_FIELDS = (
    "params",
    "seed",
    "fold_scores",
    "thresholds",
    "reports",
    "curves",
    "environment",
    "seconds",
    "reason",
    "notes",
    "attributes",
)


@contextmanager
def open_store(url: str) -> Iterator[PredictionStore]:
    """Open a store for a with block, its tables in place, and give the connections back at the end."""
    store = PredictionStore(url)
    try:
        store.create_tables()
        yield store
    finally:
        store.close()


def trial_digest(record: TrialSummary) -> str:
    """One digest over everything a trial decided: equal digests mean equal trials, whatever the clock said."""
    decided = (record.outcome, dict(record.params), record.seed, record.score, record.fold_scores, record.reports)
    return text_digest(repr(decided), *(f"{name}={record.digests[name]}" for name in sorted(record.digests)))


def _summary_fields(row: sa.Row[Any]) -> dict[str, Any]:
    raw = json.loads(row.record)
    return {
        **raw,
        "study": row.study,
        "number": row.number,
        "outcome": row.outcome,
        "score": row.score,
        "fold_scores": tuple(raw["fold_scores"]),
        "thresholds": None if raw["thresholds"] is None else tuple(raw["thresholds"]),
        "reports": tuple((int(step), float(value)) for step, value in raw["reports"]),
        "curves": tuple(raw["curves"]),
        "notes": tuple(raw["notes"]),
    }


def _insert_arrays(connection: sa.Connection, study: str, owner: int, arrays: Mapping[str, NDArray[Any]]) -> None:
    for name, array in arrays.items():
        connection.execute(
            _arrays.insert().values(
                study=study,
                owner=owner,
                name=name,
                dtype=array.dtype.str,
                shape=json.dumps(array.shape),
                digest=array_digest(array),
                blob=zlib.compress(np.ascontiguousarray(array).tobytes(), level=1),
            )
        )


def _select_arrays(connection: sa.Connection, study: str, owner: int) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for row in connection.execute(sa.select(_arrays).where(_arrays.c.study == study, _arrays.c.owner == owner)):
        try:
            flat = np.frombuffer(zlib.decompress(row.blob), dtype=np.dtype(row.dtype))
            array = flat.reshape(json.loads(row.shape)).copy()
        except (zlib.error, ValueError):
            array = np.zeros(0)
        if array_digest(array) != row.digest:
            raise DataError(f"study {study!r}: array {row.name!r} is damaged (digest differs); restore the database")
        arrays[row.name] = array
    return arrays


def _refuse_other_study(there: StudyRecord, wanted: StudyRecord) -> None:
    facts, wanted_facts = _facts(there), _facts(wanted)
    for what, old in facts.items():
        new = wanted_facts[what]
        if old != new:
            raise RunError(
                f"study {wanted.name!r} exists with {what} {old}, this run has {new}; "
                "give the same files and options, or another --study-name"
            )
    for key in sorted(there.settings.keys() | wanted.settings.keys()):
        old, new = there.settings.get(key), wanted.settings.get(key)
        if json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True):
            raise RunError(
                f"study {wanted.name!r} exists with {key} = {old}, this run has {new}; "
                "give the same value, or another --study-name"
            )


def _facts(record: StudyRecord) -> dict[str, Any]:
    """What tells two studies apart, in words where there are some: a digest says only that something differs."""
    return {
        "task": record.task,
        "columns": record.columns,
        "number of training rows": len(record.train_ids),
        "number of test rows": len(record.test_ids),
        "metric": record.metric,
        "data digest": record.data_digest,
        "number of folds": int(record.fold_of_row.max(initial=-1)) + 1,
        "number of repeats": len(record.fold_of_row),
        "seed": record.settings.get("seed"),
        "fold digest": record.fold_digest,
    }


def _pack_strings(strings: tuple[str, ...]) -> NDArray[np.uint8]:
    return np.frombuffer(json.dumps(strings).encode(), dtype=np.uint8)


def _unpack_strings(packed: NDArray[Any]) -> tuple[str, ...]:
    return tuple(json.loads(packed.tobytes()))


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _shown(engine: sa.Engine) -> str:
    return engine.url.render_as_string(hide_password=True)


def _connect_args(url: str) -> dict[str, Any]:
    return {"timeout": 60} if url.startswith("sqlite") else {}


def _tune_sqlite(connection: Any, _record: Any) -> None:
    """Write-ahead logging lets a reader (the MLflow page, an export) look on while a study writes."""
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
    except UnicodeDecodeError:  # SQLite names a table in its message, and the damaged name is no text
        raise sqlite3.DatabaseError("its schema is damaged") from None
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
