"""Features beside the tokens: numbers drawn from the raw text and the user's own columns, scaled inside the fold."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from textclf.arrays import BoolArray, Float32Array, FloatArray

if TYPE_CHECKING:
    from textclf.encode import Encoded

LARGEST_DEVIATION = 10.0  # standard deviations; a far outlier must not drown the text
MOST_LEVELS = 256  # a column with more would fill memory with rare levels that teach nothing
SLICE = 4096  # rows whose characters are in memory at once
COUNTED = ("!", "?", ",", ".", "\"'", "\n")


META_FEATURES: tuple[str, ...] = (
    "log_characters",
    "log_words",
    "capital_letter_share",
    "capital_word_share",
    "unique_word_share",
    "mean_word_length",
    "log_longest_word",
    "digit_share",
    "punctuation_share",
    "log_exclamations",
    "log_questions",
    "log_commas",
    "log_full_stops",
    "log_quotes",
    "log_line_breaks",
    "non_ascii_share",
)


def meta_features(texts: Sequence[str]) -> FloatArray:
    """Numbers that describe each raw text, before any cleaning or lower-casing.

    returns: (n_rows, len(META_FEATURES)) float64, finite; an empty text gives zeros.
    """
    blocks = [_measure(texts[start : start + SLICE]) for start in range(0, len(texts), SLICE)]
    return np.concatenate([np.zeros((0, len(META_FEATURES))), *blocks])


def _measure(texts: Sequence[str]) -> FloatArray:
    """META_FEATURES of some texts; characters are counted by NumPy, words by Python."""
    count = _CharacterCounts(texts)
    words = [text.split() for text in texts]
    n_words = _numbers(map(len, words))
    n_unique = _numbers(len(set(text.lower().split())) for text in texts)
    n_capital_words = _numbers(sum(len(word) > 1 and word.isupper() for word in row) for row in words)
    longest = _numbers(max(map(len, row), default=0) for row in words)
    n_spaces = count.where(str.isspace)
    n_punctuation = count.n_characters - count.where(str.isalnum) - n_spaces
    columns = (
        np.log1p(count.n_characters),
        np.log1p(n_words),
        _share(count.where(str.isupper), count.where(str.isalpha)),
        _share(n_capital_words, n_words),
        _share(n_unique, n_words),
        _share(count.n_characters - n_spaces, n_words),
        np.log1p(longest),
        _share(count.where(str.isdigit), count.n_characters),
        _share(n_punctuation, count.n_characters),
        *(np.log1p(count.where(characters.__contains__)) for characters in COUNTED),
        _share(count.n_characters - count.where(str.isascii), count.n_characters),
    )
    return np.stack(columns, axis=1)


class _CharacterCounts:
    """Counts of characters per text; a property is asked once per different character, not once per character."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.n_characters = _numbers(map(len, texts))
        ends = np.concatenate([[0], np.cumsum(self.n_characters)]).astype(np.int64)
        codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        present = np.bincount(codes, minlength=1)
        self.characters = [chr(code) for code in np.flatnonzero(present).tolist()]
        place = np.cumsum(present > 0) - 1
        self.places = place[codes]
        self.ends = ends

    def where(self, has: Callable[[str], bool]) -> FloatArray:
        """(n_rows,) characters per text that have a property."""
        chosen = np.array([has(character) for character in self.characters], dtype=bool)
        if not chosen.any():
            return np.zeros(len(self.n_characters))
        total = np.concatenate([[0], np.cumsum(chosen[self.places], dtype=np.int64)])
        return (total[self.ends[1:]] - total[self.ends[:-1]]).astype(np.float64)


def _numbers(values: Iterable[int]) -> FloatArray:
    return np.fromiter(values, dtype=np.float64)


def _share(count: FloatArray, total: FloatArray) -> FloatArray:
    """Divide, with 0 where the total is 0."""
    return np.divide(count, total, out=np.zeros_like(count), where=total > 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureScaler:
    """Means, deviations and category levels of a fold's training rows, and nothing of any other row.

    mean, scale: (n_meta + n_numeric,) float64; scale is 0 where the training rows do not vary.
    has_missing: (n_numeric,) bool, True where a training row lacks the value, which earns a 0/1 flag column.
    levels: per categorical column the MOST_LEVELS most frequent levels of the training rows, sorted, "" (missing) among
        them if it occurs.
    """

    mean: FloatArray
    scale: FloatArray
    has_missing: BoolArray
    levels: tuple[tuple[str, ...], ...]

    @classmethod
    def fit(cls, rows: "Encoded") -> "FeatureScaler":
        """Learn from a fold's training rows."""
        continuous = np.hstack([rows.meta, rows.numeric])
        missing = np.isnan(continuous)
        n_present = np.maximum((~missing).sum(axis=0), 1)
        mean = np.where(missing, 0.0, continuous).sum(axis=0) / n_present
        deviation = np.where(missing, 0.0, continuous - mean)
        scale = np.sqrt((deviation**2).sum(axis=0) / n_present)
        scale[scale <= 1e-12 * np.maximum(np.abs(mean), 1.0)] = 0.0
        levels = tuple(_frequent_levels(column) for column in rows.categorical.T.tolist())
        has_missing = np.asarray(missing[:, rows.meta.shape[1] :].any(axis=0))
        return cls(mean=mean, scale=scale, has_missing=has_missing, levels=levels)

    def record(self) -> dict[str, Any]:
        """Everything learned, as JSON values."""
        return {
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "has_missing": self.has_missing.tolist(),
            "levels": [list(levels) for levels in self.levels],
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "FeatureScaler":
        """The scaler that ``record`` told of."""
        return cls(
            mean=np.array(record["mean"], dtype=np.float64),
            scale=np.array(record["scale"], dtype=np.float64),
            has_missing=np.array(record["has_missing"], dtype=bool),
            levels=tuple(tuple(levels) for levels in record["levels"]),
        )

    @property
    def n_features(self) -> int:
        """Number of columns that ``transform`` returns."""
        return len(self.mean) + int(self.has_missing.sum()) + sum(map(len, self.levels))

    def transform(self, rows: "Encoded") -> Float32Array:
        """Scale rows: meta and numeric columns, missing flags, one column per category level.

        A missing number becomes the training mean (0 after scaling); an unseen or rare category is zeros.
        returns: (n_rows, n_features) float32, meta and numeric columns within 10 deviations.
        """
        continuous = np.hstack([rows.meta, rows.numeric])
        inverse = np.divide(1.0, self.scale, out=np.zeros_like(self.scale), where=self.scale > 0)
        scaled = np.nan_to_num((continuous - self.mean) * inverse, nan=0.0)
        flags = np.isnan(rows.numeric)[:, self.has_missing]
        blocks = [np.clip(scaled, -LARGEST_DEVIATION, LARGEST_DEVIATION), flags]
        for column, levels in enumerate(self.levels):
            blocks.append(rows.categorical[:, column, None] == np.array(levels, dtype=object))
        return np.hstack([block.astype(np.float32) for block in blocks])


def _frequent_levels(cells: Sequence[str]) -> tuple[str, ...]:
    """The most frequent levels, ties alphabetically, sorted."""
    counts = Counter(cells)
    return tuple(sorted(sorted(counts, key=lambda level: (-counts[level], level))[:MOST_LEVELS]))
