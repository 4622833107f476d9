"""``python -m ensemble.export`` from a study's folder to a submission, its record, and its complaints."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from mlflow import MlflowClient

import ensemble
from ensemble.crossfit import cross_fit
from ensemble.export import main
from ensemble.mixtures import Evidence
from ensemble.recipe import Recipe
from tests.ensemble.pools import BINARY, LABELS, TASKS, THREE
from tests.ensemble.stores import fill, make_study, make_trial, toy_folder
from textclf.metrics import get_metric


def run(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.mark.parametrize("kind", TASKS)
def test_a_study_becomes_a_submission(tmp_path: Path, kind: str) -> None:
    """The report names the three rivals, the file has every test row, the provenance has the file's digest."""
    folder = toy_folder(tmp_path, TASKS[kind], metric="log_loss")  # type: ignore[index]
    result = run("--output", folder)
    lines = (folder / "submission.csv").read_text().splitlines()
    record = json.loads((folder / "submission.provenance.json").read_text())

    assert result.exit_code == 0, result.output
    for told in ("best single", "plain mean", "blend", "trial 0", "submission.csv"):
        assert told in result.output
    assert [line.split(",")[0] for line in lines] == ["id", *(f"{row:03d}" for row in range(60))]
    assert record["submission"]["sha256"] == hashlib.sha256((folder / "submission.csv").read_bytes()).hexdigest()
    assert sum(member["weight"] for member in record["members"]) == pytest.approx(1)
    assert record["command"].startswith("python -m ensemble.export")


def test_the_scores_in_the_report_are_those_of_cross_fitting(tmp_path: Path) -> None:
    """The JSON output is the provenance, and its scores are those of a cross-fit done here."""
    folder = toy_folder(tmp_path, metric="f1")
    printed = json.loads(run("--output", folder, "--json", "--method", "nnls", "--top", 3).output)
    study = make_study(metric="f1")
    trials = [make_trial(study, k, knowledge=1.5 - 0.2 * k) for k in range(4)]
    known = Evidence(
        proba=np.stack([trial.oof for trial in trials]),
        labels=study.labels,
        fold_of_row=study.fold_of_row,
        metric=get_metric("f1", BINARY),
        seed=0,
    )
    expected = cross_fit(Recipe(method="nnls", top=3).fit, known).score

    assert printed["scores"]["blend (nnls)"]["cross_fitted"] == pytest.approx(expected, abs=1e-12)
    assert printed["study"]["data_digests"] == {"toy": study.data_digest}
    assert len(printed["members"]) == 3
    assert printed["members"][0]["digests"].keys() == {"oof", "test_proba"}
    assert (folder / "submission.csv").read_text().splitlines()[1].split(",")[1] in BINARY.class_names


def test_the_same_command_writes_the_same_submission(tmp_path: Path) -> None:
    """Two runs of one command agree to the byte, random methods included."""
    folder = toy_folder(tmp_path)
    files = [folder / name for name in ("one.csv", "two.csv")]
    for file in files:
        assert run("--output", folder, "--method", "bagged", "--submission", file).exit_code == 0

    assert files[0].read_bytes() == files[1].read_bytes()


def test_auto_says_which_way_it_took(tmp_path: Path) -> None:
    """The report and the provenance name the way, and the weights are those of that way."""
    folder = toy_folder(tmp_path, metric="log_loss")
    printed = run("--output", folder, "--method", "auto").output
    record = json.loads((folder / "submission.provenance.json").read_text())
    way = record["recipe"]["way"]
    run("--output", folder, "--method", way)
    same = json.loads((folder / "submission.provenance.json").read_text())

    assert f"auto took {way} on all rows" in printed
    assert record["recipe"]["method"] == "auto"
    assert [m["weight"] for m in same["members"]] == [m["weight"] for m in record["members"]]
    assert record["scores"]["blend (auto)"]["fitted"] == same["scores"][f"blend ({way})"]["fitted"]


def test_one_trial_is_exported_alone(tmp_path: Path) -> None:
    """A study with one complete trial ships that trial's predictions."""
    folder = toy_folder(tmp_path, n_trials=1)
    result = run("--output", folder)
    trial = make_trial(make_study(), 0, knowledge=1.5)
    written = [float(line.split(",")[1]) for line in (folder / "submission.csv").read_text().splitlines()[1:]]

    assert result.exit_code == 0, result.output
    assert "one member has all the weight" in result.output
    assert written == trial.test_proba[:, 1].tolist()


def test_the_hold_out_is_scored_when_asked(tmp_path: Path) -> None:
    """With the option the report compares claim and hold-out; without it, it says that there is one."""
    folder = toy_folder(tmp_path, THREE, metric="accuracy", with_holdout=True)

    assert "80 rows were set apart; --holdout scores the blend on them" in run("--output", folder).output
    assert "hold-out, 80 rows no trial saw" in run("--output", folder, "--holdout").output


def test_drift_is_warned_of(tmp_path: Path) -> None:
    """Test rows that are all positive make the report say so."""
    study = make_study(n_rows=2000)
    trial = make_trial(study, 0)
    proba = np.full((60, 1), 0.999)
    trial.test_proba[:] = np.hstack([1 - proba, proba])
    folder = fill(tmp_path, study, [trial])

    assert "warning: the mean probability of 'yes' is 0.999 on test rows" in run("--output", folder).output


def test_studies_on_the_same_rows_are_blended_together(tmp_path: Path) -> None:
    """Members of two studies stand in one blend under their studies' names."""
    toy_folder(tmp_path, n_trials=2)
    folder = toy_folder(tmp_path, n_trials=2, name="second", data_digest="othr" * 16)
    result = run("--output", folder, "--study-name", "toy", "--study-name", "second", "--redundant", 1)

    assert result.exit_code == 0, result.output
    assert "toy/0" in result.output
    assert "second/1" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "error: --output: name the study's folder"),
        (("--output", "{}/nowhere"), "error: --output: {}/nowhere holds no study.db; name the folder"),
        (("--storage", "sqlite:///{}/no.db"), "error: --storage: there is no file {}/no.db"),
        (("--storage", "nonsense"), "error: --storage: 'nonsense' cannot be opened"),
        (("--output", "{}", "--study-name", "toi"), "no study named 'toi'; did you mean toy?"),
        (("--output", "{}", "--method", "gredy"), "error: method: 'gredy' is not one of"),
        (("--output", "{}", "--metric", "auc"), "error: metric: 'auc' is not one of"),
        (("--output", "{}", "--top", 0), "error: top: 0 members"),
        (("--output", "{}", "--calibrate", "platt"), "error: calibrate: 'platt' is not one of none"),
        (("--output", "{}", "--values", "labls"), "error: --values: 'labls' is not one of auto, labels, probabilities"),
        (("--output", "{}", "--holdout"), "error: --holdout: study 'toy' set no rows apart"),
        (("--output", "{}", "--submission", "{}/no/sub.csv"), "error: {}/no/sub.csv: there is no folder"),
        (("--output", "{}", "--submission", "{}"), "error: {}: this is a folder"),
        (("--output", "{}", "--sample-submission", "{}/s.csv"), "error: {}/s.csv: there is no such file"),
        (("--output", "{}", "--tracking-uri", "nonsense://x"), "error: --tracking-uri: nonsense://x cannot be used"),
        (("--output", "{}", "--exclude", 0, "--exclude", 1), "none of its 2 finished trials is complete and not"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_nothing_is_written(
    tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    """Wrong input exits with 2 and one line on stderr; no file appears."""
    toy_folder(tmp_path, n_trials=2)
    before = sorted(path.name for path in tmp_path.iterdir())
    result = run(*(str(argument).replace("{}", str(tmp_path)) for argument in arguments))

    assert result.exit_code == 2
    assert message.replace("{}", str(tmp_path)) in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_several_studies_ask_for_a_name(tmp_path: Path) -> None:
    """With two studies in a folder the names are listed; with none that is said."""
    toy_folder(tmp_path, n_trials=1)
    toy_folder(tmp_path, n_trials=1, name="other")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "study.db").touch()

    assert "holds 2 studies (other, toy); name one of them" in run("--output", tmp_path).stderr
    assert "there is no study yet" in run("--output", empty).stderr


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    """A text file called study.db is answered in a line."""
    (tmp_path / "study.db").write_text("not a database, " * 100)
    result = run("--output", tmp_path)

    assert result.exit_code == 2
    assert "the database cannot be read (file is not a database)" in result.stderr


def test_the_blend_is_recorded_beside_the_study_in_mlflow(tmp_path: Path) -> None:
    """Under the study's run: scores and weights as metrics, figures, tables and the submission as artifacts."""
    (tmp_path / "my runs").mkdir()
    folder = toy_folder(tmp_path / "my runs")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(uri)
    experiment = client.create_experiment("toy", artifact_location=(tmp_path / "artifacts").as_uri())
    parent = client.create_run(experiment, tags={"stage": "study", "study": "toy"})

    result = run("--output", folder)
    (blend,) = client.search_runs([experiment], "tags.stage = 'blend' AND tags.study = 'toy'")
    record = json.loads((folder / "submission.provenance.json").read_text())

    assert blend.info.run_id in result.output
    assert f"python -m search.ui --output '{folder}'" in " ".join(result.output.split())
    assert blend.info.status == "FINISHED"
    assert blend.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert blend.data.params["method"] == "greedy"
    assert blend.data.metrics["cross_fitted"] == record["scores"]["blend (greedy)"]["cross_fitted"]
    weights = {name: value for name, value in blend.data.metrics.items() if name.startswith("weight/")}
    assert weights["weight/trial 0"] == record["members"][0]["weight"]
    kept = {artifact.path for artifact in client.list_artifacts(blend.info.run_id)}
    assert kept == {
        "diversity.png",
        "scores.png",
        "members.csv",
        "correlation.csv",
        "submission.csv",
        "submission.provenance.json",
    }
    assert "cross-fitted" in blend.data.tags["mlflow.note.content"]


def test_python_gets_frames(tmp_path: Path) -> None:
    """``blend_study`` returns tables and writes nothing unless asked to."""
    result = ensemble.blend_study(toy_folder(tmp_path, LABELS, metric="f1"), top=3)

    assert result.leaderboard.index.tolist() == ["best single", "plain mean", "blend (greedy)"]
    assert result.members["weight"].sum() == pytest.approx(1)
    assert result.correlation.shape == (3, 3)
    assert result.test_proba.shape == (60, 2)
    assert result.submission is None
    assert not (tmp_path / "submission.csv").exists()


def test_a_result_prints_as_one_short_line(tmp_path: Path) -> None:
    """Study, scores and the members that count with their shares; no arrays."""
    result = ensemble.blend_study(toy_folder(tmp_path, n_rows=2000), method="mean", top=2)
    printed = repr(result)

    assert "\n" not in printed
    assert "array" not in printed
    assert len(printed) < 250
    assert "'toy'" in printed
    assert f"{result.evaluation.blend.cross_fitted:.5f}" in printed
    assert all(f"{result.pool.names[place]} 0.50" in printed for place in result.chosen)


def test_a_password_is_never_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command in the provenance hides the password of a database."""
    words = ["export", "--storage=postgresql://me:secret@host/db", "--tracking-uri", "http://host:5000"]
    monkeypatch.setattr(sys, "argv", words)
    toy_folder(tmp_path, n_trials=1)
    run("--output", tmp_path)
    record = (tmp_path / "submission.provenance.json").read_text()

    assert "postgresql://me:***@host/db" in record
    assert "secret" not in record


def test_a_bare_import_loads_nothing_heavy() -> None:
    """Asking for help must not load pandas, scikit-learn, scipy, SQLAlchemy, MLflow or torch."""
    heavy = ("pandas", "sklearn", "scipy", "sqlalchemy", "mlflow", "torch", "matplotlib")
    code = f"import sys, ensemble.export; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "[]"
