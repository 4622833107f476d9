"""Files that appear whole or not at all."""

import os
import tempfile
from pathlib import Path

from textclf.errors import ConfigError


def write_whole(path: Path, text: str) -> None:
    """Write UTF-8 text beside its place and move it there; ConfigError where that cannot be done."""
    check_writable(path)
    try:
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(draft).chmod(0o666 & ~current_umask())
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); choose another place, or make room and set its permissions"
        ) from None


def check_writable(path: Path) -> None:
    """Refuse a place where no file can appear, before any work is done."""
    if path.is_dir():
        raise ConfigError(f"{path}: this is a folder; name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it first, or choose another place")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"{path}: the folder {path.parent} is not writable; choose another place")


def current_umask() -> int:
    """The permissions that new files of this process go without."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
