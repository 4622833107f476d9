"""The prediction store: a trial's parameters, scores and arrays land in one transaction or not at all.

SQLAlchemy tables on SQLite or PostgreSQL, beside Optuna's own tables. Arrays are blobs with a SHA-256 each, checked on
reading, so no shared folder is needed and a crash leaves no half-written file. The store, not Optuna and not MLflow, is
the record of what has finished.
"""

import dataclasses
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from numpy.typing import NDArray

from textclf.arrays import array_digest
from textclf.checkpoints import drop_checkpoints
from textclf.config import Columns, Task
from textclf.errors import DataError, did_you_mean
from textclf.records import StudyRecord, TrialRecord, TrialSummary, refuse_other_study
from textclf.schema import (
    METADATA,
    STUDIES,
    STUDY_ARRAYS,
    TRIALS,
    insert_arrays,
    pack_strings,
    select_arrays,
    unpack_strings,
)

FORMAT = 1  # raise it when a change moves predictions or the tables


class PredictionStore:
    """Studies, finished trials and their arrays.

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
        METADATA.create_all(self.engine)

    def study_names(self) -> list[str]:
        """Names of all studies, sorted; empty for a database without our tables."""
        if not sa.inspect(self.engine).has_table(STUDIES.name):
            return []
        with self.engine.connect() as connection:
            return sorted(connection.scalars(sa.select(STUDIES.c.name)))

    def write_study(self, record: StudyRecord) -> None:
        """Record a new study; one that is already there with the same content is left alone.

        Raises RunError when the name is taken by a study on other data, folds or settings.
        """
        if record.name in self.study_names():
            refuse_other_study(self.read_study(record.name), record)
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
            "train_ids": pack_strings(record.train_ids),
            "test_ids": pack_strings(record.test_ids),
            "holdout_ids": pack_strings(record.holdout_ids),
            "labels": record.labels,
            "fold_of_row": record.fold_of_row,
            "holdout_labels": record.holdout_labels,
        }
        with self.engine.begin() as connection:
            connection.execute(
                STUDIES.insert().values(name=record.name, format=FORMAT, record=json.dumps(raw, sort_keys=True))
            )
            insert_arrays(connection, record.name, STUDY_ARRAYS, arrays=arrays)

    def read_study(self, name: str) -> StudyRecord:
        """Read what all trials of a study share; DataError when there is no such study."""
        names = self.study_names()
        if name not in names:
            known = f"studies there: {', '.join(names)}" if names else "there is no study yet"
            raise DataError(f"{_shown(self.engine)}: no study named {name!r}{did_you_mean(name, names)} ({known})")
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(STUDIES).where(STUDIES.c.name == name)).one()
            arrays = select_arrays(connection, name, STUDY_ARRAYS)
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
            train_ids=unpack_strings(arrays["train_ids"]),
            test_ids=unpack_strings(arrays["test_ids"]),
            labels=arrays["labels"],
            fold_of_row=arrays["fold_of_row"],
            holdout_ids=unpack_strings(arrays["holdout_ids"]),
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
        key = (TRIALS.c.study == record.study) & (TRIALS.c.number == record.number)
        with self.engine.begin() as connection:
            if connection.execute(sa.select(TRIALS.c.number).where(key)).first():
                return
            connection.execute(
                TRIALS.insert().values(
                    study=record.study,
                    number=record.number,
                    outcome=record.outcome,
                    score=record.score,
                    record=json.dumps(raw, sort_keys=True),
                )
            )
            insert_arrays(connection, record.study, record.number, arrays=arrays)
            drop_checkpoints(connection, record.study, record.number)

    def trials(self, study: str) -> list[TrialSummary]:
        """Every finished trial of a study, by number, without arrays."""
        query = sa.select(TRIALS).where(TRIALS.c.study == study).order_by(TRIALS.c.number)
        with self.engine.connect() as connection:
            return [TrialSummary(**_summary_fields(row)) for row in connection.execute(query)]

    def read_trial(self, study: str, number: int) -> TrialRecord:
        """Read one finished trial with its arrays; DataError when it is missing or a blob is damaged."""
        query = sa.select(TRIALS).where(TRIALS.c.study == study, TRIALS.c.number == number)
        with self.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
            if row is None:
                raise DataError(f"study {study!r} has no finished trial {number}")
            arrays = select_arrays(connection, study, number)
        fields = _summary_fields(row)
        for name, digest in fields["digests"].items():
            if name not in arrays or array_digest(arrays[name]) != digest:
                raise DataError(
                    f"study {study!r}, trial {number}: array {name!r} is damaged or missing; restore the database"
                )
        fields |= {name: arrays.pop(name) for name in ("oof", "test_proba", "holdout_proba") if name in arrays}
        return TrialRecord(**fields, extra=arrays)


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
