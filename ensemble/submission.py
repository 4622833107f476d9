"""The submission file: as the sample shows it, every test row once, nothing missing."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ensemble.members import match_ids
from ensemble.values import Values, choose_values, in_style_of
from textclf.arrays import FloatArray, IntArray
from textclf.config import Task
from textclf.csvfile import CsvFile, read_csv
from textclf.errors import DataError
from textclf.metrics import Metric, Thresholds
from textclf.records import StudyRecord
from textclf.threshold import PLAIN_THRESHOLD, decide, positive_columns

Shape = Literal["one column", "column per class", "column per label"]


@dataclass(frozen=True, kw_only=True)
class SubmissionPlan:
    """What the file will look like.

    header: all columns in order; id_column: the one that holds ids, None for a file without
    ids: as they will be written; rows: (n_rows,) the test row of each line
    outputs: class or label names of the value columns in order; empty for a file with one column of decisions or
        probabilities of the positive class
    styles: cells of the sample to copy the writing of numbers from
    """

    header: tuple[str, ...]
    id_column: str | None
    ids: tuple[str, ...]
    rows: IntArray
    shape: Shape
    outputs: tuple[str, ...]
    values: Values
    styles: tuple[str, ...] = ()


def plan_submission(
    study: StudyRecord, metric: Metric, *, sample: Path | None, values: Values | Literal["auto"] = "auto"
) -> SubmissionPlan:
    """Decide columns, order and kind of values before any score is computed.

    Raises DataError for a sample with other ids or columns than the study's, ConfigError for values that do not fit.
    """
    if sample is None:
        return plan_without_sample(study, metric, values=values)
    file = read_csv(sample)
    id_column = find_id_column(file, study)
    value_columns = tuple(column for column in file.header if column != id_column)
    shape = find_shape(file, study, value_columns)
    styles = tuple(cell for column in value_columns for cell in file.column(column))
    ids = tuple(file.column(id_column)) if id_column is not None else ()
    return SubmissionPlan(
        header=file.header,
        id_column=id_column,
        ids=ids,
        rows=rows_of_sample(file, study, ids),
        shape=shape,
        outputs=() if shape == "one column" else value_columns,
        values=choose_values(values, study.task, metric, shape=shape, sample_cells=styles),
        styles=styles,
    )


def plan_without_sample(study: StudyRecord, metric: Metric, *, values: Values | Literal["auto"]) -> SubmissionPlan:
    """An id column and the target column; one column per class where probabilities of several classes are asked."""
    task = study.task
    probabilities = choose_values(values, task, metric, shape=None, sample_cells=()) == "probabilities"
    shape: Shape = "one column"
    if task.kind == "multilabel":
        shape = "column per label"
    elif task.kind == "multiclass" and probabilities:
        shape = "column per class"
    outputs = () if shape == "one column" else task.class_names
    id_column = study.columns.row_id or "id"
    return SubmissionPlan(
        header=(id_column, *(outputs or study.columns.targets)),
        id_column=id_column,
        ids=study.test_ids,
        rows=np.arange(len(study.test_ids)),
        shape=shape,
        outputs=outputs,
        values="probabilities" if probabilities else "labels",
    )


def find_id_column(file: CsvFile, study: StudyRecord) -> str | None:
    """The sample's id column, None where it has none.

    Named as in the study, else holding the test ids. A study without ids numbered its rows: there it is the first
    column that is no value, and lines are matched by their order.
    """
    if study.columns.row_id is not None:
        if study.columns.row_id in file.header:
            return study.columns.row_id
        ids = set(study.test_ids)
        holders = [column for column in file.header if set(file.column(column)) == ids]
        if holders:
            return holders[0]
        raise DataError(
            f"{file.path}: line 1: no column is named {study.columns.row_id!r} or holds the test ids; columns: "
            f"{', '.join(file.header)}"
        )
    known = {*study.columns.targets, *study.task.class_names}
    others = [column for column in file.header if column not in known]
    return others[0] if others and len(file.header) > 1 else None


def find_shape(file: CsvFile, study: StudyRecord, value_columns: Sequence[str]) -> Shape:
    """Whether the sample has one column, one per class or one per label."""
    class_names = study.task.class_names
    if study.task.kind == "multilabel":
        if set(value_columns) == set(class_names):
            return "column per label"
        wanted = f"one column per label ({', '.join(class_names)})"
    else:
        if set(value_columns) == set(class_names):
            return "column per class"
        if len(value_columns) == 1:
            return "one column"
        wanted = f"one column, or one per class ({', '.join(class_names)})"
    found = ", ".join(value_columns) or "none"
    raise DataError(f"{file.path}: line 1: the value columns are {found}; the study needs {wanted} beside the id")


def rows_of_sample(file: CsvFile, study: StudyRecord, ids: Sequence[str]) -> IntArray:
    """The test row of each line; DataError naming the first ids that only one side has."""
    if study.columns.row_id is None:
        if len(file) != len(study.test_ids):
            raise DataError(
                f"{file.path}: {len(file):,} rows, but the study predicted {len(study.test_ids):,} test rows and has "
                "no ids to match them by; give the sample of this test file"
            )
        return np.arange(len(file))
    return match_ids(
        study.test_ids,
        number_repeats(ids),
        what=f"{file.path}: the ids are not those of the study's test rows",
        sides=("the study", "the sample"),
    )


def number_repeats(ids: Sequence[str]) -> list[str]:
    """The second X as X#2, the third as X#3: how tables with repeated ids are read."""
    seen: Counter[str] = Counter()
    numbered = []
    for row_id in ids:
        seen[row_id] += 1
        numbered.append(row_id if seen[row_id] == 1 else f"{row_id}#{seen[row_id]}")
    return numbered


def render_submission(
    plan: SubmissionPlan, study: StudyRecord, proba: FloatArray, *, thresholds: Thresholds | None, delimiter: str = ","
) -> str:
    """The file's text.

    proba: (n_test, n_outputs) float64 in the study's test order; thresholds: those of the blend, None for the most
    probable class (labels: 0.5). Raises DataError when a value is missing.
    """
    if proba.shape != (len(study.test_ids), study.task.n_outputs) or not np.isfinite(proba).all():
        raise DataError(
            f"submission: {proba.shape[0]} rows of predictions hold gaps; leave out the trial they come from"
        )
    columns = cells_of(plan, study, proba[plan.rows], thresholds=thresholds)
    by_name = dict(zip([column for column in plan.header if column != plan.id_column], columns, strict=True))
    if plan.id_column is not None:
        by_name[plan.id_column] = list(plan.ids)
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(plan.header)
    writer.writerows(zip(*(by_name[column] for column in plan.header), strict=True))
    return text.getvalue()


def cells_of(
    plan: SubmissionPlan, study: StudyRecord, proba: FloatArray, *, thresholds: Thresholds | None
) -> list[list[str]]:
    """Cells of every value column, in the plan's column order."""
    task = study.task
    places = [task.class_names.index(name) for name in plan.outputs]
    if plan.values == "probabilities":
        kept = proba[:, places] if places else proba[:, 1:]
        return [[repr(value) for value in column.tolist()] for column in kept.T]
    decided = decisions(task, proba, thresholds=thresholds)
    if places:
        written = [in_style_of(plan.styles, bit) for bit in ("0", "1")]
        return [[written[bit] for bit in column] for column in decided[:, places].T]
    written = [in_style_of(plan.styles, name) for name in task.class_names]
    return [[written[label] for label in decided.argmax(axis=1)]]


def decisions(task: Task, proba: FloatArray, *, thresholds: Thresholds | None) -> IntArray:
    """0/1 of every output, (n_rows, n_outputs): exactly one 1 per row unless multilabel."""
    if task.kind == "multilabel":
        cuts = (PLAIN_THRESHOLD,) * proba.shape[1] if thresholds is None else thresholds
        return decide(proba, cuts).astype(np.int64)
    label = proba.argmax(axis=1)
    if thresholds is not None:
        label = decide(positive_columns(label, proba)[1], thresholds)[:, 0].astype(np.int64)
    return np.eye(proba.shape[1], dtype=np.int64)[label]
