"""Members: trials whose predictions lie on the same rows, folds and classes, aligned by row id."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ensemble.mixtures import Evidence
from textclf.arrays import FloatArray, IntArray
from textclf.errors import DataError
from textclf.metrics import Metric
from textclf.records import StudyRecord, TrialRecord, TrialSummary
from textclf.store import PredictionStore

N_NAMED = 3  # ids that a message spells out
MOST_READ = 100  # members kept in memory; those beyond are hardly ever the best ten of any four folds


@dataclass(frozen=True, kw_only=True)
class Member:
    """One finished trial.

    name: what reports call it; number: its trial number in its study
    oof: (n_rows, n_outputs) float64; test_proba: (n_test, n_outputs); holdout_proba: (n_holdout, n_outputs)
    """

    name: str
    study: str
    number: int
    score: float
    oof: FloatArray
    test_proba: FloatArray
    holdout_proba: FloatArray
    params: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Members of one study or of several on the same rows, best score first.

    study: the rows, labels, folds and classes that all members share
    n_complete: how many trials were complete; data_digests: of each study by name
    """

    study: StudyRecord
    members: tuple[Member, ...]
    n_complete: int
    data_digests: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """What reports call the members."""
        return tuple(member.name for member in self.members)

    @property
    def oof(self) -> FloatArray:
        """(n_members, n_rows, n_outputs) float64."""
        return np.stack([member.oof for member in self.members])

    @property
    def test_proba(self) -> FloatArray:
        """(n_members, n_test, n_outputs) float64."""
        return np.stack([member.test_proba for member in self.members])

    @property
    def holdout_proba(self) -> FloatArray:
        """(n_members, n_holdout, n_outputs) float64."""
        return np.stack([member.holdout_proba for member in self.members])

    def evidence(self, metric: Metric, *, seed: int) -> Evidence:
        """What a blend may learn from: all members on all rows of the study."""
        study = self.study
        return Evidence(proba=self.oof, labels=study.labels, fold_of_row=study.fold_of_row, metric=metric, seed=seed)


def read_pool(store: PredictionStore, study_names: Sequence[str], *, exclude: Collection[int] = ()) -> Pool:
    """Read the complete trials of the studies, at most the 100 best, and align them with the first study's rows.

    exclude: trial numbers to leave out
    Raises DataError when a study has no complete trial, or when studies differ in classes, labels, folds or ids.
    Their data digests may differ: other columns or word vectors on the same rows make diverse members.
    """
    first = store.read_study(study_names[0])
    studies = {name: first if name == first.name else store.read_study(name) for name in study_names}
    ranked = sorted(
        (trial for name in studies for trial in complete_trials(store, name, exclude=exclude)),
        key=lambda trial: (-score_or_worst(trial), trial.study, trial.number),
    )
    alignments = {name: align(study, first) for name, study in studies.items()}
    members = []
    for trial in ranked[:MOST_READ]:
        prefix = "trial " if len(studies) == 1 else f"{trial.study}/"
        member = make_member(store.read_trial(trial.study, trial.number), studies[trial.study], prefix=prefix)
        members.append(align_member(member, alignments[trial.study]))
    digests = {name: study.data_digest for name, study in studies.items()}
    return Pool(study=first, members=tuple(members), n_complete=len(ranked), data_digests=digests)


def complete_trials(store: PredictionStore, study: str, *, exclude: Collection[int]) -> list[TrialSummary]:
    """Summaries of a study's complete trials; DataError when there is none left."""
    trials = store.trials(study)
    complete = [trial for trial in trials if trial.outcome == "complete" and trial.number not in exclude]
    if not complete:
        told = "no trial has finished yet"
        if trials:
            told = f"none of its {len(trials)} finished trials is complete" + (" and not excluded" if exclude else "")
        raise DataError(f"study {study!r}: nothing to blend, {told}; run more trials with python -m search.run")
    return complete


def score_or_worst(trial: TrialSummary) -> float:
    """The recorded score; minus infinity where there is none."""
    return float("-inf") if trial.score is None or np.isnan(trial.score) else trial.score


def make_member(record: TrialRecord, study: StudyRecord, *, prefix: str) -> Member:
    """A member of a complete trial; DataError when its arrays do not fit the study or hold no probabilities."""
    for name, array, row_ids in (
        ("oof", record.oof, study.train_ids),
        ("test_proba", record.test_proba, study.test_ids),
        ("holdout_proba", record.holdout_proba, study.holdout_ids),
    ):
        if row_ids:
            check_proba(array, row_ids, n_outputs=study.task.n_outputs, source=f"trial {record.number}: {name}")
    return Member(
        name=f"{prefix}{record.number}",
        study=study.name,
        number=record.number,
        score=score_or_worst(record),
        oof=record.oof,
        test_proba=record.test_proba.reshape(len(study.test_ids), study.task.n_outputs),
        holdout_proba=record.holdout_proba.reshape(len(study.holdout_ids), study.task.n_outputs),
        params=record.params,
        digests=record.digests,
        seconds=record.seconds,
    )


def check_proba(proba: FloatArray, row_ids: Sequence[str], *, n_outputs: int, source: str) -> None:
    """Refuse an array that is not one probability per row and class."""
    if proba.shape != (len(row_ids), n_outputs):
        raise DataError(
            f"{source} has shape {proba.shape}, the study has {len(row_ids)} rows and {n_outputs} outputs; "
            "the trial belongs to other data"
        )
    wrong = ~np.all((proba >= 0) & (proba <= 1 + 1e-9), axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{source}, id {row_ids[row]!r}: {proba[row].tolist()} are not probabilities "
            f"({int(wrong.sum())} such rows); leave the trial out with --exclude"
        )


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """For each row of the first study, the place of the same id in another: indices of train, test and hold-out."""

    train: IntArray
    test: IntArray
    holdout: IntArray


def align(study: StudyRecord, first: StudyRecord) -> Alignment:
    """Match a study's rows with the first study's by id; DataError when anything else than their order differs."""
    pair = f"studies {first.name!r} and {study.name!r}"
    if study.task != first.task:
        ours, theirs = (f"{s.task.kind} of {', '.join(s.task.class_names)}" for s in (first, study))
        raise DataError(f"{pair} differ in their classes ({ours}; {theirs}); blend studies of one task")
    sides = f"study {study.name!r}", f"study {first.name!r}"
    alignment = Alignment(
        train=match_ids(study.train_ids, first.train_ids, what=f"{pair} differ in their training rows", sides=sides),
        test=match_ids(study.test_ids, first.test_ids, what=f"{pair} differ in their test rows", sides=sides),
        holdout=match_ids(
            study.holdout_ids, first.holdout_ids, what=f"{pair} differ in their hold-out rows", sides=sides
        ),
    )
    if not np.array_equal(study.labels[alignment.train], first.labels):
        raise DataError(f"{pair} differ in their labels; blend studies of one training file")
    if not same_folds(study.fold_of_row[:, alignment.train], first.fold_of_row):
        raise DataError(
            f"{pair} differ in their folds (digests {first.fold_digest[:12]} and {study.fold_digest[:12]}), so a "
            "member may have learned what another is scored on; run both with the same folds and seed"
        )
    return alignment


def match_ids(row_ids: Sequence[str], wanted: Sequence[str], *, what: str, sides: tuple[str, str]) -> IntArray:
    """Place of each wanted id; DataError saying how many ids only one side has, and the first few of each.

    what: says that they differ; sides: where ``row_ids`` and where ``wanted`` come from
    """
    place = {row_id: row for row, row_id in enumerate(row_ids)}
    known = set(wanted)
    alone = [row_id for row_id in row_ids if row_id not in known], [row_id for row_id in wanted if row_id not in place]
    if any(alone):
        told = [
            f"{len(ids):,} ids are only in {side} ({', '.join(map(repr, ids[:N_NAMED]))}"
            f"{', ...' if len(ids) > N_NAMED else ''})"
            for side, ids in zip(sides, alone, strict=True)
            if ids
        ]
        raise DataError(f"{what}: {'; '.join(told)}")
    return np.array([place[row_id] for row_id in wanted], dtype=np.int64)


def same_folds(left: IntArray, right: IntArray) -> bool:
    """Whether two plans hold out the same sets of rows, whatever the folds are called; each (n_repeats, n_rows)."""
    if left.shape != right.shape:
        return False
    pairs = (np.unique(np.stack(both), axis=1).shape[1] for both in zip(left, right, strict=True))
    counts = (len(np.unique(folds)) for folds in right)
    also = (len(np.unique(folds)) for folds in left)
    return all(n == m == k for n, m, k in zip(pairs, counts, also, strict=True))


def align_member(member: Member, alignment: Alignment) -> Member:
    """The member with its rows in the first study's order."""
    return replace(
        member,
        oof=member.oof[alignment.train],
        test_proba=member.test_proba[alignment.test],
        holdout_proba=member.holdout_proba[alignment.holdout],
    )
