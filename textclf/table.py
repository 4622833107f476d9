"""Frozen tables of texts, columns and labels, read from CSV files."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from textclf.arrays import BoolArray, FloatArray, IntArray, ObjectArray
from textclf.config import Columns, Task
from textclf.csvfile import CsvFile, name_lines, read_csv
from textclf.errors import ConfigError, DataError
from textclf.targets import read_classes, read_labels

DuplicateIds = Literal["refuse", "number"]
EmptyTexts = Literal["refuse", "keep"]
MISSING_NUMBERS = frozenset({"", "na", "n/a", "nan", "null", "none"})
WORDS_FOR_MISSING = frozenset({"nan", "null", "none", "n/a", "#n/a"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Rows in file order.

    numeric: (n_rows, n_numeric) float64, NaN = missing.
    categorical: (n_rows, n_categorical) of str, "" = missing.
    groups: the group of each row where a group column was named.
    """

    row_ids: tuple[str, ...]
    texts: tuple[str, ...]
    numeric: FloatArray
    categorical: ObjectArray
    groups: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.row_ids)

    def rows(self, selected: BoolArray | IntArray) -> "Table":
        """The rows a boolean mask or an integer index selects, in the order it selects them."""
        chosen = np.arange(len(self))[selected].tolist()
        return Table(
            row_ids=tuple(self.row_ids[row] for row in chosen),
            texts=tuple(self.texts[row] for row in chosen),
            numeric=self.numeric[selected],
            categorical=self.categorical[selected],
            groups=None if self.groups is None else tuple(self.groups[row] for row in chosen),
        )


def empty_table() -> Table:
    """A table without rows or columns."""
    return Table(row_ids=(), texts=(), numeric=np.zeros((0, 0)), categorical=np.zeros((0, 0), dtype=object))


@dataclass(frozen=True, slots=True, kw_only=True)
class TableReport:
    """What a person should know about a table before training on it; ``str()`` of it is for printing.

    class_counts: rows per class, for multilabel rows that carry each label.
    n_duplicate_texts: rows with the very text of an earlier row (textclf.duplicates knows more).
    """

    path: Path
    n_rows: int
    class_counts: dict[str, int]
    n_duplicate_texts: int
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.n_rows:,} rows, {self.n_duplicate_texts:,} repeat an earlier text"]
        lines += [f"  {name}: {n_rows:,} ({n_rows / self.n_rows:.1%})" for name, n_rows in self.class_counts.items()]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainTable:
    """A table with its labels.

    labels: (n_rows,) int64 class numbers in the order of ``task.class_names``; multilabel (n_rows, n_labels) of 0/1.
    """

    table: Table
    labels: IntArray
    task: Task
    report: TableReport


def read_train(
    path: Path | str,
    columns: Columns,
    *,
    positive: str | None = None,
    duplicate_ids: DuplicateIds = "refuse",
    empty_texts: EmptyTexts = "refuse",
) -> TrainTable:
    """Read a labelled table.

    Classes are sorted, numbers by value; the last of two is the positive one unless ``positive`` names it. Several
    target columns make a multilabel task, each of 0 and 1. A text that is empty or only white space is refused, since
    nothing can be learned from it; ``empty_texts="keep"`` keeps such rows. ``duplicate_ids="number"`` turns the second
    row with id X into ``X#2`` instead of refusing the file. Without an id column, ids are row numbers from "0".

    Raises DataError for anything wrong with the file, ConfigError for an unknown choice.
    """
    if empty_texts not in get_args(EmptyTexts):
        raise ConfigError(f"--empty-texts: {empty_texts!r} is not one of {', '.join(get_args(EmptyTexts))}")
    file = read_csv(path)
    for column in columns.targets:  # a missing target is named before a fault in some cell
        file.position(column)
    table = _read_table(file, columns, duplicate_ids=duplicate_ids)
    warnings = _text_warnings(table, file, columns.text, empty_texts=empty_texts)
    if len(columns.targets) == 1:
        labels, task = read_classes(file, columns.targets[0], positive=positive)
        counts = dict(zip(task.class_names, np.bincount(labels).tolist(), strict=True))
    else:
        labels, task = read_labels(file, columns.targets)
        counts = dict(zip(task.class_names, labels.sum(axis=0).tolist(), strict=True))
    report = TableReport(
        path=file.path,
        n_rows=len(table),
        class_counts=counts,
        n_duplicate_texts=len(table) - len(set(table.texts)),
        warnings=tuple(warnings),
    )
    return TrainTable(table=table, labels=labels, task=task, report=report)


def read_test(path: Path | str, columns: Columns, *, duplicate_ids: DuplicateIds = "refuse") -> Table:
    """Read a table without labels; empty texts are kept, because every test row needs a prediction.

    Target columns may be there and are ignored; a missing group column leaves ``groups`` None.
    """
    file = read_csv(path)
    if columns.group is not None and columns.group not in file.header:
        columns = replace(columns, group=None)
    return _read_table(file, columns, duplicate_ids=duplicate_ids)


def compare_tables(train: Table, test: Table, *, has_ids: bool) -> tuple[str, ...]:
    """Warnings about a test table beside its training table: shared ids and empty texts.

    has_ids: False when ids are row numbers, which always overlap.
    """
    warnings = []
    shared = sorted(set(train.row_ids) & set(test.row_ids)) if has_ids else []
    if shared:
        named = ", ".join(shared[:5])
        warnings.append(f"{len(shared):,} ids stand in both train and test ({named}{', ...' * (len(shared) > 5)})")
    empty = [row_id for row_id, text in zip(test.row_ids, test.texts, strict=True) if not text.strip()]
    if empty:
        named = ", ".join(empty[:5])
        warnings.append(f"{len(empty):,} test texts are empty (ids {named}{', ...' * (len(empty) > 5)})")
    return tuple(warnings)


def _read_table(file: CsvFile, columns: Columns, *, duplicate_ids: DuplicateIds) -> Table:
    texts = file.column(columns.text)
    numeric = np.empty((len(file), len(columns.numeric)), dtype=np.float64)
    for number, column in enumerate(columns.numeric):
        numeric[:, number] = _read_numbers(file, column)
    categorical = np.empty((len(file), len(columns.categorical)), dtype=object)
    for number, column in enumerate(columns.categorical):
        categorical[:, number] = file.column(column)
    return Table(
        row_ids=_read_ids(file, columns.row_id, duplicate_ids=duplicate_ids),
        texts=tuple(texts),
        numeric=numeric,
        categorical=categorical,
        groups=None if columns.group is None else tuple(_read_filled(file, columns.group, what="group")),
    )


def _read_ids(file: CsvFile, column: str | None, *, duplicate_ids: DuplicateIds) -> tuple[str, ...]:
    if duplicate_ids not in get_args(DuplicateIds):
        raise ConfigError(f"--duplicate-ids: {duplicate_ids!r} is not one of {', '.join(get_args(DuplicateIds))}")
    if column is None:
        return tuple(str(row) for row in range(len(file)))
    row_ids = _read_filled(file, column, what="id")
    if len(set(row_ids)) == len(row_ids):
        return tuple(row_ids)
    if duplicate_ids == "refuse":
        first: dict[str, int] = {}
        for line, row_id in zip(file.lines, row_ids, strict=True):
            if row_id in first:
                n_repeats = len(row_ids) - len(set(row_ids))
                raise DataError(
                    f"{file.path}: line {line}, column {column!r}: id {row_id!r} is that of line {first[row_id]} "
                    f"({n_repeats:,} such rows in all); make ids unique or pass --duplicate-ids number"
                )
            first[row_id] = line
    return _number_repeats(row_ids)


def _read_filled(file: CsvFile, column: str, *, what: str) -> list[str]:
    """Cells of a column in which none may be empty."""
    cells = file.column(column)
    empty = [line for line, cell in zip(file.lines, cells, strict=True) if not cell.strip()]
    if empty:
        raise DataError(f"{file.path}: {name_lines(empty)}, column {column!r}: the {what} is empty; fill these cells")
    return cells


def _number_repeats(row_ids: Sequence[str]) -> tuple[str, ...]:
    """Give the second row with id X the id X#2, the third X#3."""
    taken = set(row_ids)
    n_seen: Counter[str] = Counter()
    numbered = []
    for row_id in row_ids:
        n_seen[row_id] += 1
        unique = row_id
        while n_seen[row_id] > 1 and (unique := f"{row_id}#{n_seen[row_id]}") in taken:
            n_seen[row_id] += 1  # the file itself holds an id of that form
        taken.add(unique)
        numbered.append(unique)
    return tuple(numbered)


def _read_numbers(file: CsvFile, column: str) -> FloatArray:
    numbers = np.empty(len(file), dtype=np.float64)
    for row, cell in enumerate(file.column(column)):
        value = cell.strip()
        try:
            numbers[row] = np.nan if value.lower() in MISSING_NUMBERS else float(value.replace("_", "?"))
        except ValueError:
            numbers[row] = np.inf
        if np.isinf(numbers[row]):
            raise DataError(
                f"{file.path}: line {file.lines[row]}, column {column!r}: {cell!r} is not a finite number; correct the "
                "cell, leave it empty if it is missing, or name the column under --categorical"
            )
    return numbers


def _text_warnings(table: Table, file: CsvFile, column: str, *, empty_texts: EmptyTexts) -> list[str]:
    """Refuse or report texts that hold nothing."""
    warnings = []
    empty = [line for line, text in zip(file.lines, table.texts, strict=True) if not text.strip()]
    if empty and empty_texts == "refuse":
        raise DataError(
            f"{file.path}: {name_lines(empty)}, column {column!r}: the text is empty ({len(empty):,} of "
            f"{len(table):,} rows); fill or remove these rows, or pass --empty-texts keep"
        )
    if empty:
        warnings.append(f"{name_lines(empty)}: the text is empty; such rows are kept")
    absent = [
        line for line, text in zip(file.lines, table.texts, strict=True) if text.strip().lower() in WORDS_FOR_MISSING
    ]
    if absent:
        warnings.append(f"{name_lines(absent)}: the text is a word for a missing value, such as 'nan'")
    return warnings
