"""Embedding files of any format; text and word2vec files are parsed once into a cache folder.

The format is told from the content: a fastText ``.bin`` by its magic number, word2vec binary by bytes after its header
that are no text; everything else is text.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textclf.archive import Archive, read_archive, write_archive
from textclf.arrays import Float32Array
from textclf.binaryvectors import (
    FastTextModel,
    is_fasttext_model,
    is_word2vec_binary,
    parse_word2vec,
    read_fasttext,
)
from textclf.errors import DataError, RunError, did_you_mean
from textclf.textvectors import parse_text

CACHE_FORMAT = 1
SLICE = 1 << 16
DEFAULT_DEVIATION = 0.4  # about that of GloVe's numbers
N_MEASURED = 1000  # most frequent words of a fastText model, whose vectors cost time


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorFile:
    """All words of an embedding file and their vectors.

    words: unique, in file order; of a repeated word the first vector counts.
    matrix: (n_words, dim) float32, memory-mapped where it comes from the cache.
    mean, deviation: (dim,) float32 and the standard deviation of all numbers.
    """

    words: tuple[str, ...]
    matrix: Float32Array
    mean: Float32Array
    deviation: float

    def select(self, wanted: Iterable[str]) -> tuple[list[str], Float32Array]:
        """What the wanted words can use: themselves and their case variants, in file order, and their vectors."""
        forms = {form for word in wanted for form in case_variants(word)}
        kept = [place for place, word in enumerate(self.words) if word in forms]
        return [self.words[place] for place in kept], np.array(self.matrix[kept], dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SubwordFile:
    """A fastText model, which makes a vector for nearly any word; the fields are those of VectorFile."""

    model: FastTextModel
    mean: Float32Array
    deviation: float

    def select(self, wanted: Iterable[str]) -> tuple[list[str], Float32Array]:
        """The wanted words that the model can make a vector for, sorted, and their vectors."""
        return self.model.vectors(sorted(set(wanted)))


def case_variants(word: str) -> tuple[str, ...]:
    """Forms under which a source may hold a word, the best first.

    >>> case_variants("Paris")
    ('Paris', 'paris', 'PARIS')
    """
    return tuple(dict.fromkeys((word, word.lower(), word.capitalize(), word.upper())))


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


def read_vector_file(path: Path | str, *, cache: Path | str | None = None) -> VectorFile | SubwordFile:
    """Read an embedding file, from the cache folder where it was parsed before.

    Raises DataError for a missing, empty or damaged file, and for a bad line with its number.
    """
    path = Path(path)
    if not path.is_file():
        beside = [other.name for other in path.parent.glob("*")] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, beside) or "; check the path"
        raise DataError(f"{path}: there is no such embedding file{hint}")
    if is_fasttext_model(path):
        model = read_fasttext(path)
        mean, deviation = measure(model.vectors(list(model.place_of)[:N_MEASURED])[1])
        return SubwordFile(model=model, mean=mean, deviation=deviation)
    return _parse(path) if cache is None else _read_through(Path(cache), path)


def _read_through(cache: Path, path: Path) -> VectorFile:
    """Read from the cache, which is filled where it can be written; where it cannot, that costs time alone."""
    entry = cache / f"vectors-{CACHE_FORMAT}-{_file_digest(path)[:32]}"
    if not os.access(entry, os.F_OK):  # unlike Path.exists, this does not raise below a folder that may not be entered
        file = _parse(path)
        arrays = {"matrix": file.matrix, "mean": file.mean}
        record = {"deviation": file.deviation}
        try:
            write_archive(entry, Archive(record=record, arrays=arrays, strings={"words": file.words}))
        except RunError:
            return file
    kept = read_archive(entry)
    return VectorFile(
        words=tuple(kept.strings["words"]),
        matrix=kept.arrays["matrix"],
        mean=kept.arrays["mean"],
        deviation=kept.record["deviation"],
    )


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse(path: Path) -> VectorFile:
    words, matrix = parse_word2vec(path) if is_word2vec_binary(path) else parse_text(path)
    unique, matrix = _first_of_each(words, matrix)
    mean, deviation = measure(matrix)
    return VectorFile(words=unique, matrix=matrix, mean=mean, deviation=deviation)


def _first_of_each(words: Sequence[str], matrix: Float32Array) -> tuple[tuple[str, ...], Float32Array]:
    """Drop later vectors of a word that came before."""
    place = dict(zip(reversed(words), range(len(words) - 1, -1, -1), strict=True))
    if len(place) == len(words):
        return tuple(words), matrix
    kept = sorted(place.values())
    return tuple(words[at] for at in kept), matrix[kept]
