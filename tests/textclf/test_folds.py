"""The fold plan holds every row out once per repeat, in balance, and keeps together what belongs together."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from textclf.arrays import IntArray
from textclf.config import Task
from textclf.errors import ConfigError, DataError
from textclf.folds import FoldPlan, plan_folds, read_folds_file

BINARY = Task(kind="binary", class_names=("no", "yes"))
THREE = Task(kind="multiclass", class_names=("a", "b", "c"))
LABELS3 = Task(kind="multilabel", class_names=("x", "y", "z"))


@pytest.mark.parametrize("repeat", [0, 1, 2])
def test_each_repeat_is_that_of_scikit_learn(repeat: int) -> None:
    """Repeat r is StratifiedKFold, shuffled with seed + r."""
    labels = np.random.default_rng(0).integers(0, 3, 100)
    plan = plan_folds(labels, THREE, n_folds=4, seed=11, n_repeats=3)

    splitter = StratifiedKFold(4, shuffle=True, random_state=11 + repeat)
    for fold, (_, held_out) in enumerate(splitter.split(labels, labels)):
        assert np.flatnonzero(plan.fold_of_row[repeat] == fold).tolist() == held_out.tolist()


@settings(deadline=None, derandomize=True, max_examples=40)
@given(counts=st.tuples(*[st.integers(4, 30)] * 3), n_folds=st.integers(2, 4), seed=st.integers(0, 99))
def test_every_class_is_balanced_to_within_one_row(counts: tuple[int, ...], n_folds: int, seed: int) -> None:
    """For any class sizes, folds and seeds."""
    labels = np.random.default_rng(seed).permutation(np.repeat([0, 1, 2], counts))

    folds = plan_folds(labels, THREE, n_folds=n_folds, seed=seed).fold_of_row[0]

    for label in range(3):
        dealt = np.bincount(folds[labels == label], minlength=n_folds)
        assert dealt.max() - dealt.min() <= 1


def test_a_plan_depends_on_its_seed_and_says_so_in_its_digest() -> None:
    """One seed, one plan; another seed, another."""
    labels = np.tile([0, 1], 30)
    plan, again, other = (plan_folds(labels, BINARY, n_folds=3, seed=seed) for seed in (5, 5, 6))

    assert plan.digest == again.digest != other.digest
    np.testing.assert_array_equal(plan.fold_of_row, again.fold_of_row)
    assert (plan.n_repeats, plan.n_folds, plan.n_fits, plan.seed) == (1, 3, 3, 5)


def test_some_rows_of_a_plan_keep_their_folds() -> None:
    """A hold-out takes rows away from a user's plan."""
    plan = plan_folds(np.tile([0, 1], 6), BINARY, n_folds=3, seed=0, n_repeats=2)
    kept = np.array([True, False] * 6)

    np.testing.assert_array_equal(plan.rows(kept).fold_of_row, plan.fold_of_row[:, kept])


def is_together(plan: FoldPlan, groups: IntArray) -> bool:
    """Whether no group straddles a fold in any repeat."""
    return all(len(np.unique(folds[groups == group])) == 1 for folds in plan.fold_of_row for group in np.unique(groups))


@pytest.mark.parametrize("task", [BINARY, THREE, LABELS3])
@pytest.mark.parametrize("kind", ["groups", "duplicates", "both"])
def test_groups_never_straddle_a_fold(task: Task, kind: str) -> None:
    """Neither named groups nor repeated texts, nor what both join, whatever the task."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (240, 3)) if task.kind == "multilabel" else rng.integers(0, task.n_outputs, 240)
    named, repeated = rng.integers(0, 60, 240), np.concatenate([np.arange(220), np.arange(20)])
    groups = [f"g{group}" for group in named] if kind != "duplicates" else None
    duplicates = repeated if kind != "groups" else None

    plan = plan_folds(labels, task, n_folds=3, seed=4, n_repeats=2, groups=groups, duplicate_groups=duplicates)
    alone = plan_folds(labels, task, n_folds=3, seed=4, n_repeats=2)

    for given_groups, numbers in ((groups, named), (duplicates, repeated)):
        assert given_groups is None or is_together(plan, numbers)
        assert not is_together(alone, numbers)  # without being told, the plan does part them
    assert np.bincount(plan.fold_of_row[0]).min() > 240 / 3 * 0.5


def test_repeated_texts_stay_balanced_by_class() -> None:
    """Forty pairs and twenty single rows of each class, dealt to within a pair."""
    groups = np.concatenate([np.repeat(np.arange(80), 2), np.arange(100, 140)])
    labels = np.concatenate([np.repeat([0, 1], 80), np.repeat([0, 1], 20)])

    folds = plan_folds(labels, BINARY, n_folds=4, seed=0, duplicate_groups=groups).fold_of_row[0]

    for label in (0, 1):
        assert np.abs(np.bincount(folds[labels == label]) - 25).max() <= 5


def test_rows_without_repetition_are_dealt_as_if_nothing_were_said() -> None:
    """Asking for duplicates in a table that has none changes no fold."""
    labels = np.random.default_rng(2).integers(0, 2, 90)

    plain = plan_folds(labels, BINARY, n_folds=3, seed=8)

    assert plan_folds(labels, BINARY, n_folds=3, seed=8, duplicate_groups=np.arange(90)).digest == plain.digest


def test_multilabel_folds_balance_each_label() -> None:
    """Even a label of one row in twenty is in every fold, near its share."""
    rng = np.random.default_rng(3)
    labels = (rng.random((600, 3)) < [0.5, 0.2, 0.05]).astype(np.int64)

    folds = plan_folds(labels, LABELS3, n_folds=5, seed=0).fold_of_row[0]

    for label in range(3):
        dealt = np.bincount(folds[labels[:, label] == 1], minlength=5)
        assert np.abs(dealt - labels[:, label].sum() / 5).max() <= 2


def test_a_class_rarer_than_the_folds_is_refused_by_name_and_count() -> None:
    """For classes and for labels; a label may also be too common."""
    with pytest.raises(DataError, match="class 'c' has 2 rows, too few for 3 folds; lower --n-folds, merge it"):
        plan_folds(np.repeat([0, 1, 2], [9, 9, 2]), THREE, n_folds=3, seed=0)
    labels = np.zeros((20, 3), dtype=np.int64)
    labels[::2], labels[:2, 1] = 1, 0
    labels[:, 2] = [1] * 18 + [0] * 2
    with pytest.raises(DataError, match="label 'z' is 0 in 2 rows, too few for 3 folds"):
        plan_folds(labels, LABELS3, n_folds=3, seed=0)


def test_a_class_within_one_group_is_refused() -> None:
    """No model could learn it and predict it; two groups are enough."""
    labels = np.repeat([0, 1], [20, 4])
    one, two = [*range(20), 99, 99, 99, 99], [*range(20), 98, 98, 99, 99]

    with pytest.raises(DataError, match="all rows of 'yes' are in one group"):
        plan_folds(labels, BINARY, n_folds=3, seed=0, duplicate_groups=np.array(one))
    plan = plan_folds(labels, BINARY, n_folds=3, seed=0, duplicate_groups=np.array(two))

    assert is_together(plan, np.array(two))


def test_too_few_folds_and_too_few_groups_are_refused() -> None:
    """Before anything is dealt."""
    labels = np.tile([0, 1], 10)
    with pytest.raises(ConfigError, match="at least 2 folds"):
        plan_folds(labels, BINARY, n_folds=1, seed=0)
    with pytest.raises(DataError, match=r"1 group of rows cannot fill 2 folds .*ignore duplicates"):
        plan_folds(labels, BINARY, n_folds=2, seed=0, duplicate_groups=np.zeros(20, dtype=np.int64))
    with pytest.raises(DataError, match="2 groups of rows cannot fill 3 folds"):
        plan_folds(labels, BINARY, n_folds=3, seed=0, groups=["a", "b"] * 10)


def write(folder: Path, content: str) -> Path:
    """A folds file with this content."""
    path = folder / "folds.csv"
    path.write_text(content)
    return path


def test_a_users_plan_is_taken_by_id(tmp_path: Path) -> None:
    """Rows may stand in any order; several fold columns are repeats."""
    path = write(tmp_path, "id,fold_0,fold_1\nc,0,1\na,1,0\nb,0,0\n")

    plan = read_folds_file(path, ["a", "b", "c"])

    assert plan.fold_of_row.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert (plan.n_folds, plan.n_repeats, plan.seed) == (2, 2, -1)
    assert read_folds_file(
        write(tmp_path, "qid,fold\na,0\nb,1\n"), ["b", "a"], id_column="qid"
    ).fold_of_row.tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,fold\na,0\nb,1\nx,0\n", "line 4: id 'x' is not in the training table"),
        ("id,fold\na,0\n", "1 training ids have no fold, the first is 'b'"),
        ("id,fold\na,0\nb,1\na,1\n", "line 4: id 'a' is that of line 2"),
        ("id,fold\na,0\nb,one\n", "line 3, column 'fold': 'one' is not a fold number"),
        ("id,fold\na,0\nb,-1\n", "line 3, column 'fold': '-1' is not a fold number"),
        ("id,fold\na,0\nb,2\n", "column 'fold': no row is in fold 1"),
        ("id,fold\na,0\nb,0\n", "column 'fold': there is one fold only"),
        ("id,fold_0,fold_1\na,0,0\nb,1,0\n", "column 'fold_1': no row is in fold 1"),
        ("id,folds\na,0\nb,1\n", "no column 'fold'; did you mean folds"),
        ("key,fold\na,0\nb,1\n", "no column 'id'"),
    ],
)
def test_a_wrong_plan_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """File, line and column are named."""
    with pytest.raises(DataError) as error:
        read_folds_file(write(tmp_path, content), ["a", "b"])

    assert str(error.value).startswith(str(tmp_path / "folds.csv"))
    assert message in str(error.value)
