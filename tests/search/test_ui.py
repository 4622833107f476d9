"""``python -m search.ui``: MLflow's server on a study, and nothing left of it afterwards."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from search.tracking import Tracking
from search.ui import (
    HOST,
    checked_port,
    find_runs,
    find_studies,
    find_tracking,
    free_port,
    serve,
    show_links,
)
from tests.search.studies import make_study, make_trial
from textclf.errors import ConfigError, RunError
from textclf.store import open_store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder with two trials in MLflow."""
    folder = tmp_path_factory.mktemp("recorded")
    study = make_study()
    with open_store(f"sqlite:///{folder}/study.db") as store:
        store.write_study(study)
        tracking = Tracking(f"sqlite:///{folder}/mlflow.db", store, study, artifacts=folder / "artifacts", warn=print)
        tracking.begin({"train": "train.csv"})
        for number in (1, 3):
            store.write_trial(make_trial(study, number))
            tracking.record(make_trial(study, number))
        tracking.end("FINISHED")
    return folder


@contextmanager
def taken_port() -> Iterator[int]:
    """A port that someone listens on."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def running(family: list[psutil.Process]) -> list[psutil.Process]:
    """Those that go on, given time to leave; init may leave orphans unburied, which counts as ended."""
    left = psutil.wait_procs(family, timeout=60)[1]
    return [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def test_a_taken_port_is_refused_by_name() -> None:
    """A port of the user's choice is taken or free; the default is always free."""
    with taken_port() as port:
        with pytest.raises(ConfigError, match=f"--port: {port} is taken; leave the option out"):
            checked_port(port)
        assert free_port() != port
    with pytest.raises(ConfigError, match="between 1 and 65535"):
        checked_port(70_000)


def test_a_folder_without_a_record_is_refused(tmp_path: Path) -> None:
    """The message says which folder is wanted."""
    with pytest.raises(ConfigError, match=r"holds no mlflow\.db; name the folder python -m search\.run wrote"):
        find_tracking(tmp_path)
    with pytest.raises(ConfigError, match="name the study's folder"):
        find_tracking(None)


def test_a_running_server_is_left_alone() -> None:
    """An address needs no server of ours, and none is started."""
    with serve("http://tracking.example:5000/") as server:
        assert (server.address, server.process) == ("http://tracking.example:5000", None)
        server.wait()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """Its last words are part of the message."""
    (tmp_path / "mlflow.db").write_text("this is no database, whatever its name says" * 100)
    with (
        pytest.raises(RunError, match=r"did not start; it said:\n[\s\S]*not a database"),
        serve(find_tracking(tmp_path)),
    ):
        pass


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_server_knows_the_study_and_leaves_nothing(
    recorded: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Links name the study's experiment and views; afterwards no process and no stray folder is left."""
    monkeypatch.chdir(tmp_path)
    with serve(find_tracking(recorded)) as server:
        assert server.process is not None
        family = [*psutil.Process(server.process.pid).children(recursive=True), psutil.Process(server.process.pid)]
        studies = find_studies(server.address)
        show_links(server.address, "quora")
        with pytest.raises(ConfigError, match="did you mean quora"):
            show_links(server.address, "quara")
        trials = find_runs(server.address, studies["quora"], stage="trial")
    shown = capsys.readouterr().out

    assert len(trials) == 2
    assert f"{server.address}/#/experiments/{studies['quora']}/runs?" in shown
    assert "leaderboard and figures" in shown
    assert "blends" not in shown  # none was made
    assert running(family) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_with_the_command(how: signal.Signals, recorded: Path) -> None:
    """On Ctrl-C and on SIGTERM the command leaves with code 0, and its server with it."""
    command = [sys.executable, "-u", "-m", "search.ui", "--output", str(recorded)]
    ui = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | {"COLUMNS": "200"})
    assert ui.stdout is not None
    said = []
    for line in ui.stdout:
        said.append(line)
        if "Ctrl-C ends it" in line:
            break
    family = psutil.Process(ui.pid).children(recursive=True)
    ui.send_signal(how)
    rest = ui.communicate(timeout=120)[0]

    assert (ui.returncode, rest.strip()) == (0, "stopped")
    assert "study quora" in "".join(said)
    assert family
    assert running(family) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_server_that_dies_is_noticed(recorded: Path) -> None:
    """The command does not wait for ever on a server that is gone."""
    with serve(find_tracking(recorded)) as server:
        assert server.process is not None
        server.process.kill()
        with pytest.raises(RunError, match="ended by itself"):
            server.wait()
