"""The same study on a Dask cluster."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from search import cluster as cluster_module
from search.cluster import DaskExecutor
from search.worker import Hooks
from tests.search.fakes import FakeStudy, light_run, signature
from textclf.errors import RunError
from textclf.records import TrialRecord

distributed = pytest.importorskip("distributed", reason="the dask extra is not installed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two workers in processes of their own, restarted when they die."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as local:
        yield local


def reading_run(job: Any, hooks: Hooks, shared: Any, *, folder: str) -> TrialRecord:
    """As light_run; checks what all trials share, and once kills the worker it runs in."""
    assert shared == {"inputs": list(range(100))}
    mark = Path(folder) / "killed"
    if job.spec.number == 4 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return light_run(job, hooks, shared)


def test_a_cluster_runs_the_same_study(cluster: Any, tmp_path: Path) -> None:
    """Inputs travel to the workers, one of which is killed: equal to the bit with the study of one process."""
    whole = FakeStudy(url=f"sqlite:///{tmp_path}/whole.db", n_trials=12).run()
    study = FakeStudy(
        url=f"sqlite:///{tmp_path}/dask.db",
        n_trials=12,
        shared={"inputs": list(range(100))},
        executor=lambda shared, on_progress: DaskExecutor(shared, address=cluster.scheduler_address),
        run_trial=partial(reading_run, folder=str(tmp_path)),
    )

    assert signature(study.run()) == signature(whole)
    assert (tmp_path / "killed").exists()


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything runs."""
    monkeypatch.setattr(cluster_module, "SECONDS_TO_CONNECT", 0.5)
    with pytest.raises(RunError, match=r"no scheduler answers at tcp://127.0.0.1:1"):
        DaskExecutor(None, address="tcp://127.0.0.1:1")
