"""A study is found by its folder or its database, and a wrong name says what would be right."""

import dataclasses
from pathlib import Path

import pytest

from tests.search.studies import make_study
from textclf.errors import ConfigError, DataError, RunError
from textclf.place import find_storage, only_study, open_study_store, study_inputs
from textclf.store import open_store


def put(folder: Path, *names: str) -> None:
    """Make a folder that holds studies of some names."""
    folder.mkdir()
    with open_store(f"sqlite:///{folder}/study.db") as store:
        for name in names:
            store.write_study(make_study(name=name))


def test_a_folder_and_a_database_name_the_same_store(tmp_path: Path) -> None:
    """The folder's file, or the address that was given, which goes before."""
    put(tmp_path / "runs", "quora")
    url = f"sqlite:///{tmp_path}/runs/study.db"

    assert find_storage(tmp_path / "runs", storage=None) == url
    assert find_storage(tmp_path / "elsewhere", storage=url) == url


@pytest.mark.parametrize(
    ("output", "storage", "complaint"),
    [
        (None, None, "--output: name the study's folder"),
        ("nowhere", None, "--output: nowhere holds no study.db"),
        (None, "sqlite:///gone.db", "--storage: there is no file gone.db"),
    ],
)
def test_a_study_that_is_not_there_is_refused(
    output: str | None, storage: str | None, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is made in its place: SQLite would open an empty database under any name."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=complaint):
        find_storage(output, storage=storage)
    assert list(tmp_path.iterdir()) == []


def test_the_only_study_needs_no_name(tmp_path: Path) -> None:
    """One is found, of several the names are told, none is a complaint."""
    for folder, names in (("one", ["a"]), ("two", ["a", "b"]), ("none", [])):
        put(tmp_path / folder, *names)

    with open_study_store(tmp_path / "one", storage=None) as store:
        assert only_study(store) == "a"
    with (
        pytest.raises(ConfigError, match=r"holds 2 studies \(a, b\); name one"),
        open_study_store(tmp_path / "two", storage=None) as store,
    ):
        only_study(store)
    with (
        pytest.raises(DataError, match="there is no study yet"),
        open_study_store(tmp_path / "none", storage=None) as store,
    ):
        only_study(store)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """The complaint has the address and the cause."""
    (tmp_path / "study.db").write_text("not a database, and long enough to be read as one" * 40)
    with (
        pytest.raises(RunError, match=r"study\.db: the database cannot be read \(file is not a database\)"),
        open_study_store(tmp_path, storage=None) as store,
    ):
        store.study_names()


def test_inputs_that_were_moved_away_are_missed(tmp_path: Path) -> None:
    """The folder that should be there is named, and how to get it back."""
    study = dataclasses.replace(make_study(), settings={"inputs": "abc"})
    with pytest.raises(RunError, match=r"inputs/abc: the inputs of study 'quora' are not there"):
        study_inputs(tmp_path, study)
