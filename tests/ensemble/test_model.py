"""The model to ship: equal to the blend to 1e-6, loadable anywhere without pickle, and clear about bad rows."""

import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from ensemble.export import main
from ensemble.package import ModelReport, ship
from ensemble.packing import raw_rows
from ensemble.study import BlendResult, blend_study
from ensemble.submission import decisions
from tests.ensemble.studies import params_of, run_study
from textclf.errors import ConfigError, DataError, RunError
from textclf.inputs import Inputs
from textclf.store import open_store
from textclf.table import Table

# kind of task: metric, method, calibration, members
BLENDS: dict[str, tuple[str, str, str, list[str]]] = {
    "binary": ("f1", "mean", "temperature", ["tfidf_logreg", "bilstm_bigru", "textcnn"]),
    "multiclass": ("log_loss", "logistic", "isotonic", ["nbsvm", "dan"]),
    "multilabel": ("roc_auc", "rank", "none", ["tfidf_logreg", "bilstm_attention"]),
}


@dataclass(frozen=True)
class Shipped:
    """A study, its blend, and the model made of it."""

    folder: Path
    inputs: Inputs
    result: BlendResult
    report: ModelReport

    @property
    def rows(self) -> pd.DataFrame:
        """The test rows as a user has them."""
        return raw_rows(self.inputs.test.row_ids, [self.inputs])


def make_shipped(kind: str, folder: Path) -> Shipped:
    """Run a study of a kind of task, blend it and ship the blend."""
    metric, method, calibrate, families = BLENDS[kind]
    inputs = run_study(folder, [params_of(family) for family in families], kind=kind, metric=metric)
    result = blend_study(folder, method=method, calibrate=calibrate)
    report = ship(result, folder / "model", output=folder, tell=lambda line: None)
    return Shipped(folder, inputs, result, report)


@pytest.fixture(scope="module")
def all_shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shipped]:
    """One shipped blend for each kind of task."""
    return {kind: make_shipped(kind, tmp_path_factory.mktemp(kind)) for kind in BLENDS}


@pytest.fixture(scope="module")
def shipped(all_shipped: dict[str, Shipped]) -> Shipped:
    """A shipped blend of two classes with a threshold."""
    return all_shipped["binary"]


def load(folder: Path) -> Any:
    """Load the model as MLflow loads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's, about type hints of its own
        import mlflow

        return mlflow.pyfunc.load_model(str(folder))


def proba_columns(answer: pd.DataFrame) -> np.ndarray:
    """The probabilities of an answer."""
    return answer[[name for name in answer if str(name).startswith("proba_")]].to_numpy()


@pytest.mark.parametrize("kind", BLENDS)
def test_the_model_answers_raw_rows_as_the_blend_predicts_them(all_shipped: dict[str, Shipped], kind: str) -> None:
    """Probabilities equal the exported ones to 1e-6, and labels are those of the blend's thresholds."""
    shipped = all_shipped[kind]
    result, task = shipped.result, shipped.inputs.task
    decided = decisions(task, result.test_proba, thresholds=result.evaluation.blend.found.thresholds)

    answer = load(shipped.folder / "model").predict(shipped.rows)

    np.testing.assert_allclose(proba_columns(answer), result.test_proba, rtol=0, atol=1e-6)
    assert list(answer["id"]) == list(shipped.inputs.test.row_ids)
    if kind == "multilabel":
        np.testing.assert_array_equal(answer[[f"label_{name}" for name in task.class_names]], decided)
    else:
        assert list(answer["label"]) == [task.class_names[label] for label in decided.argmax(axis=1)]
    assert np.ptp(result.test_proba, axis=0).min() > 0.05


@pytest.mark.parametrize("kind", BLENDS)
def test_a_row_alone_is_answered_as_in_a_batch(all_shipped: dict[str, Shipped], kind: str) -> None:
    """No row moves another, whatever the order and the size of the batch."""
    shipped = all_shipped[kind]
    model, rows = load(shipped.folder / "model"), shipped.rows
    together = proba_columns(model.predict(rows))

    backwards = model.predict(rows.iloc[::-1])
    alone = np.concatenate([proba_columns(model.predict(rows.iloc[[row]])) for row in range(8)])

    np.testing.assert_allclose(proba_columns(backwards)[::-1], together, rtol=0, atol=1e-6)
    np.testing.assert_allclose(alone, together[:8], rtol=0, atol=1e-6)
    assert list(backwards.index) == list(rows.index[::-1])


def test_shipping_again_gives_the_same_model(shipped: Shipped, tmp_path: Path) -> None:
    """Members come out bit for bit, so the record's digest repeats."""
    again = ship(shipped.result, tmp_path / "model", output=shipped.folder, tell=lambda line: None)

    assert again.digest == shipped.report.digest
    assert not again.warnings
    assert sorted((tmp_path / "model").rglob("*.pyc")) == []


def test_the_report_tells_size_and_time(shipped: Shipped) -> None:
    """Size on disk, seconds per row alone and among 1,000, members and fitted models."""
    report = shipped.report
    size = sum(path.stat().st_size for path in files_of(shipped.folder / "model"))

    assert (report.n_members, report.n_models, report.n_bytes) == (3, 9, size)
    assert min(report.seconds_alone, report.seconds_together) > 0
    assert "ms alone" in str(report)


def files_of(model: Path) -> list[Path]:
    """All files of a model, without what Python leaves beside the code that it has loaded since."""
    return [path for path in model.rglob("*") if path.is_file() and path.suffix != ".pyc"]


def looks_pickled(path: Path) -> bool:
    """Whether a file begins as pickles, PyTorch's archives and joblib's files do.

    A safetensors file begins with the length of its JSON header, which may be any number; the header tells it apart.
    """
    content = path.read_bytes()
    n_header = int.from_bytes(content[:8], "little")
    if content[8:9] == b"{" and n_header <= len(content) - 8:
        return not isinstance(json.loads(content[8 : 8 + n_header]), dict)
    return content[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK")


def test_no_file_of_the_model_is_a_pickle(all_shipped: dict[str, Shipped]) -> None:
    """Tensors, JSON, source code and lists of packages, and nothing else."""
    known = {".safetensors", ".json", ".py", ".yaml", ".txt", ".typed", ".cpp", ".h", ".toml", ""}
    for shipped in all_shipped.values():
        files = files_of(shipped.folder / "model")
        assert {path.suffix for path in files} <= known
        assert [path.name for path in files if not path.suffix] == ["MLmodel"]
        assert not any(looks_pickled(path) for path in files)


def test_a_pickle_would_be_seen(tmp_path: Path) -> None:
    """The guard above knows pickles and PyTorch's own files."""
    import torch

    (tmp_path / "a").write_bytes(pickle.dumps([1]))
    torch.save([1], tmp_path / "b")
    header = json.dumps({"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}).ljust(0x0280).encode()
    (tmp_path / "c").write_bytes(len(header).to_bytes(8, "little") + header)

    assert [looks_pickled(tmp_path / name) for name in "abc"] == [True, True, False]


@pytest.mark.parametrize("pattern", ["tensors/*.safetensors", "model.json"])
def test_an_altered_file_is_refused(shipped: Shipped, pattern: str, tmp_path: Path) -> None:
    """One changed byte in weights or record, and the model does not load."""
    copy = tmp_path / "model"
    shutil.copytree(shipped.folder / "model", copy)
    path = next(iter(sorted((copy / "artifacts" / "blend").glob(pattern))))
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)

    with pytest.raises(DataError, match="digest differs"):
        load(copy)


def test_rows_that_cannot_be_read_are_named(shipped: Shipped) -> None:
    """The message says which column, which row and what was found."""
    blend = load(shipped.folder / "model").unwrap_python_model().blend
    rows = shipped.rows
    bad_number, bad_text = rows.astype({"size": object}), rows.astype({"text": object})
    bad_number.loc[2, "size"] = "large"
    bad_text.loc[1, "text"] = 5

    with pytest.raises(DataError, match=r"no column 'text'; did you mean texts\? \(columns there: id, texts, size"):
        blend.answer(rows.rename(columns={"text": "texts"}))
    with pytest.raises(DataError, match="row 2, column 'size': 'large' is not a finite number"):
        blend.answer(bad_number)
    with pytest.raises(DataError, match="row 1, column 'text': 5 is not text"):
        blend.answer(bad_text)


def test_mlflow_names_a_missing_column(shipped: Shipped) -> None:
    """The signature is checked before the model is asked."""
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException, match="missing inputs \\['colour'\\]"):
        load(shipped.folder / "model").predict(shipped.rows.drop(columns="colour"))


def test_missing_cells_are_answered_as_empty_ones(shipped: Shipped) -> None:
    """Null is an empty text, an empty category, a missing number; the id may be left out."""
    model = load(shipped.folder / "model")
    rows = shipped.rows.head(3).copy()
    rows["colour"], rows["weight"], rows["text"] = "", np.nan, ["", "w1", "w2"]
    null = rows.astype({"colour": object, "text": object}).drop(columns="id")
    null["colour"] = None
    null.loc[0, "text"] = None

    np.testing.assert_array_equal(proba_columns(model.predict(null)), proba_columns(model.predict(rows)))
    assert "id" not in model.predict(null)


def test_an_existing_place_is_not_written_over(shipped: Shipped, tmp_path: Path) -> None:
    """Neither a model, nor a file, nor a place without a parent, nor a study without its folder."""
    with pytest.raises(ConfigError, match="is there already; remove it"):
        ship(shipped.result, shipped.folder / "model", output=shipped.folder)
    with pytest.raises(ConfigError, match="there is no folder"):
        ship(shipped.result, tmp_path / "none" / "model", output=shipped.folder)
    with pytest.raises(ConfigError, match="needs --output"):
        ship(shipped.result, tmp_path / "model", output=None)
    assert not list(tmp_path.iterdir())


def test_members_need_the_study_s_inputs(shipped: Shipped, tmp_path: Path) -> None:
    """Without the inputs folder nothing can be fitted again; with another study's it must not be."""
    folder = tmp_path / "study"
    folder.mkdir()
    shutil.copy(shipped.folder / "study.db", folder)
    with pytest.raises(RunError, match="the inputs of study 'toy' are not there"):
        ship(shipped.result, tmp_path / "model", output=folder)

    other = run_study(tmp_path / "other", [params_of("nbsvm")], kind="multiclass", metric="log_loss")
    shutil.copytree(tmp_path / "other" / "inputs" / other.key, folder / "inputs" / shipped.inputs.key)
    with pytest.raises(RunError, match="its data are not those of study 'toy'"):
        ship(shipped.result, tmp_path / "model", output=folder)


@pytest.mark.parametrize("shift", [1e-9, 1e-3])
def test_a_training_that_takes_another_path_is_seen(shift: float, tmp_path: Path) -> None:
    """Stored probabilities a rounding away give a warning, further away they end the export, and nothing is left."""
    run_study(tmp_path, [params_of("nbsvm")])
    with open_store(f"sqlite:///{tmp_path / 'study.db'}") as store:
        study, trial = store.read_study("toy"), store.read_trial("toy", 0)
    moved = trial.test_proba + np.array([-shift, shift])
    elsewhere = {**trial.environment, "torch": "1.0"}
    (tmp_path / "study.db").unlink()
    with open_store(f"sqlite:///{tmp_path / 'study.db'}") as store:
        store.write_study(study)
        store.write_trial(replace(trial, test_proba=moved, environment=elsewhere))
    result = blend_study(tmp_path, method="mean")

    if shift < 1e-6:
        report = ship(result, tmp_path / "model", output=tmp_path, tell=lambda line: None)
        assert len(report.warnings) == 1
        assert "not bit for bit (torch 1.0 then" in report.warnings[0]
    else:
        with pytest.raises(RunError, match=r"differ by up to 1.0e-03 .*torch 1.0 then.*--exclude"):
            ship(result, tmp_path / "model", output=tmp_path, tell=lambda line: None)
        assert not [path for path in tmp_path.iterdir() if "model" in path.name]


def test_studies_with_other_columns_make_one_model(shipped: Shipped, tmp_path: Path) -> None:
    """Members of a study without the columns beside the text are blended with members that read them."""
    shutil.copy(shipped.folder / "study.db", tmp_path)
    shutil.copytree(shipped.folder / "inputs", tmp_path / "inputs")
    bare = replace(
        shipped.inputs,
        columns=replace(shipped.inputs.columns, numeric=(), categorical=()),
        train=without_columns(shipped.inputs.train),
        test=without_columns(shipped.inputs.test),
    )
    run_study(tmp_path, [params_of("nbsvm")], metric="f1", inputs=bare, name="bare")
    result = blend_study(tmp_path, study_name=["bare", "toy"], method="mean", redundant=1.0)
    both = {member.study for member, weight in zip(result.pool.members, result.weights, strict=True) if weight > 0}

    ship(result, tmp_path / "model", output=tmp_path, tell=lambda line: None)
    answer = load(tmp_path / "model").predict(shipped.rows)

    assert both == {"bare", "toy"}
    np.testing.assert_allclose(proba_columns(answer), result.test_proba, rtol=0, atol=1e-6)


def without_columns(table: Table) -> Table:
    """The texts alone."""
    return replace(table, numeric=table.numeric[:, :0], categorical=table.categorical[:, :0])


def export(*arguments: object) -> Result:
    """Run python -m ensemble.export in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def test_the_export_command_ships_the_model(shipped: Shipped, tmp_path: Path) -> None:
    """With --model the blend is shipped and the report says so; with a tolerance it has fewer members."""
    places = ["--output", shipped.folder, "--submission", tmp_path / "submission.csv", "--method", "mean"]
    told = export(*places, "--model", tmp_path / "all")
    printed = export(*places, "--model", tmp_path / "few", "--model-tolerance", 2, "--json")

    assert f"model: {tmp_path / 'all'}, 3 members, 9 fitted models" in told.output
    described = json.loads(printed.stdout)["model"]
    assert (described["n_members"], described["thin"].keys()) == (1, {"score", "full_score"})
    assert len(load(tmp_path / "few").predict(shipped.rows)) == 30


def test_the_export_command_refuses_before_it_writes(shipped: Shipped, tmp_path: Path) -> None:
    """A tolerance without a model, or a model that is there: exit code 2, one line, no submission."""
    places = ["--output", shipped.folder, "--submission", tmp_path / "submission.csv"]
    aimless = export(*places, "--model-tolerance", 0.1)
    taken = export(*places, "--model", shipped.folder / "model")

    assert (aimless.exit_code, taken.exit_code) == (2, 2)
    assert "error: --model-tolerance: says how few members" in aimless.stderr
    assert "is there already" in taken.stderr
    assert not list(tmp_path.iterdir())


def environment_of_commands() -> dict[str, str]:
    """The environment of a shell in which the virtual environment is active, pickle forbidden."""
    binaries = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
    }


def as_request(rows: pd.DataFrame) -> str:
    """Rows in the JSON that MLflow's commands and servers take."""
    return json.dumps({"dataframe_split": json.loads(rows.to_json(orient="split"))})


STRANGERS_MACHINE = """
import sys
from pathlib import Path

sys.path = [entry for entry in sys.path if not Path(entry, "textclf").is_dir()]
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
sys.modules.update(dict.fromkeys(["cmaes", "datasketch", "iterstrat", "optuna", "search"]))
"""  # a sitecustomize.py: neither this project nor what only a search needs can be imported


@pytest.mark.slow
def test_mlflow_models_predict_answers_where_nothing_of_ours_is_installed(shipped: Shipped, tmp_path: Path) -> None:
    """The command as a user types it, in a fresh process, on JSON rows, pickle forbidden, the model moved."""
    (tmp_path / "rows.json").write_text(as_request(shipped.rows))
    (tmp_path / "sitecustomize.py").write_text(STRANGERS_MACHINE)
    model = shutil.copytree(shipped.folder / "model", tmp_path / "moved")

    command = ["mlflow", "models", "predict", "--env-manager", "local", "-m", str(model)]
    subprocess.run(
        [*command, "-i", "rows.json", "-o", "answer.json"],
        check=True,
        capture_output=True,
        cwd=tmp_path,
        env=environment_of_commands() | {"PYTHONPATH": str(tmp_path)},
    )

    answer = pd.DataFrame(json.loads((tmp_path / "answer.json").read_text())["predictions"])
    np.testing.assert_allclose(proba_columns(answer), shipped.result.test_proba, rtol=0, atol=1e-6)


def post(port: int, rows: pd.DataFrame) -> tuple[int, Any]:
    """Ask a server on this machine; returns status and answer."""
    address, headers = f"http://127.0.0.1:{port}/invocations", {"Content-Type": "application/json"}
    request = urllib.request.Request(address, data=as_request(rows).encode(), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


class PortTakenError(Exception):
    """Somebody else began to listen on the port between the choice and the server's start."""


@contextmanager
def serve_model(model: Path, folder: Path) -> Iterator[int]:
    """Run ``mlflow models serve`` for a with block, on a port that was free; yields the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["mlflow", "models", "serve", "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    log = folder / f"log-{port}"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "-m", str(model)],
            stdout=output,
            stderr=output,
            cwd=folder,
            env=environment_of_commands(),
            start_new_session=True,
        )
        try:
            wait_until_up(port, server, log)
            yield port
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)  # the group we started: the command and its workers
            server.wait()


def wait_until_up(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    """Return when our server answers; pytest's limit for the test ends a wait that leads nowhere."""
    while True:
        ended, said = server.poll(), log.read_text(errors="replace")
        if "address already in use" in said.lower():
            raise PortTakenError(said)
        assert ended is None, said
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=10):
            return
        time.sleep(0.3)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_mlflow_models_serve_answers_over_http(shipped: Shipped, tmp_path: Path) -> None:
    """The server gives the blend's probabilities, and a clear answer to rows that lack a column or a number."""
    for attempts_left in (2, 1, 0):
        try:
            with serve_model(shipped.folder / "model", tmp_path) as port:
                status, answer = post(port, shipped.rows)
                short_status, complaint = post(port, shipped.rows.drop(columns="text"))
                wrong_status, _ = post(port, shipped.rows.assign(size="large"))
            break
        except PortTakenError:
            if not attempts_left:
                raise

    assert status == 200
    predicted = proba_columns(pd.DataFrame(answer["predictions"]))
    np.testing.assert_allclose(predicted, shipped.result.test_proba, rtol=0, atol=1e-6)
    assert (short_status, wrong_status) == (400, 400)
    assert "missing inputs ['text']" in complaint["message"]
