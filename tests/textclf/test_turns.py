"""Fits in turns: heard of as if they ran one after another, whatever happens to them."""

from collections.abc import Callable

import pytest
import torch

from textclf.turns import Turns, side_by_side

Tell = Callable[[str], None]


class Device:
    """Pretends to have room for so many fits; each takes three turns and tells of two."""

    def __init__(self, room: float = 99) -> None:
        self.room, self.inside = room, 0.0
        self.log: list[str] = []

    def fit(self, name: str, *, error: Exception | None = None) -> Callable[[Tell, bool], Turns[str]]:
        """A fit that raises in its last turn, if it is to."""

        def turns(tell: Tell, frugal: bool) -> Turns[str]:  # noqa: FBT001
            self.log.append(f"{name} begins" + " frugally" * frugal)
            size = 0.5 if frugal else 1
            self.inside += size
            try:
                for turn in (1, 2):
                    if self.inside > self.room:
                        raise torch.cuda.OutOfMemoryError("no room")
                    self.log.append(f"{name}{turn}")
                    yield
                    tell(f"{name}{turn}")
                if error:
                    raise error
                return f"{name} done"
            finally:
                self.inside -= size

        return turns


def heard(device: Device, at_once: int, *names: str) -> list[str]:
    """Everything in the order in which the outside learns of it."""
    told: list[str] = []
    for result in side_by_side([device.fit(name) for name in names], told.append, at_once=at_once):
        told.append(result)  # noqa: PERF402  the fits tell meanwhile
    return told


IN_ORDER = ["a1", "a2", "a done", "b1", "b2", "b done", "c1", "c2", "c done"]


@pytest.mark.parametrize("at_once", [1, 2, 3, 7])
def test_the_outside_hears_one_fit_after_another(at_once: int) -> None:
    """However many run at once."""
    device = Device()

    assert heard(device, at_once, "a", "b", "c") == IN_ORDER
    turns = [entry for entry in device.log if "begins" not in entry]
    assert turns[:3] == {1: ["a1", "a2", "b1"], 2: ["a1", "b1", "a2"]}.get(at_once, ["a1", "b1", "c1"])


def test_an_exception_waits_for_its_turn() -> None:
    """The second fit fails first; the first is heard to its end before."""
    device = Device()
    told: list[str] = []
    fits = [device.fit("a"), device.fit("b", error=ValueError("b failed")), device.fit("c")]

    with pytest.raises(ValueError, match="b failed"):
        told += list(side_by_side(fits, told.append, at_once=3))
    assert [entry for entry in told if "done" not in entry] == ["a1", "a2", "b1", "b2"]
    assert device.inside == 0  # the third was closed


def test_who_hears_may_end_it_all() -> None:
    """Pruning raises where an event is told; every fit is closed."""
    device = Device()

    def prune(event: str) -> None:
        raise KeyError(event)

    with pytest.raises(KeyError, match="a1"):
        list(side_by_side([device.fit(name) for name in "abc"], prune, at_once=3))
    assert device.inside == 0


@pytest.mark.parametrize("at_once", [1, 2])
def test_the_first_fit_is_heard_while_it_runs(at_once: int) -> None:
    """An epoch is told before the next begins, and whoever hears of it can end the fit there."""

    def turns(tell: Tell, frugal: bool) -> Turns[str]:  # noqa: FBT001
        for epoch in ("first", "second"):
            told.append(f"train {epoch}")
            tell(epoch)
        yield
        return "done"

    def prune(event: str) -> None:
        told.append(event)
        if event == stop:
            raise RuntimeError("pruned")

    told: list[str] = []
    stop = "none"
    assert list(side_by_side([turns], prune, at_once=at_once)) == ["done"]
    assert told == ["train first", "first", "train second", "second"]

    told, stop = [], "first"
    with pytest.raises(RuntimeError, match="pruned"):
        list(side_by_side([turns], prune, at_once=at_once))
    assert told == ["train first", "first"]


@pytest.mark.parametrize("room", [2, 1, 0.5])
def test_short_memory_runs_fewer_at_once_and_is_heard_the_same(room: float) -> None:
    """Fits without room begin anew; the last resort is a frugal fit by itself."""
    device = Device(room)

    assert heard(device, 3, "a", "b", "c") == IN_ORDER
    assert device.inside == 0
    assert any("frugally" in entry for entry in device.log) == (room < 1)


def test_memory_too_short_for_a_frugal_fit_is_an_error() -> None:
    """There is an end to doing with less."""
    with pytest.raises(torch.cuda.OutOfMemoryError):
        heard(Device(0.1), 3, "a")
