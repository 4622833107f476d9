"""Repeated texts: exact ones after normalisation, and near ones by MinHash."""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from textclf.arrays import BoolArray, IntArray
from textclf.errors import ConfigError

DuplicateRule = Literal["ignore", "exact", "near"]
NEAR = 0.8  # share of word pairs that near-duplicates have in common (Jaccard)
N_BANDS, N_ROWS_PER_BAND = 16, 4  # finds 99.98 % of pairs at 0.8, and 64 % of those at 0.5, which are then checked
HASH_SEED = 1
WINDOW = 100

_WORD = re.compile(r"\w+")


def normalize(text: str) -> str:
    """The form in which repeated texts are equal: words alone, lower-case, apart from white space and punctuation.

    >>> normalize("Thank you, @united!!") == normalize("thank  you @United")
    True
    """
    return " ".join(_WORD.findall(text.lower())) or " ".join(text.split())


def duplicate_groups(texts: Sequence[str], *, rule: DuplicateRule) -> IntArray:
    """Number the groups of repeated texts, in order of their first row.

    rule: ``exact``, equal after ``normalize``; ``near``, also those that share 80 % of their word pairs, directly or
        through others; ``ignore``, every row alone.
    returns: (n_rows,) int64; rows with one number repeat each other.
    """
    if rule not in get_args(DuplicateRule):
        raise ConfigError(f"duplicates: {rule!r} is not one of {', '.join(get_args(DuplicateRule))}")
    if rule == "ignore":
        return np.arange(len(texts), dtype=np.int64)
    place: dict[str, int] = {}
    exact = np.array([place.setdefault(normalize(text), len(place)) for text in texts], dtype=np.int64)
    if rule == "exact":
        return exact
    return _renumber(_near_groups(list(place))[exact])


def _near_groups(texts: Sequence[str]) -> IntArray:
    """Join normalised texts that share enough word pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    shingles = [_word_pairs(text) for text in texts]
    pairs = _candidates(shingles)
    near = np.array(
        [_jaccard(shingles[first], shingles[second]) >= NEAR for first, second in pairs.tolist()], dtype=bool
    )
    first, second = pairs[near].T
    graph = coo_array((np.ones(len(first), dtype=np.int8), (first, second)), shape=(len(texts), len(texts)))
    groups: IntArray = connected_components(graph, directed=False)[1].astype(np.int64)
    return groups


def _word_pairs(text: str) -> frozenset[bytes]:
    """Adjacent words of a normalised text, the word itself where there is one."""
    words = text.split()
    return frozenset(" ".join(words[start : start + 2]).encode() for start in range(max(len(words) - 1, 1)))


def _candidates(shingles: Sequence[frozenset[bytes]]) -> IntArray:
    """Pairs of rows, (n_pairs, 2) int64, that agree in a band of their MinHash signatures.

    MinHash: Broder 1997; bands: Leskovec, Rajaraman and Ullman 2014. Of rows that agree in one band, each is paired
    with the next WINDOW only, so that thousands of copies of one template stay cheap; they are joined in a chain.
    """
    from datasketch import MinHash

    n_numbers = N_BANDS * N_ROWS_PER_BAND
    signatures = MinHash.generator(shingles, num_perm=n_numbers, hashfunc=zlib.crc32, seed=HASH_SEED)
    hashes = np.array([signature.hashvalues for signature in signatures], dtype=np.uint64).reshape(-1, n_numbers)
    found = [np.zeros((0, 2), dtype=np.int64)]
    for band in np.split(hashes, N_BANDS, axis=1):
        _, bucket = np.unique(band, axis=0, return_inverse=True)
        order = np.argsort(bucket, kind="stable")
        for distance in range(1, min(WINDOW, len(order) - 1) + 1):
            same = bucket[order[distance:]] == bucket[order[:-distance]]
            if not same.any():
                break
            found.append(np.stack([order[:-distance][same], order[distance:][same]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _jaccard(left: frozenset[bytes], right: frozenset[bytes]) -> float:
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


def _renumber(groups: IntArray) -> IntArray:
    """Number groups by their first row."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first)).astype(np.int64)[inverse]


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateReport:
    """How often texts repeat; ``str()`` of it is for printing.

    n_repeats: training rows that repeat an earlier one.
    n_conflicting_groups, n_conflicting_rows: repeated training texts whose labels differ, and the rows they fill.
    n_test_rows: test rows that repeat a training row.
    n_across_folds: training rows with a repetition in another fold, the mean over repeats.
    """

    rule: DuplicateRule
    n_train: int
    n_repeats: int
    n_conflicting_groups: int
    n_conflicting_rows: int
    n_test: int
    n_test_rows: int
    n_across_folds: float

    def __str__(self) -> str:
        return (
            f"duplicates ({self.rule}): {self.n_repeats:,} of {self.n_train:,} training rows repeat an earlier text; "
            f"{self.n_conflicting_groups:,} repeated texts ({self.n_conflicting_rows:,} rows) have differing labels; "
            f"{self.n_test_rows:,} of {self.n_test:,} test rows repeat a training row; "
            f"{self.n_across_folds:,.0f} training rows have a repetition in another fold"
        )


def report_duplicates(
    groups: IntArray, labels: IntArray, *, rule: DuplicateRule, fold_of_row: IntArray
) -> DuplicateReport:
    """Count repetitions.

    groups: (n_train + n_test,) int64 from ``duplicate_groups`` over training, then test texts.
    labels: (n_train,) or (n_train, n_labels). fold_of_row: (n_repeats, n_train) int64.
    """
    n_train = len(labels)
    train, test = groups[:n_train], groups[n_train:]
    conflicting = _differ_within(train, labels.reshape(n_train, -1))
    across = [_differ_within(train, folds[:, None]).sum() for folds in fold_of_row]
    return DuplicateReport(
        rule=rule,
        n_train=n_train,
        n_repeats=n_train - len(np.unique(train)),
        n_conflicting_groups=len(np.unique(train[conflicting])),
        n_conflicting_rows=int(conflicting.sum()),
        n_test=len(test),
        n_test_rows=int(np.isin(test, train).sum()),
        n_across_folds=float(np.mean(across)),
    )


def _differ_within(groups: IntArray, values: IntArray) -> BoolArray:
    """Rows of groups whose members do not all have equal values; values: (n_rows, n_values)."""
    n_groups = int(groups.max(initial=-1)) + 1
    largest = np.full((n_groups, values.shape[1]), np.iinfo(np.int64).min)
    smallest = np.full((n_groups, values.shape[1]), np.iinfo(np.int64).max)
    np.maximum.at(largest, groups, values)
    np.minimum.at(smallest, groups, values)
    differs: BoolArray = (largest != smallest).any(axis=1)[groups]
    return differs
