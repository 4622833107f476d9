"""Pretrained word vectors: selected for a study, combined, completed for unknown words, and their coverage."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from textclf.arrays import BoolArray, Float32Array, FloatArray, IntArray, array_digest, text_digest
from textclf.errors import ConfigError
from textclf.vectorfiles import case_variants, measure, read_vector_file

Combine = Literal["concat", "mean", "weighted"]
Oov = Literal["zero", "random", "mean", "ngram"]
N_SPECIAL = 2
DEFAULT_DIM = 100
NGRAM_BUCKETS = 1 << 15
UNKNOWN_WORD = "<unk>"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WordVectors:
    """The vectors of one source for the words that a study can meet; ``make_vectors`` makes one.

    matrix: (n_words, dim) float32.
    mean, deviation: (dim,) float32 and one number, over the source's whole file: what unknown words are filled with
        must not depend on the study's words.
    weight: share of the source in a weighted mean.
    digest: SHA-256 of words, matrix, mean and deviation, as hex.
    """

    name: str
    words: tuple[str, ...]
    matrix: Float32Array
    mean: Float32Array
    deviation: float
    digest: str
    weight: float = 1.0

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        return int(self.matrix.shape[1])


def make_vectors(
    name: str,
    words: Sequence[str],
    matrix: Float32Array,
    *,
    mean: Float32Array | None = None,
    deviation: float | None = None,
    weight: float = 1.0,
) -> WordVectors:
    """Word vectors with their digest; mean and deviation are those of the matrix unless given."""
    if not 0 < weight < np.inf:
        raise ConfigError(f"embedding weight: {weight} of {name} is not a positive number")
    if mean is None or deviation is None:
        mean, deviation = measure(matrix)
    digest = text_digest(*words, array_digest(matrix), array_digest(mean), repr(deviation))
    return WordVectors(
        name=name, words=tuple(words), matrix=matrix, mean=mean, deviation=deviation, weight=weight, digest=digest
    )


def load_vectors(
    path: Path | str, words: Iterable[str], *, weight: float = 1.0, cache: Path | str | None = None
) -> WordVectors:
    """Read an embedding file and keep what these words, or their case variants, can use.

    cache: folder in which a parsed file is kept for the next time.
    Raises DataError for a missing or damaged file.
    """
    file = read_vector_file(path, cache=cache)
    found, matrix = file.select(words)
    return make_vectors(Path(path).name, found, matrix, mean=file.mean, deviation=file.deviation, weight=weight)


def vector_matrix(
    words: Sequence[str],
    vectors: Sequence[WordVectors],
    *,
    combine: Combine = "concat",
    oov: Oov = "zero",
    seed: int = 0,
    dim: int = DEFAULT_DIM,
) -> tuple[Float32Array, BoolArray]:
    """Vectors for a lexicon: row 0 padding (zeros), row 1 the unknown word, row i + 2 ``words[i]``.

    A word takes the vector of its own form, else of its lower-case, capitalised or upper-case form. ``concat`` puts
    the sources side by side; ``mean`` and ``weighted`` average those that know the word (Coates and Bollegala 2018).
    A word that no source knows is filled by ``oov``: zeros; ``random``, normal with the source's deviation; ``mean``,
    the source's average vector; ``ngram``, a sum of hashed vectors of its character 3- to 5-grams (after Bojanowski et
    al. 2017), so that similar spellings get similar vectors. Every row depends on its word, the sources and the seed
    alone. Without any source each word is unknown and gets ``dim`` numbers.

    returns: matrix (n_words + 2, dim) float32, known (n_words + 2,) bool, True where a source knows the word.
    Raises ConfigError for an unknown choice, and for a mean of sources that differ in dimension.
    """
    for option, value, allowed in (("combine", combine, get_args(Combine)), ("oov", oov, get_args(Oov))):
        if value not in allowed:
            raise ConfigError(f"{option}: {value!r} is not one of {', '.join(allowed)}")
    if not vectors:
        vectors = [make_vectors("none", (), np.zeros((0, dim), dtype=np.float32))]
    found = [_look_up(words, source) for source in vectors]
    known = np.concatenate([np.zeros(N_SPECIAL, dtype=bool), np.any([has for _, has in found], axis=0)])
    if combine == "concat":
        blocks = [
            _complete(words, block, has, source=source, oov=oov, seed=seed + number)
            for number, (source, (block, has)) in enumerate(zip(vectors, found, strict=True))
        ]
        return np.hstack(blocks), known
    mixed = _mix_sources(vectors, combine=combine)
    total = np.zeros((len(words), mixed.dim), dtype=np.float64)
    mass = np.zeros((len(words), 1), dtype=np.float64)
    for source, (block, has) in zip(vectors, found, strict=True):
        share = source.weight if combine == "weighted" else 1.0
        total += share * block
        mass += share * has[:, None]
    mean = np.divide(total, mass, out=total, where=mass > 0).astype(np.float32)
    return _complete(words, mean, known[N_SPECIAL:], source=mixed, oov=oov, seed=seed), known


def find_words(words: Sequence[str], source: WordVectors) -> IntArray:
    """Place of each word, or of its first case variant, among a source's words.

    returns: (n_words,) int64, -1 where the source has none.
    """
    place_of = {word: place for place, word in enumerate(source.words)}
    places = np.full(len(words), -1, dtype=np.int64)
    for number, word in enumerate(words):
        place = place_of.get(word, -1)
        if place < 0:
            place = next((place_of[form] for form in case_variants(word) if form in place_of), -1)
        places[number] = place
    return places


def _look_up(words: Sequence[str], source: WordVectors) -> tuple[Float32Array, BoolArray]:
    """Vectors per word, zeros where the source has none, and where it has one."""
    places = find_words(words, source)
    has = places >= 0
    block = np.zeros((len(words), source.dim), dtype=np.float32)
    block[has] = source.matrix[places[has]]
    return block, has


def _mix_sources(vectors: Sequence[WordVectors], *, combine: Combine) -> WordVectors:
    """Mean and deviation of averaged sources, for the words that none of them knows."""
    if len({source.dim for source in vectors}) > 1:
        each = ", ".join(f"{source.name}: {source.dim}" for source in vectors)
        raise ConfigError(f"combine: {combine!r} needs vectors of one dimension ({each}); use concat")
    shares = np.array([source.weight if combine == "weighted" else 1.0 for source in vectors])
    shares /= shares.sum()
    return make_vectors(
        "mix",
        (),
        np.zeros((0, vectors[0].dim), dtype=np.float32),
        mean=(shares @ np.stack([source.mean for source in vectors])).astype(np.float32),
        deviation=float(shares @ np.array([source.deviation for source in vectors])),
    )


def _complete(
    words: Sequence[str], block: Float32Array, has: BoolArray, *, source: WordVectors, oov: Oov, seed: int
) -> Float32Array:
    """Add the padding and the unknown row, and fill the rows of words that the source does not know."""
    absent = np.flatnonzero(~has)
    matrix = np.concatenate([np.zeros((N_SPECIAL, source.dim), dtype=np.float32), block])
    rows = np.concatenate([[1], absent + N_SPECIAL])
    spelled = [UNKNOWN_WORD, *(words[place] for place in absent.tolist())]
    if oov == "mean":
        matrix[rows] = source.mean
    elif oov == "random":
        matrix[rows] = np.stack([_random_vector(word, source.dim, seed=seed) for word in spelled]) * source.deviation
    elif oov == "ngram":
        matrix[rows] = _ngram_vectors(spelled, source.dim, seed=seed) * source.deviation
    return matrix


def _random_vector(word: str, dim: int, *, seed: int) -> FloatArray:
    """Standard normal numbers that depend on the word and the seed alone."""
    key = hashlib.blake2b(word.encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(key, "little")]).standard_normal(dim)


def _ngram_vectors(words: Sequence[str], dim: int, *, seed: int) -> FloatArray:
    """Sums of the vectors of each word's hashed character n-grams, of unit deviation."""
    buckets = np.random.default_rng(seed).standard_normal((NGRAM_BUCKETS, dim))
    vectors = np.empty((len(words), dim), dtype=np.float64)
    for row, word in enumerate(words):
        hashed = [zlib.crc32(gram.encode()) % NGRAM_BUCKETS for gram in _ngrams(word)]
        vectors[row] = buckets[hashed].sum(axis=0) / np.sqrt(len(hashed))
    return vectors


def _ngrams(word: str) -> Iterator[str]:
    """Character 3- to 5-grams of a word within < and >.

    >>> list(_ngrams("hi"))
    ['<hi', 'hi>', '<hi>']
    """
    marked = f"<{word}>"
    for size in range(3, 6):
        for start in range(max(len(marked) - size + 1, 0)):
            yield marked[start : start + size]
