"""Word vectors find their rows; unknown words get what the policy says, and nothing depends on other words."""

from pathlib import Path

import numpy as np
import pytest

from textclf.arrays import Float32Array
from textclf.embeddings import WordVectors, find_words, load_vectors, make_vectors, vector_matrix
from textclf.errors import ConfigError

RNG = np.random.default_rng(0)
A = make_vectors("a", ["the", "cat", "US"], RNG.normal(2, 0.5, (3, 4)).astype(np.float32))
B = make_vectors("b", ["the", "dog", "us"], RNG.normal(-1, 0.3, (3, 4)).astype(np.float32), weight=3.0)
WORDS = ("the", "THE", "dog", "us", "zebra", "zebras")


def row(source: WordVectors, word: str) -> Float32Array:
    """A source's vector of a word."""
    vector: Float32Array = source.matrix[source.words.index(word)]
    return vector


def test_one_source_fills_its_rows() -> None:
    """Padding and unknown come first; a word takes its own form, else another case."""
    matrix, known = vector_matrix(WORDS, [A], oov="zero")

    assert matrix.shape == (8, 4)
    assert matrix.dtype == np.float32
    assert known.tolist() == [False, False, True, True, False, True, False, False]
    np.testing.assert_array_equal(matrix[2:], [row(A, "the"), row(A, "the"), [0] * 4, row(A, "US"), [0] * 4, [0] * 4])
    assert (matrix[:2] == 0).all()


def test_the_exact_form_comes_before_its_variants() -> None:
    """'us' and 'US' are two words where the source says so."""
    both = make_vectors("c", ["us", "US"], np.eye(2, dtype=np.float32))

    assert find_words(["US", "us", "Us", "them"], both).tolist() == [1, 0, 0, -1]


def test_sources_are_put_side_by_side() -> None:
    """Each completes its own half; a word is known when either knows it."""
    matrix, known = vector_matrix(WORDS, [A, B], combine="concat", oov="zero")

    assert matrix.shape == (8, 8)
    np.testing.assert_array_equal(matrix[2], [*row(A, "the"), *row(B, "the")])
    np.testing.assert_array_equal(matrix[4], [*[0] * 4, *row(B, "dog")])
    assert known[2:].tolist() == [True, True, True, True, False, False]


def test_sources_are_averaged_where_they_know_a_word() -> None:
    """A word of one source alone keeps its vector; weights are those of the sources."""
    mean, known = vector_matrix(WORDS, [A, B], combine="mean", oov="zero")
    weighted, _ = vector_matrix(WORDS, [A, B], combine="weighted", oov="zero")

    np.testing.assert_allclose(mean[2], (row(A, "the") + row(B, "the")) / 2, rtol=1e-6)
    np.testing.assert_allclose(weighted[2], row(A, "the") / 4 + row(B, "the") * 3 / 4, rtol=1e-6)
    np.testing.assert_allclose(weighted[4], row(B, "dog"), rtol=1e-6)
    assert known[2:].tolist() == [True, True, True, True, False, False]


@pytest.mark.parametrize("oov", ["zero", "random", "mean", "ngram"])
@pytest.mark.parametrize("combine", ["concat", "mean", "weighted"])
def test_a_row_depends_on_its_word_and_the_seed_alone(combine: str, oov: str) -> None:
    """Whatever other words a study has, in whatever order."""
    many = [f"word{number}" for number in range(50)] + ["zebra", "the"]
    choices = {"combine": combine, "oov": oov}

    all_words, _ = vector_matrix(many, [A, B], seed=3, **choices)  # type: ignore[arg-type]
    one_word, _ = vector_matrix(["zebra"], [A, B], seed=3, **choices)  # type: ignore[arg-type]

    np.testing.assert_array_equal(one_word[2], all_words[52])
    np.testing.assert_array_equal(one_word[:2], all_words[:2])


@pytest.mark.parametrize("oov", ["random", "ngram"])
def test_random_rows_change_with_the_seed_and_have_the_sources_deviation(oov: str) -> None:
    """Over two thousand unknown words."""
    words = [f"{number}zq{number * 7}" for number in range(2000)]
    matrix, known = vector_matrix(words, [A], oov=oov, seed=1)  # type: ignore[arg-type]
    other, _ = vector_matrix(words, [A], oov=oov, seed=2)  # type: ignore[arg-type]

    assert not known.any()
    assert (matrix[1:] != other[1:]).mean() > 0.99
    assert len(np.unique(matrix[1:], axis=0)) == 2001
    assert matrix[1:].std() == pytest.approx(A.deviation, rel=0.15)
    assert (matrix[0] == 0).all()


def test_the_mean_policy_is_the_mean_of_the_whole_source() -> None:
    """Of the file, not of the words that a study happens to use."""
    source = make_vectors("c", ["the"], A.matrix[:1], mean=A.mean, deviation=A.deviation)

    matrix, _ = vector_matrix(["zebra"], [source], oov="mean")

    np.testing.assert_allclose(matrix[1:], [A.matrix.mean(axis=0)] * 2, rtol=1e-6)


def test_similar_spellings_get_similar_n_gram_vectors() -> None:
    """Nearer than unlike ones, by far."""
    pairs = ["internationalisation", "internationalisations", "zqxwvkjyp"]
    matrix, _ = vector_matrix(pairs, [], oov="ngram", dim=200)

    def cosine(one: int, other: int) -> float:
        return float(matrix[one] @ matrix[other] / np.linalg.norm(matrix[one]) / np.linalg.norm(matrix[other]))

    assert cosine(2, 3) > 0.8
    assert abs(cosine(2, 4)) < 0.3


def test_without_a_source_every_word_is_unknown() -> None:
    """A study without an embedding file starts from random rows."""
    matrix, known = vector_matrix(["a", "b"], [], oov="random", dim=7)

    assert matrix.shape == (4, 7)
    assert not known.any()
    assert (matrix[2] != matrix[3]).all()


def test_digests_tell_sources_apart() -> None:
    """By words and by numbers, not by name."""
    same = make_vectors("other name", A.words, A.matrix.copy())
    renamed = make_vectors("a", ["the", "cat", "Us"], A.matrix)
    moved = make_vectors("a", A.words, A.matrix + np.float32(1e-6))

    assert same.digest == A.digest
    assert len({A.digest, renamed.digest, moved.digest}) == 3


def test_wrong_choices_are_refused() -> None:
    """Unknown names, a mean over differing dimensions, a weight that is none."""
    wide = make_vectors("wide", ["the"], np.ones((1, 5), dtype=np.float32))
    with pytest.raises(ConfigError, match="combine: 'sum' is not one of concat, mean, weighted"):
        vector_matrix(WORDS, [A], combine="sum")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="oov: 'none' is not one of zero, random, mean, ngram"):
        vector_matrix(WORDS, [A], oov="none")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"'mean' needs vectors of one dimension \(a: 4, wide: 5\); use concat"):
        vector_matrix(WORDS, [A, wide], combine="mean")
    with pytest.raises(ConfigError, match=r"embedding weight: 0\.0 of a is not a positive number"):
        make_vectors("a", ["the"], A.matrix[:1], weight=0.0)


def test_a_file_is_reduced_to_the_words_of_a_study(tmp_path: Path) -> None:
    """Mean and deviation stay those of the whole file."""
    path = tmp_path / "v.txt"
    path.write_text("the 1 2\ncat 3 4\ndog 5 9\n")

    vectors = load_vectors(path, ["The", "dog", "zebra"], weight=2.0)

    assert (vectors.name, vectors.words, vectors.dim, vectors.weight) == ("v.txt", ("the", "dog"), 2, 2.0)
    assert vectors.matrix.tolist() == [[1, 2], [5, 9]]
    assert vectors.mean.tolist() == [3, 5]
    assert vectors.deviation == pytest.approx(np.std([1, 2, 3, 4, 5, 9]))
