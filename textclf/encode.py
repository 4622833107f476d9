"""From tables to token ids: per row and study-wide, so that nothing is learned from any row."""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from textclf.arrays import BoolArray, FloatArray, IntArray, ObjectArray
from textclf.errors import ConfigError
from textclf.features import meta_features
from textclf.table import Table
from textclf.text import NO_CLEANING, make_cleaner, parse_cleaning

PADDING, UNKNOWN, N_SPECIAL = 0, 1, 2
ALL_TOKENS = 2**31 - 1  # a max_tokens that cuts nothing
Int32Array = NDArray[np.int32]
FlagArray = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """Every token of the study's rows, most frequent first; token ``words[i]`` has id ``i + 2``."""

    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def token_of(self) -> dict[str, int]:
        """The id of each word."""
        return {word: place + N_SPECIAL for place, word in enumerate(self.words)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokens:
    """Token ids of rows, as compressed sparse rows.

    tokens: (n_tokens,) int32, 0 padding (never inside a row), 1 unknown, else 2 + place in the lexicon.
    starts: (n_rows + 1,) int64; row r is ``tokens[starts[r]:starts[r + 1]]`` and has one token at least.
    caps: (n_tokens,) uint8, 1 where the token was written in capitals (two letters at least).
    """

    tokens: Int32Array
    starts: IntArray
    caps: FlagArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded(Tokens):
    """Rows as token ids beside their raw features.

    meta: (n_rows, n_meta) float64, raw (textclf.features). numeric, categorical: as in Table.
    """

    meta: FloatArray
    numeric: FloatArray
    categorical: ObjectArray

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> IntArray:
        """(n_rows,) int64 tokens per row, 1 at least."""
        return np.diff(self.starts)

    def rows(self, selected: BoolArray | IntArray) -> "Encoded":
        """The rows a boolean mask or an integer index selects, in the order it selects them."""
        chosen = np.arange(len(self))[selected]
        lengths = self.lengths[chosen]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
        at = np.repeat(self.starts[chosen], lengths) + within
        return Encoded(
            tokens=self.tokens[at],
            starts=starts,
            caps=self.caps[at],
            meta=self.meta[chosen],
            numeric=self.numeric[chosen],
            categorical=self.categorical[chosen],
        )

    def join(self, others: "Encoded") -> "Encoded":
        """These rows, then others of the same lexicon and columns."""
        return Encoded(
            tokens=np.concatenate([self.tokens, others.tokens]),
            starts=np.concatenate([self.starts, self.starts[-1] + others.starts[1:]]),
            caps=np.concatenate([self.caps, others.caps]),
            meta=np.concatenate([self.meta, others.meta]),
            numeric=np.concatenate([self.numeric, others.numeric]),
            categorical=np.concatenate([self.categorical, others.categorical]),
        )


def encode(train: Table, test: Table, *, cleaning: str, max_tokens: int) -> tuple[Encoded, Encoded, Lexicon]:
    """Clean, tokenise and number the tokens of a training and a test table, as ``encode_tables`` does."""
    (train_rows, test_rows), lexicon = encode_tables((train, test), cleaning=cleaning, max_tokens=max_tokens)
    return train_rows, test_rows, lexicon


def encode_tables(tables: Sequence[Table], *, cleaning: str, max_tokens: int) -> tuple[tuple[Encoded, ...], Lexicon]:
    """Clean, tokenise and number the tokens of several tables; a row keeps its first ``max_tokens`` tokens.

    Ids are shared by all tables, yet mean nothing until a fold decides which it knows (``fold_vocabulary``).
    Raises ConfigError for an unknown cleaning step or ``max_tokens`` below 1.
    """
    rows, lexicon = encode_tokens([table.texts for table in tables], cleaning=cleaning, max_tokens=max_tokens)
    return tuple(_add_features(part, table) for part, table in zip(rows, tables, strict=True)), lexicon


def encode_tokens(
    texts: Sequence[Sequence[str]], *, cleaning: str, max_tokens: int = ALL_TOKENS
) -> tuple[tuple[Tokens, ...], Lexicon]:
    """The token ids of several lists of texts, and their lexicon."""
    written = _Numbering()
    numbered = [_number_tokens(part, written, cleaning=cleaning, max_tokens=max_tokens) for part in texts]
    forms = _forms(written, cleaning)
    counts = np.bincount(np.concatenate([ids for ids, _ in numbered]), minlength=len(written))
    words, token_of_form = _order_by_count(forms, counts)
    return tuple(_translate(*part, written=written, token_of_form=token_of_form) for part in numbered), Lexicon(
        words=words
    )


def encode_new(table: Table, lexicon: Lexicon, *, cleaning: str, max_tokens: int) -> Encoded:
    """Encode rows that were not there when the lexicon was made; tokens outside it are unknown."""
    written = _Numbering()
    numbered = _number_tokens(table.texts, written, cleaning=cleaning, max_tokens=max_tokens)
    token_of_form = np.array(
        [lexicon.token_of.get(form, UNKNOWN) for form in _forms(written, cleaning)], dtype=np.int32
    )
    return _add_features(_translate(*numbered, written=written, token_of_form=token_of_form), table)


def fold_vocabulary(train_rows: Encoded, n_words: int, *, known: BoolArray, min_count: int) -> Int32Array:
    """Decide which tokens a fold may tell apart: those with a pretrained vector and those its training rows showed.

    known: (n_words + 2,) bool, as ``vector_matrix`` returns it. A token without a pretrained vector that the training
        rows hold fewer than ``min_count`` times becomes unknown, so nothing is learned from a held-out row.
    returns: (n_words + 2,) int32, each token's own id or 1 (unknown); apply as ``lookup[tokens]``.
    """
    if min_count < 1:
        raise ConfigError(f"min_count: {min_count} is below 1")
    counts = np.bincount(train_rows.tokens, minlength=n_words + N_SPECIAL)
    lookup = np.arange(n_words + N_SPECIAL, dtype=np.int32)
    lookup[N_SPECIAL:][~known[N_SPECIAL:] & (counts[N_SPECIAL:] < min_count)] = UNKNOWN
    return lookup


class _Numbering(dict[str, int]):
    """Numbers words in the order in which they are asked for."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number


def _number_tokens(
    texts: Sequence[str], written: _Numbering, *, cleaning: str, max_tokens: int
) -> tuple[IntArray, IntArray]:
    """Number tokens as written, in order of appearance, extending ``written``; their case is kept."""
    if max_tokens < 1:
        raise ConfigError(f"max_tokens: {max_tokens} is below 1")
    clean = make_cleaner("+".join(step for step in parse_cleaning(cleaning) if step != "lower") or NO_CLEANING)
    ids = array("q")
    starts = array("q", [0])
    for text in texts:
        ids.extend(map(written.__getitem__, clean(text).split()[:max_tokens]))
        starts.append(len(ids))
    return np.array(ids, dtype=np.int64), np.array(starts, dtype=np.int64)


def _forms(written: Iterable[str], cleaning: str) -> list[str]:
    """Tokens as the lexicon spells them."""
    lower = "lower" in parse_cleaning(cleaning)
    return [token.lower() if lower else token for token in written]


def _translate(ids: IntArray, starts: IntArray, *, written: Iterable[str], token_of_form: Int32Array) -> Tokens:
    """From numbers of written tokens to ids of the lexicon."""
    caps_of_form = np.array([len(form) > 1 and form.isupper() for form in written], dtype=np.uint8)
    tokens, starts, caps = _fill_empty_rows(token_of_form[ids], starts, caps_of_form[ids])
    return Tokens(tokens=tokens, starts=starts, caps=caps)


def _add_features(rows: Tokens, table: Table) -> Encoded:
    return Encoded(
        tokens=rows.tokens,
        starts=rows.starts,
        caps=rows.caps,
        meta=meta_features(table.texts),
        numeric=table.numeric,
        categorical=table.categorical,
    )


def _order_by_count(forms: Sequence[str], counts: IntArray) -> tuple[tuple[str, ...], Int32Array]:
    """Words by falling count, ties alphabetically, and each form's token id."""
    count_of: dict[str, int] = {}
    for form, count in zip(forms, counts.tolist(), strict=True):
        count_of[form] = count_of.get(form, 0) + count
    words = tuple(sorted(count_of, key=lambda word: (-count_of[word], word)))
    token_of = {word: place + N_SPECIAL for place, word in enumerate(words)}
    return words, np.array([token_of[form] for form in forms], dtype=np.int32)


def _fill_empty_rows(tokens: Int32Array, starts: IntArray, caps: FlagArray) -> tuple[Int32Array, IntArray, FlagArray]:
    """Give rows without tokens the unknown token, so that no length is zero."""
    empty = np.diff(starts) == 0
    places = starts[:-1][empty]
    shift = np.concatenate([[0], np.cumsum(empty)])
    return (
        np.insert(tokens, places, UNKNOWN).astype(np.int32),
        starts + shift,
        np.insert(caps, places, 0).astype(np.uint8),
    )
