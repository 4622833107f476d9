"""A blend ready to serve: raw rows in, probabilities and labels out, from a folder and nothing else."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ensemble.blendrecord import make_blend
from ensemble.mixtures import Blend
from ensemble.submission import decisions
from textclf.arrays import FloatArray, ObjectArray
from textclf.config import Columns, Task
from textclf.errors import DataError, did_you_mean
from textclf.metrics import Thresholds
from textclf.saved import SavedTrial, restore_trial
from textclf.table import Table
from textclf.tensors import read_tensors

FORMAT = 1
RECORD_FILE, TENSORS_FOLDER = "model.json", "tensors"
LABEL, PROBA = "label", "proba_"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedMember:
    """A member that counts: its place among the blend's members, the columns it reads, its models."""

    place: int
    columns: Columns
    trial: SavedTrial


@dataclass(frozen=True, kw_only=True)
class ServedBlend:
    """A shipped blend; ``load_blend`` makes one.

    n_members: places of the blend, those that count for nothing and were not shipped among them
    """

    task: Task
    members: tuple[ServedMember, ...]
    n_members: int
    blend: Blend
    thresholds: Thresholds | None

    @cached_property
    def columns(self) -> tuple[Columns, ...]:
        """What the members read: one record, or several where studies with different columns are blended."""
        return tuple(dict.fromkeys(member.columns for member in self.members))

    def proba(self, rows: pd.DataFrame) -> FloatArray:
        """(n_rows, n_outputs) float64; DataError for a missing column or a cell that cannot be read."""
        tables = {columns: read_frame(rows, columns) for columns in self.columns}
        each = np.full((self.n_members, len(rows), self.task.n_outputs), 1 / self.task.n_outputs)
        for member in self.members:
            each[member.place] = member.trial.predict(tables[member.columns])
        return self.blend.apply(each)

    def answer(self, rows: pd.DataFrame) -> pd.DataFrame:
        """One row per row, in order: ``proba_CLASS`` for each class or label, then the decision by the thresholds.

        The decision is ``label``, a class name; for multilabel one ``label_NAME`` of 0 or 1 each. Ids are handed on.
        """
        proba = self.proba(rows)
        decided = decisions(self.task, proba, thresholds=self.thresholds)
        row_id = self.columns[0].row_id
        answer = rows[[row_id]].copy() if row_id in rows else pd.DataFrame(index=rows.index)
        for output, name in enumerate(self.task.class_names):
            answer[f"{PROBA}{name}"] = proba[:, output]
        if self.task.kind == "multilabel":
            for output, name in enumerate(self.task.class_names):
                answer[f"{LABEL}_{name}"] = decided[:, output]
        else:
            answer[LABEL] = np.array(self.task.class_names, dtype=object)[decided.argmax(axis=1)]
        return answer


def load_blend(folder: Path, *, digest: str | None = None, device: str = "cpu") -> ServedBlend:
    """Read a shipped blend; no pickle is read and no code is run that the folder holds.

    digest: SHA-256 of the record file, where it is known: the record names each tensor file by digest, so nothing in
        the folder can have changed unseen
    Raises DataError where a file is missing or altered, or written by another version.
    """
    path = folder / RECORD_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); name the folder of a shipped model") from None
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise DataError(f"{path}: its content is not what was written (digest differs); copy the whole model again")
    record = json.loads(content)
    if record["format"] != FORMAT:
        raise DataError(f"{path}: format {record['format']}, this version reads {FORMAT}; export the model again")
    task = Task(kind=record["task"]["kind"], class_names=tuple(record["task"]["class_names"]))
    tensors = folder / TENSORS_FOLDER
    arrays = {name: tensor.numpy() for name, tensor in read_tensors(tensors, record["blend"]["arrays"]).items()}
    return ServedBlend(
        task=task,
        members=tuple(
            ServedMember(
                place=member["place"],
                columns=columns_of_record(member["columns"]),
                trial=restore_trial(member["trial"], task=task, folder=tensors, device=device),
            )
            for member in record["members"]
        ),
        n_members=record["blend"]["n_members"],
        blend=make_blend(record["blend"]["found"], arrays),
        thresholds=None if record["thresholds"] is None else tuple(record["thresholds"]),
    )


def columns_of_record(record: dict[str, Any]) -> Columns:
    """Columns from JSON values."""
    values: dict[str, Any] = {name: tuple(cell) if isinstance(cell, list) else cell for name, cell in record.items()}
    return Columns(**values)


def read_frame(rows: pd.DataFrame, columns: Columns) -> Table:
    """Rows as a study reads a test file; a missing text or category is an empty cell, a missing number stays missing.

    Raises DataError naming the column that is not there, or the row and column of a cell that cannot be read.
    """
    for column in (columns.text, *columns.numeric, *columns.categorical):
        if column not in rows:
            there = ", ".join(map(str, rows.columns))
            hint = did_you_mean(column, map(str, rows.columns))
            raise DataError(f"the rows have no column {column!r}{hint} (columns there: {there}); add it")
    return Table(
        row_ids=tuple(str(row) for row in range(len(rows))),
        texts=tuple(_strings(rows[columns.text]).tolist()),
        numeric=_side_by_side([_numbers(rows[column]) for column in columns.numeric], len(rows), np.float64),
        categorical=_side_by_side([_strings(rows[column]) for column in columns.categorical], len(rows), object),
    )


def _side_by_side(parts: list[Any], n_rows: int, dtype: Any) -> Any:
    return np.column_stack(parts) if parts else np.zeros((n_rows, 0), dtype=dtype)


def _strings(column: pd.Series) -> ObjectArray:
    cells = np.array(column.astype(object).where(column.notna(), "").tolist(), dtype=object)
    for row, cell in enumerate(cells):
        if not isinstance(cell, str):
            raise DataError(
                f"row {row}, column {column.name!r}: {cell!r} is not text; give it as a string, as in the training file"
            )
    return cells


def _numbers(column: pd.Series) -> FloatArray:
    numbers = np.full(len(column), np.nan)
    for row, cell in enumerate(column.tolist()):
        if not pd.isna(cell):
            numbers[row] = float(cell) if isinstance(cell, int | float) else np.inf
        if np.isinf(numbers[row]):
            raise DataError(
                f"row {row}, column {column.name!r}: {cell!r} is not a finite number; correct it, or leave it out if "
                "it is missing"
            )
    return numbers
