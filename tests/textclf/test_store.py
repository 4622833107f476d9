"""The prediction store: whole or not at all, checked on reading, the same on SQLite and PostgreSQL."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from textclf.arrays import array_digest
from textclf.checkpoints import CheckpointKey, read_checkpoint, write_checkpoint
from textclf.config import Columns, Task
from textclf.errors import DataError, RunError
from textclf.records import StudyRecord, TrialRecord, trial_digest
from textclf.store import PredictionStore, open_store


def study_record(**changes: Any) -> StudyRecord:
    """A small study."""
    record = StudyRecord(
        name="s",
        task=Task(kind="binary", class_names=("no", "yes")),
        columns=Columns(text="text", targets=("label",), numeric=("n",)),
        metric="f1",
        data_digest="d1",
        fold_digest="f1",
        train_ids=("a", "b", "ü\n,"),
        test_ids=("t",),
        labels=np.array([0, 1, 1]),
        fold_of_row=np.array([[0, 1, 0]]),
        settings={"seed": 3, "space": {"x": [1, 2]}},
    )
    return dataclasses.replace(record, **changes)


def trial_record(number: int = 0, **changes: Any) -> TrialRecord:
    """A small finished trial."""
    rng = np.random.default_rng(number)
    record = TrialRecord(
        study="s",
        number=number,
        outcome="complete",
        params={"family": "dan", "dropout": 0.25},
        seed=5,
        score=0.75,
        fold_scores=(0.5, float("nan")),
        thresholds=(0.4,),
        reports=((100, 0.5), (200, 0.75)),
        curves=({"epoch": 0.0, "train_loss": 0.1},),
        environment={"torch": "1"},
        seconds=1.5,
        notes=("a note",),
        oof=rng.random((3, 2)),
        test_proba=rng.random((1, 2)),
        extra={"losses": np.arange(3, dtype=np.float32)},
    )
    return dataclasses.replace(record, **changes)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PredictionStore]:
    """A real database of each kind with the study in it."""
    url = request.getfixturevalue("postgresql_url") if request.param == "postgresql" else f"sqlite:///{tmp_path}/s.db"
    with open_store(url) as opened:
        opened.write_study(study_record())
        yield opened


def test_a_study_comes_back_as_it_was(store: PredictionStore) -> None:
    """Every field survives, strings with line breaks and all."""
    back = store.read_study("s")

    for field in dataclasses.fields(StudyRecord):
        np.testing.assert_equal(getattr(back, field.name), getattr(study_record(), field.name))
    assert store.study_names() == ["s"]


def test_a_trial_comes_back_as_it_was(store: PredictionStore) -> None:
    """Every field and every bit of every array survives; NaN too."""
    store.write_trial(trial_record())
    back = store.read_trial("s", 0)

    expected = trial_record()
    for field in dataclasses.fields(TrialRecord):
        if field.name != "digests":
            np.testing.assert_equal(getattr(back, field.name), getattr(expected, field.name), err_msg=field.name)
    assert back.digests["oof"] == array_digest(expected.oof)
    assert [summary.number for summary in store.trials("s")] == [0]
    assert trial_digest(store.trials("s")[0]) == trial_digest(back)


def test_a_trial_is_written_once(store: PredictionStore) -> None:
    """A second writer of the same trial changes nothing."""
    store.write_trial(trial_record())
    store.write_trial(trial_record(score=0.1))

    assert store.read_trial("s", 0).score == 0.75


def test_a_torn_write_leaves_nothing(store: PredictionStore) -> None:
    """When the last array cannot be written the trial is not there, and its checkpoint stays."""
    key = CheckpointKey(study="s", number=0, spec="x", fit=0)
    write_checkpoint(store.engine, key, {}, blob=b"1")

    def disk_is_full(_c: Any, _cursor: Any, _statement: str, parameters: Any, _x: Any, _many: Any) -> None:
        if "losses" in str(parameters):
            raise OSError("disk full")

    sa.event.listen(store.engine, "before_cursor_execute", disk_is_full)
    with pytest.raises(OSError, match="disk full"):
        store.write_trial(trial_record())
    sa.event.remove(store.engine, "before_cursor_execute", disk_is_full)

    assert store.trials("s") == []
    assert read_checkpoint(store.engine, key) == ({}, b"1")


def test_damage_is_seen(store: PredictionStore) -> None:
    """A flipped byte in a blob is an error that names study, trial and array."""
    store.write_trial(trial_record())
    table = sa.table("textclf_arrays", sa.column("name"), sa.column("blob"))
    with store.engine.begin() as connection:
        blob = bytearray(connection.scalar(sa.select(table.c.blob).where(table.c.name == "oof")) or b"")
        blob[len(blob) // 2] ^= 1
        connection.execute(table.update().where(table.c.name == "oof").values(blob=bytes(blob)))

    with pytest.raises(DataError, match=r"'s'.*'oof'"):
        store.read_trial("s", 0)


def test_a_missing_array_is_seen(store: PredictionStore) -> None:
    """Arrays are counted against the digests in the record."""
    store.write_trial(trial_record())
    with store.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM textclf_arrays WHERE name = 'test_proba'"))

    with pytest.raises(DataError, match="test_proba"):
        store.read_trial("s", 0)


def test_another_study_under_the_name_is_refused(store: PredictionStore) -> None:
    """Other data, folds, metric or settings need another name; both values are shown."""
    store.write_study(study_record())

    with pytest.raises(RunError, match="data digest d1, this run has d2"):
        store.write_study(study_record(data_digest="d2"))
    with pytest.raises(RunError, match="number of training rows 3, this run has 2"):
        store.write_study(study_record(data_digest="d2", train_ids=("a", "b")))
    with pytest.raises(RunError, match="number of folds 2, this run has 3"):
        store.write_study(study_record(fold_digest="f2", fold_of_row=np.array([[0, 1, 2]])))
    with pytest.raises(RunError, match="fold digest f1, this run has f2"):
        store.write_study(study_record(fold_digest="f2"))
    with pytest.raises(RunError, match="seed 3, this run has 4"):
        store.write_study(study_record(settings={"seed": 4, "space": {"x": [1, 2]}}))


def test_an_unknown_study_is_named_with_a_suggestion(store: PredictionStore) -> None:
    """The error lists what is there."""
    with pytest.raises(DataError, match=r"no study named 'ss'; did you mean s\? \(studies there: s\)"):
        store.read_study("ss")
    with pytest.raises(DataError, match="no finished trial 7"):
        store.read_trial("s", 7)


def test_checkpoints_are_kept_until_the_trial_lands(store: PredictionStore) -> None:
    """A checkpoint is found by its spec alone, is replaced by a newer one, and goes with the trial's own record."""
    key = CheckpointKey(study="s", number=0, spec="x", fit=1)
    write_checkpoint(store.engine, key, {"a": 1}, blob=b"one")
    write_checkpoint(store.engine, key, {"a": 2}, blob=b"two")

    assert read_checkpoint(store.engine, key) == ({"a": 2}, b"two")
    assert read_checkpoint(store.engine, dataclasses.replace(key, spec="y")) is None

    store.write_trial(trial_record())

    assert read_checkpoint(store.engine, key) is None


def test_the_digest_sees_what_was_decided_and_not_the_clock(store: PredictionStore) -> None:
    """Seconds and environment are no part of it; a score, a report or an array is."""
    digests = []
    for number, changes in enumerate(
        [{}, {"seconds": 9.0}, {"score": 0.5}, {"reports": ()}, {"oof": np.zeros((3, 2))}]
    ):
        record = dataclasses.replace(trial_record(), number=number, **changes)  # type: ignore[arg-type]
        store.write_trial(record)
        digests.append(trial_digest(store.read_trial("s", number)))

    assert digests[0] == digests[1]
    assert len(set(digests)) == 4


def test_a_wrong_address_is_a_clear_error() -> None:
    """An address that SQLAlchemy cannot read names what is allowed."""
    with pytest.raises(DataError, match=r"use sqlite:///FILE or postgresql\+psycopg"):
        PredictionStore("nonsense")


def test_an_empty_database_has_no_studies(tmp_path: Path) -> None:
    """Reading a database without our tables is not a crash."""
    store = PredictionStore(f"sqlite:///{tmp_path}/empty.db")

    assert store.study_names() == []
    store.close()
