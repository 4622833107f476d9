"""Waiting for a database that is away: a full disk, a restarted server, a broken network."""

import time
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TypeVar

from search.absence import first_line, is_away
from textclf.errors import RunError

T = TypeVar("T")
FIRST_WAIT, LONGEST_WAIT = 0.25, 15.0  # seconds
LONGEST_ABSENCE = 600.0  # seconds
SECONDS_PER_LOOK = 0.2  # between two questions whether to stop


def growing_waits() -> Iterator[float]:
    """Seconds to wait before each further attempt."""
    wait = FIRST_WAIT
    while True:
        yield wait
        wait = min(2 * wait, LONGEST_WAIT)


class Patience:
    """Calls again and again, with growing waits, while the database is away.

    tell: hears a line when the wait begins and when it is over
    should_stop: asked between attempts; the wait ends where it says yes
    longest: seconds after which it gives up
    """

    def __init__(
        self,
        *,
        tell: Callable[[str], None],
        should_stop: Callable[[], bool] = lambda: False,
        longest: float = LONGEST_ABSENCE,
    ) -> None:
        self._tell, self._should_stop = tell, should_stop
        self.longest = longest

    def __call__(self, call: Callable[[], T]) -> T:
        """Return what the call returns; it must be harmless to repeat. Raises RunError when the wait was too long."""
        began = time.monotonic()
        waits = chain([0.0], growing_waits())  # a connection that a restart left dead is replaced at the second attempt
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

    def _wait(self, seconds: float, error: Exception, *, since: float) -> None:
        line = first_line(error)
        if time.monotonic() - since > self.longest or self._should_stop():
            raise RunError(
                f"the database is away ({line}); nothing that finished is lost: bring it back and run again"
            ) from error
        if seconds == FIRST_WAIT:
            self._tell(f"the database is away, waiting for it ({line})")
        end = time.monotonic() + seconds
        while not self._should_stop() and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, SECONDS_PER_LOOK))
