"""Which engine runs the recurrence of CPU tensors: our own C++, or torch."""

import logging
import os
from functools import cache
from typing import Literal, get_args

import torch

from textclf.errors import ConfigError
from textclf.native.build import BuildError, Storage, compiler_name, engine_digest
from textclf.native.library import isa_in_use, open_library

Engine = Literal["native", "torch"]
Precision = Literal["fp32", "bf16"]

_log = logging.getLogger(__name__)
_wanted: Engine | None = None


def set_engine(engine: Engine | None) -> None:
    """Choose the engine for this process; None returns the choice to ``TEXTCLF_ENGINE`` and to what works here.

    raises: ConfigError if the native engine is wanted and cannot be had, with the reason
    """
    global _wanted  # noqa: PLW0603  one choice per process, like torch's thread count
    if engine == "native" and (problem := native_problem()):
        raise ConfigError(f"engine: native is not available: {problem}")
    _wanted = engine


def engine_name() -> Engine:
    """Name the engine in use; without a choice the native one, or torch where it cannot be built (said once).

    raises: ConfigError if ``TEXTCLF_ENGINE`` names no engine, or the native one where it cannot be had
    """
    wanted = _wanted or os.environ.get("TEXTCLF_ENGINE") or None
    if wanted is None:
        return "torch" if _said_problem() else "native"
    if wanted not in get_args(Engine):
        raise ConfigError(f"TEXTCLF_ENGINE: {wanted!r} is not one of {', '.join(get_args(Engine))}")
    if wanted == "torch":
        return "torch"
    if problem := native_problem():
        raise ConfigError(f"TEXTCLF_ENGINE: native is not available: {problem}")
    return "native"


@cache
def native_problem(storage: Storage = "fp32") -> str | None:
    """Why the native engine cannot run here, or None if it can; the first call may build it."""
    try:
        open_library(storage, isa_in_use())
    except BuildError as error:
        return str(error)
    return None


def check_engine(precision: Precision) -> None:
    """Make sure that the engine in use can be had in this precision; the first call may build it.

    raises: ConfigError if it cannot, or the environment names one that there is not, with the reason
    """
    if engine_name() == "native" and (problem := native_problem(precision)):
        raise ConfigError(f"precision: {precision} is not available: {problem}")


def engine_fingerprint() -> str:
    """Name the engine and its version in one short string, for a run's recorded environment."""
    if engine_name() == "torch":
        return f"torch-{torch.__version__}"
    return f"native-{engine_digest()}-{isa_in_use()}, compiler {compiler_name()}"


@cache
def _said_problem() -> str | None:
    problem = native_problem()
    if problem:
        _log.warning(
            "the native engine is not in use (%s); torch runs the recurrent layers, several times slower", problem
        )
    return problem
