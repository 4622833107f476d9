"""Tables are read whole and exactly, or refused with a message that tells what to do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from textclf.config import Columns
from textclf.errors import ConfigError, DataError
from textclf.table import compare_tables, empty_table, read_test, read_train

COLUMNS = Columns(text="text", targets=("label",), row_id="id")


def write(folder: Path, content: str, name: str = "train.csv") -> Path:
    """A file with this content."""
    path = folder / name
    path.write_text(content, encoding="utf-8", newline="")
    return path


def test_rows_come_in_file_order_with_their_ids_and_cells(tmp_path: Path) -> None:
    """Numbers, categories and groups stand beside their texts; missing cells are NaN and ""."""
    path = write(tmp_path, "id,text,label,n,c,g\nb,two,1,1.5,x,G\na,one,0,NA,,H\nc,three,1, -2e1 ,y,G\n")
    columns = replace(COLUMNS, numeric=("n",), categorical=("c",), group="g")

    train = read_train(path, columns)

    assert train.table.row_ids == ("b", "a", "c")
    assert train.table.texts == ("two", "one", "three")
    assert train.labels.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(train.table.numeric, [[1.5], [np.nan], [-20.0]])
    assert train.table.categorical.tolist() == [["x"], [""], ["y"]]
    assert train.table.groups == ("G", "H", "G")


def test_rows_are_chosen_by_mask_and_by_index(tmp_path: Path) -> None:
    """An index may reorder and repeat."""
    path = write(tmp_path, "id,text,label,n\na,x,0,1\nb,y,1,2\nc,z,1,3\n")
    table = read_train(path, replace(COLUMNS, numeric=("n",), group="id")).table

    masked = table.rows(np.array([True, False, True]))
    indexed = table.rows(np.array([2, 0, 2]))

    assert (masked.row_ids, masked.texts, masked.groups) == (("a", "c"), ("x", "z"), ("a", "c"))
    assert indexed.row_ids == ("c", "a", "c")
    assert indexed.numeric.ravel().tolist() == [3, 1, 3]
    assert len(table.rows(np.zeros(3, dtype=bool))) == 0 == len(empty_table())


def test_without_an_id_column_ids_are_row_numbers(tmp_path: Path) -> None:
    """They begin at 0."""
    path = write(tmp_path, "text,label\nx,0\ny,1\n")

    assert read_train(path, Columns(text="text", targets=("label",))).table.row_ids == ("0", "1")


def test_the_report_prints_counts_and_warnings(tmp_path: Path) -> None:
    """A person sees the classes, the repeated texts and what looks odd."""
    path = write(tmp_path, "id,text,label\n1,same,spam\n2,same,ham\n3,nan,ham\n4,x,ham\n")

    report = read_train(path, COLUMNS).report

    assert (report.n_rows, report.n_duplicate_texts) == (4, 1)
    assert report.class_counts == {"ham": 3, "spam": 1}
    assert "line 4: the text is a word for a missing value" in report.warnings[0]
    assert "ham: 3 (75.0%)" in str(report)
    assert "warning: line 4" in str(report)


def test_empty_training_texts_are_refused_unless_kept(tmp_path: Path) -> None:
    """White space is as empty as nothing; lines are named."""
    path = write(tmp_path, 'id,text,label\n1,,0\n2,"a\nb",1\n3,"  ",1\n4,x,0\n')

    with pytest.raises(DataError, match=r"lines 2, 5, column 'text': the text is empty \(2 of 4 rows\)"):
        read_train(path, COLUMNS)
    kept = read_train(path, COLUMNS, empty_texts="keep")

    assert kept.table.texts == ("", "a\nb", "  ", "x")
    assert "lines 2, 5: the text is empty" in kept.report.warnings[0]


def test_empty_test_texts_are_kept_with_a_warning(tmp_path: Path) -> None:
    """Every test row needs a prediction."""
    train = read_train(write(tmp_path, "id,text,label\n1,x,0\n2,y,1\n"), COLUMNS).table
    test = read_test(write(tmp_path, "id,text\n3,\n4,z\n", "test.csv"), COLUMNS)

    assert test.texts == ("", "z")
    assert compare_tables(train, test, has_ids=True) == ("1 test texts are empty (ids 3)",)


def test_ids_in_both_tables_are_a_warning(tmp_path: Path) -> None:
    """Row numbers always overlap and warn of nothing."""
    train = read_train(write(tmp_path, "id,text,label\n1,x,0\n2,y,1\n3,z,1\n"), COLUMNS).table
    test = read_test(write(tmp_path, "id,text,label\n3,x,0\n9,y,1\n2,y,1\n", "test.csv"), COLUMNS)

    assert compare_tables(train, test, has_ids=True) == ("2 ids stand in both train and test (2, 3)",)
    assert compare_tables(train, test, has_ids=False) == ()


def test_repeated_ids_are_refused_with_both_lines(tmp_path: Path) -> None:
    """The first pair is named, the rest counted."""
    path = write(tmp_path, 'id,text,label\nx,"a\nb",0\ny,c,1\nx,d,1\nx,e,0\n')

    with pytest.raises(DataError, match=r"line 5, column 'id': id 'x' is that of line 2 \(2 such rows in all\)"):
        read_train(path, COLUMNS)


def test_repeated_ids_are_numbered_on_request(tmp_path: Path) -> None:
    """The numbered ids are unique even where the file holds ids of that form."""
    path = write(tmp_path, "id,text,label\nx,a,0\nx,b,1\nx#2,c,1\nx,d,0\ny,e,1\n")

    ids = read_train(path, COLUMNS, duplicate_ids="number").table.row_ids

    assert ids == ("x", "x#3", "x#2", "x#4", "y")


REFUSED = [
    ("id,text,label,n\n1,x,0,1\n2,y,1,many\n", "line 3, column 'n': 'many' is not a finite number"),
    ("id,text,label,n\n1,x,0,inf\n2,y,1,2\n", "line 2, column 'n': 'inf' is not a finite number"),
    ("id,text,label,n\n1,x,0,1_000\n2,y,1,2\n", "line 2, column 'n': '1_000' is not a finite number"),
    ("id,text,label,n\n,x,0,1\n2,y,1,2\n", "line 2, column 'id': the id is empty"),
    ("id,text,labl,n\n1,x,0,1\n", "no column 'label'; did you mean labl"),
    ("id,label,n\n1,0,1\n", "no column 'text'; columns: id, label, n"),
]


@pytest.mark.parametrize(("content", "message"), REFUSED)
def test_a_bad_cell_is_refused_with_line_and_column(tmp_path: Path, content: str, message: str) -> None:
    """Nothing is guessed."""
    path = write(tmp_path, content)

    with pytest.raises(DataError) as error:
        read_train(path, replace(COLUMNS, numeric=("n",)))

    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_an_empty_group_is_refused(tmp_path: Path) -> None:
    """Rows without a group would otherwise become one."""
    path = write(tmp_path, "id,text,label,g\n1,x,0,a\n2,y,1,\n")

    with pytest.raises(DataError, match="line 3, column 'g': the group is empty"):
        read_train(path, replace(COLUMNS, group="g"))


def test_a_test_table_needs_neither_target_nor_group(tmp_path: Path) -> None:
    """Its features are needed."""
    path = write(tmp_path, "id,text,n\n1,x,5\n", "test.csv")

    assert read_test(path, replace(COLUMNS, group="g", numeric=("n",))).groups is None
    with pytest.raises(DataError, match="no column 'm'"):
        read_test(path, replace(COLUMNS, numeric=("m",)))


def test_unknown_choices_are_refused(tmp_path: Path) -> None:
    """They are the caller's to mend."""
    path = write(tmp_path, "id,text,label\n1,x,0\n2,y,1\n")

    with pytest.raises(ConfigError, match="--duplicate-ids: 'drop' is not one of refuse, number"):
        read_train(path, COLUMNS, duplicate_ids="drop")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--empty-texts: 'drop' is not one of refuse, keep"):
        read_train(path, COLUMNS, empty_texts="drop")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "columns", "n_rows"),
    [
        ("jigsaw/test.csv", Columns(text="comment_text", targets=("toxic",), row_id="id"), 8893),
        (
            "airline/train.csv",
            Columns(
                text="text",
                targets=("airline_sentiment",),
                numeric=("retweet_count",),
                categorical=("airline", "user_timezone"),
            ),
            11000,
        ),
    ],
)
def test_real_files_are_read_as_pandas_reads_them(shared_data: Path, name: str, columns: Columns, n_rows: int) -> None:
    """Line breaks inside fields and missing cells included."""
    frame = pd.read_csv(shared_data / name, dtype=str, keep_default_na=False)

    table = read_test(shared_data / name, columns)

    assert len(table) == n_rows == len(frame)
    assert list(table.texts) == frame[columns.text].tolist()
    assert table.categorical.tolist() == frame[list(columns.categorical)].to_numpy(dtype=object).tolist()
    assert (table.numeric == frame[list(columns.numeric)].astype(float).to_numpy()).all()


JIGSAW = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
REAL = [  # folder/file, text, targets, rows and positive shares (or number of classes) as their README counts them
    ("quora/train.csv", "question_text", ("target",), 40_000, [0.062]),
    ("jigsaw/train.csv", "comment_text", JIGSAW, 32_000, [0.096, 0.010, 0.054, 0.003, 0.050, 0.009]),
    ("spooky/train.csv", "text", ("author",), 15_000, 3),
    ("airline/train.csv", "text", ("airline_sentiment",), 11_000, 3),
    ("sst2/train.csv", "text", ("label",), 6920, [0.5]),
    ("sst2/dev.csv", "text", ("label",), 872, [0.5]),
    ("trec/train.csv", "text", ("label",), 5452, 6),
    ("ag_news/train10k.csv", "text", ("label_name",), 10_429, 4),
    ("sms_spam/sms_spam.csv", "text", ("label",), 5574, [0.134]),
]


@pytest.mark.parametrize(("name", "text", "targets", "n_rows", "shares"), REAL)
def test_real_data_sets_hold_what_their_readme_says(
    shared_data: Path, *, name: str, text: str, targets: tuple[str, ...], n_rows: int, shares: list[float] | int
) -> None:
    """Rows, classes and shares of positive rows."""
    train = read_train(shared_data / name, Columns(text=text, targets=targets))

    assert len(train.table) == len(train.labels) == n_rows
    if isinstance(shares, int):
        assert train.task.n_outputs == shares
    else:
        tolerance = 0.03 if shares == [0.5] else 0.0011
        np.testing.assert_allclose(train.labels.reshape(n_rows, -1).mean(axis=0), shares, atol=tolerance)
