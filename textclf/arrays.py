"""Array types used in signatures, and the one way to digest an array."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ObjectArray = NDArray[np.object_]


def array_digest(array: NDArray[Any]) -> str:
    """SHA-256 over dtype, shape and bytes (C order), as hex.

    >>> array_digest(np.zeros(2)) == array_digest(np.zeros((2, 1)))
    False
    """
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def text_digest(*parts: str) -> str:
    """SHA-256 over strings, each with its length before it, as hex: ("ab", "c") differs from ("a", "bc")."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()


def source_digest(paths: Iterable[Path]) -> str:
    """The first digits of a digest of source files, whatever their order and folder."""
    return text_digest(*(part for path in sorted(paths) for part in (path.name, path.read_text("utf-8"))))[:12]
