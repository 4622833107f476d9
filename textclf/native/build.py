"""Build the native engine with the system compiler, once per machine, and keep it in the user's cache folder."""

import os
import platform
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
    target = cache_folder() / f"{storage}-{isa}-{_digest(compiler, flags)}.so"
    if target.exists():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_suffix(".lock")):  # one process builds, the others wait for it
            if not target.exists():
                _compile(compiler, flags, target)
    except OSError as error:
        raise BuildError(f"the cache folder cannot be written ({error}); name another one in TEXTCLF_CACHE") from error
    return target


def cache_folder() -> Path:
    """Where built libraries lie: ``TEXTCLF_CACHE``, or the user's cache folder, or else one of this process alone."""
    if named := os.environ.get("TEXTCLF_CACHE"):
        return Path(named) / "native"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    nearest = next(folder for folder in (base, *base.parents) if os.access(folder, os.F_OK))
    return base / "textclf" / "native" if os.access(nearest, os.W_OK) else _own_folder()


@cache
def _own_folder() -> Path:
    """A temporary folder that nobody else can put a library into."""
    return Path(tempfile.mkdtemp(prefix="textclf-"))


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


def _compiler() -> str:
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and (path := shutil.which(name)):
            return path
    raise BuildError("no C++ compiler was found (c++, g++ or clang++; CXX names another)")


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


def _digest(compiler: str, flags: list[str]) -> str:
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    return text_digest(engine_digest(), torch.__version__, version, sys.platform, platform.machine(), *flags)[:16]


def _compile(compiler: str, flags: list[str], target: Path) -> None:
    """Compile to a scratch folder beside the target, then move the library into place at once."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        compiled, linked = Path(scratch) / "engine.o", Path(scratch) / "engine.so"
        # Linked without an OpenMP library: its symbols are those of the one that torch has already loaded.
        undefined = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
        for command in (
            [compiler, *flags, "-c", str(SOURCES / "recurrence.cpp"), "-o", str(compiled)],
            [compiler, "-shared", *undefined, str(compiled), "-o", str(linked)],
        ):
            result = subprocess.run(command, capture_output=True, text=True, check=False)
            if result.returncode != 0:
                raise BuildError(f"{Path(compiler).name} failed: {_first_error(result.stderr)}")
        linked.replace(target)


def _first_error(text: str) -> str:
    lines = [line for line in text.splitlines() if "error" in line] or text.splitlines() or ["it said nothing"]
    return lines[0].replace(str(SOURCES), SOURCES.name)
