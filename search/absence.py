"""What an error of a database or a disk means: it is away for now, or it cannot be used however long one waits."""

import errno
import sqlite3

import sqlalchemy as sa
from optuna.exceptions import StorageInternalError

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)

# Primary result codes of SQLite (https://sqlite.org/rescode.html); the extended ones hold them in their lowest byte.
AWAY_IN_SQLITE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,  # a file system that was mounted read-only after a fault
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,  # too many processes at once in the write-ahead log
    }
)
DAMAGED_IN_SQLITE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
GONE_IN_SQLITE = frozenset({sqlite3.SQLITE_READONLY_DBMOVED})  # extended codes: the file is no longer in its place

# Beginnings of SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html).
AWAY_IN_POSTGRESQL = (
    "08",  # connection
    "25006",  # read-only: a standby that is not promoted yet, or a provider's answer to a full disk
    "40",  # serialisation, deadlock: the same transaction again
    "53",  # resources: disk full, out of memory, too many connections
    "57P01",  # shut down by an administrator
    "57P02",  # crashed
    "57P03",  # starting up
    "57P05",  # idle for too long
    "58000",  # system
    "58030",  # input and output
)
DAMAGED_IN_POSTGRESQL = ("XX001", "XX002", "58P01")  # data, index, missing file
WRONG_IN_POSTGRESQL = ("42P01", "42703", "42501", "3D", "3F", "28", "57P04")  # table, column, right, database, schema
REFUSED = ("does not exist", "authentication failed", "no pg_hba.conf entry")  # without a connection there is no state


def is_away(error: BaseException) -> bool:
    """Whether an error says that the database cannot be reached or written now, but may be later."""
    error = _bare(error)
    if not isinstance(error, sa.exc.DBAPIError):
        return False
    original = error.orig
    if isinstance(original, sqlite3.Error):
        code = _sqlite_code(original)
        return code not in GONE_IN_SQLITE and code & 0xFF in AWAY_IN_SQLITE
    if error.connection_invalidated:
        return True
    state = _sqlstate(original)
    if state:
        return state.startswith(AWAY_IN_POSTGRESQL)
    return isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError) and not _is_refused(original)


def find_fault(error: BaseException) -> str:
    """What is wrong with a database that no waiting mends, and how to go on; empty for every other error."""
    error = _bare(error)
    if not isinstance(error, sa.exc.DBAPIError):
        return ""
    original = error.orig
    found = first_line(error)
    damaged = f"is damaged ({found}); restore it from a copy, or begin again in another place"
    wrong = f"is not one that this version wrote ({found}); name the right one, or begin again in another place"
    if isinstance(original, sqlite3.Error):
        code = _sqlite_code(original)
        if code in GONE_IN_SQLITE:
            return f"was moved or removed while it was in use ({found}); put it back and run again"
        if code & 0xFF in DAMAGED_IN_SQLITE or type(original) is sqlite3.DatabaseError:
            return damaged
        is_schema = found.startswith(("no such table", "no such column")) or "has no column named" in found
        return wrong if code == sqlite3.SQLITE_ERROR and is_schema else ""
    state = _sqlstate(original)
    if state.startswith(DAMAGED_IN_POSTGRESQL):
        return damaged
    if state.startswith(WRONG_IN_POSTGRESQL) or (not state and _is_refused(original)):
        return f"cannot be used ({found}); name the right one, or ask who runs it"
    return ""


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, says that a disk or a quota is full."""
    step: BaseException | None = error
    while step is not None and not (isinstance(step, OSError) and step.errno in FULL_DISK):
        step = step.__cause__
    return step is not None


def first_line(error: BaseException) -> str:
    """What the database itself said, without the statement."""
    error = _bare(error)
    original = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig is not None else error
    return (str(original).strip().splitlines() or [repr(original)])[0]


def _bare(error: BaseException) -> BaseException:
    """The error that Optuna's storage wrapped."""
    return error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ is not None else error


def _sqlite_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0)  # none where Python's module, not SQLite, found the fault


def _sqlstate(error: BaseException | None) -> str:
    return getattr(error, "sqlstate", None) or ""


def _is_refused(error: BaseException | None) -> bool:
    return any(words in str(error) for words in REFUSED)
