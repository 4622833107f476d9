"""One coordinator per study: a row in the study's database says who it is, for as long as it keeps renewing it.

Times are the database's own, so clocks of different hosts do not matter. A holder on this host whose process is gone is
seen at once; one on another host when it has not renewed for SECONDS_TO_EXPIRE.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import sqlalchemy as sa

from search.absence import find_fault, first_line, is_away
from textclf.errors import RunError

SECONDS_BETWEEN_RENEWALS = 5.0
SECONDS_TO_EXPIRE = 30.0

_metadata = sa.MetaData()
_leases = sa.Table(
    "textclf_leases",
    _metadata,
    sa.Column("study", sa.String(200), primary_key=True),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started", sa.Float, nullable=False),  # of the process: a number may be given to another one later
    sa.Column("renewed", sa.Float, nullable=False),  # seconds, by the database's clock
)


@dataclass(frozen=True, slots=True)
class Holder:
    """A process somewhere."""

    host: str
    pid: int
    started: float

    def is_gone(self) -> bool:
        """Whether it can be told from here that the process has ended."""
        if self.host != _this_host():
            return False
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) > 1 or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True


class Lease:
    """The right to coordinate a study.

    engine: the prediction store's
    """

    def __init__(self, engine: sa.Engine, study: str) -> None:
        self._engine, self._study = engine, study
        self._me = Holder(_this_host(), os.getpid(), psutil.Process().create_time())
        self.lost = ""

    def take(self) -> None:
        """Take the lease, or raise RunError that names who holds it."""
        _metadata.create_all(self._engine)
        with self._engine.begin() as connection:
            now = self._now(connection)
            held = connection.execute(sa.select(_leases).where(_leases.c.study == self._study)).one_or_none()
            if held is None:
                try:
                    connection.execute(_leases.insert().values(self._row(now)))
                except sa.exc.IntegrityError:
                    raise RunError(f"study {self._study!r} was taken by another run at this very moment") from None
                return
            holder = Holder(held.host, held.pid, held.started)
            age = now - held.renewed
            if holder != self._me and not holder.is_gone() and age < SECONDS_TO_EXPIRE:
                raise RunError(
                    f"study {self._study!r} is being run by process {held.pid} on {_host_name(held.host)} (seen "
                    f"{age:.0f} s ago); wait for it, stop it, or give another --study-name (it counts as gone after "
                    f"{SECONDS_TO_EXPIRE:.0f} s of silence)"
                )
            taken = connection.execute(
                _leases.update()
                .where(_leases.c.study == self._study, _leases.c.pid == held.pid, _leases.c.renewed == held.renewed)
                .values(self._row(now))
            )
            if taken.rowcount != 1:
                raise RunError(f"study {self._study!r} was taken by another run at this very moment")

    def renew(self) -> None:
        """Say that this process is still there; sets lost where another one has taken over."""
        with self._engine.begin() as connection:
            renewed = connection.execute(_leases.update().where(*self._mine()).values(renewed=self._now(connection)))
            if renewed.rowcount != 1:
                self.lost = f"study {self._study!r} was taken over by another run while this one could not be heard"

    def give_back(self) -> None:
        """Let the next run take it at once."""
        with self._engine.begin() as connection:
            connection.execute(_leases.delete().where(*self._mine()))

    def _mine(self) -> tuple[sa.ColumnElement[bool], ...]:
        return _leases.c.study == self._study, _leases.c.host == self._me.host, _leases.c.pid == self._me.pid

    def _row(self, now: float) -> dict[str, object]:
        return {
            "study": self._study,
            "host": self._me.host,
            "pid": self._me.pid,
            "started": self._me.started,
            "renewed": now,
        }

    def _now(self, connection: sa.Connection) -> float:
        if connection.dialect.name == "sqlite":
            query = sa.text("SELECT (julianday('now') - 2440587.5) * 86400.0")
        else:
            query = sa.text("SELECT extract(epoch FROM clock_timestamp())")
        return float(connection.execute(query).scalar_one())


@contextmanager
def hold_lease(engine: sa.Engine, study: str) -> Iterator[Lease]:
    """Hold a study's lease for a with block, renewing it in a thread of its own."""
    lease = Lease(engine, study)
    lease.take()
    over = threading.Event()
    thread = threading.Thread(target=_keep_renewing, args=(lease, over), daemon=True, name="lease")
    thread.start()
    try:
        yield lease
    finally:
        over.set()
        thread.join()
        try:
            lease.give_back()
        except Exception as error:
            if not is_away(error):  # a lease that nobody renews expires by itself
                raise


def _keep_renewing(lease: Lease, over: threading.Event) -> None:
    while not over.wait(SECONDS_BETWEEN_RENEWALS):
        try:
            lease.renew()
        except Exception as error:
            if is_away(error):
                continue
            lease.lost = f"the lease of the study cannot be renewed ({first_line(error)}), so another run could take it"
            if not find_fault(error):
                raise
            return


def _this_host() -> str:
    """Host name with what tells containers of one name apart: the machine's boot and the namespace of process ids."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    try:
        return f"{socket.gethostname()} {boot.read_text().strip()} {namespace.readlink()}"
    except OSError:
        return socket.gethostname()


def _host_name(host: str) -> str:
    return host.split(" ", maxsplit=1)[0]
