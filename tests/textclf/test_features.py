"""Meta features count what they name; the scaler knows its training rows and no others."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from textclf.arrays import FloatArray
from textclf.encode import Encoded
from textclf.features import META_FEATURES, FeatureScaler, meta_features


def by_hand(text: str) -> dict[str, float]:
    """META_FEATURES of one text, character by character."""
    words = text.split()
    letters = [character for character in text if character.isalpha()]
    other = [character for character in text if not character.isalnum() and not character.isspace()]

    def share(part: float, whole: float) -> float:
        return part / whole if whole else 0.0

    return {
        "log_characters": math.log(1 + len(text)),
        "log_words": math.log(1 + len(words)),
        "capital_letter_share": share(sum(character.isupper() for character in text), len(letters)),
        "capital_word_share": share(sum(len(word) > 1 and word.isupper() for word in words), len(words)),
        "unique_word_share": share(len({word.lower() for word in words}), len(words)),
        "mean_word_length": share(sum(len(word) for word in words), len(words)),
        "log_longest_word": math.log(1 + max([len(word) for word in words], default=0)),
        "digit_share": share(sum(character.isdigit() for character in text), len(text)),
        "punctuation_share": share(len(other), len(text)),
        "log_exclamations": math.log(1 + text.count("!")),
        "log_questions": math.log(1 + text.count("?")),
        "log_commas": math.log(1 + text.count(",")),
        "log_full_stops": math.log(1 + text.count(".")),
        "log_quotes": math.log(1 + text.count('"') + text.count("'")),
        "log_line_breaks": math.log(1 + text.count("\n")),
        "non_ascii_share": share(sum(ord(character) > 127 for character in text), len(text)),
    }


def test_two_texts_by_hand() -> None:
    """Four words, one of them in capitals, one repeated in another case."""
    found = dict(zip(META_FEATURES, meta_features(["Go GO now!!", ""])[0], strict=True))

    assert found["capital_letter_share"] == 3 / 7
    assert found["capital_word_share"] == 1 / 3
    assert found["unique_word_share"] == 2 / 3
    assert found["mean_word_length"] == 3
    assert found["log_exclamations"] == pytest.approx(math.log(3))
    assert found["punctuation_share"] == 2 / 11


def test_an_empty_text_gives_zeros() -> None:
    """So does a list without texts, in its shape."""
    assert (meta_features(["", "x"])[0] == 0).all()
    assert meta_features([]).shape == (0, len(META_FEATURES))


@settings(deadline=None, derandomize=True, max_examples=50)
@given(texts=st.lists(st.text(st.characters(), max_size=30), min_size=1, max_size=5))
def test_any_texts_are_measured_as_by_hand(texts: list[str]) -> None:
    """Rows do not mix, whatever the script; lower-casing that changes a word's white space cannot occur."""
    found = meta_features(texts)

    for row, text in zip(found, texts, strict=True):
        assert dict(zip(META_FEATURES, row, strict=True)) == pytest.approx(by_hand(text))


def test_long_lists_are_measured_slice_by_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a slice ends does not matter."""
    texts = [f"Row {number}!" * (number % 4) for number in range(50)]
    whole = meta_features(texts)
    monkeypatch.setattr("textclf.features.SLICE", 7)

    np.testing.assert_array_equal(meta_features(texts), whole)


def rows_of(numeric: FloatArray, categorical: list[list[str]]) -> Encoded:
    """Rows with one token and two random meta features each."""
    n_rows = len(numeric)
    return Encoded(
        tokens=np.ones(n_rows, dtype=np.int32),
        starts=np.arange(n_rows + 1),
        caps=np.zeros(n_rows, dtype=np.uint8),
        meta=np.random.default_rng(n_rows).normal(3, 2, (n_rows, 2)),
        numeric=numeric,
        categorical=np.array(categorical, dtype=object).reshape(n_rows, -1),
    )


TRAIN = rows_of(
    np.array([[1.0, 5.0], [np.nan, 5.0], [4.0, 5.0], [7.0, 5.0]]), [["b", "x"], ["a", "x"], ["", "x"], ["b", "y"]]
)
OTHER = rows_of(np.array([[np.nan, 6.0], [1e9, np.nan]]), [["new", "y"], ["", "x"]])


def test_scaling_is_that_of_scikit_learn() -> None:
    """Impute the mean with a missing flag, standardise, one column per level of the training rows."""

    def columns(rows: Encoded) -> np.ndarray[tuple[int, int], np.dtype[np.object_]]:
        return np.hstack([rows.meta.astype(object), rows.numeric.astype(object), rows.categorical])

    reference = ColumnTransformer(
        [
            ("scaled", make_pipeline(SimpleImputer(), StandardScaler()), [0, 1, 2, 3]),
            ("levels", OneHotEncoder(handle_unknown="ignore", sparse_output=False), [4, 5]),
        ]
    )
    expected = reference.fit_transform(columns(TRAIN))
    expected[:, 2] *= np.sqrt(3 / 4)  # it takes the deviation after imputing one of four; ours is of what was there

    found = FeatureScaler.fit(TRAIN).transform(TRAIN)

    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, :4], expected[:, :4], atol=1e-6)
    np.testing.assert_array_equal(found[:, 4], [0, 1, 0, 0])
    np.testing.assert_array_equal(found[:, 5:], expected[:, 4:])


def test_other_rows_are_scaled_by_what_training_rows_taught() -> None:
    """Missing is the training mean, a constant column says nothing, an unseen level is zeros, outliers are clipped."""
    scaler = FeatureScaler.fit(TRAIN)
    found = scaler.transform(OTHER)

    assert scaler.n_features == found.shape[1] == 2 + 2 + 1 + 3 + 2
    assert found[0, 2:].tolist() == [0, 0, 1, 0, 0, 0, 0, 1]
    assert found[1, 2:].tolist() == [10, 0, 0, 1, 0, 0, 1, 0]


def test_held_out_rows_teach_nothing() -> None:
    """A scaler fitted on some rows is the same whatever stands in the others, and transforms each row alone."""
    both = rows_of(
        np.vstack([TRAIN.numeric, OTHER.numeric]), [*TRAIN.categorical.tolist(), *OTHER.categorical.tolist()]
    )
    scaler = FeatureScaler.fit(both.rows(np.arange(4)))
    again = FeatureScaler.fit(both.rows(np.array([True] * 4 + [False] * 2)))

    together = scaler.transform(both)

    np.testing.assert_array_equal(scaler.mean, again.mean)
    for row in range(6):
        np.testing.assert_array_equal(scaler.transform(both.rows(np.array([row]))), together[row : row + 1])


def test_only_frequent_levels_have_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equally frequent ones the alphabetically first; the others are zeros."""
    monkeypatch.setattr("textclf.features.MOST_LEVELS", 2)
    rows = rows_of(np.zeros((5, 0)), [["d"], ["c"], ["d"], ["b"], ["a"]])

    scaler = FeatureScaler.fit(rows)

    assert scaler.levels == (("a", "d"),)
    assert scaler.transform(rows)[:, 2:].tolist() == [[0, 1], [0, 0], [0, 1], [0, 0], [1, 0]]


def test_rows_without_columns_are_meta_features_alone() -> None:
    """Nothing else is needed; no rows give no rows."""
    rows = rows_of(np.zeros((3, 0)), [[], [], []])
    scaler = FeatureScaler.fit(rows)

    assert scaler.transform(rows).shape == (3, 2)
    assert scaler.transform(rows.rows(np.zeros(0, dtype=np.int64))).shape == (0, 2)
