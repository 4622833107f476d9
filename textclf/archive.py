"""Folders of arrays and strings: written whole or not at all, read memory-mapped, never unpickled."""

import errno
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from textclf.errors import DataError, RunError

RECORD = "record.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Archive:
    """What a folder holds: a JSON record, named arrays and named lists of strings."""

    record: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    strings: Mapping[str, Sequence[str]] = field(default_factory=dict)


def write_archive(folder: Path, archive: Archive) -> None:
    """Write an archive beside its place, then rename it there; an archive that is there already stays as it is.

    Raises RunError where the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise RunError(f"{folder.parent}: {_describe(error, mend='choose another folder')}") from error
    try:
        for name, array in archive.arrays.items():
            _save(draft / f"{name}.npy", array)
        for name, texts in archive.strings.items():
            _save(draft / f"{name}.text.npy", np.frombuffer("".join(texts).encode(), dtype=np.uint8))
            _save(draft / f"{name}.ends.npy", np.cumsum([len(text) for text in texts], dtype=np.int64))
        names = {"arrays": sorted(archive.arrays), "strings": sorted(archive.strings)}
        (draft / RECORD).write_text(json.dumps({"record": dict(archive.record), **names}, indent=1), encoding="utf-8")
        draft.chmod(0o755)
        draft.rename(folder)
    except OSError as error:
        if not (folder / RECORD).is_file():  # else another process was faster, or the archive was there
            raise RunError(f"{folder}: {_describe(error, mend='choose an empty folder')}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def read_archive(folder: Path) -> Archive:
    """Read an archive; its arrays are read-only views of the files, shared between processes.

    Raises DataError where the folder holds no archive or a torn one.
    """
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return Archive(
            record=content["record"],
            arrays={name: _load(folder / f"{name}.npy") for name in content["arrays"]},
            strings={name: _load_strings(folder, name) for name in content["strings"]},
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:  # EOFError: an array file without a byte
        raise DataError(f"{folder}: not a whole folder of this program ({error}); remove it and start again") from error


def _save(path: Path, array: NDArray[Any]) -> None:
    """As np.save does, but an error says why: numpy's way with files loses the cause, a full disk for one."""
    with path.open("wb") as file:
        np.lib.format.write_array(SimpleNamespace(write=file.write), array, allow_pickle=False)


def _describe(error: OSError, *, mend: str) -> str:
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"cannot be written ({error.strerror}); {'make room, or choose another disk' if is_full else mend}"


def _load(path: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except ValueError:  # an empty file cannot be mapped
        array: NDArray[Any] = np.load(path, allow_pickle=False)
        return array


def _load_strings(folder: Path, name: str) -> tuple[str, ...]:
    text = _load(folder / f"{name}.text.npy").tobytes().decode()
    ends = [0, *_load(folder / f"{name}.ends.npy").tolist()]
    return tuple(text[start:end] for start, end in pairwise(ends))
