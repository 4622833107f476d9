"""Waiting for a database that is away: a full disk, a restarted server, a broken network."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import sqlalchemy as sa
from optuna.exceptions import StorageInternalError

from textclf.errors import RunError

T = TypeVar("T")
FIRST_WAIT, LONGEST_WAIT = 0.25, 15.0  # seconds
LONGEST_ABSENCE = 600.0  # seconds


def is_away(error: BaseException) -> bool:
    """Whether an error says that the database cannot be reached or written now, rather than that a query is wrong."""
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        return is_away(error.__cause__)
    if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)


class Patience:
    """Calls again and again, with growing waits, while the database is away.

    tell: hears a line when the wait begins and when it is over
    should_stop: asked between attempts; the wait ends where it says yes
    """

    def __init__(
        self,
        *,
        tell: Callable[[str], None],
        should_stop: Callable[[], bool] = lambda: False,
        longest: float = LONGEST_ABSENCE,
    ) -> None:
        self._tell, self._should_stop, self._longest = tell, should_stop, longest

    def __call__(self, call: Callable[[], T]) -> T:
        """Return what the call returns; it must be harmless to repeat. Raises RunError when the wait was too long."""
        began = time.monotonic()
        waits = self._waits()
        while True:
            try:
                result = call()
            except Exception as error:
                if not is_away(error):
                    raise
                self._wait(next(waits), error, since=began)
            else:
                if next(waits) > FIRST_WAIT:
                    self._tell(f"the database is back after {time.monotonic() - began:.0f} s")
                return result

    @staticmethod
    def _waits() -> Iterator[float]:
        """None at first: a connection that a restart left dead is replaced at the second attempt."""
        yield 0.0
        wait = FIRST_WAIT
        while True:
            yield wait
            wait = min(2 * wait, LONGEST_WAIT)

    def _wait(self, seconds: float, error: Exception, *, since: float) -> None:
        line = str(error.__cause__ or error).splitlines()[0]
        if time.monotonic() - since > self._longest or self._should_stop():
            raise RunError(
                f"the database is away ({line}); nothing that finished is lost: bring it back and run again"
            ) from error
        if seconds == FIRST_WAIT:
            self._tell(f"the database is away, waiting for it ({line})")
        time.sleep(seconds)
