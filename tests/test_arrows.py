"""Imports point one way, and a bare import or --help loads nothing heavy."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ARROWS = {"textclf": set[str](), "search": {"textclf"}, "ensemble": {"textclf"}}
OURS = {*ARROWS, "tests", "benchmarks", "docs"}
HEAVY = ("torch", "mlflow", "optuna", "pandas", "sklearn", "scipy", "matplotlib", "plotly")
COMMANDS = sorted(
    f"{path.parent.name}.{path.stem}"
    for package in ("search", "ensemble")
    for path in (ROOT / package).glob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)


def imported_roots(source: str) -> set[str]:
    """Top-level packages a source imports anywhere, even inside a function."""
    nodes = list(ast.walk(ast.parse(source)))
    named = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.split(".")[0] for name in named}


def sources(package: str) -> list[Path]:
    """Files of a package."""
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", ARROWS)
def test_arrows_point_one_way(package: str) -> None:
    """No package imports one that stands above or beside it."""
    for path in sources(package):
        assert not imported_roots(path.read_text(encoding="utf-8")) & (ARROWS.keys() - ARROWS[package] - {package}), (
            path
        )


def test_a_wrong_arrow_is_seen() -> None:
    """Even an import hidden in a function counts."""
    assert imported_roots("def f():\n    from search.space import g") == {"search"}


def declared(*extras: str) -> set[str]:
    """Names of the distributions that the project and some of its extras require."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *(line for name in extras for line in project["optional-dependencies"][name])]
    return {re.split(r"[\s<>=\[;]", line)[0].lower().replace("_", "-") for line in lines}


def undeclared(imported: set[str], required: set[str]) -> set[str]:
    """Imported packages that are installed, and none of whose distributions is required."""
    owners = packages_distributions()
    found = {name: {owner.lower().replace("_", "-") for owner in owners[name]} for name in imported if name in owners}
    return {name for name, distributions in found.items() if not distributions & required} - OURS


def test_what_is_imported_is_declared() -> None:
    """Nothing of ours rests on a package that happens to come along with another one."""
    extras = ("cmaes", "dashboard", "dask", "demo", "docs", "kernels", "postgresql", "transformers")
    for folders, required in (
        (("textclf", "search", "ensemble"), declared(*extras)),
        (("tests", "benchmarks", "docs"), declared(*extras, "dev")),
    ):
        imported = {
            name
            for folder in folders
            for path in sources(folder)
            for name in imported_roots(path.read_text(encoding="utf-8"))
        }
        assert undeclared(imported - set(sys.stdlib_module_names), required) == set()
    assert undeclared({"click", "numpy"}, declared()) == {"click"}  # it would be seen


def test_the_objective_knows_neither_optuna_nor_mlflow() -> None:
    """Textclf is usable without a study."""
    for path in sources("textclf"):
        assert not imported_roots(path.read_text(encoding="utf-8")) & {"optuna", "mlflow"}, path


def test_mlflow_is_imported_in_one_place_per_package() -> None:
    """Whoever replaces the tracker touches one file of each package."""
    for package in ("search", "ensemble"):
        importers = [
            path.stem for path in sources(package) if "mlflow" in imported_roots(path.read_text(encoding="utf-8"))
        ]
        assert set(importers) <= {"tracking", "model"}, importers


def loaded_by(*arguments: str) -> set[str]:
    """Modules that a Python started with these arguments has loaded at its end."""
    probe = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print('LOADED', json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        "import runpy\n"
        f"sys.argv = {list(arguments)!r}\n"
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True, cwd=ROOT)
    line = next(line for line in done.stderr.splitlines() if line.startswith("LOADED"))
    return set(ast.literal_eval(line.removeprefix("LOADED ")))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_heavy(command: str) -> None:
    """--help answers at once: no torch, no MLflow, no Optuna, no pandas."""
    assert not loaded_by(command, "--help") & set(HEAVY)


def test_a_heavy_import_is_seen() -> None:
    """The guard above would notice scikit-learn."""
    assert "sklearn" in loaded_by("sklearn.exceptions")


def test_the_two_commands_exist() -> None:
    """The README's commands are among those checked."""
    assert {"search.run", "ensemble.export"} <= set(COMMANDS)
