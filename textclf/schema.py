"""The tables of the prediction store, and arrays in them: blobs with a SHA-256 each, checked on reading."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from textclf.arrays import array_digest
from textclf.errors import DataError

METADATA = sa.MetaData()
BLOB = sa.LargeBinary(length=2**31 - 1)
STUDIES = sa.Table(
    "textclf_studies",
    METADATA,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("format", sa.Integer, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
)
TRIALS = sa.Table(
    "textclf_trials",
    METADATA,
    sa.Column("study", sa.String(200), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("score", sa.Float),
    sa.Column("record", sa.Text, nullable=False),
)
ARRAYS = sa.Table(
    "textclf_arrays",
    METADATA,
    sa.Column("study", sa.String(200), primary_key=True),
    sa.Column("owner", sa.Integer, primary_key=True),  # a trial's number, or STUDY_ARRAYS
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("dtype", sa.String(16), nullable=False),
    sa.Column("shape", sa.String(64), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("blob", BLOB, nullable=False),
)
STUDY_ARRAYS = -1


def insert_arrays(connection: sa.Connection, study: str, owner: int, *, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays of a trial, or of the study itself."""
    for name, array in arrays.items():
        connection.execute(
            ARRAYS.insert().values(
                study=study,
                owner=owner,
                name=name,
                dtype=array.dtype.str,
                shape=json.dumps(array.shape),
                digest=array_digest(array),
                blob=zlib.compress(np.ascontiguousarray(array).tobytes(), level=1),
            )
        )


def select_arrays(connection: sa.Connection, study: str, owner: int) -> dict[str, NDArray[Any]]:
    """Read the arrays of a trial or of the study, by name; DataError for one that is damaged."""
    arrays: dict[str, NDArray[Any]] = {}
    for row in connection.execute(sa.select(ARRAYS).where(ARRAYS.c.study == study, ARRAYS.c.owner == owner)):
        try:
            flat = np.frombuffer(zlib.decompress(row.blob), dtype=np.dtype(row.dtype))
            array = flat.reshape(json.loads(row.shape)).copy()
        except (zlib.error, ValueError):
            array = np.zeros(0)
        if array_digest(array) != row.digest:
            raise DataError(f"study {study!r}: array {row.name!r} is damaged (digest differs); restore the database")
        arrays[row.name] = array
    return arrays


def pack_strings(strings: tuple[str, ...]) -> NDArray[np.uint8]:
    """Strings as an array of bytes."""
    return np.frombuffer(json.dumps(strings).encode(), dtype=np.uint8)


def unpack_strings(packed: NDArray[Any]) -> tuple[str, ...]:
    """The strings of ``pack_strings``."""
    return tuple(json.loads(packed.tobytes()))
