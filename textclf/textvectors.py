"""Word vectors as text: GloVe, and word2vec or fastText ``.vec`` with their header line; plain or ``.gz``."""

import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from textclf.arrays import Float32Array
from textclf.errors import DataError

LARGEST = float(np.finfo(np.float32).max)
BLOCK = 1 << 25  # bytes of text that are parsed at once: files may be larger than memory allows to hold twice


def parse_text(path: Path) -> tuple[list[str], Float32Array]:
    """Words in file order and their vectors, (n_words, dim) float32; a header line ``n_words dim`` is optional.

    Raises DataError, with the line number, where a line does not hold as many finite numbers as the first.
    """
    words: list[str] = []
    parts: list[Float32Array] = []
    announced: int | None = None
    dim = 0
    for first_line, block in _blocks(path):
        lines, line = block, first_line
        if line == 1:
            announced, dim = _shape(lines[0], path)
            if announced is not None:
                lines, line = lines[1:], 2
        if lines:
            spelled, part = _parse_lines(lines, dim, first_line=line, path=path)
            words += spelled
            parts.append(part)
    if not words:
        raise DataError(f"{path}: the file holds no word vectors; each line must be a word and its numbers")
    if announced is not None and announced != len(words):
        raise DataError(
            f"{path}: line 1 announces {announced:,} words, the file holds {len(words):,}; download the file again, or "
            f"write '{len(words)} {dim}' there if it was cut on purpose"
        )
    return words, np.concatenate(parts)


def _blocks(path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Number of the first line and lines, about BLOCK bytes at a time; blank lines at the end are dropped."""
    rest, line = b"", 1
    with _open(path) as file:
        try:
            while chunk := file.read(BLOCK):
                *lines, rest = (rest + chunk).split(b"\n")
                if lines:
                    yield line, lines
                    line += len(lines)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{path}: cannot be read to its end ({error}); download the file again") from None
    if rest.strip():
        yield line, [rest]


def _open(path: Path) -> io.BufferedIOBase:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _shape(line: bytes, path: Path) -> tuple[int | None, int]:
    """Announced number of words, None without a header, and numbers per word."""
    fields = line.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields) and int(fields[1]) > 0:
        return int(fields[0]), int(fields[1])
    if len(fields) < 2:
        raise DataError(f"{path}: line 1: {len(fields)} fields; each line must be a word and its numbers")
    return None, len(fields) - 1


def _parse_lines(lines: Sequence[bytes], dim: int, *, first_line: int, path: Path) -> tuple[list[str], Float32Array]:
    import pandas as pd

    words, numbers = _split_lines(lines, dim)
    text = io.BytesIO(b"\n".join(numbers))
    try:
        with np.errstate(over="ignore"):  # a number too large becomes infinite, and is refused below
            frame = pd.read_csv(text, sep=" ", header=None, dtype=np.float32, engine="c", skip_blank_lines=False)
        matrix: Float32Array = frame.to_numpy()
    except (ValueError, pd.errors.ParserError):
        matrix = np.full((1, 1), np.nan, dtype=np.float32)
    if matrix.shape != (len(words), dim) or not np.isfinite(matrix).all():
        raise _bad_line(lines, dim, first_line=first_line, path=path)
    return words, matrix


def _split_lines(lines: Sequence[bytes], dim: int) -> tuple[list[str], list[bytes]]:
    """Part words from numbers; a word with spaces (GloVe 840B has some) is all but the last ``dim`` fields."""
    words, numbers = [], []
    for line in lines:
        word, _, rest = line.rstrip(b" \r").partition(b" ")
        if rest.count(b" ") != dim - 1:
            word, *fields = line.rstrip(b" \r").rsplit(b" ", dim)
            rest = b" ".join(fields)
        words.append(word.decode("utf-8", errors="replace"))
        numbers.append(rest)
    return words, numbers


def _bad_line(lines: Sequence[bytes], dim: int, *, first_line: int, path: Path) -> DataError:
    """The error that names the first line whose numbers are not ``dim`` finite ones."""
    for line, text in enumerate(lines, start=first_line):
        fields = text.split()[1:]
        if len(fields) < dim:
            found = f"{len(fields)} numbers where {dim} belong"
        else:
            bad = next((field for field in fields[-dim:] if not _is_finite(field)), None)
            if bad is None:
                continue
            found = f"{bad.decode('utf-8', errors='replace')!r} is not a finite number"
        return DataError(f"{path}: line {line}: {found}; download the file again or remove the line")
    return DataError(f"{path}: numbers must be parted by single spaces; download the file again")


def _is_finite(field: bytes) -> bool:
    try:
        return abs(float(field)) <= LARGEST
    except ValueError:
        return False
