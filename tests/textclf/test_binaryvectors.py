"""Binary embeddings give the vectors that the programs they come from give."""

import base64
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from textclf.arrays import Float32Array
from textclf.binaryvectors import is_fasttext_model, is_word2vec_binary, parse_word2vec, read_fasttext
from textclf.errors import DataError

# A model that fastText 0.9.2 trained on 80 lines (skipgram, 2 dimensions, n-grams of 2 to 4 characters, 6 buckets), and
# what its get_word_vector answers; the last four words are not in its dictionary.
FASTTEXT_MODEL = zlib.decompress(
    base64.b64decode(
        "eNrbJeavz8PAwMAExKxAzAzEXFA2I1QchNmgNAsQpwCxrrPM60dmUvZsUDkQWMwIof9DQUlGKkMFVI4hObGEIQDGsdEvtmPwh/GKE8sZbOCckqLEw/"
        "NTEQKJDCIwJgMPlGaC0tu23dgn23LGDiZ/Y4Hb7htF1tYMOMASJo49j6IYbL4xn9kT3HHABl3eh1lr76xCBVu4ABuahab1J6zdzfbuPpKTYMN3OnjP"
        "TF3zPcb3dGyWC6+zSXdfsidq+wqbCIv5e169/2VtcOHNbgD3+kKL"
    )
)
FASTTEXT_VECTORS = {
    "the": (-0.07138184, 0.06736415),
    "cat": (-0.004980846, 0.004700501),
    "</s>": (-0.003030827, 0.002860239),
    "saw": (-0.003320564, 0.003133667),
    "straße": (-0.01354441, 0.01278206),
    "a": (-0.01245212, 0.01175125),
    "cats": (-0.009684979, 0.009139863),
    "straßen": (-0.01225446, 0.01156472),
    "Кот": (-0.0175252, 0.0165388),
    "x": (-0.01660282, 0.01566834),
}


def write(folder: Path, content: bytes, name: str = "v.bin") -> Path:
    """An embedding file with this content."""
    path = folder / name
    path.write_bytes(content)
    return path


def word2vec_bytes(words: list[str], matrix: Float32Array, *, line_ends: bool = True) -> bytes:
    """As the original program writes them; others leave the line ends out."""
    end = b"\n" if line_ends else b""
    rows = (
        word.encode() + b" " + struct.pack(f"<{len(vector)}f", *vector) + end
        for word, vector in zip(words, matrix, strict=True)
    )
    return f"{len(words)} {matrix.shape[1]}\n".encode() + b"".join(rows)


def test_fasttext_vectors_are_those_that_fasttext_gives(tmp_path: Path) -> None:
    """For words of the dictionary, words outside it and words beyond ASCII."""
    model = read_fasttext(write(tmp_path, FASTTEXT_MODEL))

    words, vectors = model.vectors(list(FASTTEXT_VECTORS))

    assert words == list(FASTTEXT_VECTORS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, list(FASTTEXT_VECTORS.values()), rtol=1e-6)


def test_a_fasttext_model_without_n_grams_knows_its_dictionary_only(tmp_path: Path) -> None:
    """As supervised models usually are."""
    # magic, version, then dim ... minn, maxn, lrUpdateRate: minn and maxn are the 12th and 13th numbers
    head = list(struct.unpack("<14i", FASTTEXT_MODEL[:56]))
    head[11] = head[12] = 0
    model = read_fasttext(write(tmp_path, struct.pack("<14i", *head) + FASTTEXT_MODEL[56:]))

    words, vectors = model.vectors(["cats", "cat"])

    assert words == ["cat"]
    np.testing.assert_array_equal(vectors[0], model.matrix[model.place_of["cat"]])


@pytest.mark.parametrize("n_bytes", [10, 60, 120, 200, 250])
def test_a_fasttext_model_that_is_cut_short_is_refused(tmp_path: Path, n_bytes: int) -> None:
    """Wherever it ends before its input matrix does."""
    with pytest.raises(DataError, match="the fastText model is cut short"):
        read_fasttext(write(tmp_path, FASTTEXT_MODEL[:n_bytes]))


def test_other_fasttext_versions_and_quantised_models_are_refused(tmp_path: Path) -> None:
    """With the file to use instead."""
    old = FASTTEXT_MODEL[:4] + struct.pack("<i", 10) + FASTTEXT_MODEL[8:]
    with pytest.raises(DataError, match=r"version 10; 11 and 12 can be read: use the model's \.vec file"):
        read_fasttext(write(tmp_path, old))
    flag = FASTTEXT_MODEL.index(struct.pack("<?qq", False, 12, 2))
    quantised = FASTTEXT_MODEL[:flag] + b"\1" + FASTTEXT_MODEL[flag + 1 :]
    with pytest.raises(DataError, match="is quantised"):
        read_fasttext(write(tmp_path, quantised))


@pytest.mark.parametrize("line_ends", [True, False])
def test_word2vec_binary_comes_back_bit_for_bit(tmp_path: Path, line_ends: bool) -> None:  # noqa: FBT001
    """Vectors whose bytes look like spaces and line ends included."""
    matrix = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    matrix[1] = np.frombuffer(b"  \n \n\n\n    \n", dtype="<f4")
    words = ["a", "</s>", "New_York", "ß", "e"]
    path = write(tmp_path, word2vec_bytes(words, matrix, line_ends=line_ends))

    found_words, found = parse_word2vec(path)

    assert found_words == words
    np.testing.assert_array_equal(found, matrix)
    assert is_word2vec_binary(path)


def test_a_word2vec_file_that_ends_early_or_holds_nan_is_refused(tmp_path: Path) -> None:
    """The word is named."""
    matrix = np.ones((3, 4), dtype=np.float32)
    with pytest.raises(DataError, match="ends within word 3 of 3"):
        parse_word2vec(write(tmp_path, word2vec_bytes(["a", "b", "c"], matrix)[:-3]))
    matrix[1, 2] = np.nan
    with pytest.raises(DataError, match=r"word 2 \('b'\) has a number that is not finite"):
        parse_word2vec(write(tmp_path, word2vec_bytes(["a", "b", "c"], matrix)))


def test_formats_are_told_by_content(tmp_path: Path) -> None:
    """Names may say anything."""
    text = write(tmp_path, b"2 3\na 1 2 3\nb 4 5 6\n", "text.bin")
    glove = write(tmp_path, b"a 1 2 3\nb 4 5 6\n", "glove.bin")
    binary = write(tmp_path, word2vec_bytes(["a"], np.ones((1, 3), dtype=np.float32)), "binary.txt")
    model = write(tmp_path, FASTTEXT_MODEL, "model.txt")
    damaged = write(tmp_path, "2 3\na 1 ç 3\nb 4 5 6\n".encode(), "damaged.txt")

    assert [is_fasttext_model(path) for path in (text, glove, binary, model)] == [False, False, False, True]
    assert [is_word2vec_binary(path) for path in (text, glove, binary, damaged)] == [False, False, True, False]


@pytest.mark.parametrize("dim", [1, 3, 300])
def test_word2vec_binary_is_never_taken_for_text(tmp_path: Path, dim: int) -> None:
    """Fifty files of random vectors."""
    for seed in range(50):
        matrix = np.random.default_rng(seed).normal(size=(20, dim)).astype(np.float32)
        words = [f"w{row}" for row in range(20)]

        assert is_word2vec_binary(write(tmp_path, word2vec_bytes(words, matrix)))
