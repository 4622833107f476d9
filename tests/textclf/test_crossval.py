"""The k-fold objective: nothing leaks, rows keep their order, equal arguments give equal bits."""

import dataclasses
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from torch import Tensor

from tests.builders import make_inputs
from textclf.arrays import IntArray, array_digest
from textclf.config import TextConfig
from textclf.crossval import FitOutcome, FoldEvent, OofRun, cross_validate
from textclf.families import FAMILIES, parse_config
from textclf.folds import FoldPlan
from textclf.inputs import Inputs
from textclf.loop import EpochLoop
from textclf.metrics import get_metric, row_losses
from textclf.protocols import DivergedError

SMALL: dict[str, dict[str, Any]] = {
    "bilstm_bigru": {"hidden_size": 12, "dense_size": 12, "batch_size": 8, "n_epochs": 3, "lr_max": 0.03},
    "textcnn": {"n_filters": 12, "dense_size": 12, "batch_size": 8, "n_epochs": 4, "lr_max": 0.02},
    "dan": {"dense_size": 16, "batch_size": 8, "n_epochs": 8, "lr_max": 0.03},
    "tfidf_logreg": {"char_ngrams": 0},
    "nbsvm": {"char_ngrams": 0},
}


def small(family: str, **changes: object) -> TextConfig:
    """A configuration that trains in a moment."""
    return parse_config({"family": family, **SMALL[family], **changes}, source="test")


def run(inputs: Inputs, config: TextConfig, *, seed: int = 1, **options: Any) -> OofRun:
    """Cross-validate by ROC AUC."""
    return cross_validate(inputs, config, metric=get_metric("roc_auc", inputs.task), seed=seed, **options)


@pytest.mark.parametrize("family", SMALL)
def test_a_family_learns_the_toy_language(family: str) -> None:
    """Out of fold, words that speak for a class are understood."""
    assert run(make_inputs(), small(family)).score > 0.75


@pytest.mark.parametrize("family", ["bilstm_bigru", "textcnn"])
def test_whoever_hears_of_an_epoch_can_end_the_trial_before_the_next(
    monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """A pruner, Ctrl-C and an estimate of the time all count on it."""
    trained: list[int] = []
    train_epoch = EpochLoop.train_epoch

    def counted(self: EpochLoop, order: IntArray) -> Tensor:
        trained.append(len(order))
        return train_epoch(self, order)

    def stop(event: FoldEvent) -> None:
        raise InterruptedError(f"epoch {event.point.epoch}")

    monkeypatch.setattr(EpochLoop, "train_epoch", counted)
    with pytest.raises(InterruptedError, match="epoch 0"):
        run(make_inputs(), small(family), on_event=stop)
    assert len(trained) == 1


@pytest.mark.parametrize("family", ["bilstm_bigru", "tfidf_logreg", "nbsvm"])
def test_shuffled_labels_give_chance(family: str) -> None:
    """When labels mean nothing the OOF score says so: no row was seen by the model that predicts it."""
    inputs = make_inputs(n_rows=300)
    labels = np.random.default_rng(8).permutation(inputs.labels)

    assert abs(run(dataclasses.replace(inputs, labels=labels), small(family)).score - 0.5) < 0.12


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
@pytest.mark.parametrize("family", ["bilstm_bigru", "tfidf_logreg", "nbsvm"])
def test_probabilities_have_the_shape_of_the_task(family: str, kind: str) -> None:
    """One column per class or label; classes sum to one, labels are free; the score is scikit-learn's."""
    inputs = make_inputs(kind)
    oof = run(inputs, small(family))

    sums = oof.oof.sum(1)
    targets = inputs.labels if kind == "multilabel" else np.eye(3)[inputs.labels]
    assert oof.oof.shape == (120, 3)
    assert oof.test_proba.shape == (30, 3)
    assert np.allclose(sums, 1) == (kind == "multiclass")
    assert oof.score == pytest.approx(roc_auc_score(targets, oof.oof, average="macro"))
    assert oof.score > 0.7  # chance is 0.5


@pytest.mark.parametrize("family", ["bilstm_bigru", "tfidf_logreg", "nbsvm"])
def test_a_held_out_row_moves_no_companion(family: str) -> None:
    """Vocabulary, scaling, n-grams and weights come from training rows: a held-out row may be rewritten freely."""
    inputs = make_inputs()
    fold = inputs.folds.fold_of_row[0]
    victim = int(np.flatnonzero(fold == 0)[0])
    texts = list(inputs.train.texts)
    texts[victim] = "NEVER seen WORDS 123!!! " * 30
    changed = dataclasses.replace(inputs, train=dataclasses.replace(inputs.train, texts=tuple(texts)))
    others = (fold == 0) & (np.arange(len(fold)) != victim)

    before, after = run(inputs, small(family)).oof, run(changed, small(family)).oof

    np.testing.assert_allclose(after[others], before[others], rtol=0, atol=1e-6)
    assert not np.allclose(after[fold != 0], before[fold != 0])  # where it was learned from, it counts


def test_rows_come_back_in_file_order() -> None:
    """Permute the rows with their folds, and the OOF rows follow."""
    inputs = make_inputs()
    order = np.random.default_rng(2).permutation(len(inputs.train))
    folds = FoldPlan(fold_of_row=inputs.folds.fold_of_row[:, order], n_folds=3, seed=0)
    permuted = dataclasses.replace(inputs, train=inputs.train.rows(order), labels=inputs.labels[order], folds=folds)

    np.testing.assert_allclose(
        run(permuted, small("tfidf_logreg")).oof, run(inputs, small("tfidf_logreg")).oof[order], atol=1e-4
    )


def test_every_fold_starts_from_its_own_weights() -> None:
    """Without learning, the fold models differ: each was initialised from a seed of its own."""
    seen: list[float] = []
    config = small("bilstm_bigru", lr_min=1e-12, lr_max=1e-12, n_epochs=1)

    class Remember:
        def read(self, fit_number: int) -> FitOutcome | None:
            return None

        def write(self, fit_number: int, outcome: FitOutcome) -> None:
            seen.append(float(outcome.test_proba[0, 1]))

    run(make_inputs(), config, checkpoints=Remember())

    assert len(set(seen)) == 3


def test_equal_arguments_give_equal_bits_and_seeds_differ() -> None:
    """A run is a pure function of inputs, configuration and seed."""
    first, again, other = (run(make_inputs(), small("bilstm_bigru"), seed=seed) for seed in (1, 1, 2))

    assert array_digest(first.oof) == array_digest(again.oof)
    assert array_digest(first.test_proba) == array_digest(again.test_proba)
    assert array_digest(first.oof) != array_digest(other.oof)


FRESH = """
import json, torch
from tests.textclf.test_crossval import make_inputs, run, small, array_digest
torch.set_num_threads(1)
made = run(make_inputs(), small("bilstm_bigru"))
print(json.dumps([array_digest(made.oof), array_digest(made.test_proba), made.score]))
"""


@pytest.mark.slow
def test_two_fresh_processes_give_equal_bits() -> None:
    """Nothing of a process (hash seed, import order, earlier runs) reaches a prediction."""
    printed = [
        subprocess.run([sys.executable, "-c", FRESH], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]

    assert json.loads(printed[0]) == json.loads(printed[1])


def test_a_run_leaves_the_ambient_generator_alone() -> None:
    """Seeds are arguments: torch's global generator is where it was."""
    import torch

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    run(make_inputs(n_rows=60), small("dan", n_epochs=1))

    assert torch.equal(torch.rand(1), expected)


def test_oof_and_reported_losses_come_from_the_same_model() -> None:
    """The last event of each fold carries the losses of the OOF rows: no epoch was chosen for one and not the other."""
    inputs, events = make_inputs(), list[FoldEvent]()
    oof = run(inputs, small("bilstm_bigru"), on_event=events.append)

    final = [event for event in events if event.row_losses is not None]
    assert [event.point.fold for event in final] == [0, 1, 2]
    assert len(events) == 9
    for event in final:
        losses = row_losses(inputs.labels[event.held_out], oof.oof[event.held_out], inputs.task)
        np.testing.assert_array_equal(event.row_losses, losses)
        assert event.point.valid_loss == pytest.approx(losses.mean())


def test_repeats_are_averaged() -> None:
    """With two repeats each OOF row is the mean of two models, and each fit counts the same for test rows."""
    inputs = make_inputs(n_repeats=2)
    both = run(inputs, small("tfidf_logreg"))
    plans = [FoldPlan(fold_of_row=inputs.folds.fold_of_row[[repeat]], n_folds=3, seed=0) for repeat in range(2)]
    apart = [run(dataclasses.replace(inputs, folds=plan), small("tfidf_logreg")) for plan in plans]

    np.testing.assert_allclose(both.oof, (apart[0].oof + apart[1].oof) / 2, atol=1e-12)
    np.testing.assert_allclose(both.test_proba, (apart[0].test_proba + apart[1].test_proba) / 2, atol=1e-12)
    assert len(both.fold_scores) == 6


def test_a_stopped_run_goes_on_after_its_last_finished_fold() -> None:
    """With checkpoints the remaining folds alone are fitted; bits and events equal those of a run without a stop."""
    inputs, config = make_inputs(), small("bilstm_bigru")
    whole, kept = list[FoldEvent](), dict[int, FitOutcome]()

    class Keep:
        def read(self, fit_number: int) -> FitOutcome | None:
            return kept.get(fit_number)

        def write(self, fit_number: int, outcome: FitOutcome) -> None:
            assert fit_number not in kept
            kept[fit_number] = outcome

    def stop_in_second_fold(event: FoldEvent) -> None:
        if event.point.fold == 1:
            raise KeyboardInterrupt

    expected = run(inputs, config, on_event=whole.append)
    with pytest.raises(KeyboardInterrupt):
        run(inputs, config, on_event=stop_in_second_fold, checkpoints=Keep())
    events = list[FoldEvent]()
    resumed = run(inputs, config, on_event=events.append, checkpoints=Keep())

    assert sorted(kept) == [0, 1, 2]
    assert array_digest(resumed.oof) == array_digest(expected.oof)
    assert array_digest(resumed.test_proba) == array_digest(expected.test_proba)
    told = [
        [(event.point.fold, event.point.epoch, event.point.valid_score) for event in each] for each in (events, whole)
    ]
    assert told[0] == told[1]

    last = kept[0].curve[-1]
    kept[0] = dataclasses.replace(kept[0], curve=(*kept[0].curve[:-1], dataclasses.replace(last, seconds=1000.0)))
    assert 1000 < run(inputs, config, checkpoints=Keep()).seconds < 1060


def test_divergence_is_named() -> None:
    """A loss that is not finite ends the run with a word of its own."""
    with pytest.raises(DivergedError, match="training loss became"):
        run(make_inputs(), small("dan", lr_min=1e20, lr_max=1e20, clip_norm=1e30))


def test_every_family_is_described() -> None:
    """FAMILIES is what --help shows."""
    assert all(family.description for family in FAMILIES.values())
