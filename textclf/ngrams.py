"""Counts of word and character n-grams for all rows of a study at once; a fold then chooses its columns.

An n-gram is packed into one 64-bit number, so counting needs no Python loop over strings. Counting learns nothing;
document frequencies are taken on a fold's training rows (textclf.linear). The numbers mean nothing outside the study,
so a model to ship spells its n-grams out and looks those of new rows up.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from textclf.arrays import IntArray

SHORTEST_CHAR_NGRAM = 3
FEWEST_ROWS = 2  # an n-gram of a single row of the whole study can be in no fold's vocabulary with min_df 2 or more


@dataclass(frozen=True, slots=True, eq=False)
class Ngrams:
    """Counts, and where to read what each column counts.

    counts: (n_rows, n_ngrams) float32
    example, length: (n_ngrams,) int64, one occurrence of each n-gram: its first symbol, and its number of symbols
    """

    counts: csr_matrix
    example: IntArray
    length: IntArray

    def spans(self, columns: IntArray) -> Iterator[slice]:
        """The symbols of one occurrence of each of these columns' n-grams."""
        for first, length in zip(self.example[columns].tolist(), self.length[columns].tolist(), strict=True):
            yield slice(first, first + length)


def word_ngrams(tokens: IntArray, starts: IntArray, *, longest: int) -> csr_matrix:
    """Count token n-grams of 1 to ``longest`` tokens per row.

    tokens: (n_tokens,) ids below 2**31; starts: (n_rows + 1,); returns (n_rows, n_ngrams) float32 counts

    >>> word_ngrams(np.array([5, 6, 5, 5, 6]), np.array([0, 3, 5]), longest=2).toarray().astype(int).tolist()
    [[2, 1, 1], [1, 1, 1]]
    """
    return find_word_ngrams(tokens, starts, longest=longest).counts


def find_word_ngrams(tokens: IntArray, starts: IntArray, *, longest: int) -> Ngrams:
    """``word_ngrams`` with an example of each; the symbols are the tokens."""
    return _count(np.asarray(tokens, dtype=np.int64), starts, shortest=1, longest=longest)


def char_ngrams(texts: Sequence[str], *, longest: int) -> csr_matrix:
    """Count character n-grams of SHORTEST_CHAR_NGRAM to ``longest`` characters per row, over white space too.

    returns: (n_rows, n_ngrams) float32 counts
    """
    return find_char_ngrams(texts, longest=longest).counts


def find_char_ngrams(texts: Sequence[str], *, longest: int) -> Ngrams:
    """``char_ngrams`` with an example of each; the symbols are the characters of all texts, one after the other."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return _count(codes, starts, shortest=_shortest(longest), longest=longest)


def spell_word_ngrams(tokens: Sequence[str], *, longest: int) -> Iterator[str]:
    """Every n-gram of a row's tokens, joined by spaces.

    >>> list(spell_word_ngrams(["a", "b", "c"], longest=2))
    ['a', 'b', 'c', 'a b', 'b c']
    """
    for length in range(1, longest + 1):
        for first in range(len(tokens) - length + 1):
            yield " ".join(tokens[first : first + length])


def spell_char_ngrams(text: str, *, longest: int) -> Iterator[str]:
    """Every n-gram of a text's characters.

    >>> list(spell_char_ngrams("abcd", longest=4))
    ['abc', 'bcd', 'abcd']
    """
    for length in range(_shortest(longest), longest + 1):
        for first in range(len(text) - length + 1):
            yield text[first : first + length]


def count_known(rows: Iterable[Iterable[str]], column_of: Mapping[str, int]) -> csr_matrix:
    """Count spelled n-grams in the columns they have; one without a column is passed over.

    rows: the n-grams of each row; returns (n_rows, len(column_of)) float32 counts
    """
    columns: list[int] = []
    ends = [0]
    for spelled in rows:
        columns.extend(column for ngram in spelled if (column := column_of.get(ngram)) is not None)
        ends.append(len(columns))
    row_of = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
    return _to_matrix(row_of, np.array(columns, dtype=np.int64), (len(ends) - 1, len(column_of)))


def _shortest(longest: int) -> int:
    return min(SHORTEST_CHAR_NGRAM, longest)


def _count(symbols: IntArray, starts: IntArray, *, shortest: int, longest: int) -> Ngrams:
    n_rows = len(starts) - 1
    row_of = np.repeat(np.arange(n_rows), np.diff(starts))
    singles = _number(symbols)
    grams, n_singles = singles, int(singles.max(initial=-1)) + 1
    rows, columns, examples, lengths, n_columns = [], [], [], [], 0
    for length in range(1, longest + 1):
        if length > 1:  # a longer n-gram is the one before it and one more symbol; -1 where it would cross into a row
            inside = (row_of[length - 1 :] == row_of[: len(row_of) - length + 1]) & (grams[:-1] >= 0)
            longer = np.full(len(inside), -1, dtype=np.int64)
            longer[inside] = _number(grams[:-1][inside] * n_singles + singles[length - 1 :][inside])
            grams = longer
        if length >= shortest:
            inside = np.flatnonzero(grams >= 0)
            rows.append(row_of[inside])
            columns.append(grams[inside] + n_columns)
            example = np.empty(int(grams.max(initial=-1)) + 1, dtype=np.int64)
            example[grams[inside]] = inside
            examples.append(example)
            lengths.append(np.full(len(example), length))
            n_columns += len(example)
    counts = _to_matrix(np.concatenate(rows), np.concatenate(columns), (n_rows, n_columns))
    kept = np.flatnonzero(np.bincount(counts.indices, minlength=n_columns) >= FEWEST_ROWS)
    return Ngrams(counts[:, kept], np.concatenate(examples)[kept], np.concatenate(lengths)[kept])


def _number(values: IntArray) -> IntArray:
    """Replace values by 0, 1, 2, ... in the order of their first appearance."""
    return pd.factorize(values)[0]


def _to_matrix(rows: IntArray, columns: IntArray, shape: tuple[int, int]) -> csr_matrix:
    ones: NDArray[np.float32] = np.ones(len(rows), dtype=np.float32)
    counts = csr_matrix((ones, (rows, columns)), shape=shape)
    counts.sum_duplicates()
    return counts
