"""``python -m search.ui``: MLflow's own pages on a study, on this machine alone."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rich_click as click

from textclf.errors import ConfigError, RunError, TextclfError

HOST, FIRST_PORT, N_PORTS = "127.0.0.1", 5000, 100
SECONDS_TO_START, SECONDS_TO_LEAVE, SECONDS_BETWEEN_LOOKS = 180.0, 10.0, 0.2
SHOWN_LINES = 15
FAILED = 2
QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="The study's folder; holds mlflow.db.")
@click.option(
    "--tracking-uri", metavar="URI", help="MLflow's store, or the address of a server, where it is elsewhere."
)
@click.option("--study-name", metavar="NAME", help="Open this study; links to all where left out.")
@click.option(
    "--port", type=int, metavar="N", help=f"Port on this machine.  [default: the first free one from {FIRST_PORT}]"
)
def main(*, output: Path | None, tracking_uri: str | None, study_name: str | None, port: int | None) -> None:
    """Look at a study in MLflow.

    Starts MLflow's server on 127.0.0.1, prints the links to open, and ends it on Ctrl-C.
    """
    end_like_ctrl_c()
    try:
        uri = tracking_uri or find_tracking(output)
        with serve(uri, port=port) as server:
            show_links(server.address, study_name)
            server.wait()
    except TextclfError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        click.echo("\nstopped")


def end_like_ctrl_c() -> None:
    """Let SIGTERM, and Ctrl-C where a shell had it ignored, raise KeyboardInterrupt: with blocks end their servers."""
    for how in (signal.SIGINT, signal.SIGTERM):
        signal.signal(how, signal.default_int_handler)


def find_tracking(output: Path | None) -> str:
    """The MLflow database in a study's folder; raises ConfigError unless it is there."""
    from textclf.place import TRACKING_FILE

    if output is None:
        raise ConfigError("--output: name the study's folder, or MLflow's store with --tracking-uri")
    if not (output / TRACKING_FILE).is_file():
        raise ConfigError(f"--output: {output} holds no {TRACKING_FILE}; name the folder python -m search.run wrote")
    return f"sqlite:///{(output / TRACKING_FILE).resolve()}"


@dataclass(frozen=True, slots=True)
class Server:
    """An MLflow server; process is None where it was there before."""

    address: str
    process: "subprocess.Popen[bytes] | None" = None

    def wait(self) -> None:
        """Return only where the server is not ours; raises RunError when ours ends by itself."""
        if self.process is not None:
            raise RunError(f"MLflow's server ended by itself with exit code {self.process.wait()}; start it again")


@contextlib.contextmanager
def serve(tracking_uri: str, *, port: int | None = None) -> Iterator[Server]:
    """Run MLflow's server for a with block. A server that runs already is left alone.

    port: None for the first free one from 5000. Raises ConfigError for a port that is taken, RunError where the server
    does not start.
    """
    if tracking_uri.startswith(("http://", "https://")):
        yield Server(tracking_uri.rstrip("/"))
        return
    chosen = free_port() if port is None else checked_port(port)
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(chosen), "--workers", "1"]
    with tempfile.TemporaryDirectory(prefix="mlflow-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as sink:
            # a session of its own: one signal ends the server and its worker
            server = subprocess.Popen(
                [*command, "--backend-store-uri", tracking_uri, *artifact_options(tracking_uri)],
                env={**os.environ, **QUIET},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        address = f"http://{HOST}:{chosen}"
        try:
            wait_for_start(server, address, log)
            yield Server(address, server)
        finally:
            stop(server)


def artifact_options(tracking_uri: str) -> list[str]:
    """Where artifacts of experiments go that someone makes in the UI: beside the database, where that is a file."""
    if not tracking_uri.startswith("sqlite:///"):
        return []
    return [
        "--default-artifact-root",
        str(Path(tracking_uri.removeprefix("sqlite:///")).resolve().parent / "artifacts"),
    ]


def free_port() -> int:
    """The first free port from 5000 on."""
    for port in range(FIRST_PORT, FIRST_PORT + N_PORTS):
        if is_free(port):
            return port
    raise RunError(f"--port: {FIRST_PORT} to {FIRST_PORT + N_PORTS - 1} are all taken; name a free one")


def checked_port(port: int) -> int:
    """A port that may be used; ConfigError for any other."""
    if not 1 <= port < 2**16:
        raise ConfigError(f"--port: {port} is not between 1 and 65535")
    if not is_free(port):
        raise ConfigError(f"--port: {port} is taken; leave the option out to use the next free one")
    return port


def is_free(port: int) -> bool:
    """Whether a server could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def wait_for_start(server: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    """Return once the server answers; RunError with its last words where it ends or stays silent."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError):
            ask(f"{address}/health")
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)
    words = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:])
    raise RunError(f"MLflow's server did not start; it said:\n{words}")


def stop(server: "subprocess.Popen[bytes]") -> None:
    """End the server and its worker: politely, then not."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(SECONDS_TO_LEAVE)


def show_links(server: str, study_name: str | None) -> None:
    """Print where to look; raises ConfigError where there is no such study."""
    from search.views import BLENDS, TRIALS, run_link, view_link

    studies = find_studies(server)
    if study_name is not None and study_name not in studies:
        from textclf.errors import did_you_mean

        known = ", ".join(studies) or "none yet"
        raise ConfigError(f"--study-name: no study {study_name!r}{did_you_mean(study_name, studies)} (there: {known})")
    for name, experiment_id in studies.items():
        if study_name in (None, name):
            click.echo(f"study {name}")
            click.echo(f"  trials, best first:      {view_link(server, experiment_id, TRIALS)}")
            for run_id in find_runs(server, experiment_id, stage="study"):
                click.echo(f"  leaderboard and figures: {run_link(server, experiment_id, run_id)}")
            if find_runs(server, experiment_id, stage="blend"):
                click.echo(f"  blends:                  {view_link(server, experiment_id, BLENDS)}")
    click.echo(f"server: {server}  (Ctrl-C ends it)")


def find_studies(server: str) -> dict[str, str]:
    """Ids of the experiments that are studies, by name, the latest first."""
    from search.views import TAG_PREFIX, TRIALS

    answer = ask(f"{server}/api/2.0/mlflow/experiments/search", {"max_results": 1000})
    return {
        experiment["name"]: experiment["experiment_id"]
        for experiment in answer.get("experiments", [])
        if any(tag["key"] == TAG_PREFIX + TRIALS for tag in experiment.get("tags", []))
    }


def find_runs(server: str, experiment_id: str, *, stage: str) -> list[str]:
    """Ids of the experiment's runs at a stage: "study", "trial" or "blend"; a hundred at most."""
    question = {"experiment_ids": [experiment_id], "filter": f"tags.stage = '{stage}'", "max_results": 100}
    found = ask(f"{server}/api/2.0/mlflow/runs/search", question)
    return [run["info"]["run_id"] for run in found.get("runs", [])]


def ask(address: str, question: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON that a server answers, to a question where there is one; OSError where it does not."""
    body = None if question is None else json.dumps(question).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, data=body, headers=headers)  # noqa: S310  always http, ours or the user's
    # no proxy: the server is on this machine, or where its user can reach it
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        content = answer.read()
    return json.loads(content) if content.startswith(b"{") else {}


if __name__ == "__main__":
    main()
