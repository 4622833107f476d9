"""Ctrl-C, once and twice."""

import signal
import weakref

import pytest

from search.interruption import Interruption


def test_the_first_asks_and_the_second_stops() -> None:
    """The first says a line and calls what cannot wait; the handler of before is back afterwards."""
    before = signal.getsignal(signal.SIGINT)
    heard: list[str] = []
    with Interruption(tell=heard.append) as interruption:
        interruption.then(lambda: heard.append("stop"))
        interruption.raise_again()
        signal.raise_signal(signal.SIGINT)

        assert interruption.requested
        interruption.raise_again()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)

    assert heard[0] == "stop"
    assert "Ctrl-C again stops at once" in heard[1]
    assert len(heard) == 2
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_second_one_that_was_swallowed_stops_a_moment_later() -> None:
    """Python prints what is raised in a weakref's callback, and goes on as if nothing were; SQLAlchemy has many."""
    with Interruption(tell=lambda _: None) as interruption:
        signal.raise_signal(signal.SIGINT)
        kept = {"row"}
        reference = weakref.ref(kept, lambda _: signal.raise_signal(signal.SIGINT))
        del kept

        assert reference() is None
        with pytest.raises(KeyboardInterrupt):
            interruption.raise_again()
