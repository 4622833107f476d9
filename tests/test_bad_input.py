"""Bad input of every kind: one clear line, exit code 2, no traceback, nothing written."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from ensemble.export import main as export
from search.run import main as search
from tests.builders import make_labels, make_table
from textclf.engine import native_problem

Breaker = Callable[[Path], list[str]]
"""Damages the files in a folder and returns further options of the command."""


def write_rows(path: Path, header: list[str], rows: list[list[str]]) -> None:
    """Write a CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good train.csv, test.csv and embedding file."""
    labels = make_labels("binary", 40, seed=0)
    train, test = make_table(labels, seed=1), make_table(np.zeros(6, dtype=np.int64), seed=2, first_id=40)
    rows = [list(row) for row in zip(train.row_ids, train.texts, map(str, labels), strict=True)]
    write_rows(tmp_path / "train.csv", ["id", "text", "label"], rows)
    write_rows(tmp_path / "test.csv", ["id", "text"], [list(row) for row in zip(test.row_ids, test.texts, strict=True)])
    (tmp_path / "vectors.txt").write_text("w1 0.1 0.2\nw2 0.3 0.4\n", encoding="utf-8")
    return tmp_path


def run_search(folder: Path, *options: str, dry: bool = True) -> Result:
    """Run the search command in this process, by default without the study itself."""
    named = {"--train": folder / "train.csv", "--test": folder / "test.csv", "--output": folder / "out"}
    flags = [part for option, value in named.items() for part in (option, str(value))]
    columns = ["--text", "text", "--target", "label", "--id", "id"]
    rest = ["--family", "tfidf_logreg", "--n-folds", "2", "--threads", "1", "--n-trials", "1"]
    arguments = [*flags, *columns, *rest, *(["--dry-run"] if dry else []), *options]
    return CliRunner().invoke(search, arguments, catch_exceptions=False)


def replace(path: Path, old: str, new: str, *, count: int = 1) -> list[str]:
    """Change a file's text."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, count), encoding="utf-8")
    return []


def overwrite(path: Path, text: str) -> list[str]:
    """Give a file another content."""
    path.write_text(text, encoding="utf-8")
    return []


def set_labels(path: Path, label_of_row: Callable[[int], str]) -> list[str]:
    """Give the training rows other labels."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    write_rows(path, header, [[*row[:2], label_of_row(number)] for number, row in enumerate(rows)])
    return []


def unwritable(folder: Path) -> list[str]:
    """An output folder whose place is taken by a file."""
    (folder / "file").write_text("x", encoding="utf-8")
    return ["--output", str(folder / "file" / "out")]


def spoil_encoding(folder: Path) -> list[str]:
    """A byte that is not UTF-8."""
    path = folder / "train.csv"
    path.write_bytes(path.read_bytes().replace(b"row3,", b"row3,caf\xe9 ", 1))
    return []


def toml(folder: Path, option: str, text: str) -> list[str]:
    """A TOML file for an option."""
    (folder / "some.toml").write_text(text, encoding="utf-8")
    return [option, str(folder / "some.toml")]


CASES: dict[str, tuple[Breaker, str]] = {
    "missing file": (lambda folder: ["--train", str(folder / "trian.csv")], "trian.csv"),
    "folder for a file": (lambda folder: ["--train", str(folder)], "folder"),
    "missing text column": (lambda _: ["--text", "txet"], "did you mean text"),
    "missing target column": (lambda _: ["--target", "labl"], "labl"),
    "missing id column in test": (lambda folder: replace(folder / "test.csv", "id,", "key,"), "test.csv"),
    "empty file": (lambda folder: overwrite(folder / "train.csv", ""), "train.csv"),
    "header alone": (lambda folder: overwrite(folder / "train.csv", "id,text,label\n"), "train.csv"),
    "one class": (lambda folder: set_labels(folder / "train.csv", lambda _: "1"), "two classes are needed"),
    "class rarer than folds": (
        lambda folder: set_labels(folder / "train.csv", lambda row: "rare" if row == 0 else str(row % 2)),
        "rare",
    ),
    "missing text": (lambda folder: replace(folder / "train.csv", "row3,", "row3,,"), "train.csv"),
    "missing label": (
        lambda folder: set_labels(folder / "train.csv", lambda row: "" if row == 4 else "01"[row % 2]),
        "label",
    ),
    "duplicate ids": (lambda folder: replace(folder / "train.csv", "row3,", "row2,"), "row2"),
    "wrong encoding": (spoil_encoding, "UTF-8"),
    "unknown metric": (lambda _: ["--metric", "roc_acu"], "did you mean roc_auc"),
    "unknown family": (lambda _: ["--family", "txtcnn"], "did you mean textcnn"),
    "precision of nothing": (lambda _: ["--precision", "bf16", "--family", "dan"], "recurrent"),
    "unknown precision": (lambda _: ["--precision", "fp16"], "bf16"),
    "unknown sampler": (lambda _: ["--sampler", "tpee"], "tpe"),
    "unknown pruner": (lambda _: ["--pruner", "mediann"], "median"),
    "unknown key in the configuration": (lambda folder: toml(folder, "--config", "n_trails = 3\n"), "n_trials"),
    "broken configuration": (lambda folder: toml(folder, "--config", "n_trials = = 3\n"), "TOML"),
    "unknown key in the space": (lambda folder: toml(folder, "--space", "[tfidf_logreg]\ncc = 1.0\n"), "cc"),
    "range upside down": (
        lambda folder: toml(folder, "--space", "[tfidf_logreg]\nc = {low = 2.0, high = 1.0}\n"),
        "swap",
    ),
    "unknown preset": (lambda _: ["--preset", "quik"], "quick"),
    "missing embedding file": (lambda folder: ["--embeddings", str(folder / "glove.txt")], "glove.txt"),
    "bad line in an embedding file": (
        lambda folder: [
            *replace(folder / "vectors.txt", "0.3 0.4", "0.3 none"),
            *("--family", "dan", "--embeddings", str(folder / "vectors.txt")),
        ],
        "line 2",
    ),
    "too few folds": (lambda _: ["--n-folds", "1"], "2"),
    "unwritable output": (unwritable, "file"),
    "unreadable enqueue file": (lambda folder: ["--enqueue", str(folder / "none.json")], "none.json"),
    "no such device": (lambda _: ["--device", "tpu"], "tpu"),
    "feature that is no number": (lambda _: ["--features", "id"], "id"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_gets_one_clear_line(folder: Path, case: str) -> None:
    """Exit code 2, one line that starts with error, names the culprit, and no output folder."""
    breaker, named = CASES[case]
    result = run_search(folder, *breaker(folder), dry=case != "unwritable output")
    lines = result.stderr.strip().splitlines()

    assert result.exit_code == 2, result.output
    assert len([line for line in lines if line.lower().startswith("error")]) == 1 or "Error" in result.stderr
    assert "Traceback" not in result.stderr
    assert named in result.stderr, result.stderr
    assert not (folder / "out").exists()


@pytest.mark.parametrize("name", ["TEXTCLF_ENGINE", "TEXTCLF_ISA"])
def test_an_engine_that_there_is_not_costs_no_trial(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It is refused as an option would be, before anything is written."""
    monkeypatch.setenv(name, "natve")
    native_problem.cache_clear()
    result = run_search(folder, dry=False)

    assert result.exit_code == 2, result.output
    assert f"error: {name}: 'natve'" in result.stderr
    assert not (folder / "out").exists()


def test_good_input_passes_the_same_way(folder: Path) -> None:
    """The cases above fail for what they break: untouched files are fine, and a dry run writes nothing."""
    result = run_search(folder)

    assert result.exit_code == 0, result.output + result.stderr
    assert not (folder / "out").exists()


def test_test_rows_that_are_training_rows_are_a_warning(folder: Path) -> None:
    """Ids in both files are said and do no harm."""
    replace(folder / "test.csv", "row40,", "row3,")
    result = run_search(folder)

    assert result.exit_code == 0
    assert "row3" in result.output


def test_a_sample_submission_with_other_ids_is_refused(folder: Path) -> None:
    """The first strange ids are named, and no submission is written."""
    assert run_search(folder, "--quiet", dry=False).exit_code == 0
    sample = folder / "sample.csv"
    write_rows(sample, ["id", "label"], [[f"other{number}", "0"] for number in range(6)])
    target = folder / "submission.csv"

    result = CliRunner().invoke(
        export,
        ["--output", str(folder / "out"), "--sample-submission", str(sample), "--submission", str(target)],
        catch_exceptions=False,
    )

    assert result.exit_code == 2
    assert "other0" in result.stderr
    assert not target.exists()


def test_an_export_without_a_study_says_what_to_do(tmp_path: Path) -> None:
    """A folder that holds no study is named."""
    result = CliRunner().invoke(export, ["--output", str(tmp_path / "nothing")], catch_exceptions=False)

    assert result.exit_code == 2
    assert "nothing" in result.stderr
    assert not (tmp_path / "nothing").exists()
