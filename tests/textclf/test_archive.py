"""Archives are there whole or not at all, and hold what was put in."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.limits import largest_file
from textclf.archive import RECORD, Archive, read_archive, write_archive
from textclf.errors import DataError, RunError


def example(value: int = 1) -> Archive:
    """An archive of all that one can hold."""
    return Archive(
        record={"value": value},
        arrays={"matrix": np.arange(6.0).reshape(2, 3) * value, "none": np.zeros((0, 4), dtype=np.int32)},
        strings={"words": ("a", "", "ß\n\u2028", "🙂"), "none": ()},
    )


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Types, shapes and strings of any script; arrays are read-only views of the files."""
    write_archive(tmp_path / "deep" / "folder", example())

    found = read_archive(tmp_path / "deep" / "folder")

    assert found.record == {"value": 1}
    assert found.strings == {"words": ("a", "", "ß\n\u2028", "🙂"), "none": ()}
    for name, array in example().arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype
    assert not found.arrays["matrix"].flags.writeable
    assert not found.arrays["matrix"].flags.owndata


@settings(deadline=None, derandomize=True, max_examples=50)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=6))
def test_any_strings_survive(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Line ends, zeros and characters beyond the first plane."""
    folder = tmp_path_factory.mktemp("archive") / "a"
    write_archive(folder, Archive(record={}, strings={"texts": texts}))

    assert list(read_archive(folder).strings["texts"]) == texts


def test_the_first_archive_at_a_place_stays(tmp_path: Path) -> None:
    """Two processes that write one archive do not disturb each other, and leave no drafts."""
    write_archive(tmp_path / "a", example(1))
    write_archive(tmp_path / "a", example(2))

    assert read_archive(tmp_path / "a").record == {"value": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_archive_that_cannot_be_finished_leaves_nothing(tmp_path: Path) -> None:
    """An array of objects would need pickle; it is refused on the way."""
    with pytest.raises(ValueError, match="allow_pickle=False"):
        write_archive(tmp_path / "a", Archive(record={}, arrays={"x": np.array([{}], dtype=object)}))

    assert list(tmp_path.iterdir()) == []


@contextmanager
def no_space() -> Iterator[None]:
    """Let every file that is written be the device that is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    real = Path.open
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", lambda self, *how: real(Path("/dev/full") if "wb" in how else self, *how))
        yield


@pytest.mark.parametrize(
    ("no_room", "told"),
    [
        (no_space, "No space left on device); make room, or choose another disk"),
        (lambda: largest_file(100), "File too large); choose an empty folder"),
    ],
    ids=["space", "length"],
)
def test_a_full_disk_is_named(no_room: Callable[[], AbstractContextManager[None]], told: str, tmp_path: Path) -> None:
    """With its own cause, which numpy's way of writing arrays to files would lose, and nothing is left."""
    archive = Archive(record={}, arrays={"large": np.zeros(100_000)})

    with pytest.raises(RunError, match=re.escape(f"a: cannot be written ({told}")), no_room():
        write_archive(tmp_path / "a", archive)

    assert list(tmp_path.iterdir()) == []


def test_a_place_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    """Nobody's files are overwritten; a file is no folder."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("x")
    (tmp_path / "file").write_text("x")

    with pytest.raises(RunError, match=r"cannot be written .*; choose an empty folder"):
        write_archive(tmp_path / "taken", example())
    with pytest.raises(RunError, match=r"cannot be written .*; choose another folder"):
        write_archive(tmp_path / "file" / "a", example())
    assert (tmp_path / "taken" / "mine.txt").read_text() == "x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]


@pytest.mark.parametrize(
    "harm", ["missing", "no record", "half a record", "no array", "half an array", "empty array", "pickle"]
)
def test_a_torn_archive_is_refused(tmp_path: Path, harm: str) -> None:
    """With what to do; pickled objects are never loaded."""
    folder = tmp_path / "a"
    if harm != "missing":
        write_archive(folder, example())
    if harm == "no record":
        (folder / RECORD).unlink()
    if harm == "half a record":
        (folder / RECORD).write_text((folder / RECORD).read_text()[:30])
    if harm == "no array":
        (folder / "matrix.npy").unlink()
    if harm == "half an array":
        (folder / "matrix.npy").write_bytes((folder / "matrix.npy").read_bytes()[:-8])
    if harm == "empty array":
        (folder / "matrix.npy").write_bytes(b"")  # what a power cut leaves of a file that was never flushed
    if harm == "pickle":
        np.save(folder / "matrix.npy", np.array([{}], dtype=object), allow_pickle=True)

    with pytest.raises(DataError, match=r"not a whole folder of this program .*; remove it and start again"):
        read_archive(folder)
