"""Text embeddings are read exactly, and a bad line is named."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from textclf.errors import DataError
from textclf.textvectors import parse_text

GLOVE = "the 0.25 -1e-3 3\ncat 1 2 3\n"


def write(folder: Path, content: str | bytes, name: str = "v.txt") -> Path:
    """An embedding file with this content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (GLOVE, "glove.txt"),
        (GLOVE.rstrip("\n"), "no-last-newline.txt"),
        (GLOVE.replace("\n", "\r\n"), "windows.txt"),
        ("2 3\n" + GLOVE, "word2vec.txt"),
        ("2 3\n" + GLOVE.replace("\n", " \n"), "fasttext.vec"),
        (gzip.compress(GLOVE.encode(), mtime=0), "glove.txt.gz"),
        (gzip.compress(("2 3\n" + GLOVE).encode(), mtime=0), "cc.en.vec.gz"),
    ],
)
def test_glove_word2vec_and_fasttext_text_hold_the_same(tmp_path: Path, content: str | bytes, name: str) -> None:
    """With and without header, packed and plain, with spaces at the end of lines."""
    words, matrix = parse_text(write(tmp_path, content, name))

    assert words == ["the", "cat"]
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, np.array([[0.25, -1e-3, 3], [1, 2, 3]], dtype=np.float32))


@pytest.mark.parametrize("block", [16, 17, 64, 1 << 20])
def test_numbers_written_with_all_digits_come_back_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """However the file falls into blocks."""
    monkeypatch.setattr("textclf.textvectors.BLOCK", block)
    matrix = np.random.default_rng(0).normal(size=(20, 7)).astype(np.float32)
    lines = [f"w{row} " + " ".join(repr(float(value)) for value in vector) for row, vector in enumerate(matrix)]

    words, found = parse_text(write(tmp_path, "\n".join(lines)))

    assert words == [f"w{row}" for row in range(20)]
    np.testing.assert_array_equal(found, matrix)


def test_words_may_look_like_anything(tmp_path: Path) -> None:
    """Numbers, quotes, spaces inside (as in GloVe 840B), other scripts, a missing-value mark."""
    odd = ['"', "#", "1.5", ". . .", "nan", "Москва", "\u2028", "at name@domain.com"]

    words, matrix = parse_text(write(tmp_path, "".join(f"{word} 1 2\n" for word in ["a", *odd])))

    assert words == ["a", *odd]
    assert (matrix == [1, 2]).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a 1 2\nb 1\n", "line 2: 1 numbers where 2 belong"),
        ("a 1 2\n\nb 1 2\n", "line 2: 0 numbers where 2 belong"),
        ("a 1 2\nb 1 x\nc 1\n", "line 2: 'x' is not a finite number"),
        ("a 1 2\nb 1 nan\n", "line 2: 'nan' is not a finite number"),
        ("a 1 2\nb inf 2\n", "line 2: 'inf' is not a finite number"),
        ("a 1 2\nb 1e99 2\n", "line 2: '1e99' is not a finite number"),
        ("2 2\na 1 2\nb 1\n", "line 3: 1 numbers where 2 belong"),
        ("3 2\na 1 2\nb 1 2\n", "line 1 announces 3 words, the file holds 2"),
        ("", "holds no word vectors"),
        ("5 2\n", "holds no word vectors"),
        ("word\n", "line 1: 1 fields; each line must be a word and its numbers"),
    ],
)
@pytest.mark.parametrize("block", [5, 1 << 20])
def test_a_bad_line_is_refused_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, content: str, message: str
) -> None:
    """Wherever blocks end."""
    monkeypatch.setattr("textclf.textvectors.BLOCK", block)
    path = write(tmp_path, content)

    with pytest.raises(DataError) as error:
        parse_text(path)

    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)


def test_a_packed_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    """A broken download is told as such."""
    packed = gzip.compress("".join(f"w{row} {row} 2\n" for row in range(999)).encode())

    with pytest.raises(DataError, match="cannot be read to its end"):
        parse_text(write(tmp_path, packed[:-20], "v.txt.gz"))
    with pytest.raises(DataError, match="cannot be read to its end"):
        parse_text(write(tmp_path, b"no gzip at all", "w.txt.gz"))
