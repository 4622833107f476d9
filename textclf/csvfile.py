"""Strict reading of CSV files: every complaint names the file and the physical line."""

import csv
import gzip
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textclf.errors import DataError, did_you_mean

N_NAMED = 5  # lines or values that a message spells out before it only counts
LONGEST_FIELD = 2**31 - 1
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvFile:
    """A CSV file as strings.

    cells: per row one string per column of the header.
    lines: physical line, counted from 1, on which each row begins (fields may contain line breaks).
    """

    path: Path
    header: tuple[str, ...]
    cells: list[list[str]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.cells)

    def position(self, column: str) -> int:
        """Place of a column in the header; raises DataError naming the columns there are."""
        if column not in self.header:
            hint = did_you_mean(column, self.header) or f"; columns: {', '.join(self.header)}"
            if len(self.header) == 1 and any(mark in self.header[0] for mark in ";\t|"):
                hint = "; the header is not separated by commas: write the file as CSV (a tab-separated one as .tsv)"
            raise DataError(f"{self.path}: line 1: there is no column {column!r}{hint}")
        return self.header.index(column)

    def column(self, column: str) -> list[str]:
        """All cells of one column, in file order."""
        position = self.position(column)
        return [row[position] for row in self.cells]


def read_csv(path: Path | str) -> CsvFile:
    """Read a UTF-8 file of comma-separated values (tabs where the name says .tsv; .gz is unpacked).

    A byte order mark and any line ending are accepted. Raises DataError for a file that is missing, empty, a folder
    or without rows, for another encoding, NUL bytes, broken quotes, rows of the wrong length and repeated columns.
    """
    path = Path(path)
    text = _decode(_read_bytes(path), path)
    delimiter = "\t" if ".tsv" in path.suffixes else ","
    rows, lines = _parse(text, path, delimiter=delimiter)
    if not rows:
        raise DataError(f"{path}: the file is empty; its first line must name the columns")
    header, cells, lines = rows[0], rows[1:], lines[1:]
    _check_header(header, path)
    if not cells:
        raise DataError(f"{path}: the file has a header but no rows; add at least one row")
    _check_lengths(header, cells, lines=lines, path=path)
    return CsvFile(path=path, header=tuple(header), cells=cells, lines=lines)


def name_lines(lines: Sequence[int]) -> str:
    """Spell out the first few line numbers and count the rest.

    >>> name_lines([3, 9])
    'lines 3, 9'
    >>> name_lines(range(1, 9))
    'lines 1, 2, 3, 4, 5 and 3 more'
    """
    named = ", ".join(str(line) for line in lines[:N_NAMED])
    rest = f" and {len(lines) - N_NAMED:,} more" if len(lines) > N_NAMED else ""
    return f"{'line' if len(lines) == 1 else 'lines'} {named}{rest}"


def _read_bytes(path: Path) -> bytes:
    """The file's content, unpacked."""
    if path.is_dir():
        raise DataError(f"{path}: this is a folder; name the CSV file in it")
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        beside = path.parent.glob("*") if path.parent.is_dir() else ()
        hint = did_you_mean(path.name, [other.name for other in beside if other.is_file()])
        raise DataError(f"{path}: there is no such file{hint or '; check the path'}") from None
    except OSError as error:
        raise DataError(f"{path}: the file cannot be read ({error.strerror}); check its permissions") from None
    if path.suffix != ".gz":
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError) as error:
        raise DataError(
            f"{path}: not a whole gzip file ({error}); pack it again or drop the .gz from its name"
        ) from None


def _decode(raw: bytes, path: Path) -> str:
    """Text of UTF-8 bytes; names the line of the first byte that is not."""
    if raw.startswith(UTF16_MARKS):
        raise DataError(f"{path}: the file is UTF-16, not UTF-8; convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW")
    if (nul := raw.find(b"\0")) >= 0:
        line = raw.count(b"\n", 0, nul) + 1
        raise DataError(f"{path}: line {line}: NUL byte; remove it: tr -d '\\000' < OLD > NEW")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.start + (len(raw) - len(error.object))  # the codec does not count a byte order mark
        line = raw.count(b"\n", 0, at) + 1
        raise DataError(
            f"{path}: line {line}: byte 0x{raw[at]:02x} is not UTF-8; if the file is Windows-1252, convert it: "
            "iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW"
        ) from None


def _parse(text: str, path: Path, *, delimiter: str) -> tuple[list[list[str]], list[int]]:
    """Rows and the physical line on which each begins; blank lines at the end of the file are no rows."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    line = 1
    limit = csv.field_size_limit(LONGEST_FIELD)
    try:
        for row in reader:
            rows.append(row)
            lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}: line {line}: broken quotes ({error}); a field with a quote, comma or line break must stand in "
            'double quotes, and a quote inside it is doubled ("")'
        ) from None
    finally:
        csv.field_size_limit(limit)
    while rows and not rows[-1]:
        del rows[-1], lines[-1]
    return rows, lines


def _check_header(header: list[str], path: Path) -> None:
    repeated = [column for column, count in Counter(header).items() if count > 1]
    if repeated:
        raise DataError(
            f"{path}: line 1: column {repeated[0]!r} is there {header.count(repeated[0])} times; rename one"
        )


def _check_lengths(header: list[str], cells: list[list[str]], *, lines: list[int], path: Path) -> None:
    """Every row has one cell per column; in a file of one column a blank line is an empty cell."""
    n_columns = len(header)
    for number, row in enumerate(cells):
        if len(row) == n_columns:
            continue
        if not row and n_columns == 1:
            cells[number] = [""]
            continue
        found = "is blank" if not row else f"has {len(row)} field{'s' * (len(row) != 1)}"
        raise DataError(
            f"{path}: line {lines[number]}: the row {found}, the header has {n_columns}; complete the row, or quote a "
            "field that contains a comma"
        )
