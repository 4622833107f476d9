"""A finished trial runs again from its record, and says whether the bits are the same."""

import dataclasses
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from search.reproduce import compare_trials, main
from tests.search.test_run import FAMILIES, arguments, files, new_output, run
from textclf.records import TrialRecord
from textclf.store import PredictionStore

__all__ = ["files"]  # the fixture


@pytest.fixture(scope="module")
def output(files: Path, tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> Path:
    """A study one of whose trials is pruned."""
    folder = new_output(tmp_path_factory.mktemp("reproduce") / "runs", empty_mlflow)
    told = arguments(files, folder, "--quiet", "--lag", "1", "--pruner", "asha", n_trials=7)
    assert run(*told).exit_code == 0
    return folder


def reproduce(*told: str) -> tuple[int, str]:
    """The command in this process."""
    result = CliRunner().invoke(main, told)
    return result.exit_code, result.output


def test_a_whole_study_is_equal(output: Path) -> None:
    """Every trial, those that were pruned with what they were allowed to see included."""
    store = PredictionStore(f"sqlite:///{output}/study.db")
    outcomes = [trial.outcome for trial in store.trials("study")]
    store.close()
    code, told = reproduce("--output", str(output), "--all")

    assert "pruned" in outcomes
    assert code == 0, told
    assert [line.split(" (")[0] for line in told.splitlines()] == [f"trial {number}: equal" for number in range(7)]


def test_a_copied_result_is_that_of_its_source(files: Path, tmp_path: Path, empty_mlflow: Path) -> None:
    """Run at its own number it would be pruned; it is repeated as the trial that it was copied from, and is equal."""
    folder = new_output(tmp_path / "runs", empty_mlflow)
    space = tmp_path / "space.toml"
    space.write_text(
        (files / "space.toml").read_text()
        + "[dan]\nn_layers = 1\ndropout = 0.1\nspatial_dropout = 0.0\nlr_min = 0.001\nlr_max = 0.01\n"
    )
    told = arguments(files, folder, "--quiet", "--lag", "1", "--pruner", "threshold", "--pruner-kwargs", '{"lower": 2}')
    told = [part for part in told if part not in FAMILIES]
    result = run(*told, "--family", "dan", "--space", str(space), "--n-trials", "2")
    assert result.exit_code == 0, result.output
    store = PredictionStore(f"sqlite:///{folder}/study.db")
    copy, source = store.read_trial("study", 1), store.read_trial("study", 0)
    store.close()
    code, said = reproduce("--output", str(folder), "--all")

    assert copy.attributes["copy_of"] == 0
    assert copy.params == source.params
    assert code == 0, said
    assert [line.split(" (")[0] for line in said.splitlines()] == ["trial 0: equal", "trial 1: equal"]


def test_one_trial_may_be_chosen(output: Path) -> None:
    """With JSON for programs."""
    code, told = reproduce("--output", str(output), "--trial", "2", "--json")

    assert code == 0
    assert (json.loads(told)["number"], json.loads(told)["equal"]) == (2, True)


def test_another_environment_is_named(output: Path) -> None:
    """Threads other than those recorded show, whether they move a bit or not."""
    _, told = reproduce("--output", str(output), "--trial", "0", "--threads", "2")

    assert "environment: threads 1 -> 2" in told


def test_a_changed_parameter_is_seen(output: Path, tmp_path: Path) -> None:
    """A record that was tampered with does not reproduce: the arrays that differ are named, with how much."""
    copy = tmp_path / "runs"
    copy.mkdir()
    (copy / "study.db").write_bytes((output / "study.db").read_bytes())
    (copy / "inputs").symlink_to(output / "inputs")
    engine = sa.create_engine(f"sqlite:///{copy}/study.db")
    with engine.begin() as connection:
        query = sa.text("select record from textclf_trials where number = 0")
        record = json.loads(connection.execute(query).scalar_one())
        record["params"]["lr_max"] *= 1.5
        update = sa.text("update textclf_trials set record = :record where number = 0")
        connection.execute(update, {"record": json.dumps(record)})
    engine.dispose()
    code, told = reproduce("--output", str(copy), "--trial", "0")

    assert code == 1
    assert "trial 0: differs: " in told
    assert "oof: " in told
    assert "of 180 values, by " in told


def test_differences_are_measured() -> None:
    """How many values differ and by how much at most, checked by hand."""
    record = TrialRecord(
        study="s",
        number=0,
        outcome="complete",
        params={},
        seed=0,
        score=0.5,
        oof=np.array([[0.0, 1.0], [0.5, np.nan]]),
        environment={"torch": "1", "device": "cpu"},
    )
    other = np.array([[0.0, 0.75], [0.25, np.nan]])
    again = dataclasses.replace(record, oof=other, score=0.25, environment={"torch": "2", "device": "cpu"})
    compared = compare_trials(record, again)

    assert compare_trials(record, record).is_equal
    assert compared.differences == ("score 0.5 -> 0.25", "oof: 2 of 4 values, by 2.5e-01 at most")
    assert compared.environment == ("torch 1 -> 2",)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (("--all", "--output", "nowhere"), "--output: nowhere holds no study.db"),
        ((), "--trial N or --all"),
    ],
)
def test_wrong_input_is_named(told: tuple[str, ...], words: str) -> None:
    """Exit code 2 and one line."""
    code, said = reproduce(*told)

    assert code == 2
    assert words in said


def test_a_damaged_database_is_said_to_be_damaged(output: Path, tmp_path: Path) -> None:
    """In one line; a name that is no text, which SQLite's own message repeats, is no traceback either."""
    (tmp_path / "study.db").write_bytes(b"garbage" * 1000)
    code, said = reproduce("--output", str(tmp_path), "--trial", "0")
    assert code == 2
    assert "study.db: the database cannot be read (file is not a database)" in said

    (tmp_path / "study.db").unlink()
    with sqlite3.connect(output / "study.db") as source, sqlite3.connect(tmp_path / "study.db") as copy:
        source.backup(copy)
        copy.execute("PRAGMA writable_schema = ON")
        copy.execute("UPDATE sqlite_master SET name = CAST(x'74ff' AS TEXT), sql = 'x' WHERE name = 'textclf_trials'")
    source.close()
    copy.close()
    code, said = reproduce("--output", str(tmp_path), "--trial", "0")
    assert code == 2
    assert "study.db: the database cannot be read (its schema is damaged)" in said


def test_a_trial_that_is_not_there_is_named(output: Path) -> None:
    """By number."""
    code, said = reproduce("--output", str(output), "--trial", "77")

    assert code == 2
    assert "has no finished trial 77" in said
