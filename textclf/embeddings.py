"""Pretrained word vectors: selected for a study, combined, completed for unknown words, and their coverage."""

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from textclf.arrays import BoolArray, Float32Array, FloatArray, array_digest, text_digest
from textclf.errors import ConfigError
from textclf.vectorfiles import read_vector_file

Combine = Literal["concat", "mean", "weighted"]
Oov = Literal["zero", "random", "mean", "ngram"]
N_SPECIAL = 2
DEFAULT_DIM = 100
DEFAULT_DEVIATION = 0.4  # about that of GloVe's components
NGRAM_BUCKETS = 1 << 15
UNKNOWN_WORD = "<unk>"


@dataclass(frozen=True, slots=True, kw_only=True)
class WordVectors:
    """The vectors of one source for the words that a study can meet.

    matrix: (n_words, dim) float32. digest: SHA-256 of the words and the matrix, as hex.
    """

    name: str
    words: tuple[str, ...]
    matrix: Float32Array
    digest: str

    @property
    def dim(self) -> int:
        """Numbers per vector."""
        return int(self.matrix.shape[1])


def make_vectors(name: str, words: Sequence[str], matrix: Float32Array) -> WordVectors:
    """Word vectors with their digest."""
    return WordVectors(name=name, words=tuple(words), matrix=matrix, digest=text_digest(*words, array_digest(matrix)))


def case_variants(word: str) -> tuple[str, ...]:
    """Forms under which a source may hold a word, the best first.

    >>> case_variants("Paris")
    ('Paris', 'paris', 'PARIS')
    """
    return tuple(dict.fromkeys((word, word.lower(), word.capitalize(), word.upper())))


def load_vectors(path: Path | str, words: Sequence[str], *, cache: Path | str | None = None) -> WordVectors:
    """Read an embedding file and keep what these words, or their case variants, can use."""
    file = read_vector_file(path, cache=cache)
    wanted = {form for word in words for form in case_variants(word)}
    kept = [place for place, word in enumerate(file.words) if word in wanted]
    return make_vectors(file.path.name, [file.words[place] for place in kept], np.array(file.matrix[kept]))


def vector_matrix(
    words: Sequence[str],
    vectors: Sequence[WordVectors],
    *,
    combine: Combine = "concat",
    oov: Oov = "zero",
    seed: int = 0,
    weights: Sequence[float] | None = None,
    dim: int = DEFAULT_DIM,
) -> tuple[Float32Array, BoolArray]:
    """Vectors for a lexicon: row 0 padding (zeros), row 1 the unknown word, row i + 2 ``words[i]``.

    A word takes the vector of its own form, else of its lower-case, capitalised or upper-case form. ``concat`` puts
    the sources side by side, ``mean`` and ``weighted`` average those that know the word (Coates and Bollegala 2018).
    A word that no source knows is filled by ``oov``: zeros; ``random``, normal with the source's deviation, a function
    of word and seed alone; ``mean``, the average known vector; ``ngram``, a sum of hashed vectors of its character
    3- to 5-grams (Bojanowski et al. 2017), so that similar spellings get similar vectors. Without any source every
    word is unknown and gets ``dim`` numbers.

    returns: matrix (n_words + 2, dim) float32, known (n_words + 2,) bool, True where a source knows the word.
    Raises ConfigError for an unknown choice, and for a mean of sources that differ in dimension.
    """
    for option, value, allowed in (("combine", combine, get_args(Combine)), ("oov", oov, get_args(Oov))):
        if value not in allowed:
            raise ConfigError(f"{option}: {value!r} is not one of {', '.join(allowed)}")
    if not vectors:
        empty = np.zeros((len(words), dim), dtype=np.float32), np.zeros(len(words), dtype=bool)
        return _complete(words, *empty, oov=oov, seed=seed), np.zeros(len(words) + N_SPECIAL, dtype=bool)
    found = [_look_up(words, source) for source in vectors]
    known = np.concatenate([np.zeros(N_SPECIAL, dtype=bool), np.any([has for _, has in found], axis=0)])
    if combine == "concat" or len(vectors) == 1:
        blocks = [
            _complete(words, block, has, oov=oov, seed=seed + number) for number, (block, has) in enumerate(found)
        ]
        return np.hstack(blocks), known
    shares = _check_shares(vectors, combine=combine, weights=weights)
    total = np.zeros(found[0][0].shape, dtype=np.float64)
    mass = np.zeros((len(words), 1), dtype=np.float64)
    for share, (block, has) in zip(shares, found, strict=True):
        total += share * block
        mass += share * has[:, None]
    mean = np.divide(total, mass, out=total, where=mass > 0)
    return _complete(words, mean.astype(np.float32), known[N_SPECIAL:], oov=oov, seed=seed), known


def _look_up(words: Sequence[str], source: WordVectors) -> tuple[Float32Array, BoolArray]:
    """Rows of a source per word, zeros where it has none, and where it has one."""
    place_of = {word: place for place, word in enumerate(source.words)}
    places = np.full(len(words), -1, dtype=np.int64)
    for number, word in enumerate(words):
        place = place_of.get(word, -1)
        if place < 0:
            place = next((place_of[form] for form in case_variants(word) if form in place_of), -1)
        places[number] = place
    has = places >= 0
    block = np.zeros((len(words), source.dim), dtype=np.float32)
    block[has] = source.matrix[places[has]]
    return block, has


def _check_shares(
    vectors: Sequence[WordVectors], *, combine: Combine, weights: Sequence[float] | None
) -> tuple[float, ...]:
    """One positive weight per source of a mean."""
    dims = {source.dim for source in vectors}
    if len(dims) > 1:
        each = ", ".join(f"{source.name}: {source.dim}" for source in vectors)
        raise ConfigError(f"combine: {combine!r} needs vectors of one dimension ({each}); use concat")
    if combine == "mean":
        return (1.0,) * len(vectors)
    if weights is None or len(weights) != len(vectors) or not all(0 < weight < np.inf for weight in weights):
        raise ConfigError(f"weights: {weights!r} are not {len(vectors)} positive numbers, one for each embedding file")
    return tuple(float(weight) for weight in weights)


def _complete(words: Sequence[str], block: Float32Array, has: BoolArray, *, oov: Oov, seed: int) -> Float32Array:
    """Add the padding and the unknown row, and fill the rows of words that no source knows."""
    known = block[has].astype(np.float64)
    deviation = float(known.std()) if len(known) > 1 else DEFAULT_DEVIATION
    absent = np.flatnonzero(~has).tolist()
    matrix = np.concatenate([np.zeros((N_SPECIAL, block.shape[1]), dtype=np.float32), block])
    rows = [1, *(place + N_SPECIAL for place in absent)]
    spelled = [UNKNOWN_WORD, *(words[place] for place in absent)]
    if oov == "mean":
        matrix[rows] = known.mean(axis=0) if len(known) else 0.0
    elif oov == "random":
        matrix[rows] = np.stack([_random_vector(word, block.shape[1], seed=seed) for word in spelled]) * deviation
    elif oov == "ngram":
        matrix[rows] = _ngram_vectors(spelled, block.shape[1], seed=seed) * deviation
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
