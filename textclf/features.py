"""Features beside the tokens: numbers drawn from the raw text and the user's own columns, scaled inside the fold."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log1p
from typing import TYPE_CHECKING

import numpy as np

from textclf.arrays import BoolArray, Float32Array, FloatArray

if TYPE_CHECKING:
    from textclf.encode import Encoded

LARGEST_DEVIATION = 10.0  # standard deviations; a far outlier must not drown the text


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0


def _measure(text: str) -> tuple[float, ...]:
    """One row of META_FEATURES."""
    words = text.split()
    n_words = len(words)
    n_characters = len(text)
    n_letters = sum(map(str.isalpha, text))
    n_capitals = sum(map(str.isupper, text))
    return (
        log1p(n_characters),
        log1p(n_words),
        _share(n_capitals, n_letters),
        _share(sum(len(word) > 1 and word.isupper() for word in words), n_words),
        _share(len({word.lower() for word in words}), n_words),
        _share(sum(map(len, words)), n_words),
        log1p(max(map(len, words), default=0)),
        _share(sum(map(str.isdigit, text)), n_characters),
        _share(n_characters - sum(map(str.isalnum, text)) - sum(map(str.isspace, text)), n_characters),
        log1p(text.count("!")),
        log1p(text.count("?")),
        log1p(text.count(",")),
        log1p(text.count(".")),
        log1p(text.count('"') + text.count("'")),
        log1p(text.count("\n")),
        _share(sum(character > "\x7f" for character in text), n_characters),
    )


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
    return np.array([_measure(text) for text in texts], dtype=np.float64).reshape(len(texts), len(META_FEATURES))


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureScaler:
    """Means, deviations and category levels of a fold's training rows, and nothing of any other row.

    mean, scale: (n_meta + n_numeric,) float64; scale is 0 where the training rows do not vary.
    has_missing: (n_numeric,) bool, True where a training row lacks the value, which earns a 0/1 flag column.
    levels: per categorical column the levels of the training rows, sorted, "" (missing) among them if it occurs.
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
        levels = tuple(tuple(sorted(set(column))) for column in rows.categorical.T.tolist())
        has_missing = np.asarray(missing[:, rows.meta.shape[1] :].any(axis=0))
        return cls(mean=mean, scale=scale, has_missing=has_missing, levels=levels)

    @property
    def n_features(self) -> int:
        """Number of columns that ``transform`` returns."""
        return len(self.mean) + int(self.has_missing.sum()) + sum(map(len, self.levels))

    def transform(self, rows: "Encoded") -> Float32Array:
        """Scale rows: meta and numeric columns, missing flags, one column per category level.

        A missing number becomes the training mean (0 after scaling); an unseen category is zeros.
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
