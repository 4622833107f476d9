"""Inputs survive their folder and a journey, and their digest stands for all that a trial reads."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import make_inputs
from tests.limits import largest_file
from textclf.arrays import IntArray
from textclf.encode import encode_tables
from textclf.errors import ConfigError, DataError, RunError
from textclf.inputs import ENCODED_ARRAYS, INPUTS_FORMAT, PARTS, Inputs, load_inputs, save_inputs
from textclf.table import Table

RECIPE = "punctuation+lower"


def rich_inputs() -> Inputs:
    """Inputs with everything: features, groups, a hold-out, two sources, recipes."""
    inputs = make_inputs("multiclass", n_rows=40, n_repeats=2)

    def enrich(table: Table) -> Table:
        n_rows = len(table)
        return replace(
            table,
            numeric=np.array([[row, np.nan] for row in range(n_rows)], dtype=np.float64).reshape(n_rows, 2),
            categorical=np.array([["ä", "", f"c{row}"] for row in range(n_rows)], dtype=object).reshape(n_rows, 3),
            groups=tuple(f"g{row % 7}" for row in range(n_rows)),
        )

    train = enrich(inputs.train)
    return replace(
        inputs,
        train=train,
        test=enrich(inputs.test),
        holdout=train.rows(np.arange(5)),
        holdout_labels=inputs.labels[:5],
        vectors=(inputs.vectors[0], replace(inputs.vectors[0], weight=2.5)),
        cleanings=(RECIPE, "none"),
    )


def assert_same_table(one: Table, other: Table) -> None:
    """Equal in every field."""
    assert (one.row_ids, one.texts, one.groups) == (other.row_ids, other.texts, other.groups)
    np.testing.assert_array_equal(one.numeric, other.numeric)
    assert one.categorical.shape == other.categorical.shape
    assert one.categorical.tolist() == other.categorical.tolist()


def assert_same_inputs(one: Inputs, other: Inputs) -> None:
    """Equal in every field but the folder."""
    for part in PARTS:
        assert_same_table(getattr(one, part), getattr(other, part))
    assert (one.task, one.columns, one.cleanings) == (other.task, other.columns, other.cleanings)
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_array_equal(one.holdout_labels, other.holdout_labels)
    np.testing.assert_array_equal(one.folds.fold_of_row, other.folds.fold_of_row)
    assert (one.folds.n_folds, one.folds.seed) == (other.folds.n_folds, other.folds.seed)
    for mine, theirs in zip(one.vectors, other.vectors, strict=True):
        assert (mine.name, mine.words, mine.weight) == (theirs.name, theirs.words, theirs.weight)
        assert (mine.deviation, mine.digest) == (theirs.deviation, theirs.digest)
        np.testing.assert_array_equal(mine.matrix, theirs.matrix)
        np.testing.assert_array_equal(mine.mean, theirs.mean)
    assert (one.data_digest, one.key) == (other.data_digest, other.key)


def without_holdout() -> Inputs:
    """Columns beside the text, and a hold-out that has these columns and no rows."""
    inputs = rich_inputs()
    return replace(inputs, holdout=inputs.train.rows(np.arange(0)), holdout_labels=inputs.labels[:0])


@pytest.mark.parametrize(
    "inputs",
    [rich_inputs(), without_holdout(), make_inputs("multilabel", n_rows=30)],
    ids=["rich", "without hold-out", "plain"],
)
def test_inputs_come_back_from_their_folder(tmp_path: Path, inputs: Inputs) -> None:
    """Without pickle, and with arrays that processes share."""
    folder = save_inputs(inputs, tmp_path / inputs.key)

    loaded = load_inputs(folder)

    assert_same_inputs(inputs, loaded)
    assert loaded.folder == folder
    assert not loaded.vectors[0].matrix.flags.owndata


def test_inputs_travel_by_pickle_without_their_folder(tmp_path: Path) -> None:
    """Another machine does not have it."""
    loaded = load_inputs(save_inputs(rich_inputs(), tmp_path / "a"))

    arrived = pickle.loads(pickle.dumps(loaded))

    assert_same_inputs(loaded, arrived)
    assert arrived.folder is None


def bumped(array: IntArray) -> IntArray:
    """The array with its first number changed."""
    other = array.copy()
    other.flat[0] = (other.flat[0] + 1) % 3
    return other


@pytest.mark.parametrize(
    "change",
    [
        lambda inputs: {"train": replace(inputs.train, texts=("other", *inputs.train.texts[1:]))},
        lambda inputs: {"train": replace(inputs.train, row_ids=("other", *inputs.train.row_ids[1:]))},
        lambda inputs: {"train": replace(inputs.train, numeric=inputs.train.numeric + 1)},
        lambda inputs: {"train": replace(inputs.train, categorical=inputs.train.categorical[::-1])},
        lambda inputs: {"train": replace(inputs.train, groups=None)},
        lambda inputs: {"test": inputs.test.rows(np.arange(len(inputs.test) - 1))},
        lambda inputs: {"test": replace(inputs.test, texts=inputs.test.texts[::-1])},
        lambda inputs: {"labels": bumped(inputs.labels)},
        lambda inputs: {"holdout_labels": bumped(inputs.holdout_labels)},
        lambda inputs: {"vectors": inputs.vectors[:1]},
        lambda inputs: {"vectors": inputs.vectors[::-1]},
        lambda inputs: {"columns": replace(inputs.columns, text="other")},
        lambda inputs: {"task": replace(inputs.task, class_names=("a", "b", "d"))},
    ],
)
def test_whatever_a_trial_reads_changes_the_data_digest(change: Any) -> None:
    """The fold plan, recipes and the folder do not: they are told apart elsewhere."""
    inputs = rich_inputs()
    other = replace(inputs, **change(inputs))
    same = replace(inputs, folds=make_inputs("multiclass", n_rows=40, seed=9).folds, folder=Path("x"), cleanings=None)

    assert other.data_digest != inputs.data_digest == same.data_digest
    assert same.key != inputs.key


def test_saving_twice_keeps_the_first_and_refuses_others(tmp_path: Path) -> None:
    """Digests are named."""
    inputs = rich_inputs()
    save_inputs(inputs, tmp_path / "a")
    save_inputs(inputs, tmp_path / "a")

    with pytest.raises(RunError, match="another data_digest"):
        save_inputs(make_inputs(), tmp_path / "a")
    with pytest.raises(RunError, match="another folds_digest"):
        save_inputs(replace(inputs, folds=make_inputs("multiclass", n_rows=40, seed=9).folds), tmp_path / "a")
    with pytest.raises(RunError, match="another cleanings"):
        save_inputs(replace(inputs, cleanings=("none",)), tmp_path / "a")


def test_a_changed_folder_is_refused(tmp_path: Path) -> None:
    """One flipped label is seen; so is another format."""
    folder = save_inputs(rich_inputs(), tmp_path / "a")
    np.save(folder / "labels.npy", bumped(np.load(folder / "labels.npy")))

    with pytest.raises(DataError, match="its content is not what was saved"):
        load_inputs(folder)
    record = folder / "record.json"
    record.write_text(record.read_text().replace(f'"format": {INPUTS_FORMAT}', '"format": 0'))
    with pytest.raises(DataError, match=f"format 0, this version reads {INPUTS_FORMAT}"):
        load_inputs(folder)


@pytest.mark.parametrize("kept", [False, True])
def test_an_encoding_is_that_of_the_three_tables(tmp_path: Path, kept: bool) -> None:  # noqa: FBT001
    """In memory, from the folder, and from the folder in a second process."""
    inputs = rich_inputs()
    if kept:
        save_inputs(inputs, tmp_path / "a")
    tables = [inputs.train, inputs.test, inputs.holdout]
    expected, lexicon = encode_tables(tables, cleaning=RECIPE, max_tokens=5)

    for _ in range(2):
        reader = load_inputs(tmp_path / "a") if kept else inputs
        forget()
        found = reader.encoding("lower+punctuation", 5)

        assert found.lexicon.words == lexicon.words
        for part, rows in zip(PARTS, expected, strict=True):
            for name in (*ENCODED_ARRAYS, "numeric"):
                np.testing.assert_array_equal(getattr(getattr(found, part), name), getattr(rows, name))
            assert getattr(found, part).categorical.tolist() == rows.categorical.tolist()
    assert not kept or len([path for path in (tmp_path / "a").iterdir() if path.is_dir()]) == 1


def test_a_damaged_encoding_is_refused(tmp_path: Path) -> None:
    """One wrong bit in the kept tokens would make another trial under the same number."""
    inputs = load_inputs(save_inputs(rich_inputs(), tmp_path / "a"))
    forget()
    inputs.encoding("lower+punctuation", 5)
    [tokens] = (tmp_path / "a").glob("encoding-*/train-tokens.npy")
    damaged = bytearray(tokens.read_bytes())
    damaged[-4] ^= 1
    tokens.write_bytes(damaged)
    forget()

    with pytest.raises(DataError, match=r"encoding-.*digests differ\); remove it and start again"):
        inputs.encoding("lower+punctuation", 5)


def test_an_encoding_that_cannot_be_kept_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk costs the copy, not the trial; what is missing is said once, and is kept when there is room."""
    inputs = load_inputs(save_inputs(rich_inputs(), tmp_path / "a"))
    with largest_file(100):
        for _ in range(2):
            forget()
            unkept = inputs.encoding("lower+punctuation", 5)
    assert not list((tmp_path / "a").glob("*encoding-*"))
    [said] = [record.getMessage() for record in caplog.records]
    assert "encoded texts are not kept" in said
    assert "File too large" in said

    forget()
    kept = inputs.encoding("lower+punctuation", 5)
    assert list((tmp_path / "a").glob("encoding-*"))
    assert unkept.lexicon.words == kept.lexicon.words
    for part in PARTS:
        for name in (*ENCODED_ARRAYS, "numeric"):
            np.testing.assert_array_equal(getattr(getattr(unkept, part), name), getattr(getattr(kept, part), name))


def forget() -> None:
    """Empty this process's memory of encodings."""
    from textclf import inputs as module

    module._REMEMBERED.clear()


def test_a_process_remembers_a_few_encodings() -> None:
    """The latest four; asking again makes nothing new."""
    forget()
    inputs = make_inputs()
    first = inputs.encoding("none", 3)

    assert inputs.encoding("none", 3) is first
    for max_tokens in range(4, 7):
        inputs.encoding("none", max_tokens)
    assert inputs.encoding("none", 3) is first
    for max_tokens in range(7, 11):
        inputs.encoding("none", max_tokens)
    assert inputs.encoding("none", 3) is not first


def test_without_a_hold_out_its_encoding_has_no_rows_but_all_columns() -> None:
    """A scaler fitted on training rows can read it."""
    inputs = replace(rich_inputs(), holdout=make_inputs().holdout, holdout_labels=np.zeros(0, dtype=np.int64))

    rows = inputs.encoding(RECIPE, 9).holdout

    assert len(rows) == 0
    assert (rows.numeric.shape, rows.categorical.shape) == ((0, 2), (0, 3))


def test_a_recipe_that_vectors_were_not_selected_for_is_refused() -> None:
    """Its words would silently be unknown; without vectors any recipe will do."""
    inputs = rich_inputs()

    with pytest.raises(ConfigError, match="'html' is none of the recipes that word vectors were selected for"):
        inputs.encoding("html", 9)
    assert len(replace(inputs, vectors=()).encoding("html", 9).train) == 40
    assert len(replace(inputs, cleanings=None).encoding("html", 9).train) == 40
