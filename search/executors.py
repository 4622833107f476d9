"""Where trials run on this machine: in this process or in worker processes; each a concurrent.futures.Executor.

The standard library's ProcessPoolExecutor is not used: one killed worker breaks the whole pool, and one killed while it
writes a large result leaves the pool waiting for the rest of it for ever. Here each worker has a process and a pipe of
its own, so a dead one costs the trial it ran and nothing else.
"""

import contextlib
import multiprocessing
import queue
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from multiprocessing import connection as pipes
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, TypeVar

from search.spec import Progress, TrialJob
from search.worker import DiskFull, Hooks, TrialStopped, WorkerDied, serve

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess


T = TypeVar("T")
OnProgress = Callable[[Progress], None]
SECONDS_TO_LEAVE = 5.0


class TrialExecutor(Executor):
    """An executor of trials: submit(run, job) calls run(job, hooks, shared) where the trial is to run.

    n_workers: trials that run at one time
    blocks: whether submit returns only when the trial is done
    """

    n_workers = 1
    blocks = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a job: the arguments are the runner and the job."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ask running trials to end at their next epoch."""

    def kill(self) -> None:
        """End running trials now."""


class InlineExecutor(TrialExecutor):
    """Runs a trial while it is submitted, in this process."""

    blocks = True

    def __init__(self, shared: Any, *, on_progress: OnProgress) -> None:
        self._shared, self._stopping = shared, False
        self._hooks = Hooks(tell=on_progress, should_stop=lambda: self._stopping)

    def submit(self, fn: Callable[..., T], /, *args: Any, **_: Any) -> Future[T]:
        """Run the job; the future is done."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(args[0], self._hooks, self._shared))
        except Exception as error:  # noqa: BLE001  an executor hands every error over
            future.set_exception(error)
        return future

    def stop(self) -> None:
        """Ask the running trial to end at its next epoch."""
        self._stopping = True


@dataclass(frozen=True)
class _Task:
    future: Future[Any]
    run: Callable[..., Any]
    job: TrialJob


class ProcessExecutor(TrialExecutor):
    """Runs trials in spawned processes, one per slot, each started when it is first needed and after it died.

    shared: small and picklable; it travels with every job
    environments: variables of each slot's process, set before it imports anything heavy
    """

    def __init__(self, shared: Any, *, environments: Sequence[Mapping[str, str]], on_progress: OnProgress) -> None:
        self.n_workers = len(environments)
        self._shared, self._on_progress = shared, on_progress
        self._context = multiprocessing.get_context("spawn")
        self._stopping = self._context.RawValue("b", 0)  # no lock that a killed worker could take with it
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._workers: dict[int, SpawnProcess] = {}
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._run_slot, args=(slot, environment), daemon=True, name=f"slot-{slot}")
            for slot, environment in enumerate(environments)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[..., T], /, *args: Any, **_: Any) -> Future[T]:
        """Give the job to the next free slot."""
        future: Future[T] = Future()
        self._tasks.put(_Task(future, fn, args[0]))
        return future

    def stop(self) -> None:
        """Ask running trials to end at their next epoch."""
        self._stopping.value = 1

    def kill(self) -> None:
        """End all workers now, and each that is only being started as soon as it is."""
        self._closed.set()
        self.stop()
        for worker in tuple(self._workers.values()):
            worker.kill()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  as in Executor
        """Let the workers leave."""
        if cancel_futures:
            self.kill()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _run_slot(self, slot: int, environment: Mapping[str, str]) -> None:
        worker: _Worker | None = None
        while (task := self._tasks.get()) is not None:
            if self._closed.is_set() or not task.future.set_running_or_notify_cancel():
                task.future.cancel()
                continue
            try:
                if worker is None:
                    worker = _Worker(self._context, self._stopping, environment)
                    self._workers[slot] = worker.process
                    if self._closed.is_set():  # since the task was taken: kill() did not know of this one
                        worker.process.kill()
                answer = worker.call((task.run, task.job, self._shared), self._on_progress)
            except Exception as error:  # noqa: BLE001  an executor hands every error over
                answered = isinstance(
                    error, (TrialStopped, DiskFull, WorkerDied)
                )  # else its pipe may hold what was not read
                if worker is not None and not (answered and worker.process.is_alive()):
                    worker.leave()
                    worker = None
                task.future.set_exception(error)
            else:
                task.future.set_result(answer)
        if worker is not None:
            worker.leave()


class _Worker:
    """A process and this side of its pipe."""

    def __init__(self, context: Any, stopping: Any, environment: Mapping[str, str]) -> None:
        self._pipe, theirs = context.Pipe()
        # Ctrl-C reaches the whole group, and the coordinator's main thread alone answers it: a process inherits from
        # the thread that starts it to be deaf from its first instruction on. The tracker's start would lift that.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self.process: SpawnProcess = context.Process(target=serve, args=(theirs, stopping, environment), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends with the process, even in the middle of a message

    def call(self, call: tuple[Callable[..., Any], TrialJob, Any], on_progress: OnProgress) -> Any:
        """Run a job there; raises WorkerDied where the process ends before it answers, or what the job raised."""
        try:
            self._pipe.send(call)
            while True:
                kind, content = self._receive()
                if kind == "progress":
                    on_progress(content)
                elif kind == "error":
                    raise content
                else:
                    return content
        except (EOFError, ConnectionError):
            self.process.join()
            raise WorkerDied(f"the worker process {_describe_exit(self.process.exitcode)}") from None

    def leave(self) -> None:
        """End the process: politely, then not."""
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        self.process.join(SECONDS_TO_LEAVE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self._pipe.close()

    def _receive(self) -> Any:
        ready = pipes.wait([self._pipe, self.process.sentinel])
        if self._pipe not in ready and not self._pipe.poll():
            raise EOFError
        return self._pipe.recv()


def _describe_exit(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"ended with exit code {exit_code}"
