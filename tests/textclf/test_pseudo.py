"""Pseudo-labels: sure test rows help a fold, and nothing of its held-out rows does."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.spec import TrialSpec
from tests.builders import TASKS, make_inputs
from textclf.arrays import IntArray, array_digest
from textclf.config import TextConfig
from textclf.crossval import FoldEvent, OofRun, cross_validate
from textclf.errors import ConfigError
from textclf.families import FAMILIES, config_dict, parse_config
from textclf.inputs import Inputs
from textclf.metrics import get_metric
from textclf.protocols import FitTask, Fitted
from textclf.pseudo import choose_surest
from textclf.saved import restore_trial, save_trial

SMALL: dict[str, dict[str, Any]] = {
    "dan": {"dense_size": 12, "batch_size": 16, "n_epochs": 4, "lr_max": 0.03},
    "tfidf_logreg": {"char_ngrams": 3},
    "nbsvm": {"char_ngrams": 0},
}
Fit = Callable[..., Fitted]


def small(family: str, *, share: float) -> TextConfig:
    """A configuration that trains in a moment."""
    return parse_config({"family": family, **SMALL[family], "pseudo_share": share}, source="test")


def run(inputs: Inputs, config: TextConfig, **options: Any) -> OofRun:
    """Cross-validate by log loss."""
    return cross_validate(inputs, config, metric=get_metric("log_loss", inputs.task), seed=3, **options)


def with_other_labels(inputs: Inputs, held_out: np.ndarray[Any, Any]) -> Inputs:
    """The same study, the labels of one fold turned round."""
    labels = np.array(inputs.labels)
    labels[held_out] = (labels[held_out] + 1) % (2 if labels.ndim == 2 else inputs.task.n_outputs)
    return dataclasses.replace(inputs, labels=labels)


def hearsay_moves(inputs: Inputs, config: TextConfig) -> bool:
    """Whether predictions of a fold's held-out rows change with the labels of those very rows."""
    held_out = inputs.folds.fold_of_row[0] == 0
    before, after = run(inputs, config), run(with_other_labels(inputs, held_out), config)
    assert not np.array_equal(before.oof[~held_out], after.oof[~held_out])  # other folds do learn from them
    return not np.array_equal(before.oof[held_out], after.oof[held_out])


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("family", SMALL)
def test_labels_of_held_out_rows_stay_out(family: str, kind: str) -> None:
    """Turn the labels of a fold round, and its out-of-fold predictions keep their bits."""
    inputs, config = make_inputs(kind), small(family, share=0.6)

    assert not np.array_equal(run(inputs, config).oof, run(inputs, small(family, share=0.0)).oof)  # it does something
    assert not hearsay_moves(inputs, config)


def test_a_fit_that_peeks_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let test rows be labelled by a model of all training rows, a common mistake, and the same check fails."""
    inputs = make_inputs()
    honest: Fit = FAMILIES["tfidf_logreg"].fit
    prepared = FAMILIES["tfidf_logreg"].prepare(inputs, small("tfidf_logreg", share=0.6))

    def peek(source: Inputs) -> Fit:
        def fit(rows: Any, labels: IntArray, config: Any, /, *, how: FitTask) -> Fitted:
            is_first = len(labels) == 80  # two of three folds, no test rows yet
            return honest(*((prepared.train, source.labels) if is_first else (rows, labels)), config, how=how)

        return fit

    def peeking_run(source: Inputs) -> OofRun:
        family = dataclasses.replace(FAMILIES["tfidf_logreg"], fit=peek(source))
        with monkeypatch.context() as patched:
            patched.setitem(FAMILIES, "tfidf_logreg", family)
            return run(source, small("tfidf_logreg", share=0.6))

    held_out = inputs.folds.fold_of_row[0] == 0
    before, after = peeking_run(inputs), peeking_run(with_other_labels(inputs, held_out))

    assert not np.array_equal(before.oof[held_out], after.oof[held_out])


@pytest.mark.parametrize("family", SMALL)
def test_only_test_rows_join(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second fit has the fold's training rows first, untouched, then test rows; hold-out rows are in no fit."""
    inputs = make_inputs()
    extra = make_inputs(n_rows=40, seed=9)
    inputs = dataclasses.replace(inputs, holdout=extra.train, holdout_labels=extra.labels)
    seen: list[tuple[int, IntArray]] = []
    real = FAMILIES[family]

    def watch(rows: Any, labels: IntArray, config: Any, /, *, how: FitTask) -> Fitted:
        seen.append((len(rows), labels))
        return real.fit(rows, labels, config, how=how)

    monkeypatch.setitem(FAMILIES, family, dataclasses.replace(real, fit=watch))
    run(inputs, small(family, share=0.5))

    assert len(seen) == 6
    for fold in range(3):
        (n_first, first), (n_second, second) = seen[2 * fold : 2 * fold + 2]
        np.testing.assert_array_equal(first, inputs.labels[inputs.folds.fold_of_row[0] != fold])
        np.testing.assert_array_equal(second[:n_first], first)
        assert n_first < n_second <= n_first + 15
        assert len(second) == n_second


def test_joined_rows_are_the_rows() -> None:
    """Rows cut apart and joined again are what they were, for every way of reading rows."""
    inputs = make_inputs()
    for family in ("dan", "nbsvm"):
        prepared = FAMILIES[family].prepare(inputs, small(family, share=0.0))
        whole = prepared.train
        parted = whole.rows(np.arange(50)).join(whole.rows(np.arange(50, 120)))
        counts = zip(getattr(whole, "counts", ()), getattr(parted, "counts", ()), strict=True)
        assert all((left != right).nnz == 0 for left, right in counts)
        left, right = getattr(whole, "encoded", whole), getattr(parted, "encoded", parted)
        for field in dataclasses.fields(left):
            np.testing.assert_array_equal(getattr(left, field.name), getattr(right, field.name))


@pytest.mark.parametrize("family", ["dan", "tfidf_logreg"])
def test_a_share_of_nothing_is_the_plain_fit(family: str) -> None:
    """Where no test row is chosen, the predictions are those without pseudo-labels."""
    inputs = make_inputs()

    without, almost = (run(inputs, small(family, share=share)) for share in (0.0, 1e-9))

    assert array_digest(almost.oof) == array_digest(without.oof)
    assert array_digest(almost.test_proba) == array_digest(without.test_proba)


def test_the_second_fit_alone_is_told_and_kept() -> None:
    """Epochs, fitted models and the model to ship are the second fit's."""
    inputs, config = make_inputs(), small("dan", share=0.5)
    events, fits = list[FoldEvent](), list[Fitted]()
    oof = run(inputs, config, on_event=events.append, on_fitted=fits.append)

    prepared = FAMILIES["dan"].prepare(inputs, config)
    assert len(fits) == 3
    assert [(event.point.fold, event.point.epoch) for event in events] == [(f, e) for f in range(3) for e in range(4)]
    shipped = np.mean([fit.predict(prepared.test) for fit in fits], axis=0)
    np.testing.assert_allclose(shipped, oof.test_proba, atol=1e-12)


@pytest.mark.parametrize("family", SMALL)
def test_the_kept_models_predict_as_the_trial(family: str, tmp_path: Path) -> None:
    """A model to ship is made of the second fits."""
    inputs, config, fits = make_inputs(), small(family, share=0.5), list[Fitted]()
    oof = run(inputs, config, on_fitted=fits.append)
    record = save_trial(fits, inputs=inputs, config=config, folder=tmp_path)

    restored = restore_trial(record, task=inputs.task, folder=tmp_path)

    np.testing.assert_allclose(restored.predict(inputs.test), oof.test_proba, atol=1e-6)


def test_a_study_without_test_rows_is_fitted_once() -> None:
    """With nothing to label there is nothing to join."""
    inputs = make_inputs()
    inputs = dataclasses.replace(inputs, test=inputs.test.rows(np.arange(0)))

    assert run(inputs, small("dan", share=1.0)).test_proba.shape == (0, 2)


def test_the_surest_are_chosen_in_the_proportions_of_the_classes() -> None:
    """By hand: of ten rows 60% are wanted, two thirds of them of class 0; the surest of each, ties by their place."""
    yes = np.array([0.1, 0.2, 0.3, 0.2, 0.4, 0.45, 0.05, 0.9, 0.6, 0.8])
    places, guessed = choose_surest(np.column_stack([1 - yes, yes]), np.array([0, 0, 1]), TASKS["binary"], share=0.6)

    assert places.tolist() == [0, 1, 3, 6, 7, 9]
    assert guessed.tolist() == [0, 0, 0, 0, 1, 1]


def test_a_class_that_is_never_predicted_adds_no_row() -> None:
    """Nobody is called a class to fill its share."""
    proba = np.tile([0.9, 0.1], (10, 1))

    places, guessed = choose_surest(proba, np.array([0, 1]), TASKS["binary"], share=1.0)

    assert places.tolist() == [0, 1, 2, 3, 4]
    assert not guessed.any()


def test_sets_of_labels_are_chosen_like_classes() -> None:
    """Multilabel: the set above one half counts, by the product of its certainties; unknown sets are left out."""
    proba = np.array([[0.9, 0.1, 0.1], [0.9, 0.2, 0.1], [0.1, 0.1, 0.1], [0.9, 0.9, 0.9], [0.3, 0.2, 0.1]])
    labels = np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0]])

    places, guessed = choose_surest(proba, labels, TASKS["multilabel"], share=0.5)

    assert places.tolist() == [0, 2, 4]  # round(.5 * 5 * 2/5) = 1 of {x}, round(.5 * 5 * 3/5) = 2 of {}
    assert guessed.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_digests_change_when_and_only_when_it_is_on() -> None:
    """A trial without pseudo-labels is the trial that it was before there were any; another share is another trial."""
    spec = TrialSpec(study="s", number=0, params={}, seed=0, data_digest="d", fold_digest="f", metric="roc_auc")

    def digest(share: float | None) -> str:
        params = config_dict(small("dan", share=share or 0.0))
        if share is None:
            del params["pseudo_share"]
        return dataclasses.replace(spec, params=params).digest

    assert digest(None) == digest(0.0)
    assert len({digest(0.0), digest(0.2), digest(0.4)}) == 3


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("family", [*SMALL, "encoder"])
def test_a_share_outside_its_range_is_refused(family: str, share: float) -> None:
    """The parameter is named with what is allowed, whatever the family."""
    with pytest.raises(ConfigError, match=r"pseudo_share: .* is outside \[0, 1\]"):
        parse_config({"family": family, "pseudo_share": share}, source="test")
