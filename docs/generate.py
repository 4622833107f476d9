"""Write the reference pages when the site is built: commands from --help, Python from docstrings, names from tables.

A hook of MkDocs (see mkdocs.yml). Nothing is kept in the repository, so nothing can fall behind the code.
"""

import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "search.run": "Run a study, or go on with it.",
    "search.reproduce": "Run trials again and compare, bit by bit.",
    "search.ui": "Look at a study in MLflow.",
    "search.report": "Write a study as one HTML page.",
    "ensemble.export": "Blend a study into a submission, and into a model to ship.",
}
PUBLIC = {
    "search": ("run_study", "load_study", "StudyResult"),
    "search.report": ("write_report",),
    "search.space": ("Numbers", "Choices"),
    "ensemble": ("blend_study", "BlendResult"),
    "ensemble.mixtures": ("Evidence", "Blend", "WeightedMean"),
    "textclf.build": ("build_inputs", "FoldRequest", "InputsReport"),
    "textclf.config": ("Task", "Columns"),
    "textclf.crossval": ("cross_validate", "OofRun", "FoldEvent"),
    "textclf.families": ("net_family", "parse_config", "config_dict"),
    "textclf.inputs": ("Inputs", "save_inputs", "load_inputs"),
    "textclf.metrics": ("Metric", "get_metric", "score_oof", "OofScore"),
    "textclf.nets": ("NetShape", "TokenVectors", "Head"),
    "textclf.store": ("PredictionStore",),
    "textclf.records": ("StudyRecord", "TrialSummary", "TrialRecord"),
    "textclf.errors": ("TextclfError", "ConfigError", "DataError", "RunError"),
}
GENERATED = "This page is made from the code when the site is built.\n"
STARTS_LINE = re.compile(r"[a-z_][\w, ()*]*: |Raises |returns: ")
MODULES = re.compile(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z])")
WIDTH = 100


def on_files(files: Any, *, config: Any) -> Any:
    """Add the generated pages; called by MkDocs."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def pages() -> dict[str, str]:
    """The generated pages by name."""
    return {"commands": commands_page(), "python": python_page(), "names": names_page()}


def commands_page() -> str:
    """What each command says to --help."""
    with ThreadPoolExecutor() as pool:
        helps = list(pool.map(help_of, COMMANDS))
    parts = [
        f"## {module}\n\n{what}\n\n```text\n{text}\n```\n"
        for (module, what), text in zip(COMMANDS.items(), helps, strict=True)
    ]
    return f"# Commands\n\n{GENERATED}\n" + "\n".join(parts)


def help_of(module: str) -> str:
    """What a command says to --help."""
    environment = os.environ | {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines())


def python_page() -> str:
    """Signatures and docstrings of the public names."""
    parts = [f"# Python\n\n{GENERATED}"]
    for module_name, names in PUBLIC.items():
        module = importlib.import_module(module_name)
        parts.append(f"## {module_name}\n\n{as_markdown(inspect.getdoc(module) or '')}")
        parts += [describe(getattr(module, name), name, module_name) for name in names]
    return "\n\n".join(parts) + "\n"


def describe(thing: Any, name: str, module_name: str) -> str:
    """A function or class: its signature, its docstring, its public methods."""
    parts = [f"### {module_name}.{name}", f"```python\n{signature_of(thing, name)}\n```"]
    parts.append(as_markdown(inspect.getdoc(thing) or ""))
    if inspect.isclass(thing):
        for key, member in vars(thing).items():
            function = member.fget if isinstance(member, property) else member
            if key.startswith("_") or not inspect.isfunction(function):
                continue
            shown = key if isinstance(member, property) else signature_of(function, key)
            parts.append(f"**`{shown}`**" if len(shown) < WIDTH else f"```python\n{shown}\n```")
            parts.append(as_markdown(inspect.getdoc(function) or ""))
    return "\n\n".join(parts)


def signature_of(thing: Any, name: str) -> str:
    """The call, one argument per line where it is long; modules of types are left out."""
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return f"{name}(message: str)"
    signature = inspect.signature(thing)
    arguments = [argument_of(one) for one in signature.parameters.values() if one.name != "self"]
    kinds = [one.kind for one in signature.parameters.values() if one.name != "self"]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        arguments.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    returned = signature.return_annotation
    ending = "" if returned in (signature.empty, None) else f" -> {type_of(returned)}"
    short = f"{name}({', '.join(arguments)}){ending}"
    return short if len(short) < WIDTH else f"{name}(\n    " + ",\n    ".join(arguments) + f",\n){ending}"


def argument_of(argument: inspect.Parameter) -> str:
    """An argument with its type and its default."""
    stars = {argument.VAR_POSITIONAL: "*", argument.VAR_KEYWORD: "**"}.get(argument.kind, "")
    shown = f"{stars}{argument.name}: {type_of(argument.annotation)}"
    if argument.default is argument.empty:
        return shown
    default = getattr(argument.default, "__name__", None) or repr(argument.default)
    return f"{shown} = {'...' if 'factory' in default else default}"


def type_of(annotation: Any) -> str:
    """A type without the modules that its parts come from."""
    return MODULES.sub("", inspect.formatannotation(annotation)).replace("'", "")


def as_markdown(docstring: str) -> str:
    """Paragraphs; each described argument on a line of its own; examples as code."""
    parts = []
    for paragraph in docstring.split("\n\n"):
        if paragraph.lstrip().startswith((">>>", "├", "└")) or "├" in paragraph or "    " in paragraph[:4]:
            parts.append(f"```text\n{paragraph}\n```")
            continue
        lines: list[str] = []
        for line in paragraph.splitlines():
            starts = STARTS_LINE.match(line) or not lines
            lines += [line.strip()] if starts else []
            if not starts:
                lines[-1] += f" {line.strip()}"
        parts.append("  \n".join(line.replace("``", "`") for line in lines))
    return "\n\n".join(parts)


def names_page() -> str:
    """Everything that an option or a file may name."""
    from ensemble.blend import BLENDS
    from ensemble.calibration import CALIBRATIONS
    from search.pruning import PRUNERS
    from search.sampler import REFUSED, SAMPLERS
    from search.space import DEFAULT_RANGES
    from textclf.families import FAMILIES
    from textclf.metrics import METRICS
    from textclf.text import STEPS

    metrics = ([f"`{one.name}`", one.description, ", ".join(sorted(one.kinds))] for one in METRICS.values())
    families = ([f"`{name}`", family.description] for name, family in FAMILIES.items())
    steps = ([f"`{name}`", first_sentence(step)] for name, step in STEPS.items())
    blends = ([f"`{name}`", first_sentence(blend)] for name, blend in BLENDS.items())
    calibrations = ([f"`{name}`", first_sentence(one)] for name, one in CALIBRATIONS.items())
    refused = ([f"`{name}`", why] for name, why in REFUSED.items())
    ranges = (
        [f"`{family}`", f"`{name}`", str(values)]
        for family, all_of in DEFAULT_RANGES.items()
        for name, values in all_of.items()
    )
    parts = [
        f"# Names\n\n{GENERATED}",
        "## Metrics\n\nAll are higher-is-better; losses carry a minus sign.\n",
        table(("name", "what", "tasks"), metrics),
        f"## Families\n\n{table(('name', 'what'), families)}",
        f"## Default ranges\n\n{table(('family', 'parameter', 'range'), ranges)}",
        f"## Cleaning steps\n\nJoined by `+` in a recipe, in any order.\n\n{table(('name', 'what'), steps)}",
        f"## Blends\n\n{table(('name', 'what'), blends)}",
        f"## Calibrations\n\n{table(('name', 'what'), calibrations)}",
        f"## Samplers\n\n{', '.join(f'`{name}`' for name in SAMPLERS)}. Refused:\n\n{table(('name', 'why'), refused)}",
        f"## Pruners\n\n{', '.join(f'`{name}`' for name in PRUNERS)}",
    ]
    return "\n\n".join(parts) + "\n"


def first_sentence(thing: Any) -> str:
    """The first paragraph of a docstring in one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split()).replace("``", "`")


def table(heading: tuple[str, ...], rows: Iterable[list[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(heading)} |", "|" + ":--|" * len(heading)]
    return "\n".join(lines + [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows])
