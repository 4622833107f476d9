"""N-gram counts and the linear models, against scikit-learn and arithmetic by hand."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tests.builders import make_inputs
from textclf.config import LinearConfig
from textclf.linear import NgramRows, _learn_log_ratio, fit_logistic, prepare
from textclf.ngrams import char_ngrams, word_ngrams
from textclf.protocols import FitTask

TEXTS = ("a b a b c", "b c", "", "c a b a", "é b b b", "a")


def sorted_columns(counts: csr_matrix) -> np.ndarray:
    """Columns in a canonical order, since the two sides name n-grams differently."""
    dense = counts.toarray().astype(int)
    return dense[:, np.lexsort(dense[::-1])]


def reference(texts: tuple[str, ...], analyzer: str, shortest: int, longest: int) -> np.ndarray:
    """scikit-learn's counts of n-grams that at least two rows hold."""
    words = {"token_pattern": r"\S+"} if analyzer == "word" else {}
    vectorizer = CountVectorizer(analyzer=analyzer, ngram_range=(shortest, longest), min_df=2, lowercase=False, **words)
    return sorted_columns(vectorizer.fit_transform(texts))


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_word_ngrams_are_counted_as_scikit_learn_counts_them(longest: int) -> None:
    """Same matrix, for every length, across rows without tokens."""
    words = sorted({word for text in TEXTS for word in text.split()})
    tokens = np.array([words.index(word) for text in TEXTS for word in text.split()])
    starts = np.concatenate([[0], np.cumsum([len(text.split()) for text in TEXTS])])

    counts = sorted_columns(word_ngrams(tokens, starts, longest=longest))

    np.testing.assert_array_equal(counts, reference(TEXTS, "word", 1, longest))


@pytest.mark.parametrize("longest", [2, 3, 5])
def test_char_ngrams_are_counted_as_scikit_learn_counts_them(longest: int) -> None:
    """Same matrix, in any script, for 3 characters and up."""
    texts = ("abcabc", "xabca", "", "schön wär's", "wär's schön", "日本語日本語", "日本語", "ab")

    counts = sorted_columns(char_ngrams(texts, longest=longest))

    np.testing.assert_array_equal(counts, reference(texts, "char", min(3, longest), longest))


def test_counting_needs_no_rows() -> None:
    """Texts without a single n-gram give a matrix without columns."""
    assert char_ngrams(("", "a"), longest=4).shape == (2, 0)


def test_logistic_regression_is_the_known_baseline() -> None:
    """Without meta features' weight, probabilities are those of scikit-learn's own TF-IDF pipeline."""
    inputs = make_inputs()
    config = LinearConfig(family="tfidf_logreg", cleaning="none", char_ngrams=0, c=2.0)
    prepared = prepare(inputs, config)
    how = FitTask(task=inputs.task, seed=0, device="cpu", shared=None, on_epoch=lambda *_: None)
    fitted = fit_logistic(without_meta(prepared.train), inputs.labels, config, how=how)

    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, lowercase=False, token_pattern=r"\S+", sublinear_tf=True),
        LogisticRegression(C=2.0, max_iter=300),
    ).fit(inputs.train.texts, inputs.labels)

    np.testing.assert_allclose(
        fitted.predict(without_meta(prepared.test)), pipeline.predict_proba(inputs.test.texts), atol=2e-3
    )


def test_log_count_ratio_by_hand() -> None:
    """Wang & Manning: log of (1 + rows of the class with the n-gram) shares, one for each class."""
    counts = csr_matrix(np.array([[2, 0], [1, 1], [0, 3], [0, 1]], dtype=np.float32))
    column = np.array([1, 1, 0, 0])
    config = LinearConfig(family="nbsvm", min_df=1, nb_mix=1.0)
    for_class, against = np.array([3.0, 2.0]), np.array([1.0, 3.0])
    ratio = np.log((for_class / 5) / (against / 4))

    weighed = _learn_log_ratio(counts, column, config)(counts).toarray()

    np.testing.assert_allclose(weighed, (counts.toarray() > 0) * ratio, rtol=1e-6)


def without_meta(rows: NgramRows) -> NgramRows:
    """The rows as the reference pipeline sees them: n-grams alone."""
    encoded = dataclasses.replace(rows.encoded, meta=np.zeros((len(rows), 0)))
    return dataclasses.replace(rows, encoded=encoded)
