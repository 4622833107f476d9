"""A folder of safetensors files named by their own SHA-256: equal content lies there once, altered content is seen."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor

from textclf.errors import DataError

SUFFIX = ".safetensors"


def write_tensors(folder: Path, tensors: Mapping[str, Tensor | NDArray[Any]]) -> str:
    """Write named tensors to one file of the folder; returns its name, under which ``read_tensors`` finds it."""
    content = save({name: _alone(tensor) for name, tensor in tensors.items()})
    name = hashlib.sha256(content).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{SUFFIX}"
    if not path.exists():
        path.write_bytes(content)
    return name


def read_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """Read what ``write_tensors`` wrote; DataError where the file is missing or not what was written."""
    path = folder / f"{name}{SUFFIX}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); copy the whole model again") from None
    if hashlib.sha256(content).hexdigest() != name:
        raise DataError(f"{path}: its content is not what was written (digest differs); copy the whole model again")
    return load(content)


def pack_strings(strings: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Strings as two arrays, for ``write_tensors``: all bytes of UTF-8, and where each string ends."""
    raw = [string.encode() for string in strings]
    return {
        "bytes": np.frombuffer(b"".join(raw), dtype=np.uint8),
        "ends": np.cumsum([len(string) for string in raw], dtype=np.int64),
    }


def unpack_strings(packed: Mapping[str, Tensor]) -> tuple[str, ...]:
    """The strings that ``pack_strings`` packed."""
    raw = packed["bytes"].numpy().tobytes()
    ends = [0, *packed["ends"].tolist()]
    return tuple(raw[begin:end].decode() for begin, end in pairwise(ends))


def _alone(tensor: Tensor | NDArray[Any]) -> Tensor:
    """A copy that shares no memory, as the format demands."""
    if isinstance(tensor, Tensor):
        return tensor.detach().cpu().clone().contiguous()
    return torch.from_numpy(np.array(tensor, order="C"))
