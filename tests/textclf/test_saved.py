"""Fitted models that stand alone: equal predictions, unknown words, and files that nobody can alter unseen."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.builders import MARKERS, make_inputs
from textclf.config import TextConfig
from textclf.crossval import OofRun, cross_validate
from textclf.errors import ConfigError, DataError
from textclf.families import FAMILIES, parse_config
from textclf.inputs import Inputs
from textclf.metrics import get_metric
from textclf.protocols import Fitted
from textclf.saved import SavedTrial, restore_trial, save_trial
from textclf.table import Table
from textclf.tensors import pack_strings, read_tensors, unpack_strings, write_tensors

NET = {"dense_size": 8, "batch_size": 16, "n_epochs": 1, "lr_max": 0.02}
SMALL: dict[str, dict[str, Any]] = {
    "bilstm_bigru": {**NET, "hidden_size": 6},
    "bilstm_attention": {**NET, "hidden_size": 6, "ema_decay": 0.5},
    "bilstm_bigru_keras": {**NET, "hidden_size": 6, "n_seeds": 2},
    "textcnn": {**NET, "n_filters": 6, "trainable_embeddings": True},
    "dan": {**NET, "oov": "ngram", "min_count": 3},
    "tfidf_logreg": {"word_ngrams": 2, "char_ngrams": 4},
    "nbsvm": {"word_ngrams": 3, "char_ngrams": 3, "nb_mix": 0.5},
}


def with_columns(inputs: Inputs) -> Inputs:
    """The toy study with columns beside the text, missing cells, an empty text and words without a vector."""

    def widen(table: Table, seed: int) -> Table:
        rng = np.random.default_rng(seed)
        numeric = rng.normal(size=(len(table), 2))
        numeric[::7, 1] = np.nan
        texts = [f"{text} Rare{row % 9}" if row % 3 else text.upper() for row, text in enumerate(table.texts)]
        texts[4::15] = [""] * len(texts[4::15])
        categorical = rng.choice(["", "red", "blue"], (len(table), 1)).astype(object)
        return dataclasses.replace(table, texts=tuple(texts), numeric=numeric, categorical=categorical)

    columns = dataclasses.replace(inputs.columns, numeric=("size", "weight"), categorical=("colour",))
    return dataclasses.replace(inputs, columns=columns, train=widen(inputs.train, 1), test=widen(inputs.test, 2))


def small(family: str, **changes: Any) -> TextConfig:
    """A configuration that trains in a moment, with the usual cleaning."""
    return parse_config({"family": family, **SMALL[family], **changes}, source="test")


def fit(inputs: Inputs, config: TextConfig) -> tuple[OofRun, list[Fitted]]:
    """Cross-validate and keep the fitted models."""
    fits: list[Fitted] = []
    metric = get_metric("log_loss", inputs.task)
    run = cross_validate(inputs, config, metric=metric, seed=1, on_fitted=fits.append)
    return run, fits


def ship(inputs: Inputs, config: TextConfig, folder: Path) -> tuple[OofRun, SavedTrial]:
    """Cross-validate, save the models, and read them back from what a JSON file can hold."""
    run, fits = fit(inputs, config)
    record = json.loads(json.dumps(save_trial(fits, inputs=inputs, config=config, folder=folder), allow_nan=False))
    return run, restore_trial(record, task=inputs.task, folder=folder)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("family", SMALL)
def test_saved_models_predict_what_the_trial_predicted(family: str, kind: str, tmp_path: Path) -> None:
    """Read back from the folder alone, the models give the trial's test predictions."""
    inputs = with_columns(make_inputs(kind, n_repeats=2 if family == "dan" else 1))
    run, saved = ship(inputs, small(family), tmp_path)

    np.testing.assert_allclose(saved.predict(inputs.test), run.test_proba, rtol=0, atol=1e-6)
    assert np.ptp(run.test_proba, axis=0).min() > 0.005  # the models do tell rows apart


def test_every_family_can_be_shipped() -> None:
    """No family lacks a keeper, and those that the tests above leave out have one in the test of encoders."""
    assert {name for name, family in FAMILIES.items() if family.keeper} == FAMILIES.keys()
    assert FAMILIES.keys() - SMALL.keys() == {"encoder"}


@pytest.mark.parametrize("family", ["bilstm_bigru", "textcnn", "tfidf_logreg", "nbsvm"])
def test_a_row_alone_is_predicted_as_in_a_batch(family: str, tmp_path: Path) -> None:
    """Nothing of a row's companions reaches its prediction."""
    inputs = with_columns(make_inputs("multiclass"))
    _, saved = ship(inputs, small(family), tmp_path)
    together = saved.predict(inputs.test)

    alone = [saved.predict(inputs.test.rows(np.array([row])))[0] for row in range(len(inputs.test))]

    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", ["bilstm_bigru", "dan", "tfidf_logreg", "nbsvm"])
def test_words_that_the_study_never_met_are_unknown(family: str, tmp_path: Path) -> None:
    """One new word is like another of the same shape: nothing is made up for it."""
    inputs = make_inputs()
    _, saved = ship(inputs, small(family, cleaning="none"), tmp_path)
    row = inputs.test.rows(np.array([0]))

    first, second, known = (
        saved.predict(dataclasses.replace(row, texts=(word,))) for word in ("qqqq", "vvvv", MARKERS[1][0])
    )

    np.testing.assert_array_equal(first, second)
    assert np.abs(first - known).max() > 1e-3


def test_no_rows_give_no_predictions(tmp_path: Path) -> None:
    """An empty table is not an error."""
    inputs = make_inputs()
    _, saved = ship(inputs, small("nbsvm"), tmp_path)

    assert saved.predict(inputs.test.rows(np.zeros(0, dtype=np.int64))).shape == (0, 2)


def test_without_an_embedding_file_the_learned_table_is_kept(tmp_path: Path) -> None:
    """Each fold model has word vectors of its own."""
    inputs = dataclasses.replace(make_inputs(), vectors=())
    run, saved = ship(inputs, small("dan", embedding_dim=5), tmp_path)

    np.testing.assert_allclose(saved.predict(inputs.test), run.test_proba, rtol=0, atol=1e-6)


@pytest.mark.parametrize("fine_tune", [False, True])
def test_encoders_are_kept_whole(checkpoint: str, fine_tune: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """Weights, architecture and tokenizer travel; a frozen encoder lies in the folder once."""
    config = parse_config(
        {"family": "encoder", "checkpoint": checkpoint, "fine_tune": fine_tune, "n_epochs": 1, "lr_max": 0.01},
        source="test",
    )
    inputs = make_inputs(n_rows=40)
    run, fits = fit(inputs, config)
    record = save_trial(fits, inputs=inputs, config=config, folder=tmp_path)
    elsewhere = {**record, "config": {**record["config"], "checkpoint": "gone"}}
    saved = restore_trial(elsewhere, task=inputs.task, folder=tmp_path)

    np.testing.assert_allclose(saved.predict(inputs.test), run.test_proba, rtol=0, atol=1e-6)
    assert len({kept["encoder"] for kept in record["models"]["fits"]}) == (3 if fine_tune else 1)


def test_a_family_without_a_keeper_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message says which family, and what can be shipped."""
    monkeypatch.setitem(FAMILIES, "dan", dataclasses.replace(FAMILIES["dan"], keeper=None))

    with pytest.raises(ConfigError, match=r"family dan: its models cannot be shipped.*nbsvm"):
        save_trial([], inputs=make_inputs(), config=small("dan"), folder=tmp_path)


def test_equal_tensors_lie_in_the_folder_once(tmp_path: Path) -> None:
    """A file is named by its content."""
    names = [write_tensors(tmp_path, {"a": np.arange(size)}) for size in (3, 3, 4)]

    assert names[0] == names[1] != names[2]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["alter", "remove"])
def test_a_damaged_file_is_seen(damage: str, tmp_path: Path) -> None:
    """One altered bit, or a file that is gone, ends the reading with the file's name."""
    name = write_tensors(tmp_path, {"weights": np.ones(5, dtype=np.float32)})
    path = next(tmp_path.iterdir())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    if damage == "alter":
        path.write_bytes(content)

    with pytest.raises(DataError, match=name[:12]):
        read_tensors(tmp_path, name)


def test_strings_of_any_script_survive(tmp_path: Path) -> None:
    """Empty strings, spaces and astral characters come back as they were."""
    strings = ("", " a ", "schön", "日本", "🙂", "", "x\ny")

    assert unpack_strings(read_tensors(tmp_path, write_tensors(tmp_path, pack_strings(strings)))) == strings
    assert unpack_strings(read_tensors(tmp_path, write_tensors(tmp_path, pack_strings(())))) == ()
