"""A study's inputs are built from files: folds, hold-out, vectors and a report."""

import csv
from pathlib import Path

import numpy as np
import pytest

from textclf.build import FoldRequest, build_inputs
from textclf.config import Columns
from textclf.duplicates import duplicate_groups, normalize
from textclf.embeddings import vector_matrix
from textclf.errors import ConfigError, DataError
from textclf.inputs import Inputs
from textclf.text import tokenize

COLUMNS = Columns(text="text", targets=("label",), row_id="id")
RECIPES = ("contractions+punctuation", "punctuation+lower", "none")


def write(folder: Path, name: str, rows: list[tuple[str, ...]]) -> Path:
    """A CSV file of these rows."""
    path = folder / name
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Ninety training texts, each third repeated with a full stop, ten test texts, and vectors of some words."""
    rng = np.random.default_rng(0)
    rows: list[tuple[str, ...]] = []
    for number in range(60):
        text = f"Don't Say word{number} " + " ".join(f"w{word}" for word in rng.integers(0, 30, 6))
        rows.append((f"r{len(rows)}", text, str(number % 2)))
        if number % 2:
            rows.append((f"r{len(rows)}", f"{text}.", str(number % 2)))
    write(tmp_path, "train.csv", [("id", "text", "label"), *rows])
    write(tmp_path, "test.csv", [("id", "text"), *((f"t{row}", f"It's test{row}, w1") for row in range(10))])
    words = ["not", "n't", "say", "it", "'s", "test1", *(f"w{number}" for number in range(20)), "unused"]
    (tmp_path / "v.txt").write_text("".join(f"{word} {rng.normal()} {rng.normal()}\n" for word in words))
    return tmp_path


def build(folder: Path, **choices: object) -> Inputs:
    """Inputs of the files."""
    inputs, _ = build_inputs(folder / "train.csv", folder / "test.csv", COLUMNS, **choices)  # type: ignore[arg-type]
    return inputs


def test_tables_come_in_file_order_with_one_plan(files: Path) -> None:
    """The same files and choices give the same digests, twice."""
    one, two = (build(files, folds=FoldRequest(n_folds=3, seed=7, n_repeats=2)) for _ in range(2))

    assert one.train.row_ids == tuple(f"r{row}" for row in range(90))
    assert one.test.row_ids == tuple(f"t{row}" for row in range(10))
    assert (one.folds.n_folds, one.folds.n_repeats, one.folds.seed) == (3, 2, 7)
    assert (one.data_digest, one.folds.digest, one.key) == (two.data_digest, two.folds.digest, two.key)
    assert len(one.holdout) == 0


@pytest.mark.parametrize("rule", ["exact", "near", "ignore"])
def test_repeated_texts_stay_together_unless_ignored(files: Path, rule: str) -> None:
    """In folds and across the hold-out; the report counts what straddles."""
    request = FoldRequest(n_folds=3, duplicates=rule, holdout=0.2)  # type: ignore[arg-type]
    inputs, report = build_inputs(files / "train.csv", files / "test.csv", COLUMNS, folds=request)

    groups = duplicate_groups(inputs.train.texts, rule="exact")
    straddling = sum(len(np.unique(inputs.folds.fold_of_row[0][groups == group])) > 1 for group in np.unique(groups))
    leaked = {normalize(text) for text in inputs.train.texts} & {normalize(text) for text in inputs.holdout.texts}

    assert (straddling > 0, len(leaked) > 0) == ((True, True) if rule == "ignore" else (False, False))
    assert report.duplicates.n_across_folds == 0
    assert rule == "ignore" or report.duplicates.n_repeats == len(inputs.train) - len(np.unique(groups))


def test_a_hold_out_is_a_stratified_share_that_is_in_no_other_part(files: Path) -> None:
    """A fifth of each class, to within a pair of repeated texts."""
    inputs = build(files, folds=FoldRequest(n_folds=3, holdout=0.2))

    assert not set(inputs.train.row_ids) & set(inputs.holdout.row_ids)
    assert len(inputs.train) + len(inputs.holdout) == 90
    assert len(inputs.holdout_labels) == len(inputs.holdout)
    np.testing.assert_allclose(np.bincount(inputs.holdout_labels), [30 / 5, 60 / 5], atol=2)
    assert len(inputs.labels) == inputs.folds.fold_of_row.shape[1] == len(inputs.train)


def test_vectors_hold_every_word_that_a_trial_can_meet_and_no_other(files: Path) -> None:
    """Under each of the recipes, in train, test and hold-out, in any case; the whole file gives the same matrix."""
    inputs = build(files, embeddings=[files / "v.txt"], cleanings=RECIPES, folds=FoldRequest(holdout=0.2))
    lines = [line.split() for line in (files / "v.txt").read_text().splitlines()]
    file_words = {word for word, *_ in lines}
    texts = [*inputs.train.texts, *inputs.test.texts, *inputs.holdout.texts]
    met = {token for recipe in RECIPES for text in texts for token in tokenize(text, recipe)}

    assert set(inputs.vectors[0].words) == file_words & {word.lower() for word in met}
    assert {"not", "n't", "say", "test1"} <= set(inputs.vectors[0].words)
    assert inputs.cleanings == RECIPES
    for recipe in RECIPES:
        words = inputs.encoding(recipe, 50).lexicon.words
        _, known = vector_matrix(words, inputs.vectors)
        assert known[2:].tolist() == [word.lower() in file_words for word in words]


def test_several_sources_keep_their_order_and_weights(files: Path) -> None:
    """Weights must be as many as files."""
    paths = [files / "v.txt", files / "v.txt"]
    inputs = build(files, embeddings=paths, embedding_weights=[1.0, 3.0], cache=files / "cache")

    assert [source.weight for source in inputs.vectors] == [1.0, 3.0]
    with pytest.raises(ConfigError, match="embedding weights: 1 for 2 files"):
        build(files, embeddings=paths, embedding_weights=[1.0])


def test_a_users_plan_decides_alone(files: Path) -> None:
    """Also with a hold-out, whose rows it may name."""
    rows = [(f"r{row}", str(row % 4)) for row in reversed(range(90))]
    path = write(files, "folds.csv", [("id", "fold"), *rows])

    inputs = build(files, folds=FoldRequest(file=path, holdout=0.1, n_folds=9))

    assert inputs.folds.n_folds == 4
    assert inputs.folds.fold_of_row[0].tolist() == [int(row_id[1:]) % 4 for row_id in inputs.train.row_ids]


def test_groups_stay_together_across_folds_and_hold_out(files: Path) -> None:
    """The group column is named among the columns."""
    rows = [(f"r{row}", f"text {row} {row * 7}", str(row % 2), f"g{row % 15}") for row in range(90)]
    path = write(files, "grouped.csv", [("id", "text", "label", "who"), *rows])
    columns = Columns(text="text", targets=("label",), row_id="id", group="who")

    inputs, _ = build_inputs(
        path, files / "test.csv", columns, folds=FoldRequest(n_folds=3, holdout=0.25, duplicates="exact")
    )

    groups = np.array(inputs.train.groups)
    assert not set(inputs.train.groups or ()) & set(inputs.holdout.groups or ())
    assert all(len(np.unique(inputs.folds.fold_of_row[0][groups == group])) == 1 for group in set(groups))


def test_the_report_is_for_reading(files: Path) -> None:
    """Counts, repeated texts, coverage per recipe and warnings, a line each."""
    write(files, "test.csv", [("id", "text"), ("r1", "It's w1"), ("t1", "")])

    _, report = build_inputs(
        files / "train.csv",
        files / "test.csv",
        COLUMNS,
        embeddings=[files / "v.txt"],
        cleanings=RECIPES,
        folds=FoldRequest(holdout=0.2),
    )
    printed = str(report)

    assert "train.csv: 90 rows" in printed
    assert "test: 2 rows" in printed
    assert f"hold-out: {report.n_holdout} of the training rows" in printed
    assert len(report.coverage) == 3
    assert "coverage of v.txt under punctuation+lower:" in printed
    assert "warning: 1 ids stand in both train and test (r1)" in printed
    assert "warning: 1 test texts are empty (ids t1)" in printed


def test_wrong_requests_are_refused(files: Path) -> None:
    """Before or while the files are read."""
    for wrong in ({"n_folds": 1}, {"n_repeats": 0}, {"holdout": 0.6}, {"holdout": -0.1}):
        with pytest.raises(ConfigError):
            FoldRequest(**wrong)
    with pytest.raises(ConfigError, match="'lowr' is not a step"):
        build(files, cleanings=("lowr",))
    with pytest.raises(DataError, match="no such file; did you mean"):
        build_inputs(files / "tran.csv", files / "test.csv", COLUMNS)
    with pytest.raises(DataError, match=r"train\.csv: class '0' has 30 rows, too few for 31 folds; lower --n-folds"):
        build(files, folds=FoldRequest(n_folds=31, duplicates="ignore"))
    with pytest.raises(
        DataError, match=r"train\.csv: --holdout 0\.03 cannot set one row in 33 apart: class '0' has 30 rows"
    ):
        build(files, folds=FoldRequest(holdout=0.03))
