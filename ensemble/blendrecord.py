"""Blends as JSON values and arrays, and back: what a found blend decided, without pickle."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.calibration import CalibratedBlend, Isotonic, Temperature
from ensemble.mixtures import Blend, LogPool, RankMean, WeightedMean
from ensemble.recipe import ChosenBlend
from textclf.errors import ConfigError

KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (WeightedMean, RankMean, LogPool, ChosenBlend, CalibratedBlend, Temperature, Isotonic)
}


def describe_blend(blend: Blend) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Take a blend apart into JSON values and the arrays they name.

    Raises ConfigError for a kind of blend that is not in KINDS.
    """
    arrays: dict[str, NDArray[Any]] = {}
    return _describe(blend, arrays), arrays


def _describe(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, np.ndarray):
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, tuple):
        return [_describe(part, arrays) for part in value]
    if isinstance(value, bool | int | float | str):
        return value
    kind = type(value).__name__
    if KINDS.get(kind) is not type(value):
        raise ConfigError(
            f"method: a blend of kind {kind} cannot be shipped; list its class in ensemble.blendrecord.KINDS, or "
            "choose another method"
        )
    fields = {field.name: _describe(getattr(value, field.name), arrays) for field in dataclasses.fields(value)}
    return {"kind": kind, **fields}


def make_blend(described: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Put a blend together again."""
    if isinstance(described, list):
        return tuple(make_blend(part, arrays) for part in described)
    if not isinstance(described, dict):
        return described
    if "array" in described:
        return arrays[described["array"]]
    fields = {name: make_blend(part, arrays) for name, part in described.items() if name != "kind"}
    return KINDS[described["kind"]](**fields)
