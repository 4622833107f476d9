"""Word vectors in binary: word2vec's format, and fastText models with their subwords."""

import io
import mmap
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textclf.arrays import Float32Array
from textclf.errors import DataError

FASTTEXT_MAGIC = 793712314
SUPERVISED = 3
PROBE = 4096


def is_fasttext_model(path: Path) -> bool:
    """Whether a file begins as fastText's ``.bin`` does."""
    with path.open("rb") as file:
        return file.read(4) == struct.pack("<i", FASTTEXT_MAGIC)


def is_word2vec_binary(path: Path) -> bool:
    """Whether a header of two numbers is followed by neither a line of numbers nor any other text."""
    with path.open("rb") as file:
        header = file.readline(64).split()
        if len(header) != 2 or not all(field.isdigit() for field in header):
            return False
        content = file.read(PROBE + 32 * int(header[1]))
    numbers = content.split(b"\n")[0].split()[1:]
    if len(numbers) == int(header[1]) and all(map(_is_number, numbers)):
        return False
    try:
        text = content[:PROBE].decode()
    except UnicodeDecodeError as error:
        text = content[: error.start].decode()
        if error.start < min(PROBE, len(content)) - 4:  # not just a character cut in two
            return True
    return any(character < " " and character not in "\t\n\v\f\r" for character in text)


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def parse_word2vec(path: Path) -> tuple[list[str], Float32Array]:
    """Words in file order and their vectors, (n_words, dim) float32, of a word2vec binary file.

    Raises DataError where the file ends before the words that its header announces.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(b"\n") + 1
        n_words, dim = (int(field) for field in content[: start - 1].split())
        matrix = np.empty((n_words, dim), dtype=np.float32)
        words = []
        for number in range(n_words):
            space = content.find(b" ", start)
            end = space + 1 + 4 * dim
            if space < 0 or end > len(content):
                raise DataError(f"{path}: ends within word {number + 1:,} of {n_words:,}; download the file again")
            words.append(content[start:space].lstrip(b"\n").decode("utf-8", errors="replace"))
            matrix[number] = np.frombuffer(content[space + 1 : end], dtype="<f4")
            start = end
    if not np.isfinite(matrix).all():
        bad = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])
        raise DataError(f"{path}: word {bad + 1:,} ({words[bad]!r}) has a number that is not finite; download it again")
    return words, matrix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FastTextModel:
    """The input side of a fastText model; a word's vector is the mean of the rows of the word and its n-grams.

    place_of: row of each dictionary word. matrix: (n_words + n_buckets, dim) float32, memory-mapped.
    shortest, longest: characters of an n-gram; longest 0 where the model has none.
    pruned: row of each n-gram bucket that was kept, None where all were.
    """

    place_of: dict[str, int]
    n_words: int
    matrix: Float32Array
    n_buckets: int
    shortest: int
    longest: int
    pruned: dict[int, int] | None

    def rows_of(self, word: str) -> list[int]:
        """Rows whose mean is the word's vector; empty for an unknown word without known n-grams."""
        known = [self.place_of[word]] if word in self.place_of else []
        if word == "</s>":
            return known
        buckets = [_hash(gram) % self.n_buckets for gram in _ngrams(f"<{word}>", self.shortest, self.longest)]
        if self.pruned is not None:
            buckets = [self.pruned[bucket] for bucket in buckets if bucket in self.pruned]
        return known + [self.n_words + bucket for bucket in buckets]

    def vectors(self, words: Sequence[str]) -> tuple[list[str], Float32Array]:
        """The words that have a vector, and their vectors."""
        rows = {word: rows for word in words if (rows := self.rows_of(word))}
        vectors = [self.matrix[chosen].mean(axis=0, dtype=np.float64) for chosen in rows.values()]
        return list(rows), np.array(vectors, dtype=np.float32).reshape(len(rows), self.matrix.shape[1])


def read_fasttext(path: Path) -> FastTextModel:
    """Read a fastText ``.bin`` model (format versions 11 and 12).

    Raises DataError for a quantised model, another version or a file that is cut short.
    """
    with path.open("rb") as file:
        try:
            return _read_model(file, path)
        except (struct.error, ValueError) as error:
            raise DataError(f"{path}: the fastText model is cut short ({error}); download the file again") from None


def _read_model(file: io.BufferedReader, path: Path) -> FastTextModel:
    _, version = _unpack(file, "<ii")
    if version not in {11, 12}:
        raise DataError(f"{path}: fastText format version {version}; 11 and 12 can be read: use the model's .vec file")
    dim, _, _, _, _, _, _, model, n_buckets, shortest, longest, _ = _unpack(file, "<12i")
    _unpack(file, "<d")
    if version == 11 and model == SUPERVISED:
        longest = 0  # as fastText itself does: such models had no n-grams yet
    n_entries, n_words, _, _, n_pruned = _unpack(file, "<iiiqq")
    place_of: dict[str, int] = {}
    for place in range(n_entries):
        word = _read_word(file)
        _unpack(file, "<qb")
        if place < n_words:  # labels come after the words
            place_of.setdefault(word, place)
    pruned: dict[int, int] = {}
    for _ in range(n_pruned):
        bucket, kept = _unpack(file, "<ii")
        pruned[bucket] = kept
    (quantised,) = _unpack(file, "<?")
    if quantised:
        raise DataError(f"{path}: the fastText model is quantised (.ftz); use its .vec or its full .bin file")
    n_rows, n_columns = _unpack(file, "<qq")
    if n_columns != dim:
        raise DataError(f"{path}: the fastText model is damaged ({n_columns} columns, not {dim}); download it again")
    matrix = np.memmap(path, dtype="<f4", mode="r", offset=file.tell(), shape=(n_rows, dim))
    return FastTextModel(
        place_of=place_of,
        n_words=n_words,
        matrix=np.asarray(matrix),
        n_buckets=max(n_buckets, 1),
        shortest=shortest,
        longest=longest if n_buckets else 0,
        pruned=pruned if n_pruned >= 0 else None,
    )


def _unpack(file: io.BufferedReader, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _read_word(file: io.BufferedReader) -> str:
    """Bytes up to the next zero."""
    letters = bytearray()
    while letter := file.read(1):
        if letter == b"\0":
            return letters.decode("utf-8", errors="replace")
        letters += letter
    raise ValueError("a word without end")


def _ngrams(marked: str, shortest: int, longest: int) -> Iterator[bytes]:
    """Character n-grams of a word within its marks, but not a mark alone."""
    for start in range(len(marked)):
        for size in range(max(shortest, 1), min(longest, len(marked) - start) + 1):
            if size > 1 or 0 < start < len(marked) - 1:
                yield marked[start : start + size].encode()


def _hash(gram: bytes) -> int:
    """FNV-1a as fastText has it: bytes are signed, so those above 127 flip the upper bits too."""
    value = 2166136261
    for byte in gram:
        value ^= byte if byte < 128 else byte | 0xFFFFFF00
        value = value * 16777619 & 0xFFFFFFFF
    return value
