"""Which errors of a database are waited for, told apart on real files: locked, full, damaged, moved or wrong."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa

from search.absence import find_fault, is_away
from search.launch import open_for_run
from search.patience import Patience
from tests.limits import largest_file
from tests.search.fakes import Ears, FakeStudy, signature
from textclf.errors import RunError

Trouble = Callable[[Path], Exception]


def make_file(path: Path) -> None:
    """A database with a table of 200 rows on some hundred pages."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table t (x integer primary key, y blob)")
        connection.executemany("insert into t (y) values (?)", [(bytes(2000),)] * 200)


def fail(path: Path, statement: str, *before: str, query: str = "") -> Exception:
    """The error of a statement that must fail, as SQLAlchemy raises it."""
    engine = sa.create_engine(f"sqlite:///{path}{query}", connect_args={"timeout": 0})
    try:
        with pytest.raises(sa.exc.DBAPIError) as caught:
            execute(engine, *before, statement)
        return caught.value
    finally:
        engine.dispose()


def execute(engine: sa.Engine, *statements: str) -> None:
    """Run statements in one transaction."""
    with engine.begin() as connection:
        for statement in statements:
            result = connection.exec_driver_sql(statement)
            if result.returns_rows:
                result.all()


WRITE = "insert into t (y) values (zeroblob(200000))"


def locked(path: Path) -> Exception:
    """Another process is writing."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin exclusive")
        return fail(path, WRITE)


def full(path: Path) -> Exception:
    """The database may not grow, which SQLite answers as it does a full disk."""
    return fail(path, WRITE, "pragma max_page_count = 1")


def read_only(path: Path) -> Exception:
    """The file may be read alone."""
    return fail(Path(f"file:{path}"), WRITE, query="?mode=ro&uri=true")


def not_opened(path: Path) -> Exception:
    """A folder stands in the file's place."""
    path.unlink()
    path.mkdir()
    return fail(path, "select * from t")


def broken_write(path: Path) -> Exception:
    """The kernel refuses to write."""
    with largest_file(path.stat().st_size):
        return fail(path, WRITE)


def damaged(path: Path) -> Exception:
    """Pages in the middle were overwritten."""
    content = bytearray(path.read_bytes())
    content[4096 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4096)
    path.write_bytes(content)
    return fail(path, "select sum(length(y)) from t")


def no_database(path: Path) -> Exception:
    """Another kind of file has its name."""
    path.write_bytes(b"garbage" * 1000)
    return fail(path, "select * from t")


def no_table(path: Path) -> Exception:
    """A database of another program."""
    return fail(path, "select * from textclf_trials")


def no_column(path: Path) -> Exception:
    """A database of another version."""
    return fail(path, "select outcome from t")


def no_column_to_write(path: Path) -> Exception:
    """The same, met when writing."""
    return fail(path, "insert into t (outcome) values (1)")


def moved(path: Path) -> Exception:
    """The file was renamed while it was open."""
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        connection.exec_driver_sql("select 1").all()
        path.rename(path.with_suffix(".old"))
        with pytest.raises(sa.exc.DBAPIError) as caught:
            connection.exec_driver_sql(WRITE)
    engine.dispose()
    return caught.value


@pytest.mark.parametrize("trouble", [locked, full, read_only, not_opened, broken_write])
def test_what_may_pass_is_waited_for(trouble: Trouble, tmp_path: Path) -> None:
    """A database that is locked, full or out of reach may be there again in a moment; nothing is wrong with it."""
    make_file(tmp_path / "s.db")
    error = trouble(tmp_path / "s.db")

    assert is_away(error)
    assert find_fault(error) == ""
    assert is_away(wrapped(error))


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (damaged, "is damaged (database disk image is malformed); restore it from a copy"),
        (no_database, "is damaged (file is not a database); restore it"),
        (no_table, "is not one that this version wrote (no such table: textclf_trials)"),
        (no_column, "is not one that this version wrote (no such column: outcome)"),
        (no_column_to_write, "is not one that this version wrote (table t has no column named outcome)"),
        (moved, "was moved or removed while it was in use (attempt to write a readonly database); put it back"),
    ],
)
def test_what_stays_wrong_is_not(trouble: Trouble, words: str, tmp_path: Path) -> None:
    """No waiting mends it: the call is made once, and what is wrong is said in a line."""
    make_file(tmp_path / "s.db")
    error = trouble(tmp_path / "s.db")
    calls: list[Exception] = []

    def call() -> None:
        calls.append(error)
        raise error

    with pytest.raises(type(error)):
        Patience(tell=lambda _: None)(call)
    assert len(calls) == 1
    assert words in find_fault(error)
    assert words in find_fault(wrapped(error))


def test_the_class_of_an_error_does_not_tell(tmp_path: Path) -> None:
    """The guard bites: SQLAlchemy raises one class for a database that is locked and for one without the column."""
    make_file(tmp_path / "s.db")

    assert type(locked(tmp_path / "s.db")) is type(no_column(tmp_path / "s.db")) is sa.exc.OperationalError


def test_a_mistake_of_ours_is_neither(tmp_path: Path) -> None:
    """It keeps its traceback."""
    make_file(tmp_path / "s.db")
    for statement in ("selct 1", "insert into t (x) values (1)"):
        error = fail(tmp_path / "s.db", statement)

        assert not is_away(error)
        assert find_fault(error) == ""
    assert not is_away(ValueError())
    assert find_fault(ValueError()) == ""


def wrapped(error: Exception) -> Exception:
    """The error as Optuna's storage hands it on."""
    outer = optuna.exceptions.StorageInternalError()
    outer.__cause__ = error
    return outer


STATES = {
    "08006": "away",
    "25006": "away",
    "40P01": "away",
    "53100": "away",
    "53300": "away",
    "57P01": "away",
    "57P03": "away",
    "58030": "away",
    "42P01": "wrong",
    "42703": "wrong",
    "3D000": "wrong",
    "XX001": "wrong",
    "42601": "bug",
    "23505": "bug",
}


@pytest.mark.parametrize(("state", "kind"), STATES.items())
def test_postgresql_is_told_by_its_state(state: str, kind: str) -> None:
    """By the class of its SQLSTATE, whatever words and language the server has."""
    import psycopg

    original = psycopg.errors.lookup(state)("von Worten hängt es nicht ab")
    error = sa.exc.OperationalError("select", {}, original)

    assert is_away(error) is (kind == "away")
    assert bool(find_fault(error)) is (kind == "wrong")


def test_a_real_server_is_told_apart(postgresql_url: str) -> None:
    """A table that is missing, a database that is not there, and a port where nobody listens."""
    url = sa.make_url(postgresql_url)
    assert "42P01" in str(getattr(error_of(url, "select * from nowhere").orig, "sqlstate", ""))
    assert 'cannot be used (relation "nowhere" does not exist)' in find_fault(error_of(url, "select * from nowhere"))
    assert 'database "nodb" does not exist' in find_fault(error_of(url.set(database="nodb"), "select 1"))
    assert is_away(error_of(sa.make_url("postgresql+psycopg://nobody@127.0.0.1:1/x"), "select 1"))


def error_of(url: sa.URL, statement: str) -> Any:
    """What a statement on a server raises."""
    engine = sa.create_engine(url)
    try:
        with pytest.raises(sa.exc.DBAPIError) as caught, engine.connect() as connection:
            connection.execute(sa.text(statement))
        return caught.value
    finally:
        engine.dispose()


def test_a_database_that_breaks_stops_the_study_with_a_line(tmp_path: Path) -> None:
    """A column that vanishes meanwhile: one line names the file, and mended the study goes on to the same end."""
    url = f"sqlite:///{tmp_path}/study.db"
    whole = FakeStudy(url=f"sqlite:///{tmp_path}/whole.db", n_trials=8).run()

    def rename(old: str, new: str) -> None:
        with closing(sqlite3.connect(tmp_path / "study.db")) as connection, connection:
            connection.execute(f"alter table textclf_trials rename column {old} to {new}")

    class Break(Ears):
        """Breaks the database after the third trial."""

        def finished(self, record: Any) -> None:
            super().finished(record)
            if len(self.records) == 3:
                rename("outcome", "result")

    ears = Break()
    with (
        pytest.raises(RunError, match=r"^--storage: sqlite:///.*study\.db is not one .* no column named outcome"),
        open_for_run(url),
    ):
        FakeStudy(url=url, n_trials=8, ears=ears).run()
    assert not [line for line in ears.lines if "away" in line]

    rename("result", "outcome")
    assert signature(FakeStudy(url=url, n_trials=8).run()) == signature(whole)
