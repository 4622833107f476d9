"""Fits that take turns on one device, heard of as if they had run one after another."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Generic, TypeVar

import torch

T = TypeVar("T")
E = TypeVar("E")

Turns = Generator[None, None, T]
"""Work in instalments: pauses where others may have a turn, and returns its result in the end."""

Begin = Callable[[Callable[[E], None], bool], Turns[T]]
"""(tell, frugal) -> turns of a fit that tells its events; frugal: with as little of the device's memory as it can."""


def finish(turns: Turns[T]) -> T:
    """Take all turns of one."""
    while True:
        try:
            next(turns)
        except StopIteration as stop:
            result: T = stop.value
            return result


def side_by_side(begins: Sequence[Begin[E, T]], tell: Callable[[E], None], *, at_once: int) -> Iterator[T]:
    """Run fits in turns, at most so many at once; yield their results in order.

    Events are told in the order in which one fit after another would tell them: those of the first fit at once, those
    of a fit that runs ahead when its predecessors' results were taken, and so is its exception raised. A fit that the
    GPU's memory has no room for begins anew beside fewer others, and at last alone and frugally.
    """
    fits = deque(_Fit(begin) for begin in begins)
    try:
        while fits:
            fits[0].listen(tell)
            for fit in _under_way(fits, at_once):
                if not fit.advance():
                    others = sum(other.is_running for other in fits)
                    at_once = max(1, others)
                    fit.put_off(alone=not others)
                yield from _finished(fits, tell)
    finally:
        for fit in fits:
            fit.close()


def _under_way(fits: deque["_Fit[E, T]"], at_once: int) -> list["_Fit[E, T]"]:
    """The running fits, and those of the new ones that there is room for."""
    running = [fit for fit in fits if fit.is_running]
    new = [fit for fit in fits if fit.is_new]
    return running + [fit.start() for fit in new[: max(0, at_once - len(running))]]


def _finished(fits: deque["_Fit[E, T]"], tell: Callable[[E], None]) -> Iterator[T]:
    """Tell what may be told by now, and take results from the front."""
    while fits:
        fits[0].listen(tell)
        if not fits[0].is_done:
            return
        yield fits.popleft().result()


class _Fit(Generic[E, T]):
    """A fit that may run ahead of what is told of it."""

    def __init__(self, begin: Begin[E, T]) -> None:
        self.begin, self.frugal = begin, False
        self.turns: Turns[T] | None = None
        self.outcome: tuple[T] | Exception | None = None
        self.tell: Callable[[E], None] | None = None  # none: no predecessor's events may be overtaken
        self.news: deque[E] = deque()
        self.n_heard = 0  # since it began, or began anew
        self.n_known = 0  # told, or kept to be told; a fit that begins anew does not repeat them

    @property
    def is_new(self) -> bool:
        return self.turns is None and self.outcome is None

    @property
    def is_running(self) -> bool:
        return self.turns is not None

    @property
    def is_done(self) -> bool:
        return self.outcome is not None

    def start(self) -> "_Fit[E, T]":
        self.n_heard = 0
        self.turns = self.begin(self.hear, self.frugal)
        return self

    def hear(self, event: E) -> None:
        self.n_heard += 1
        if self.n_heard > self.n_known:
            self.n_known += 1
            (self.tell or self.news.append)(event)

    def listen(self, tell: Callable[[E], None]) -> None:
        """Tell what was kept, and what comes as it comes; what that raises ends the fit."""
        while self.news:
            tell(self.news.popleft())
        self.tell = tell

    def advance(self) -> bool:
        """Take a turn; False where the GPU's memory was too short for it."""
        assert self.turns is not None
        try:
            next(self.turns)
        except torch.cuda.OutOfMemoryError as error:
            self.turns = None
            if not self.frugal:
                return False
            self.outcome = error
        except StopIteration as stop:
            self.turns, self.outcome = None, (stop.value,)
        except Exception as error:  # noqa: BLE001  raised again in its turn
            self.turns, self.outcome = None, error
        return True

    def put_off(self, *, alone: bool) -> None:
        """Give memory back; where there was no other fit to make room, do with less."""
        self.frugal = alone
        torch.cuda.empty_cache()

    def result(self) -> T:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        assert self.outcome is not None
        return self.outcome[0]

    def close(self) -> None:
        if self.turns is not None:
            self.turns.close()
