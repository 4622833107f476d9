"""The fold plan: which rows each fold holds out, one plan for a whole study."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from textclf.arrays import BoolArray, IntArray, array_digest
from textclf.config import Task
from textclf.csvfile import read_csv
from textclf.errors import ConfigError, DataError


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldPlan:
    """For every repeat and row the one fold that holds it out.

    fold_of_row: (n_repeats, n_rows) int64, values 0 .. n_folds - 1.
    seed: what the plan was drawn with; -1 for a plan the user wrote.
    """

    fold_of_row: IntArray
    n_folds: int
    seed: int

    @property
    def n_repeats(self) -> int:
        """How many times every row is held out."""
        return len(self.fold_of_row)

    @property
    def n_fits(self) -> int:
        """Models that one cross-validation fits."""
        return self.n_repeats * self.n_folds

    def rows(self, selected: BoolArray | IntArray) -> "FoldPlan":
        """The plan for some of the rows."""
        return FoldPlan(fold_of_row=self.fold_of_row[:, selected], n_folds=self.n_folds, seed=self.seed)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the assignment, as hex; the seed is no part of it."""
        return array_digest(self.fold_of_row.astype(np.int64))


def plan_folds(
    labels: IntArray,
    task: Task,
    *,
    n_folds: int,
    seed: int,
    n_repeats: int = 1,
    groups: Sequence[str] | None = None,
    duplicate_groups: IntArray | None = None,
) -> FoldPlan:
    """Plan stratified folds; repeat r is drawn with ``seed + r``.

    labels: (n_rows,) int64 classes, or (n_rows, n_labels) int64 of 0/1 for multilabel.
    groups: rows of one group are held out together. duplicate_groups: (n_rows,) int64, likewise for repeated texts.

    One class per row: StratifiedKFold; with ``groups`` StratifiedGroupKFold, which balances large groups. Multilabel:
    MultilabelStratifiedKFold (Sechidis et al. 2011). Where these splitters know no groups (repeated texts, which come
    in small groups, and multilabel), each group is dealt as one row, with its most frequent class or every label that
    a member carries.

    Raises ConfigError for fewer than 2 folds, DataError for a class that cannot be in every fold or that fills only
    one group, and for fewer groups than folds.
    """
    if n_folds < 2 or n_repeats < 1:
        raise ConfigError(f"n_folds: {n_folds} folds and {n_repeats} repeats; at least 2 folds and 1 repeat are needed")
    _check_classes(labels, task, n_folds=n_folds)
    group_of_row = _join_groups(len(labels), groups, duplicate_groups)
    _check_groups(labels, group_of_row, task, n_folds=n_folds)
    plan = np.empty((n_repeats, len(labels)), dtype=np.int64)
    for repeat in range(n_repeats):
        random = {"n_splits": n_folds, "shuffle": True, "random_state": seed + repeat}
        if task.kind == "multilabel":
            plan[repeat] = _deal_labels(labels, group_of_row, random)
        elif groups is None:
            plan[repeat] = _deal_classes(labels, group_of_row, random)
        else:
            plan[repeat] = _deal_large_groups(labels, group_of_row, random)
    return FoldPlan(fold_of_row=plan, n_folds=n_folds, seed=seed)


def read_folds_file(path: Path | str, row_ids: Sequence[str], *, id_column: str = "id") -> FoldPlan:
    """Read a plan that the user made: an id column and one column ``fold`` (or ``fold_0``, ``fold_1``, ... repeats).

    Rows may stand in any order. Raises DataError for unknown, missing or repeated ids and for fold numbers that are
    not 0 .. n_folds - 1.
    """
    file = read_csv(path)
    line_of: dict[str, int] = {}
    known = set(row_ids)
    for line, row_id in zip(file.lines, file.column(id_column), strict=True):
        if row_id in line_of:
            raise DataError(f"{file.path}: line {line}: id {row_id!r} is that of line {line_of[row_id]}; keep one")
        if row_id not in known:
            raise DataError(f"{file.path}: line {line}: id {row_id!r} is not in the training table; remove the row")
        line_of[row_id] = line
    missing = [row_id for row_id in row_ids if row_id not in line_of]
    if missing:
        raise DataError(
            f"{file.path}: {len(missing):,} training ids have no fold, the first is {missing[0]!r}; add a row for each"
        )
    columns = [column for column in file.header if column == "fold" or column.startswith("fold_")]
    if not columns:
        file.position("fold")
    place = {row_id: number for number, row_id in enumerate(file.column(id_column))}
    order = np.array([place[row_id] for row_id in row_ids])
    plan = np.array([_read_fold_numbers(file.column(column), column, file.lines, path=file.path) for column in columns])
    n_folds = int(plan.max()) + 1
    for column, folds in zip(columns, plan, strict=True):
        absent = sorted(set(range(n_folds)) - set(folds.tolist()))
        if absent or n_folds < 2:
            raise DataError(
                f"{file.path}: column {column!r}: "
                + (f"no row is in fold {absent[0]}" if absent else "there is one fold only")
                + f"; number at least two folds 0, 1, ... without a gap (the highest here is {n_folds - 1})"
            )
    return FoldPlan(fold_of_row=plan[:, order], n_folds=n_folds, seed=-1)


def _read_fold_numbers(cells: Sequence[str], column: str, lines: Sequence[int], *, path: Path) -> IntArray:
    for line, cell in zip(lines, cells, strict=True):
        if not (cell.strip().isascii() and cell.strip().isdigit()):
            raise DataError(f"{path}: line {line}, column {column!r}: {cell!r} is not a fold number (0, 1, 2, ...)")
    return np.array([int(cell) for cell in cells], dtype=np.int64)


def _check_classes(labels: IntArray, task: Task, *, n_folds: int) -> None:
    """Every fold must be able to hold out a row of each class."""
    if task.kind == "multilabel":
        counts = np.minimum(labels.sum(axis=0), len(labels) - labels.sum(axis=0))
    else:
        counts = np.bincount(labels, minlength=task.n_outputs)
    rare = int(counts.argmin())
    if counts[rare] < n_folds:
        name = task.class_names[rare]
        what = f"class {name!r} has {counts[rare]} row{'' if counts[rare] == 1 else 's'}"
        if task.kind == "multilabel":
            what = f"label {name!r} is {int(labels[:, rare].mean() < 0.5)} in {counts[rare]} rows"
        raise DataError(f"{what}, too few for {n_folds} folds; lower --n-folds, merge it with another or add such rows")


def _check_groups(labels: IntArray, group_of_row: IntArray, task: Task, *, n_folds: int) -> None:
    """A class within one group is held out whole, so no model could learn it and predict it."""
    n_groups = int(group_of_row.max()) + 1
    if n_groups < n_folds:
        raise DataError(
            f"{n_groups} group{'' if n_groups == 1 else 's'} of rows cannot fill {n_folds} folds (rows of one group "
            "or with the same text are held out together); lower --n-folds, group by another column, ignore duplicates"
        )
    if n_groups == len(labels):
        return
    for number, name in enumerate(task.class_names):
        has = labels[:, number] == 1 if task.kind == "multilabel" else labels == number
        if len(np.unique(group_of_row[has])) < 2:
            raise DataError(
                f"all rows of {name!r} are in one group (rows of one --group value, or repeated texts), so one fold "
                "holds out all of them; merge the class with another or add other rows of it"
            )


def _join_groups(n_rows: int, groups: Sequence[str] | None, duplicate_groups: IntArray | None) -> IntArray:
    """One group number per row, (n_rows,) int64 from 0, where rows that share either kind of group are one."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    kinds = [kind for kind in (groups, duplicate_groups) if kind is not None]
    numbers = [np.unique(np.asarray(kind), return_inverse=True)[1] for kind in kinds]
    if len(numbers) < 2:
        return numbers[0].astype(np.int64) if numbers else np.arange(n_rows, dtype=np.int64)
    # nodes are the groups of both kinds; a row is an edge between its two
    first, second = numbers[0], numbers[1] + int(numbers[0].max()) + 1
    size = int(second.max()) + 1
    graph = coo_array((np.ones(n_rows, dtype=np.int8), (first, second)), shape=(size, size))
    component: IntArray = connected_components(graph, directed=False)[1].astype(np.int64)
    return np.unique(component[first], return_inverse=True)[1].astype(np.int64)


def _deal_classes(labels: IntArray, group_of_row: IntArray, random: Mapping[str, Any]) -> IntArray:
    """Deal groups by their most frequent class: (n_rows,) int64 fold numbers."""
    from sklearn.model_selection import StratifiedKFold

    counts = np.zeros((int(group_of_row.max()) + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(counts, (group_of_row, labels), 1)
    with warnings.catch_warnings():  # a class of enough rows may fill fewer groups than folds
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        return _number_folds(StratifiedKFold(**random), counts.argmax(axis=1))[group_of_row]


def _deal_large_groups(labels: IntArray, group_of_row: IntArray, random: Mapping[str, Any]) -> IntArray:
    from sklearn.model_selection import StratifiedGroupKFold

    return _number_folds(StratifiedGroupKFold(**random), labels, group_of_row)


def _deal_labels(labels: IntArray, group_of_row: IntArray, random: Mapping[str, Any]) -> IntArray:
    """Deal groups by all labels of their members: (n_rows,) int64 fold numbers."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    carried = np.zeros((int(group_of_row.max()) + 1, labels.shape[1]), dtype=np.int64)
    np.maximum.at(carried, group_of_row, labels)
    return _number_folds(MultilabelStratifiedKFold(**random), carried)[group_of_row]


def _number_folds(splitter: Any, labels: IntArray, groups: IntArray | None = None) -> IntArray:
    """From a splitter's index pairs to one fold number per row."""
    folds = np.empty(len(labels), dtype=np.int64)
    for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(labels)), labels, groups)):
        folds[held_out] = fold
    return folds
