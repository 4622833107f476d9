"""Optuna studies around the objective: exact under crashes and any number of workers.

>>> from search import run_study
>>> result = run_study(train="train.csv", test="test.csv", text="text", target="label")  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.api import StudyResult, load_study, run_study

__all__ = ["StudyResult", "load_study", "run_study"]


def __getattr__(name: str) -> Any:
    """Import the API when it is asked for: the command line answers --help without pandas and torch."""
    if name in __all__:
        from search import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
