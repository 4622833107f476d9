"""Reading GloVe, word2vec and fastText files, each parsed once into a cache folder.

The format is told from the content: a fastText ``.bin`` by its magic number, word2vec binary by bytes after its header
that are no text, everything else is text with one word per line and an optional ``n_words dim`` header.
"""

import gzip
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textclf.archive import Archive, read_archive, write_archive
from textclf.arrays import Float32Array
from textclf.errors import DataError, did_you_mean

CACHE_FORMAT = 1
SLICE = 1 << 16
DEFAULT_DEVIATION = 0.4  # about that of GloVe's numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorFile:
    """All words of an embedding file and their vectors.

    words: unique, in file order; of a repeated word the first vector counts.
    matrix: (n_words, dim) float32, memory-mapped where it comes from the cache.
    mean, deviation: (dim,) float32 and the standard deviation of all numbers.
    digest: SHA-256 of the file, as hex.
    """

    path: Path
    words: tuple[str, ...]
    matrix: Float32Array
    mean: Float32Array
    deviation: float
    digest: str

    def select(self, wanted: set[str]) -> tuple[list[str], Float32Array]:
        """The wanted words that the file has, in file order, and their vectors."""
        kept = [place for place, word in enumerate(self.words) if word in wanted]
        return [self.words[place] for place in kept], np.array(self.matrix[kept], dtype=np.float32)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def measure(matrix: Float32Array) -> tuple[Float32Array, float]:
    """Mean vector and standard deviation of all numbers; 0 and DEFAULT_DEVIATION without rows.

    matrix: (n_words, dim); returns (dim,) float32 and a number. Sums are taken in float64, a slice at a time.
    """
    if not len(matrix):
        return np.zeros(matrix.shape[1], dtype=np.float32), DEFAULT_DEVIATION
    total = np.zeros(matrix.shape[1])
    squares = 0.0
    for start in range(0, len(matrix), SLICE):
        part = matrix[start : start + SLICE].astype(np.float64)
        total += part.sum(axis=0)
        squares += float((part**2).sum())
    variance = squares / matrix.size - (total.sum() / matrix.size) ** 2
    return (total / len(matrix)).astype(np.float32), float(np.sqrt(max(variance, 0.0)))


def read_vector_file(path: Path | str, *, cache: Path | str | None = None) -> VectorFile:
    """Read an embedding file, from the cache folder where it was parsed before.

    Raises DataError for a missing or empty file and for a bad line, with its number.
    """
    path = Path(path)
    if not path.is_file():
        beside = [other.name for other in path.parent.glob("*")] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, beside) or "; check the path"
        raise DataError(f"{path}: there is no such embedding file{hint}")
    digest = file_digest(path)
    if cache is None:
        words, matrix = _parse(path)
        mean, deviation = measure(matrix)
        return VectorFile(path=path, words=words, matrix=matrix, mean=mean, deviation=deviation, digest=digest)
    entry = Path(cache) / f"vectors-{CACHE_FORMAT}-{digest[:32]}"
    if not entry.is_dir():
        words, matrix = _parse(path)
        mean, deviation = measure(matrix)
        arrays = {"matrix": matrix, "mean": mean}
        write_archive(entry, Archive(record={"deviation": deviation}, arrays=arrays, strings={"words": words}))
    kept = read_archive(entry)
    return VectorFile(
        path=path,
        words=tuple(kept.strings["words"]),
        matrix=kept.arrays["matrix"],
        mean=kept.arrays["mean"],
        deviation=kept.record["deviation"],
        digest=digest,
    )


def _parse(path: Path) -> tuple[tuple[str, ...], Float32Array]:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return _parse_text(raw, path)


def _parse_text(raw: bytes, path: Path) -> tuple[tuple[str, ...], Float32Array]:
    """GloVe, and word2vec or fastText text with their header."""
    import pandas as pd

    lines = raw.rstrip(b"\r\n").split(b"\n")
    has_header = len(lines[0].split()) == 2 and all(part.isdigit() for part in lines[0].split())
    first = 1 if has_header else 0
    if len(lines) <= first or not lines[first].strip():
        raise DataError(f"{path}: the file holds no word vectors; each line is a word and its numbers")
    dim = int(lines[0].split()[1]) if has_header else len(lines[0].split()) - 1
    words, numbers = _split_lines(lines[first:], dim)
    try:
        frame = pd.read_csv(
            io.BytesIO(b"\n".join(numbers)), sep=" ", header=None, dtype=np.float32, engine="c", skip_blank_lines=False
        )
        matrix = frame.to_numpy()
    except (ValueError, pd.errors.ParserError):
        matrix = np.full((1, 1), np.nan, dtype=np.float32)
    if matrix.shape != (len(words), dim) or not np.isfinite(matrix).all():
        raise _bad_line(numbers, dim, first=first, path=path)
    return _first_of_each(words, matrix)


def _split_lines(lines: Sequence[bytes], dim: int) -> tuple[list[str], list[bytes]]:
    """Part words from numbers; a word with spaces (GloVe 840B has some) is all but the last ``dim`` fields."""
    words, numbers = [], []
    for line in lines:
        word, _, rest = line.strip(b" \r").partition(b" ")
        if rest.count(b" ") != dim - 1:
            fields = line.strip(b" \r").rsplit(b" ", dim)
            word, rest = fields[0], b" ".join(fields[1:])
        words.append(word.decode("utf-8", errors="replace"))
        numbers.append(rest)
    return words, numbers


def _bad_line(numbers: Sequence[bytes], dim: int, *, first: int, path: Path) -> DataError:
    """The error that names the first line whose numbers are not ``dim`` finite ones."""
    for place, rest in enumerate(numbers):
        fields = rest.split()
        found = f"{len(fields)} numbers, the first line has {dim}" if len(fields) != dim else None
        for field in fields if found is None else ():
            try:
                finite = np.isfinite(float(field))
            except ValueError:
                finite = False
            if not finite:
                found = f"{field.decode('utf-8', errors='replace')!r} is not a finite number"
                break
        if found:
            return DataError(f"{path}: line {place + first + 1}: {found}; download the file again or remove the line")
    return DataError(f"{path}: the numbers cannot be read; download the file again")


def _first_of_each(words: Sequence[str], matrix: Float32Array) -> tuple[tuple[str, ...], Float32Array]:
    """Drop later vectors of a word that came before."""
    place = dict(zip(reversed(words), range(len(words) - 1, -1, -1), strict=True))
    if len(place) == len(words):
        return tuple(words), matrix
    kept = sorted(place.values())
    return tuple(words[at] for at in kept), matrix[kept]
