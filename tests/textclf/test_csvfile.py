"""The CSV reader takes any well-formed file and names the line of what is wrong in others."""

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textclf.csvfile import name_lines, read_csv
from textclf.errors import DataError


def write(folder: Path, content: bytes | str, name: str = "t.csv") -> Path:
    """A file with this content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@settings(deadline=None, derandomize=True)
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8))
def test_what_the_standard_library_writes_is_read_back(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Commas, quotes and line breaks inside fields survive."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("a", "b"), *rows])
    path = write(tmp_path_factory.mktemp("csv"), text.getvalue())

    file = read_csv(path)

    assert file.header == ("a", "b")
    assert [tuple(row) for row in file.cells] == rows


def test_a_row_knows_the_physical_line_it_begins_on(tmp_path: Path) -> None:
    """Line breaks inside fields count."""
    file = read_csv(write(tmp_path, 'a,b\n"x\ny\nz",1\n2,3\n'))

    assert file.lines == [2, 5]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_endings_and_a_byte_order_mark_change_nothing(tmp_path: Path, ending: str, mark: str) -> None:
    """Files from Windows and old Macs are read as those from elsewhere."""
    file = read_csv(write(tmp_path, f"{mark}a,b{ending}1,2{ending}3,4{ending}{ending}"))

    assert (file.header, file.cells) == (("a", "b"), [["1", "2"], ["3", "4"]])


def test_packed_and_tab_separated_files_are_told_by_their_names(tmp_path: Path) -> None:
    """A .tsv.gz file is both."""
    path = write(tmp_path, gzip.compress(b"a\tb\n1,5\t2\n"), "t.tsv.gz")

    assert read_csv(path).cells == [["1,5", "2"]]


def test_a_blank_line_in_a_file_of_one_column_is_an_empty_cell(tmp_path: Path) -> None:
    """Only trailing blank lines are no rows."""
    assert read_csv(write(tmp_path, "a\nx\n\ny\n\n")).cells == [["x"], [""], ["y"]]


def test_a_field_may_be_longer_than_the_default_limit_of_the_csv_module(tmp_path: Path) -> None:
    """A text of 200,000 characters is a text; the limit of other readers is left as it was."""
    before = csv.field_size_limit()

    assert len(read_csv(write(tmp_path, "a,b\n1," + "x" * 200_000 + "\n")).cells[0][1]) == 200_000
    assert csv.field_size_limit() == before


WRONG = [
    (b"", "empty"),
    (b"\n\n", "empty"),
    (b"a,b\n", "header but no rows"),
    (b"a,b,a\n1,2,3\n", "line 1: column 'a' is there 2 times"),
    (b"a,b\n1,2\n1,2,3\n", "line 3: the row has 3 fields, the header has 2"),
    (b'a,b\n"x\ny",2\n1\n', "line 4: the row has 1 field, the header has 2"),
    (b"a,b\n1,2\n\n3,4\n", "line 3: the row is blank"),
    (b"a,b\n1,2\n1,\0\n", "line 3: NUL byte"),
    (b"a,b\n1,2\n\n1,caf\xe9\n", "line 4: byte 0xe9 is not UTF-8"),
    (b"\xef\xbb\xbfa,b\n1,caf\xe9\n", "line 2: byte 0xe9 is not UTF-8"),
    ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    (b'a,b\n1,2\n3,"4"5\n', "line 3: broken quotes"),
    (b'a,b\n1,2\n3,"4\n5,6\n', "line 3: broken quotes"),
]


@pytest.mark.parametrize(("content", "message"), WRONG)
def test_a_malformed_file_is_refused_with_file_line_and_remedy(tmp_path: Path, content: bytes, message: str) -> None:
    """The message is one line that begins with the path."""
    path = write(tmp_path, content)

    with pytest.raises(DataError) as error:
        read_csv(path)

    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    """A slip of the finger is told."""
    write(tmp_path, "a\n1\n", "train.csv")

    with pytest.raises(DataError, match=r"no such file; did you mean train\.csv"):
        read_csv(tmp_path / "trian.csv")
    with pytest.raises(DataError, match="no such file; check the path"):
        read_csv(tmp_path / "nowhere" / "x.csv")


def test_a_folder_and_a_torn_gzip_file_are_refused(tmp_path: Path) -> None:
    """Neither is a table."""
    with pytest.raises(DataError, match="this is a folder"):
        read_csv(tmp_path)
    with pytest.raises(DataError, match="not a whole gzip file"):
        read_csv(write(tmp_path, gzip.compress(b"a,b\n1,2\n")[:-9], "t.csv.gz"))


def test_a_missing_column_is_refused_with_what_there_is(tmp_path: Path) -> None:
    """Near names are suggested, a wrong separator is recognised."""
    file = read_csv(write(tmp_path, "text,target\nx,1\n"))

    with pytest.raises(DataError, match="no column 'txt'; did you mean text"):
        file.column("txt")
    with pytest.raises(DataError, match="no column 'qid'; columns: text, target"):
        file.column("qid")
    with pytest.raises(DataError, match="not separated by commas"):
        read_csv(write(tmp_path, "text;target\nx;1\n")).column("text")


def test_line_numbers_are_spelled_out_up_to_five() -> None:
    """More are counted."""
    assert name_lines([7]) == "line 7"
    assert name_lines([1, 2, 3, 4, 5]) == "lines 1, 2, 3, 4, 5"
    assert name_lines(list(range(1, 2001))) == "lines 1, 2, 3, 4, 5 and 1,995 more"
