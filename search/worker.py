"""A worker process: takes jobs from its own pipe, one at a time, and tells how they go.

It imports nothing heavy by itself: thread counts and devices must stand in the environment before numpy and torch load.
"""

import os
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import connection as pipes
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ctypes import c_bool
    from multiprocessing.connection import Connection

    from search.spec import Progress, TrialJob
    from textclf.records import TrialRecord


class TrialStopped(Exception):  # noqa: N818  not an error: the trial did as it was asked
    """A trial ended because the study was told to stop; it has no result and runs again."""


class DiskFull(Exception):  # noqa: N818  what happened to the trial, which did nothing wrong
    """A trial could not write; it has no result and runs again when there is room."""


class WorkerDied(Exception):  # noqa: N818  what happened, not what is wrong
    """The process that ran a trial is gone."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """How a running trial talks to whoever started it."""

    tell: "Callable[[Progress], None]"
    should_stop: Callable[[], bool]


Runner = Callable[["TrialJob", Hooks, Any], "TrialRecord"]
"""Runs a job; the last argument is what all trials share: the inputs, or where to load them from."""

Reply = tuple[Literal["progress", "result", "error"], Any]


def worker_environment(*, threads: int, gpu: str | None) -> dict[str, str]:
    """Environment variables of a worker: its share of threads, asleep while idle, and the one GPU it may see."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    variables = {name: str(threads) for name in names} | {"OMP_WAIT_POLICY": "PASSIVE"}
    return variables if gpu is None else {**variables, "CUDA_VISIBLE_DEVICES": gpu}


def serve(jobs: "Connection[Any, Any]", stopping: "c_bool", environment: Mapping[str, str]) -> None:
    """Run jobs until the pipe closes. A process's whole life."""
    os.environ.update(environment)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    hooks = Hooks(tell=lambda progress: jobs.send(("progress", progress)), should_stop=lambda: bool(stopping.value))
    while True:
        try:
            call = jobs.recv()
        except EOFError:
            return
        if call is None:
            return
        jobs.send(_answer(call, hooks))


def _answer(call: "tuple[Runner, TrialJob, Any]", hooks: Hooks) -> Reply:
    run, job, shared = call
    try:
        return "result", run(job, hooks, shared)
    except (TrialStopped, DiskFull) as told:
        return "error", told
    except Exception as error:  # noqa: BLE001  it is the coordinator that decides what an error means
        line = "".join(traceback.format_exception_only(error)).strip()
        return "error", WorkerDied(f"{line}\n{traceback.format_exc()}")


def _die_with_parent() -> None:
    """Leave no orphan: when the coordinator is killed, its workers go at once."""
    parent = parent_process()
    if parent is not None:
        pipes.wait([parent.sentinel])
        os._exit(1)
