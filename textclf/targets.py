"""From target columns to class numbers and the task they make."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from textclf.arrays import IntArray
from textclf.config import Task
from textclf.csvfile import CsvFile, name_lines
from textclf.errors import ConfigError, DataError, did_you_mean

MOST_NUMERIC_CLASSES = 20  # more distinct values with decimals are a measurement, not a class
MOST_CLASSES = 1000


def read_classes(file: CsvFile, column: str, *, positive: str | None) -> tuple[IntArray, Task]:
    """Class numbers and task of a single target column."""
    cells = file.column(column)
    counts = Counter(cells)
    _check_classes(counts, file, column)
    class_names = _sort_classes(counts)
    if positive is not None:
        if positive not in class_names or len(class_names) != 2:
            hint = did_you_mean(positive, class_names)
            raise ConfigError(
                f"positive class: {positive!r} is not one of two classes in {file.path}, column {column!r} "
                f"({', '.join(class_names[:10])}){hint}"
            )
        class_names = (*(name for name in class_names if name != positive), positive)
    number_of = {name: number for number, name in enumerate(class_names)}
    labels = np.fromiter((number_of[cell] for cell in cells), dtype=np.int64, count=len(cells))
    return labels, Task(kind="binary" if len(class_names) == 2 else "multiclass", class_names=class_names)


def _check_classes(counts: Counter[str], file: CsvFile, column: str) -> None:
    """Refuse a target column that does not hold classes."""
    where = f"column {column!r}"
    missing = [line for line, cell in zip(file.lines, file.column(column), strict=True) if not cell.strip()]
    if missing:
        raise DataError(
            f"{file.path}: {name_lines(missing)}, {where}: the target is empty in {len(missing):,} of {len(file):,} "
            "rows; fill or remove these rows"
        )
    by_meaning: dict[str | float, str] = {}
    for name in counts:
        value = _as_number(name)
        other = by_meaning.setdefault(name.strip() if value is None else value, name)
        if other != name:
            raise DataError(
                f"{file.path}: {where}: classes {other!r} and {name!r} are one, written in two ways; write them alike"
            )
    if len(counts) == 1:
        raise DataError(f"{file.path}: {where}: all rows are of class {next(iter(counts))!r}; two classes are needed")
    values = [_as_number(name) for name in counts]
    numbers = [value for value in values if value is not None]
    fractional = any(value != round(value) for value in numbers)
    if len(numbers) == len(counts) and fractional and len(counts) > MOST_NUMERIC_CLASSES:
        raise DataError(
            f"{file.path}: {where}: {len(counts):,} different numbers from {min(numbers):g} to {max(numbers):g} look "
            "like a measurement, not classes; cut it into classes first, or name another target"
        )
    if len(counts) > max(MOST_NUMERIC_CLASSES, min(MOST_CLASSES, len(file) // 2)):
        raise DataError(
            f"{file.path}: {where}: {len(counts):,} different values in {len(file):,} rows are too many for classes; "
            "merge the rare ones, or name another target"
        )


def _as_number(name: str) -> float | None:
    try:
        value = float(name)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _sort_classes(names: Counter[str]) -> tuple[str, ...]:
    """By value where all are numbers, else alphabetically."""
    values = {name: _as_number(name) for name in names}
    if any(value is None for value in values.values()):
        return tuple(sorted(names))
    return tuple(sorted(names, key=lambda name: (values[name] or 0.0, name)))


def read_labels(file: CsvFile, targets: Sequence[str]) -> tuple[IntArray, Task]:
    """0/1 matrix and task of several target columns."""
    bits = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
    labels = np.empty((len(file), len(targets)), dtype=np.int64)
    for number, column in enumerate(targets):
        for row, cell in enumerate(file.column(column)):
            if (bit := bits.get(cell.strip())) is None:
                raise DataError(
                    f"{file.path}: line {file.lines[row]}, column {column!r}: {cell!r} is not 0 or 1, as each of "
                    "several target columns must be; correct the cell or name a single target"
                )
            labels[row, number] = bit
        if len(np.unique(labels[:, number])) == 1:
            raise DataError(
                f"{file.path}: column {column!r}: all rows are {labels[0, number]}; both 0 and 1 are needed to learn it"
            )
    return labels, Task(kind="multilabel", class_names=tuple(targets))
