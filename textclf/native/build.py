"""Build the native engine with the system compiler, once per machine, and keep it in the user's cache folder."""

import atexit
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import torch
from filelock import FileLock

from textclf.arrays import source_digest, text_digest
from textclf.errors import ConfigError, did_you_mean

Isa = Literal["plain", "avx2", "avx512", "avx512bf16"]
Storage = Literal["fp32", "bf16", "fp64"]

SOURCES = Path(__file__).parent
_AVX2 = ("avx2", "fma")
_AVX512 = (*_AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl")
# Features a processor must have, by the names of /proc/cpuinfo; the best set comes last.
_FEATURES: dict[Isa, tuple[str, ...]] = {
    "plain": (),
    "avx2": _AVX2,
    "avx512": _AVX512,
    "avx512bf16": (*_AVX512, "avx512_bf16"),
}


class BuildError(Exception):
    """The engine cannot be built or opened here; the text says why."""


@cache
def usable_isas() -> tuple[Isa, ...]:
    """Instruction sets that this processor runs, the best one last."""
    present = _processor_features()
    return tuple(isa for isa, needed in _FEATURES.items() if present.issuperset(needed))


def named_isa() -> Isa | None:
    """The instruction set that ``TEXTCLF_ISA`` names, if it does.

    raises: ConfigError if it names none that this processor runs
    """
    wanted = os.environ.get("TEXTCLF_ISA")
    for isa in usable_isas():
        if isa == wanted:
            return isa
    if wanted:
        hint = did_you_mean(wanted, get_args(Isa))
        known = ", ".join(usable_isas())
        raise ConfigError(f"TEXTCLF_ISA: {wanted!r} does not run here; this processor runs {known}{hint}")
    return None


def build(storage: Storage, isa: Isa, *, threads: bool = True) -> Path:
    """Compile the engine for one storage type and instruction set, or find it in the cache.

    threads: use OpenMP; a library without it runs everything on the calling thread, with the same results
    raises: BuildError if there is no compiler or it fails
    """
    compiler = _compiler()
    flags = _flags(storage, isa) + (["-fopenmp"] if threads else ["-Wno-unknown-pragmas"])
    target = _place(f"{storage}-{isa}-{_digest(compiler, flags)}.so")
    try:
        if not _is_whole(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(target.with_suffix(".lock")):  # one process builds, the others wait for it
                if not _is_whole(target):
                    _compile(compiler, flags, target)
    except OSError as error:
        raise BuildError(f"the cache folder cannot be written ({error}); name another one in TEXTCLF_CACHE") from error
    return target


def _place(name: str) -> Path:
    """Where a library lies: in ``TEXTCLF_CACHE``, or the user's cache folder, or else one of this process alone."""
    if named := os.environ.get("TEXTCLF_CACHE"):
        return Path(named) / "native" / name
    try:
        users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "textclf" / "native" / name
    except RuntimeError:  # a user without a home
        return _own_folder() / name
    return users if _is_whole(users) or _is_writable(users.parent) else _own_folder() / name


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the nearest one above it that is there."""
    return os.access(next(each for each in (folder, *folder.parents) if each.exists()), os.W_OK | os.X_OK)


@cache
def _own_folder() -> Path:
    """A temporary folder that nobody else can put a library into, for as long as this process runs."""
    folder = Path(tempfile.mkdtemp(prefix="textclf-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _is_whole(library: Path) -> bool:
    """Whether a library is there as it was built: to open a damaged one can end the process."""
    try:
        return _digest_file(library).read_text("ascii") == hashlib.sha256(library.read_bytes()).hexdigest()
    except (OSError, UnicodeDecodeError):
        return False


def _digest_file(library: Path) -> Path:
    return library.with_suffix(".sha256")


def engine_digest() -> str:
    """The first digits of a digest of the engine's C++ source."""
    return source_digest(SOURCES.glob("*.[ch]*"))


def _processor_features() -> frozenset[str]:
    info = Path("/proc/cpuinfo")
    if platform.machine() not in {"x86_64", "AMD64"} or not info.exists():
        return frozenset()
    for line in info.read_text().splitlines():
        if line.startswith("flags"):
            return frozenset(line.split(":", 1)[1].split())
    return frozenset()


def _compiler() -> tuple[str, ...]:
    """The compiler as the first words of a command; CXX may hold options too."""
    named = shlex.split(os.environ.get("CXX") or "")
    for name in named[:1] or ("c++", "g++", "clang++"):
        if path := shutil.which(name):
            return path, *named[1:]
    if named:
        raise BuildError(f"CXX names the C++ compiler {named[0]!r}, and it was not found")
    raise BuildError("no C++ compiler was found (c++, g++ or clang++; CXX names another)")


def compiler_name() -> str:
    """The compiler's version as it says it, with the options of CXX.

    raises: BuildError if there is none
    """
    compiler = _compiler()
    line = next(iter(_version(compiler).splitlines()), "")
    return " ".join((line.removeprefix(Path(compiler[0]).name).strip(), *compiler[1:]))


@cache
def _version(compiler: tuple[str, ...]) -> str:
    return subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False).stdout


def _flags(storage: Storage, isa: Isa) -> list[str]:
    features = [f"-m{name.replace('_', '')}" for name in _FEATURES[isa]]
    wide = ["-mprefer-vector-width=512"] if isa.startswith("avx512") else []
    return [
        "-std=c++17",
        "-O3",
        "-fPIC",
        "-fvisibility=hidden",
        "-fno-exceptions",
        "-fno-rtti",
        "-Wno-psabi",
        f"-DTEXTCLF_{storage.upper()}",
        *features,
        *wide,
    ]


def _digest(compiler: tuple[str, ...], flags: list[str]) -> str:
    machine = (sys.platform, platform.machine())
    return text_digest(engine_digest(), torch.__version__, *compiler, _version(compiler), *machine, *flags)[:16]


def _compile(compiler: tuple[str, ...], flags: list[str], target: Path) -> None:
    """Compile to a scratch folder beside the target, then move the library into place at once."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        compiled, linked = Path(scratch) / "engine.o", Path(scratch) / "engine.so"
        # Linked without an OpenMP library: its symbols are those of the one that torch has already loaded.
        undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
        for command in (
            [*compiler, *flags, "-c", str(SOURCES / "recurrence.cpp"), "-o", str(compiled)],
            [*compiler, "-shared", *undefined, str(compiled), "-o", str(linked)],
        ):
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode != 0:
                raise BuildError(f"{Path(compiler[0]).name} failed: {_first_error(result.stderr)}")
        digest = Path(scratch) / "digest"
        digest.write_text(hashlib.sha256(linked.read_bytes()).hexdigest(), "ascii")
        linked.replace(target)
        digest.replace(_digest_file(target))


def _first_error(text: str) -> str:
    lines = [line for line in text.splitlines() if "error" in line] or text.splitlines() or ["it said nothing"]
    return lines[0].replace(str(SOURCES), SOURCES.name)
