"""Members are aligned by id, and whatever cannot be compared is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ensemble.members import Pool, read_pool, same_folds
from tests.ensemble.pools import BINARY
from tests.ensemble.stores import fill, make_study, make_trial
from textclf.config import Task
from textclf.errors import DataError
from textclf.records import StudyRecord, TrialRecord
from textclf.store import open_store


def pool_of(folder: Path, *studies: tuple[StudyRecord, list[TrialRecord]], exclude: tuple[int, ...] = ()) -> Pool:
    """The pool of several studies in one store."""
    for study, trials in studies:
        fill(folder, study, trials)
    with open_store(f"sqlite:///{folder / 'study.db'}") as store:
        return read_pool(store, [study.name for study, _ in studies], exclude=exclude)


def shuffled(study: StudyRecord, order: np.ndarray[tuple[int], np.dtype[np.int64]], *, name: str) -> StudyRecord:
    """The same study with its training rows in another order."""
    return replace(
        study,
        name=name,
        train_ids=tuple(study.train_ids[row] for row in order),
        labels=study.labels[order],
        fold_of_row=study.fold_of_row[:, order],
        data_digest="othr" * 16,
    )


def test_members_come_best_first_without_the_unfinished(tmp_path: Path) -> None:
    """Pruned and failed trials are no members; the rest is ordered by recorded score."""
    study = make_study()
    trials = [
        make_trial(study, 0, knowledge=0.5),
        make_trial(study, 1, outcome="pruned"),
        make_trial(study, 2, knowledge=2.0),
        make_trial(study, 3, outcome="failed"),
    ]
    pool = pool_of(tmp_path, (study, trials))

    assert pool.names == ("trial 2", "trial 0")
    assert (pool.oof[0] == trials[2].oof).all()
    assert pool.n_complete == 2


def test_rows_in_another_order_are_matched_by_id(tmp_path: Path) -> None:
    """A second study on shuffled rows is brought into the first one's order."""
    study = make_study()
    order = np.random.default_rng(0).permutation(len(study.train_ids))
    second = shuffled(study, order, name="second")
    trial = make_trial(study, 0)
    moved = replace(make_trial(second, 1, knowledge=0.1), oof=trial.oof[order])

    pool = pool_of(tmp_path, (study, [trial]), (second, [moved]))

    assert pool.names == ("toy/0", "second/1")
    assert (pool.oof[1] == trial.oof).all()
    assert pool.data_digests == {"toy": "data" * 16, "second": "othr" * 16}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"task": Task(kind="binary", class_names=("yes", "no"))},
            r"'toy' and 'other' differ in their classes \(binary of no, yes; binary of yes, no\)",
        ),
        (
            {"train_ids": tuple(f"x{row}" for row in range(240))},
            r"training rows: 240 ids are only in study 'other' \('x0', .*\); 240 ids are only in study 'toy' \('r0', ",
        ),
        (
            {"test_ids": ("1", " 001")},
            r"only in study 'other' \('1', ' 001'\); 60 ids are only in study 'toy' \('000', '001', '002', ...",
        ),
        ({"labels": np.zeros(240, np.int64)}, "differ in their labels"),
        ({"fold_of_row": (np.arange(240) % 4)[None]}, "differ in their folds .*same folds and seed"),
        ({"fold_of_row": np.zeros((2, 240), np.int64)}, "differ in their folds"),
    ],
)
def test_what_cannot_be_blended_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    """Other classes, rows, labels or folds are named with what differs."""
    study = make_study()
    other = replace(study, name="other", **changes)  # type: ignore[arg-type]
    trial = replace(make_trial(study, 0), study="other")

    with pytest.raises(DataError, match=message):
        pool_of(tmp_path, (study, [make_trial(study, 0)]), (other, [trial]))


def test_folds_are_the_same_whatever_they_are_called() -> None:
    """Swapping the numbers of two folds is no other plan; moving one row is."""
    folds = np.array([[0, 1, 2, 0, 1, 2]])

    assert same_folds(folds, np.array([[2, 0, 1, 2, 0, 1]]))
    assert not same_folds(folds, np.array([[0, 1, 2, 0, 1, 1]]))
    assert not same_folds(np.array([[0, 0, 1, 1]]), np.array([[0, 0, 0, 1]]))
    assert not same_folds(np.array([[0, 1, 2, 2]]), np.array([[0, 0, 1, 1]]))


def test_arrays_that_are_no_probabilities_are_refused_or_left_out(tmp_path: Path) -> None:
    """A NaN names the trial and the row; excluding the trial lets the others through."""
    study = make_study()
    broken = make_trial(study, 5)
    broken.oof[7, 1] = np.nan
    message = r"trial 5: oof, id 'r7': .* are not probabilities \(1 such rows\); leave the trial out with --exclude"

    with pytest.raises(DataError, match=message):
        pool_of(tmp_path, (study, [make_trial(study, 0), broken]))
    assert pool_of(tmp_path, (study, []), exclude=(5,)).names == ("trial 0",)


def test_a_trial_of_other_data_is_refused(tmp_path: Path) -> None:
    """An array with other rows than the study's is named with both sizes."""
    study = make_study()
    alien = replace(make_trial(study, 3), oof=np.full((5, 2), 0.5))

    with pytest.raises(DataError, match=r"trial 3: oof has shape \(5, 2\), the study has 240 rows and 2 outputs"):
        pool_of(tmp_path, (study, [alien]))


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [((), "no trial has finished yet"), (("failed", "pruned"), "none of its 2 finished trials is complete")],
)
def test_nothing_to_blend_is_said(tmp_path: Path, outcomes: tuple[str, ...], message: str) -> None:
    """A study without complete trials says how far it came."""
    study = make_study(BINARY)
    trials = [make_trial(study, k, outcome=outcome) for k, outcome in enumerate(outcomes)]  # type: ignore[arg-type]

    with pytest.raises(DataError, match=f"study 'toy': nothing to blend, {message}"):
        pool_of(tmp_path, (study, trials))
