"""Coverage is counted over words and tokens, step by step."""

from pathlib import Path

import numpy as np
import pytest

from textclf.coverage import count_words, growing_recipes, main, measure_coverage
from textclf.embeddings import make_vectors

TEXTS = ["The cat saw the cats.", "CAT, cat!", ""]
SOURCE = make_vectors("toy", ["the", "cat", "."], np.eye(3, dtype=np.float32))


def test_coverage_by_hand() -> None:
    """White space alone: The, cat, the, cat! ... have a vector only where no sign clings to them."""
    found = measure_coverage(count_words(TEXTS, cleaning="none"), SOURCE)

    assert (found.n_words, found.n_tokens) == (7, 7)  # The cat saw the cats. CAT, cat!
    assert found.word_share == found.token_share == 3 / 7
    assert set(found.missing) == {("saw", 1), ("cats.", 1), ("CAT,", 1), ("cat!", 1)}


def test_cleaning_changes_coverage() -> None:
    """Ten tokens of seven words: the 2, cat 3, full stop 1 are covered."""
    found = measure_coverage(count_words(TEXTS, cleaning="punctuation+lower"), SOURCE)

    assert (found.n_words, found.n_tokens) == (7, 10)  # the cat saw cats . , !
    assert found.word_share == 3 / 7
    assert found.token_share == 6 / 10
    assert "60.00% of 10 tokens" in str(found)


def test_no_text_has_no_coverage() -> None:
    """Not even a division by zero."""
    found = measure_coverage(count_words([""], cleaning="lower"), SOURCE)

    assert (found.n_tokens, found.word_share, found.token_share, found.missing) == (0, 0.0, 0.0, ())


def test_a_recipe_grows_step_by_step() -> None:
    """In the order in which steps run."""
    assert growing_recipes("lower+html+urls") == ("none", "html", "html+urls", "html+urls+lower")
    assert growing_recipes("none") == ("none",)


def test_the_command_prints_a_line_per_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Coverage grows as punctuation is spaced."""
    (tmp_path / "t.csv").write_text('text\n"The cat saw the cats."\n"CAT, cat!"\n')
    (tmp_path / "v.txt").write_text("the 1 0\ncat 0 1\n. 1 1\n")
    arguments = [str(tmp_path / "t.csv"), "--text", "text", "--embeddings", str(tmp_path / "v.txt")]

    assert main([*arguments, "--cleaning", "punctuation+lower"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert [line[:14].strip() for line in lines] == ["cleaning", "none", "+ punctuation", "+ lower"]
    assert "42.86% of 7" in lines[1]
    assert "60.00% of 10" in lines[3]


def test_the_command_answers_bad_input_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And exit status 2."""
    (tmp_path / "t.csv").write_text("text\nx\n")

    assert main([str(tmp_path / "t.csv"), "--text", "txt", "--embeddings", "none.txt"]) == 2
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path / 't.csv'}: line 1: there is no column 'txt'; did you mean text?\n"
    )
