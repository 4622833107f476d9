"""What finished fits of trials under way produced, kept in the prediction store until the trial lands there."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from textclf.schema import BLOB, METADATA

CHECKPOINTS = sa.Table(
    "textclf_checkpoints",
    METADATA,
    sa.Column("study", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("spec", sa.String(64), primary_key=True),  # digest of the trial's spec: another spec finds nothing
    sa.Column("fit", sa.Integer, primary_key=True),
    sa.Column("record", sa.Text, nullable=False),
    sa.Column("blob", BLOB, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointKey:
    """Which fit of which trial a checkpoint belongs to; spec is the digest of the trial's spec."""

    study: str
    number: int
    spec: str
    fit: int


def write_checkpoint(engine: sa.Engine, key: CheckpointKey, record: Mapping[str, Any], *, blob: bytes) -> None:
    """Keep what one finished fit produced, so that a long trial resumes at its next fit."""
    with engine.begin() as connection:
        connection.execute(CHECKPOINTS.delete().where(*_is(key)))
        values = {**dataclasses.asdict(key), "record": json.dumps(dict(record)), "blob": blob}
        connection.execute(CHECKPOINTS.insert().values(values))


def read_checkpoint(engine: sa.Engine, key: CheckpointKey) -> tuple[dict[str, Any], bytes] | None:
    """Read what a finished fit produced; None when it was not kept."""
    query = sa.select(CHECKPOINTS.c.record, CHECKPOINTS.c.blob).where(*_is(key))
    with engine.connect() as connection:
        found = connection.execute(query).one_or_none()
    return None if found is None else (json.loads(found.record), found.blob)


def drop_checkpoints(connection: sa.Connection, study: str, number: int) -> None:
    """Forget the fits of a trial, in the transaction of a connection."""
    connection.execute(CHECKPOINTS.delete().where(CHECKPOINTS.c.study == study, CHECKPOINTS.c.number == number))


def _is(key: CheckpointKey) -> list[sa.ColumnElement[bool]]:
    return [CHECKPOINTS.c[name] == value for name, value in dataclasses.asdict(key).items()]
