"""Target columns become class numbers in a recorded order, or are refused."""

from pathlib import Path

import pytest

from textclf.csvfile import CsvFile
from textclf.errors import ConfigError, DataError
from textclf.targets import read_classes, read_labels


def file_of(cells: list[str]) -> CsvFile:
    """A file of one column, y."""
    return CsvFile(
        path=Path("t.csv"), header=("y",), cells=[[cell] for cell in cells], lines=list(range(2, 2 + len(cells)))
    )


@pytest.mark.parametrize(
    ("cells", "kind", "class_names", "labels"),
    [
        (["1", "0", "1"], "binary", ("0", "1"), [1, 0, 1]),
        (["spam", "ham", "ham"], "binary", ("ham", "spam"), [1, 0, 0]),
        (["10", "9", "-1"], "multiclass", ("-1", "9", "10"), [2, 1, 0]),
        (["b10", "b9", "a"], "multiclass", ("a", "b10", "b9"), [1, 2, 0]),
        (["1.0", "0.0"], "binary", ("0.0", "1.0"), [1, 0]),
        (["Ja", "nein", "10"], "multiclass", ("10", "Ja", "nein"), [1, 2, 0]),
    ],
)
def test_classes_are_sorted_and_numbers_by_value(
    cells: list[str], kind: str, class_names: tuple[str, ...], labels: list[int]
) -> None:
    """Class names stay as the file writes them."""
    found, task = read_classes(file_of(cells), "y", positive=None)

    assert (task.kind, task.class_names, found.tolist()) == (kind, class_names, labels)
    assert [task.class_names[label] for label in found] == cells


def test_the_positive_class_can_be_named() -> None:
    """It becomes the second."""
    labels, task = read_classes(file_of(["spam", "ham", "ham"]), "y", positive="ham")

    assert (task.class_names, labels.tolist()) == (("spam", "ham"), [0, 1, 1])


def test_a_positive_class_that_is_none_of_two_is_refused() -> None:
    """With the nearest name."""
    with pytest.raises(ConfigError, match=r"'spm' is not one of two classes .* did you mean spam"):
        read_classes(file_of(["spam", "ham"]), "y", positive="spm")
    with pytest.raises(ConfigError, match="not one of two classes"):
        read_classes(file_of(["a", "b", "c"]), "y", positive="a")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["a", "", "b", " "], "lines 3, 5, column 'y': the target is empty in 2 of 4 rows"),
        (["a", "a"], "column 'y': all rows are of class 'a'; two classes are needed"),
        (["spam", "ham", "spam "], "classes 'spam' and 'spam ' are one, written in two ways"),
        (["1", "0", "1.0"], "classes '1' and '1.0' are one, written in two ways"),
        ([f"{number / 7:.3f}" for number in range(60)], "60 different numbers from 0 to 8.429 look like a measurement"),
        ([f"text{number}" for number in range(30)], "30 different values in 30 rows are too many for classes"),
    ],
)
def test_a_column_that_holds_no_classes_is_refused(cells: list[str], message: str) -> None:
    """The message says what it holds instead."""
    with pytest.raises(DataError) as error:
        read_classes(file_of(cells), "y", positive=None)

    assert message in str(error.value)


def test_many_classes_are_classes_when_rows_are_many() -> None:
    """Thirty whole numbers, each three times, make a task."""
    _, task = read_classes(file_of([str(number) for number in range(30)] * 3), "y", positive=None)

    assert task.class_names == tuple(str(number) for number in range(30))


def labels_file(rows: list[list[str]]) -> CsvFile:
    """A file of two columns, x and y."""
    return CsvFile(path=Path("t.csv"), header=("x", "y"), cells=rows, lines=list(range(2, 2 + len(rows))))


def test_several_targets_are_a_matrix_of_zeros_and_ones() -> None:
    """Columns come in the order in which they were named."""
    labels, task = read_labels(labels_file([["0", "1"], ["1.0", "1"], ["0", " 0"]]), ("y", "x"))

    assert (task.kind, task.class_names) == ("multilabel", ("y", "x"))
    assert labels.tolist() == [[1, 0], [1, 1], [0, 0]]


def test_other_cells_and_constant_labels_are_refused() -> None:
    """Line and column are named."""
    with pytest.raises(DataError, match="line 3, column 'y': '2' is not 0 or 1"):
        read_labels(labels_file([["0", "1"], ["1", "2"]]), ("x", "y"))
    with pytest.raises(DataError, match="column 'y': all rows are 1; both 0 and 1 are needed"):
        read_labels(labels_file([["0", "1"], ["1", "1"]]), ("x", "y"))
