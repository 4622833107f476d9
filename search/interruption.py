"""Ctrl-C, once and twice."""

import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self


class Interruption:
    """For a with block, the first Ctrl-C (or SIGTERM) asks the study to stop and the second one stops at once.

    tell: hears a line at the first
    """

    def __init__(self, *, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._handlers: dict[signal.Signals, Any] = {}
        self._then: Callable[[], None] | None = None
        self.requested = False
        self._insisted = False

    def then(self, call: Callable[[], None]) -> None:
        """Call this at the first Ctrl-C, from the signal handler: for what cannot wait until the coordinator looks."""
        self._then = call

    def raise_again(self) -> None:
        """Raise KeyboardInterrupt after a second Ctrl-C: a weakref callback, say, swallows what is raised."""
        if self._insisted:
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, lambda *_: self._answer())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _answer(self) -> None:
        if self.requested:
            self._insisted = True
            raise KeyboardInterrupt
        self.requested = True
        if self._then is not None:
            self._then()
        self._tell(
            "stopping: running trials end at their next epoch and are run again later; Ctrl-C again stops at once"
        )
