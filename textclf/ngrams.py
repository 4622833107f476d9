"""Counts of word and character n-grams for all rows of a study at once; a fold then chooses its columns.

An n-gram is packed into one 64-bit number, so counting needs no Python loop over strings. Counting learns nothing;
document frequencies are taken on a fold's training rows (textclf.linear).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from textclf.arrays import IntArray

SHORTEST_CHAR_NGRAM = 3
FEWEST_ROWS = 2  # an n-gram of a single row of the whole study can be in no fold's vocabulary with min_df 2 or more


def word_ngrams(tokens: IntArray, starts: IntArray, *, longest: int) -> csr_matrix:
    """Count token n-grams of 1 to ``longest`` tokens per row.

    tokens: (n_tokens,) ids below 2**31; starts: (n_rows + 1,); returns (n_rows, n_ngrams) float32 counts

    >>> word_ngrams(np.array([5, 6, 5, 5, 6]), np.array([0, 3, 5]), longest=2).toarray().astype(int).tolist()
    [[2, 1, 1], [1, 1, 1]]
    """
    return _count(np.asarray(tokens, dtype=np.int64), starts, shortest=1, longest=longest)


def char_ngrams(texts: Sequence[str], *, longest: int) -> csr_matrix:
    """Count character n-grams of SHORTEST_CHAR_NGRAM to ``longest`` characters per row, over white space too.

    returns: (n_rows, n_ngrams) float32 counts
    """
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return _count(codes, starts, shortest=min(SHORTEST_CHAR_NGRAM, longest), longest=longest)


def _count(symbols: IntArray, starts: IntArray, *, shortest: int, longest: int) -> csr_matrix:
    n_rows = len(starts) - 1
    row_of = np.repeat(np.arange(n_rows), np.diff(starts))
    singles = _number(symbols)
    grams, n_singles = singles, int(singles.max(initial=-1)) + 1
    rows, columns, n_columns = [], [], 0
    for length in range(1, longest + 1):
        if length > 1:  # a longer n-gram is the one before it and one more symbol; -1 where it would cross into a row
            inside = (row_of[length - 1 :] == row_of[: len(row_of) - length + 1]) & (grams[:-1] >= 0)
            longer = np.full(len(inside), -1, dtype=np.int64)
            longer[inside] = _number(grams[:-1][inside] * n_singles + singles[length - 1 :][inside])
            grams = longer
        if length >= shortest:
            inside = grams >= 0
            rows.append(row_of[: len(grams)][inside])
            columns.append(grams[inside] + n_columns)
            n_columns += int(grams.max(initial=-1)) + 1
    return _without_rare(_to_matrix(np.concatenate(rows), np.concatenate(columns), (n_rows, n_columns)))


def _number(values: IntArray) -> IntArray:
    """Replace values by 0, 1, 2, ... in the order of their first appearance."""
    return pd.factorize(values)[0]


def _to_matrix(rows: IntArray, columns: IntArray, shape: tuple[int, int]) -> csr_matrix:
    ones: NDArray[np.float32] = np.ones(len(rows), dtype=np.float32)
    counts = csr_matrix((ones, (rows, columns)), shape=shape)
    counts.sum_duplicates()
    return counts


def _without_rare(counts: csr_matrix) -> csr_matrix:
    n_rows_with = np.bincount(counts.indices, minlength=counts.shape[1])
    return counts[:, np.flatnonzero(n_rows_with >= FEWEST_ROWS)]
