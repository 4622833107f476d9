"""One coordinator per study, and a successor as soon as the first is gone."""

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from search import lease as lease_module
from search.lease import Lease, hold_lease
from tests.search.fakes import FakeStudy, optuna_trials
from textclf.errors import RunError
from textclf.store import PredictionStore

LEASES = sa.Table("textclf_leases", sa.MetaData(), *map(sa.Column, ("study", "pid", "host", "renewed")))


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty database of each kind."""
    url = request.getfixturevalue("postgresql_url") if request.param == "postgresql" else f"sqlite:///{tmp_path}/s.db"
    store = PredictionStore(url)
    yield store.engine
    store.close()


@pytest.fixture(scope="module")
def stranger() -> Iterator[psutil.Process]:
    """Another living process of this host; it ends when nobody writes to it any more."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as child:
        yield psutil.Process(child.pid)


def held_by(process: psutil.Process, engine: sa.Engine) -> Lease:
    """A lease as another process would hold it."""
    lease = Lease(engine, "study")
    lease._me = dataclasses.replace(lease._me, pid=process.pid, started=process.create_time())
    return lease


def test_a_second_coordinator_is_refused(engine: sa.Engine, stranger: psutil.Process) -> None:
    """It is told who runs the study; other studies are free, and so is this one once it is given back."""
    first = held_by(stranger, engine)
    first.take()

    with pytest.raises(RunError, match=rf"study 'study' is being run by process {stranger.pid} on .*--study-name"):
        Lease(engine, "study").take()
    Lease(engine, "another").take()
    first.give_back()
    Lease(engine, "study").take()


def test_a_study_that_is_run_elsewhere_is_left_alone(tmp_path: Path, stranger: psutil.Process) -> None:
    """A second run of a study ends before it touches a trial, and goes on when the first one has let go."""
    url = f"sqlite:///{tmp_path}/study.db"
    FakeStudy(url=url, n_trials=2).run()
    store = PredictionStore(url)
    first = held_by(stranger, store.engine)
    first.take()

    with pytest.raises(RunError, match="is being run by process"):
        FakeStudy(url=url, n_trials=4).run()
    assert len(optuna_trials(url)) == 2
    first.give_back()
    store.close()
    assert len(FakeStudy(url=url, n_trials=4).run()) == 4


def test_a_dead_process_holds_nothing(engine: sa.Engine, stranger: psutil.Process) -> None:
    """On one host the successor need not wait."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    first = held_by(stranger, engine)
    first._me = dataclasses.replace(first._me, pid=gone.pid)
    first.take()

    Lease(engine, "study").take()


def test_a_number_given_to_another_process_holds_nothing(engine: sa.Engine, stranger: psutil.Process) -> None:
    """Process numbers come again; the start of the process tells them apart."""
    first = held_by(stranger, engine)
    first._me = dataclasses.replace(first._me, started=first._me.started - 1000)
    first.take()

    Lease(engine, "study").take()


def test_another_host_is_waited_for(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, stranger: psutil.Process
) -> None:
    """From elsewhere a holder cannot be seen to have died; it counts as gone when it has been silent long enough."""
    first = held_by(stranger, engine)
    first._me = dataclasses.replace(first._me, host="elsewhere boot namespace", pid=1)
    first.take()

    with pytest.raises(RunError, match="process 1 on elsewhere "):
        Lease(engine, "study").take()
    monkeypatch.setattr(lease_module, "SECONDS_TO_EXPIRE", 0.0)
    Lease(engine, "study").take()


def test_renewing_keeps_it(engine: sa.Engine) -> None:
    """The time of the last renewal is the database's, and moves on."""
    lease = Lease(engine, "study")
    lease.take()
    query = sa.text("select renewed from textclf_leases")
    with engine.connect() as connection:
        before = connection.execute(query).scalar_one()
    with engine.begin() as connection:
        connection.execute(sa.update(LEASES).values(renewed=0.0))
    lease.renew()
    with engine.connect() as connection:
        after = connection.execute(query).scalar_one()

    assert after >= before > 0
    assert lease.lost == ""


def test_a_holder_learns_that_it_was_replaced(engine: sa.Engine) -> None:
    """Cut off for too long, it finds another one's name and must stop."""
    lease = Lease(engine, "study")
    lease.take()
    with engine.begin() as connection:
        connection.execute(sa.update(LEASES).values(pid=1, host="elsewhere"))
    lease.renew()

    assert "taken over by another run" in lease.lost
    lease.give_back()  # of the other one, which must stay
    with engine.connect() as connection:
        assert connection.execute(sa.select(LEASES.c.host)).scalar_one() == "elsewhere"


def test_a_lease_that_cannot_be_renewed_is_lost(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong, the study must hear of it before another run takes the lease."""
    lease = Lease(engine, "study")
    monkeypatch.setattr(lease_module, "SECONDS_BETWEEN_RENEWALS", 0.0)
    monkeypatch.setattr(lease, "renew", lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        lease_module._keep_renewing(lease, threading.Event())

    assert "cannot be renewed" in lease.lost


def test_the_lease_ends_with_its_block(engine: sa.Engine) -> None:
    """Whatever happens in it."""
    with pytest.raises(ZeroDivisionError), hold_lease(engine, "study"):
        raise ZeroDivisionError

    with engine.connect() as connection:
        assert connection.execute(sa.select(LEASES.c.study)).all() == []
