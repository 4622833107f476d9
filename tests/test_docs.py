"""The documents are true: their commands run, their options exist, their links lead somewhere, and the site builds."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest

from tests.competition import write_competition

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.glob("*.md")])
PROGRAMS = ("search.run", "search.ui", "search.report", "search.reproduce", "ensemble.export")
FENCE = re.compile(r"(?P<mark><!-- run[^>]*-->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^    (\S.*(?:\n        .*)*)", re.MULTILINE)
FILE_NAME = re.compile(r"# (\w+\.(?:py|toml|json))\n")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SECONDS = 280


@dataclass(frozen=True)
class Block:
    """A fenced block of a document; marked ones are run, in the order they stand."""

    document: Path
    language: str
    text: str
    is_marked: bool


def blocks_of(document: Path) -> list[Block]:
    """The fenced blocks of a document."""
    found = FENCE.finditer(document.read_text(encoding="utf-8"))
    return [Block(document, each["language"], each["text"], each["mark"] is not None) for each in found]


def commands_in(document: Path) -> Iterator[str]:
    """Every call of our programs in a document, its lines joined, without comments."""
    text = document.read_text(encoding="utf-8")
    shells = [block.text for block in blocks_of(document) if block.language == "bash"]
    shells += [each[1] for each in INDENTED.finditer(FENCE.sub("", text))]
    for shell in shells:
        for line in shell.replace("\\\n", " ").splitlines():
            if re.search(r"python\d* -m (search|ensemble|benchmarks)\.", line):
                yield re.sub(r"\s#\s.*", "", line.strip())


def options_of(program: str) -> dict[str, click.Option]:
    """The options a program really has, by name."""
    main = importlib.import_module(program).main
    return {name: option for option in main.params for name in (*option.opts, *option.secondary_opts)}


COMMANDS = [(document, command) for document in DOCUMENTS for command in commands_in(document)]


@pytest.mark.parametrize(("document", "command"), COMMANDS, ids=lambda value: str(value)[-60:])
def test_every_command_in_the_documents_exists(document: Path, command: str) -> None:
    """Its module is there, each option is one of --help, and a choice is one of the choices."""
    words = command.split(" -m ", maxsplit=1)[1].split()
    program, arguments = words[0], words[1:]
    if program.startswith("benchmarks."):
        assert (ROOT / f"{program.replace('.', '/')}.py").is_file(), f"{document.name}: {command}"
        return
    known = options_of(program)
    for place, word in enumerate(arguments):
        if word.startswith("--"):
            assert word in known, f"{document.name}: {program} has no option {word}"
            kind = known[word].type
            if isinstance(kind, click.Choice):
                assert arguments[place + 1] in kind.choices


def test_a_wrong_option_would_be_seen() -> None:
    """The check above bites, and it looks at a good number of commands of each program."""
    assert "--n-trails" not in options_of("search.run")
    called = [command.split(" -m ")[1].split()[0] for _, command in COMMANDS]
    assert set(PROGRAMS) <= set(called)
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_says_what_it_does(program: str) -> None:
    """No option is without help."""
    main = importlib.import_module(program).main
    assert main.help
    assert all(option.help for option in main.params), program


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files_and_headings_that_exist(document: Path) -> None:
    """Relative links name files of the project (or generated pages), and fragments name headings."""
    for link in LINK.findall(FENCE.sub("", document.read_text(encoding="utf-8"))):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            continue
        target = document if not parts.path else (document.parent / parts.path).resolve()
        if target.parent == DOCS / "reference":
            assert target.stem in ("commands", "python", "names"), link
            continue
        assert target.is_file(), f"{document.name}: {link}"
        if parts.fragment and target.suffix == ".md":
            assert parts.fragment in anchors(target), f"{document.name}: {link}"


def anchors(document: Path) -> set[str]:
    """The fragments that a document's headings answer to."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", document.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_configuration_in_the_documents_is_well_formed(document: Path) -> None:
    """TOML and JSON blocks parse; TOML that changes the space is one that a study takes."""
    import json
    import tomllib

    from search.options import make_options
    from search.space import make_space
    from textclf.families import FAMILIES

    for block in blocks_of(document):
        if block.language == "json":
            json.loads(block.text)
        if block.language == "toml":
            content = tomllib.loads(block.text)
            if block.text.startswith("# space.toml"):
                make_space([name for name in FAMILIES if name != "encoder"], content, source=document.name)
            else:
                make_options((document.name, {key: value for key, value in content.items() if key != "preset"}))


def run_marked(document: Path, folder: Path) -> list[str]:
    """Write the marked files of a document into a folder and run its marked commands there; returns what they said."""
    said = []
    for block in blocks_of(document):
        if not block.is_marked:
            continue
        named = FILE_NAME.match(block.text)
        if named:
            (folder / named[1]).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            (folder / "notebook_cell.py").write_text(block.text, encoding="utf-8")
            said.append(run_shell("python notebook_cell.py", folder))
        else:
            said.append(run_shell(block.text, folder))
    return said


def run_shell(text: str, folder: Path) -> str:
    """Run shell text as it stands, with this environment's python first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]), "COLUMNS": "160"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def competition(tmp_path: Path) -> Path:
    """A folder with a competition's files."""
    write_competition(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tutorial_leads_to_a_submission(competition: Path) -> None:
    """From three files to a submission and its proof, by the tutorial's commands alone; then its study in pandas."""
    dry, first, _, earnest, blend, proof, notebook = run_marked(DOCS / "tutorial.md", competition)

    assert "the study takes about" in dry
    assert "6 complete" in first or "pruned" in first
    assert "coverage of glove.txt" in earnest
    assert "blend (greedy)" in blend
    assert "trial 0: equal" in proof
    assert "cross_fitted" in notebook
    sample = (competition / "sample_submission.csv").read_text().splitlines()
    made = (competition / "submission.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in made] == [line.split(",")[0] for line in sample]
    assert (competition / "runs" / "report.html").stat().st_size > 100_000

    run_marked(DOCS / "reading.md", competition)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_worked_examples_of_extending_work(competition: Path) -> None:
    """A network, a metric and a blend of one's own go through study, workers and blend; the network is shipped."""
    pooled, shipped, served, mine = run_marked(DOCS / "extending.md", competition)

    assert re.search(r"pooled\s", pooled)
    assert "4 complete" in pooled or "pruned" in pooled
    assert "model: pooled-model" in shipped
    assert "proba_1" in served
    scores, weights = mine.strip().splitlines()[-2:]
    assert len(scores.split(",")) == 4
    assert "trial" in weights
    assert (competition / "mine.csv").is_file()


@pytest.mark.slow
def test_the_site_builds_strictly_and_asks_no_other_machine(tmp_path: Path) -> None:
    """No warning: every page is in the menu, every link leads somewhere; no font or script comes from elsewhere."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.relative_to(tmp_path / "site").as_posix(): path.read_text() for path in tmp_path.rglob("*.html")}

    assert {"index.html", "tutorial.html", "reference/commands.html", "reference/python.html"} <= pages.keys()
    assert "--n-trials" in pages["reference/commands.html"]
    assert "run_study" in pages["reference/python.html"]
    for name, page in pages.items():
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(https?://[^\s\">]+)", page)
        assert [address for address in loaded if "rel=canonical" not in address] == [], name
