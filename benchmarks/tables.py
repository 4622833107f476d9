"""Results as Markdown tables under benchmarks/results, with the machine and versions they were measured with."""

import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def write_table(
    name: str, *, title: str, notes: Sequence[str], header: Sequence[str], rows: Sequence[Sequence[object]]
) -> Path:
    """Write benchmarks/results/NAME.md anew; returns its path. Cells after the first are right-aligned."""
    lines = [f"# {title}", "", *(line for note in notes for line in (note, ""))]
    lines += [f"| {' | '.join(header)} |", f"| --- |{' ---: |' * (len(header) - 1)}"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def spread(values: Sequence[float], *, digits: int = 2) -> str:
    """Median (min to max), or nothing of nothing."""
    if not values:
        return ""
    median, least, most = (f"{of(values):.{digits}f}" for of in (statistics.median, min, max))
    return f"{median} ({least} to {most})"


def describe_machine(*packages: str) -> str:
    """One sentence: processor, cores, Python and the versions of the named packages; no host name."""
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}."


def processor() -> str:
    """The processor's name, or its kind where the system does not tell the name."""
    return next(
        (line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
