"""Open the native engine through ctypes."""

import ctypes
import logging
from functools import cache
from pathlib import Path

import torch

from textclf.native.build import BuildError, Isa, Storage, build, named_isa, usable_isas

_log = logging.getLogger(__name__)

STORED: dict[Storage, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp64": torch.float64}
_STORAGE: dict[torch.dtype, Storage] = {dtype: storage for storage, dtype in STORED.items()}

_POINTER, _PAIR, _INT = ctypes.c_void_p, ctypes.c_void_p * 2, ctypes.c_int64


class Words(ctypes.Structure):
    """Inputs that are word vectors; ``native/job.h`` says what each field is."""

    _fields_ = (
        ("n_words", _INT),
        *(
            (name, _POINTER)
            for name in ("word_of_token", "occurrence_start", "occurrences", "row_at", "lengths", "mask")
        ),
        ("scale", ctypes.c_double),
    )


class Job(ctypes.Structure):
    """One call's sizes and buffers; ``native/job.h`` says what each one is."""

    _fields_ = (
        *((name, _INT) for name in ("n_tokens", "n_steps", "n_inputs", "n_hidden", "n_threads")),
        ("alive", _POINTER),
        ("step_start", _POINTER),
        ("input", _POINTER),
        ("input_stride", _INT),
        ("words", Words),
        *((name, _PAIR) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
        *((name, _POINTER) for name in ("gates", "states", "cells", "grad_states", "grad_input")),
        *((name, _PAIR) for name in ("grad_weight_ih", "grad_weight_hh", "grad_bias_ih", "grad_bias_hh")),
    )


class Lookup(ctypes.Structure):
    """An embedding lookup; ``native/rows.h`` says what each field is."""

    _fields_ = (
        *((name, _INT) for name in ("n_tokens", "n_channels", "n_threads")),
        *((name, _POINTER) for name in ("caps", "token_ids", "row_of_token", "table", "mask", "output")),
    )


class Vocabulary(ctypes.Structure):
    """A search for distinct words; ``native/rows.h`` says what each field is."""

    _fields_ = (
        ("n_tokens", _INT),
        ("n_ids", _INT),
        *((name, _POINTER) for name in ("token_ids", "caps", "word_of_token", "id_of_word", "caps_of_word")),
        *((name, _POINTER) for name in ("occurrence_start", "occurrences")),
        ("n_words", _INT),
    )


class MaskSummary(ctypes.Structure):
    """Counts over a mask; ``native/rows.h`` says what each field is."""

    _fields_ = (("n_cells", _INT), ("mask", _POINTER), ("n_zero", _INT), ("n_kept", _INT), ("scale", ctypes.c_double))


class Pooling(ctypes.Structure):
    """A pooling of states to features; ``native/rows.h`` says what each field is."""

    _fields_ = (
        *((name, _INT) for name in ("n_rows", "n_hidden", "n_threads")),
        *((name, _POINTER) for name in ("lengths", "first_token", "step_start", "states", "features", "highest")),
        *((name, _POINTER) for name in ("grad_features", "grad_states")),
    )


class Library:
    """The engine built for one storage type and instruction set."""

    def __init__(self, storage: Storage, isa: Isa) -> None:
        try:
            self._functions = _open(build(storage, isa))
        except BuildError as error:  # a compiler without OpenMP, or with one that is not torch's
            self._functions = _open(build(storage, isa, threads=False))
            _log.warning("the native engine runs on one thread (%s)", error)
        self.lanes = int(self._functions.textclf_lanes())

    def run(self, name: str, job: ctypes.Structure) -> None:
        """Run one of the engine's functions; other Python threads go on meanwhile."""
        function = getattr(self._functions, f"textclf_{name}")
        function.restype = None
        function(ctypes.byref(job))


@cache
def open_library(storage: Storage, isa: Isa) -> Library:
    """Build and open the engine, once per process; bfloat16 without instructions for it is slow, and said to be.

    raises: BuildError if that is not possible here
    """
    if storage == "bf16" and isa != "avx512bf16":
        _log.warning("precision bf16: %s has no instructions for it, fp32 is faster here", isa)
    return Library(storage, isa)


def isa_in_use() -> Isa:
    """The instruction set that ``TEXTCLF_ISA`` names, or the best one that the compiler here can build for.

    raises: ConfigError if the variable names none that this processor runs, BuildError if there is no engine
    """
    return named_isa() or _best_built()


@cache
def _best_built() -> Isa:
    problems = []
    for isa in reversed(usable_isas()):
        try:
            open_library("fp32", isa)
        except BuildError as error:
            problems.append(error)
        else:
            return isa
    raise problems[0]


def library_for(dtype: torch.dtype) -> Library:
    """The engine that stores this type, for the instruction set in use."""
    return open_library(_STORAGE[dtype], isa_in_use())


def _open(path: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BuildError(f"the built library cannot be opened: {error}") from error
