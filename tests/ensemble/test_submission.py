"""Submissions follow the sample to the letter."""

from pathlib import Path

import numpy as np
import pytest

from ensemble.submission import plan_submission, render_submission
from tests.ensemble.pools import BINARY, LABELS, THREE, noisy_proba, truth
from tests.ensemble.stores import N_TEST, make_study
from textclf.arrays import FloatArray
from textclf.config import Task
from textclf.errors import ConfigError, DataError
from textclf.metrics import get_metric
from textclf.records import StudyRecord

IDS = [f"{row:03d}" for row in range(N_TEST)]


def proba_of(study: StudyRecord) -> FloatArray:
    """Some probabilities of the study's test rows."""
    hidden = truth(study.task, n_rows=N_TEST, seed=4)
    return noisy_proba(hidden, study.task, knowledge=1.0, seed=1)


def write_sample(folder: Path, header: str, cells: str, *, ids: list[str] = IDS) -> Path:
    """A sample whose rows are all alike but for the id."""
    path = folder / "sample.csv"
    path.write_text("\n".join([header, *(f"{row_id}{cells}" for row_id in ids)]) + "\n")
    return path


def submit(
    study: StudyRecord, sample: Path | None, *, values: str = "auto", thresholds: tuple[float, ...] | None = None
) -> list[list[str]]:
    """Plan and render, and split the text into cells."""
    metric = get_metric(study.metric, study.task)
    plan = plan_submission(study, metric, sample=sample, values=values)  # type: ignore[arg-type]
    text = render_submission(plan, study, proba_of(study), thresholds=thresholds)
    assert text.endswith("\n")
    return [line.split(",") for line in text.splitlines()]


@pytest.mark.parametrize(
    ("metric", "cells", "expected"),
    [
        ("f1", ",0", "labels"),
        ("roc_auc", ",0", "probabilities"),
        ("log_loss", ",1", "probabilities"),
        ("accuracy", ",1", "labels"),
        ("f1", ",0.5", "probabilities"),
    ],
)
def test_one_column_holds_what_sample_and_metric_say(tmp_path: Path, metric: str, cells: str, expected: str) -> None:
    """Fractions in the sample mean probabilities; whole numbers leave the word to the metric."""
    study = make_study(Task(kind="binary", class_names=("0", "1")), metric=metric)
    lines = submit(study, write_sample(tmp_path, "id,target", cells), thresholds=(0.7,) if metric == "f1" else None)
    yes = proba_of(study)[:, 1]
    cut = 0.7 if metric == "f1" else 0.5
    cells_expected = [repr(float(p)) for p in yes] if expected == "probabilities" else [str(int(p >= cut)) for p in yes]

    assert lines[0] == ["id", "target"]
    assert [line[0] for line in lines[1:]] == IDS
    assert [line[1] for line in lines[1:]] == cells_expected


def test_the_sample_decides_the_order_of_rows_and_columns(tmp_path: Path) -> None:
    """Rows come in the sample's order under their ids as written, columns in its order, one per class."""
    study = make_study(THREE, metric="log_loss")
    ids = IDS[::-1]
    path = tmp_path / "sample.csv"
    path.write_text("c,id,a,b\n" + "".join(f"0.3,{row_id},0.3,0.4\n" for row_id in ids))
    lines = submit(study, path)

    assert lines[0] == ["c", "id", "a", "b"]
    assert [line[1] for line in lines[1:]] == ids
    found = np.array([[float(line[2]), float(line[3]), float(line[0])] for line in lines[1:]])
    assert (found == proba_of(study)[::-1]).all()


def test_several_classes_in_one_column_are_labels(tmp_path: Path) -> None:
    """Class names go into one column even where the sample has a placeholder, and probabilities cannot."""
    study = make_study(THREE, metric="log_loss")
    sample = write_sample(tmp_path, "id,label", ",0")
    names = [THREE.class_names[label] for label in proba_of(study).argmax(axis=1)]

    assert [line[1] for line in submit(study, sample)[1:]] == names
    with pytest.raises(ConfigError, match="one column cannot hold the probabilities of 3 classes"):
        submit(study, sample, values="probabilities")


def test_names_of_classes_are_labels_whatever_the_metric(tmp_path: Path) -> None:
    """A sample that shows "no" asks for class names, decided at 0.5 without a threshold."""
    study = make_study(BINARY, metric="roc_auc")
    lines = submit(study, write_sample(tmp_path, "id,label", ",no"))

    assert [line[1] for line in lines[1:]] == ["yes" if p > 0.5 else "no" for p in proba_of(study)[:, 1]]


@pytest.mark.parametrize(
    ("metric", "cells", "values", "expected"),
    [
        ("roc_auc", ",0,0", "auto", "probabilities"),
        ("f1", ",0,0", "auto", "labels"),
        ("f1", ",0.5,0.5", "auto", "probabilities"),
        ("roc_auc", ",0.0,0.0", "labels", "labels"),
    ],
)
def test_each_label_has_its_column(tmp_path: Path, metric: str, cells: str, values: str, expected: str) -> None:
    """Multilabel columns hold probabilities or 0/1 at each label's threshold, written as the sample writes numbers."""
    study = make_study(LABELS, metric=metric)
    lines = submit(study, write_sample(tmp_path, "id,y,x", cells), values=values, thresholds=(0.3, 0.6))
    proba = proba_of(study)[:, ::-1]
    found = np.array([[float(cell) for cell in line[1:]] for line in lines[1:]])

    assert (found == (proba if expected == "probabilities" else proba >= [0.6, 0.3])).all()
    assert lines[1][1].endswith(".0") == (cells == ",0.0,0.0")


def test_labels_are_written_in_the_style_of_the_sample(tmp_path: Path) -> None:
    """Classes 0 and 1 become 0.0 and 1.0 where the sample shows 0.0."""
    study = make_study(Task(kind="binary", class_names=("0", "1")), metric="accuracy")
    lines = submit(study, write_sample(tmp_path, "id,target", ",0.0"))

    assert {line[1] for line in lines[1:]} == {"0.0", "1.0"}


def test_without_a_sample_there_is_an_id_and_the_target() -> None:
    """The id column keeps its name and the ids their zeros; several classes with a loss get a column each."""
    binary = submit(make_study(metric="f1"), None)
    three = submit(make_study(THREE, metric="log_loss"), None)
    labels = submit(make_study(LABELS, metric="roc_auc"), None)

    assert binary[:2] == [["id", "label"], ["000", binary[1][1]]]
    assert binary[1][1] in BINARY.class_names
    assert three[0] == ["id", "a", "b", "c"]
    assert labels[0] == ["id", "x", "y"]
    assert submit(make_study(THREE, metric="accuracy"), None)[0] == ["id", "label"]


def test_without_ids_lines_follow_the_test_file(tmp_path: Path) -> None:
    """A study whose rows are numbered fills the sample line by line, and refuses another length."""
    study = make_study(metric="log_loss", has_ids=False)
    lines = submit(study, write_sample(tmp_path, "key,label", ",0.5", ids=[f"k{row}" for row in range(N_TEST)]))

    assert lines[1] == ["k0", repr(float(proba_of(study)[0, 1]))]
    with pytest.raises(DataError, match="59 rows, but the study predicted 60 test rows and has no ids"):
        submit(study, write_sample(tmp_path, "key,label", ",0.5", ids=IDS[1:]))


def test_a_sample_of_bare_values_needs_no_id(tmp_path: Path) -> None:
    """A file with the target column alone is filled without ids when the study has none."""
    study = make_study(metric="log_loss", has_ids=False)
    lines = submit(study, write_sample(tmp_path, "label", "", ids=["0.5"] * N_TEST))

    assert lines[0] == ["label"]
    assert [float(line[0]) for line in lines[1:]] == proba_of(study)[:, 1].tolist()


def test_repeated_ids_are_matched_in_turn(tmp_path: Path) -> None:
    """The second row with id 000 is the test row that was read as 000#2."""
    study = make_study(metric="log_loss", test_ids=("000", "000#2", *IDS[2:]))
    lines = submit(study, write_sample(tmp_path, "id,label", ",0.5", ids=["000", "000", *IDS[2:]]))

    assert [line[0] for line in lines[1:3]] == ["000", "000"]
    assert [float(line[1]) for line in lines[1:]] == proba_of(study)[:, 1].tolist()


def test_an_id_column_of_another_name_is_found_by_its_ids(tmp_path: Path) -> None:
    """A sample that calls the id "key" is understood when it holds the test ids."""
    assert submit(make_study(), write_sample(tmp_path, "key,label", ",0.5"))[0] == ["key", "label"]


@pytest.mark.parametrize(
    ("task", "header", "ids", "message"),
    [
        (
            BINARY,
            "id,label",
            [*IDS[:-2], "x1", "x2"],
            r"sample.csv: the ids are not those .*2 ids are only in the sample \('x1', 'x2'\)",
        ),
        (BINARY, "id,label", IDS[:-1], r"not those of the study's test rows: 1 ids are only in the study \('059'\)$"),
        (BINARY, "key,label", IDS[:-1], r"line 1: no column is named 'id' or holds the test ids; columns: key"),
        (THREE, "id,a,b", IDS, r"value columns are a, b; the study needs one column, or one per class \(a, b"),
        (LABELS, "id,x", IDS, r"value columns are x; the study needs one column per label \(x, y\)"),
        (BINARY, "id", IDS, r"the value columns are none"),
    ],
)
def test_a_sample_of_something_else_is_refused(
    tmp_path: Path, task: Task, header: str, ids: list[str], message: str
) -> None:
    """Other ids or columns are named, the first few of them."""
    sample = write_sample(tmp_path, header, ",0" * header.count(","), ids=ids)

    with pytest.raises(DataError, match=message):
        submit(make_study(task, metric="roc_auc"), sample)


def test_a_gap_is_never_written(tmp_path: Path) -> None:
    """A NaN among the predictions stops the submission."""
    study = make_study()
    plan = plan_submission(study, get_metric("roc_auc", BINARY), sample=None)
    proba = proba_of(study)
    proba[3] = np.nan

    with pytest.raises(DataError, match="hold gaps"):
        render_submission(plan, study, proba, thresholds=None)
