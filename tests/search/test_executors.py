"""Workers: a dead one costs the trial it ran a retry, no more; none outlives its coordinator."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from search.executors import InlineExecutor, ProcessExecutor
from search.spec import Progress, TrialJob, TrialSpec
from search.worker import Hooks, TrialStopped, WorkerDied, worker_environment
from tests.search.fakes import FakeStudy, dying_run, light_run, optuna_trials, processes, signature
from textclf.errors import RunError
from textclf.records import TrialRecord

PATIENCE = 120.0  # seconds; far above what a busy machine needs


def wait_for(condition: Callable[[], Any]) -> Any:
    """The first true answer."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if answer := condition():
            return answer
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def job(number: int = 0, **params: Any) -> TrialJob:
    """A job of the fake study."""
    spec = TrialSpec(
        study="study",
        number=number,
        params=params or {"x": 0.1, "y": 0.2},
        seed=1,
        data_digest="data",
        fold_digest="folds",
        metric="log_loss",
    )
    return TrialJob(spec=spec)


def test_a_killed_worker_costs_its_trial_a_retry(tmp_path: Path) -> None:
    """Killed twice at one trial, the study ends as the undisturbed one, and says what happened."""
    whole = FakeStudy(url=f"sqlite:///{tmp_path}/whole.db", n_trials=8).run()
    run = partial(dying_run, folder=str(tmp_path), number=3, times=2)
    study = FakeStudy(url=f"sqlite:///{tmp_path}/killed.db", n_trials=8, executor=processes(2), run_trial=run)

    assert signature(study.run()) == signature(whole)
    assert [line for line in study.ears.lines if "trial 3" in line and "SIGKILL" in line and "trying again" in line]
    assert study.ears.submitted_numbers.count(3) == 3


def test_a_trial_that_always_kills_its_worker_fails(tmp_path: Path) -> None:
    """After the retries it is FAILED with its reason, in every record, and the study goes on to its last trial."""
    url = f"sqlite:///{tmp_path}/killed.db"
    run = partial(dying_run, folder=str(tmp_path), number=1, times=99)
    trials = FakeStudy(url=url, n_trials=6, executor=processes(2), run_trial=run, retries=1).run()

    assert [trial.outcome == "failed" for trial in trials] == [False, True, False, False, False, False]
    assert "worker died 2 times" in trials[1].reason
    assert "SIGKILL" in trials[1].reason
    assert optuna_trials(url)[1].state.name == "FAIL"


def failing_run(job: TrialJob, hooks: Hooks, shared: Any) -> TrialRecord:
    """As an objective with a bug: a failed record with a traceback."""
    spec = job.spec
    reason = "error: Traceback ...\nZeroDivisionError: by three"
    return TrialRecord(
        study=spec.study, number=spec.number, outcome="failed", params=dict(spec.params), seed=1, reason=reason
    )


def test_three_failures_in_a_row_stop_the_study(tmp_path: Path) -> None:
    """Then it is not the trial that is wrong: the run ends with the traceback, and what is done is kept."""
    url = f"sqlite:///{tmp_path}/study.db"

    with pytest.raises(RunError, match=r"(?s)3 trials in a row failed.*ZeroDivisionError: by three"):
        FakeStudy(url=url, n_trials=10, run_trial=failing_run).run()

    assert [trial.state.name for trial in optuna_trials(url)][:3] == ["FAIL"] * 3


def diverging_run(job: TrialJob, hooks: Hooks, shared: Any) -> TrialRecord:
    """Every other trial diverges."""
    record = light_run(job, hooks, shared)
    if job.spec.number % 2 or job.spec.number < 4:
        spec = job.spec
        return TrialRecord(
            study=spec.study,
            number=spec.number,
            outcome="failed",
            params=dict(spec.params),
            seed=1,
            reason="diverged: nan",
        )
    return record


def test_diverged_trials_are_results(tmp_path: Path) -> None:
    """They are not tried again and do not stop the study, however many come in a row."""
    study = FakeStudy(url=f"sqlite:///{tmp_path}/study.db", n_trials=8, run_trial=diverging_run)

    assert [trial.outcome for trial in study.run()] == ["failed"] * 4 + ["complete", "failed"] * 2
    assert study.ears.submitted_numbers == list(range(8))


def large_run(job: TrialJob, hooks: Hooks, shared: Any) -> TrialRecord:
    """A result far larger than a pipe's buffer; the worker is killed while it is being sent."""
    record = light_run(job, hooks, shared)
    if shared and not Path(shared).exists():
        Path(shared).touch()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        return TrialRecord(
            study="study", number=0, outcome="complete", params={}, seed=1, oof=np.zeros((30_000_000, 1))
        )
    return record


def test_a_worker_killed_in_the_middle_of_its_answer_is_seen(tmp_path: Path) -> None:
    """Half a message is no reason to wait for ever, which the standard library's pool would do."""
    with ProcessExecutor(str(tmp_path / "mark"), environments=[{}], on_progress=lambda _: None) as executor:
        with pytest.raises(WorkerDied, match="SIGKILL"):
            executor.submit(large_run, job()).result(PATIENCE)

        assert executor.submit(large_run, job()).result(PATIENCE).outcome == "complete"


def test_progress_travels_from_the_worker() -> None:
    """Every report of a trial arrives, in order, from a process as from within."""
    heard: dict[str, list[Progress]] = {"inline": [], "process": []}
    InlineExecutor(None, on_progress=heard["inline"].append).submit(light_run, job())
    with ProcessExecutor(None, environments=[{}], on_progress=heard["process"].append) as executor:
        executor.submit(light_run, job()).result(PATIENCE)

    assert heard["process"] == heard["inline"]
    assert len(heard["inline"]) == 5


def test_an_answer_never_goes_to_another_trial() -> None:
    """Where hearing a trial's progress fails, the trial fails; the next one has its own result all the same."""
    told: list[int] = []

    def hear_once(progress: Progress) -> None:
        told.append(progress.number)
        if len(told) == 1:
            raise ZeroDivisionError

    with ProcessExecutor(None, environments=[{}], on_progress=hear_once) as executor:
        first, second = (executor.submit(light_run, job(number)) for number in (4, 5))
        assert isinstance(first.exception(PATIENCE), ZeroDivisionError)
        assert second.result(PATIENCE).number == 5


def test_running_trials_end_when_they_are_asked_to() -> None:
    """The request reaches trials in worker processes at their next report."""
    started: list[Progress] = []
    with ProcessExecutor(None, environments=[{}, {}], on_progress=started.append) as executor:
        futures = [executor.submit(partial(light_run, seconds=PATIENCE), job(number)) for number in range(2)]
        wait_for(lambda: len(multiprocessing.active_children()) >= 2)
        executor.stop()
        errors = [future.exception(PATIENCE) for future in futures]

    assert all(isinstance(error, TrialStopped) for error in errors)


def environment_run(job: TrialJob, hooks: Hooks, shared: Any) -> TrialRecord:
    """What the worker's environment says."""
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "CUDA_VISIBLE_DEVICES")
    params = {name: os.environ.get(name) for name in names} | {"numpy first": "numpy" in sys.modules and shared}
    return TrialRecord(study="study", number=0, outcome="complete", params=params, seed=1)


def test_workers_have_their_share_of_the_machine() -> None:
    """Threads and the one GPU are in a worker's environment before anything heavy is imported."""
    environments = [worker_environment(threads=3, gpu=gpu) for gpu in ("0", "1")]
    with ProcessExecutor(None, environments=environments, on_progress=lambda _: None) as executor:
        slow = partial(light_run, seconds=2)
        futures = [executor.submit(run, job()) for run in (slow, slow, environment_run, environment_run)]
        params = futures[2].result(PATIENCE).params

    assert params["OMP_NUM_THREADS"] == "3"
    assert params["OMP_WAIT_POLICY"] == "PASSIVE"
    assert params["CUDA_VISIBLE_DEVICES"] in ("0", "1")


SCRIPT = """
import sys
from functools import partial
from tests.search.fakes import FakeStudy, light_run, processes

if __name__ == "__main__":
    url, n_trials, seconds, n_workers = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    executor = {"executor": processes(n_workers)} if n_workers else {}
    run = partial(light_run, seconds=seconds, is_deaf=len(sys.argv) > 5)
    study = FakeStudy(url=url, n_trials=n_trials, run_trial=run, **executor)
    study.ears.lines = type("Printed", (list,), {"append": lambda self, line: print(line, flush=True)})()
    study.run()
"""


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts coordinators, each in a process group of its own, and leaves none behind."""
    started: list[subprocess.Popen[str]] = []

    def begin(url: str, n_trials: int, *told: str, seconds: float, n_workers: int) -> "subprocess.Popen[str]":
        arguments = [sys.executable, "-c", SCRIPT, url, str(n_trials), str(seconds), str(n_workers), *told]
        process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


def n_finished(path: Path) -> int:
    """Finished trials in the store."""
    import sqlite3

    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            return int(connection.execute("select count(*) from textclf_trials").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_killed_coordinator_loses_nothing(n_workers: int, start: Start, tmp_path: Path) -> None:
    """After kill -9 the same command ends with the study of an undisturbed run, and no orphan is left."""
    whole = FakeStudy(url=f"sqlite:///{tmp_path}/whole.db", n_trials=12).run()
    database = tmp_path / "killed.db"
    process = start(f"sqlite:///{database}", 12, seconds=0.5, n_workers=n_workers)
    wait_for(lambda: n_finished(database) >= 4)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()

    assert len(children) >= n_workers
    wait_for(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))
    resumed = FakeStudy(url=f"sqlite:///{database}", n_trials=12, executor=processes(2))
    assert signature(resumed.run()) == signature(whole)
    assert resumed.ears.n_recovered >= 4
    assert [trial.state.is_finished() for trial in optuna_trials(f"sqlite:///{database}")] == [True] * 12


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.5])
def test_ctrl_c_does_not_touch_a_worker_however_early_it_comes(moment: float) -> None:
    """It goes to all processes of a terminal: one that only begins to import answers its job all the same."""
    with ProcessExecutor(None, environments=[{}], on_progress=lambda _: None) as executor:
        future = executor.submit(light_run, job())
        (child,) = wait_for(
            lambda: [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
        )
        time.sleep(moment)
        child.send_signal(signal.SIGINT)

        assert future.result(timeout=PATIENCE).outcome == "complete"


def read_until(process: "subprocess.Popen[str]", words: str) -> str:
    """What a process says up to these words; fails when it ends without them."""
    assert process.stdout is not None
    said = ""
    while words not in said:
        line = process.stdout.readline()
        assert line, f"it ended and said: {said}"
        said += line
    return said


@pytest.mark.parametrize("n_workers", [0, 2])
def test_one_interruption_stops_cleanly(n_workers: int, start: Start, tmp_path: Path) -> None:
    """Ctrl-C: running trials end at their next report, and run again under their numbers later."""
    whole = FakeStudy(url=f"sqlite:///{tmp_path}/whole.db", n_trials=5).run()
    url = f"sqlite:///{tmp_path}/stopped.db"
    FakeStudy(url=url, n_trials=2).run()
    process = start(url, 5, seconds=10_000, n_workers=n_workers)
    read_until(process, "continuing the study")
    wait_for(lambda: len(optuna_trials(url)) >= 3)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0
    assert "Ctrl-C again stops at once" in said
    assert n_finished(tmp_path / "stopped.db") == 2
    assert signature(FakeStudy(url=url, n_trials=5).run()) == signature(whole)


def test_two_interruptions_stop_at_once(start: Start, tmp_path: Path) -> None:
    """However far the next report of a trial is away, the process and its workers are gone."""
    database = tmp_path / "stopped.db"
    process = start(f"sqlite:///{database}", 8, "deaf", seconds=10_000, n_workers=2)
    wait_for(lambda: database.exists() and len(psutil.Process(process.pid).children()) >= 2)
    os.killpg(process.pid, signal.SIGINT)
    read_until(process, "again stops at once")
    children = psutil.Process(process.pid).children()
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE)

    assert "KeyboardInterrupt" in said
    wait_for(lambda: not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children))
