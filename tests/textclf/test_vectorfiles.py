"""Any embedding file is read, once; later reads come from the cache and give the same."""

import gzip
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.textclf.test_binaryvectors import FASTTEXT_MODEL, FASTTEXT_VECTORS, word2vec_bytes
from textclf.errors import DataError
from textclf.vectorfiles import DEFAULT_DEVIATION, VectorFile, case_variants, measure, read_vector_file

MATRIX = np.random.default_rng(0).normal(1, 2, (4, 3)).astype(np.float32)
WORDS = ["the", "Paris", "the", "US"]


def write(folder: Path, content: bytes, name: str) -> Path:
    """An embedding file with this content."""
    path = folder / name
    path.write_bytes(content)
    return path


def glove_bytes() -> bytes:
    """WORDS and MATRIX as text."""
    return "".join(
        f"{word} {' '.join(map(repr, vector))}\n" for word, vector in zip(WORDS, MATRIX.tolist(), strict=True)
    ).encode()


def read_all(path: Path, cache: Path | None = None) -> VectorFile:
    """A file that is read whole."""
    file = read_vector_file(path, cache=cache)
    assert isinstance(file, VectorFile)
    return file


@pytest.mark.parametrize("cached", [False, True])
def test_text_and_binary_files_give_the_same(tmp_path: Path, cached: bool) -> None:  # noqa: FBT001
    """Of a repeated word the first vector counts."""
    cache = tmp_path / "cache" if cached else None
    paths = [
        write(tmp_path, glove_bytes(), "v.txt"),
        write(tmp_path, gzip.compress(glove_bytes()), "v.txt.gz"),
        write(tmp_path, word2vec_bytes(WORDS, MATRIX), "v.bin"),
    ]

    for path in [*paths, *paths]:
        file = read_all(path, cache)

        assert file.words == ("the", "Paris", "US")
        np.testing.assert_array_equal(file.matrix, MATRIX[[0, 1, 3]])
        np.testing.assert_allclose(file.mean, MATRIX[[0, 1, 3]].mean(axis=0), rtol=1e-6)
        assert file.deviation == pytest.approx(MATRIX[[0, 1, 3]].std(), rel=1e-6)


def test_a_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache is found by content, whatever the name; a changed file is parsed again."""
    cache = tmp_path / "cache"
    first = read_all(write(tmp_path, glove_bytes(), "v.txt"), cache)

    with monkeypatch.context() as patched:
        patched.delattr("textclf.vectorfiles._parse")
        again = read_all(write(tmp_path, glove_bytes(), "renamed.txt"), cache)
        with pytest.raises(NameError):  # the guard: without an entry it would be parsed
            read_vector_file(write(tmp_path, b"a 1\n", "v.txt"), cache=cache)
    changed = read_all(write(tmp_path, b"a 1\n", "v.txt"), cache)

    np.testing.assert_array_equal(first.matrix, again.matrix)
    assert not again.matrix.flags.owndata  # a view of the file, shared between processes
    assert changed.words == ("a",)
    assert len(list(cache.iterdir())) == 2  # and no draft is left behind


def test_words_are_selected_with_their_case_variants(tmp_path: Path) -> None:
    """In file order; words that the file lacks are left out."""
    file = read_all(write(tmp_path, glove_bytes(), "v.txt"))

    words, matrix = file.select({"us", "THE", "rome"})

    assert words == ["the", "US"]
    np.testing.assert_array_equal(matrix, MATRIX[[0, 3]])
    assert case_variants("tHe") == ("tHe", "the", "The", "THE")


def test_a_fasttext_model_makes_vectors_for_all_wanted_words(tmp_path: Path) -> None:
    """Sorted, so that a set of words has one digest."""
    file = read_vector_file(write(tmp_path, FASTTEXT_MODEL, "v.bin"), cache=tmp_path / "cache")

    words, matrix = file.select({"straßen", "cat", "x"})

    assert words == ["cat", "straßen", "x"]
    np.testing.assert_allclose(matrix, [FASTTEXT_VECTORS[word] for word in words], rtol=1e-6)
    assert file.deviation > 0


def test_measures_are_those_of_all_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slice by slice; without rows there is a usual deviation."""
    monkeypatch.setattr("textclf.vectorfiles.SLICE", 3)
    matrix = np.random.default_rng(1).normal(5, 3, (10, 4)).astype(np.float32)

    mean, deviation = measure(matrix)

    np.testing.assert_allclose(mean, matrix.mean(axis=0), rtol=1e-6)
    assert deviation == pytest.approx(matrix.std(), rel=1e-5)
    assert measure(np.zeros((0, 2), dtype=np.float32))[1] == DEFAULT_DEVIATION


def test_a_missing_file_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    """A folder is no embedding file either."""
    write(tmp_path, glove_bytes(), "glove.txt")

    with pytest.raises(DataError, match=r"no such embedding file; did you mean glove\.txt"):
        read_vector_file(tmp_path / "golve.txt")
    with pytest.raises(DataError, match="no such embedding file"):
        read_vector_file(tmp_path)


def test_the_real_glove_file_is_read_line_by_line(shared_data: Path, tmp_path: Path) -> None:
    """Each hundredth of 20,000 lines, parsed by Python, has the words and numbers that the cache holds."""
    path = shared_data / "glove.6B.100d.top100k.txt.gz"
    read_vector_file(path, cache=tmp_path)
    file = read_all(path, tmp_path)

    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row, line in enumerate(islice(lines, 20_000)):
            if row % 100 == 0:
                word, *numbers = line.rstrip("\n").split(" ")
                assert file.words[row] == word
                np.testing.assert_array_equal(file.matrix[row], np.array(numbers, dtype=np.float32))
    assert file.matrix.shape == (100_000, 100)


def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path: Path) -> None:
    """The file is parsed, every time, and gives the same."""
    path = write(tmp_path, glove_bytes(), "v.txt")
    in_the_way = write(tmp_path, b"", "file")
    file = read_all(path, in_the_way / "cache")

    assert file.words == ("the", "Paris", "US")
    np.testing.assert_array_equal(file.matrix, read_all(path).matrix)
