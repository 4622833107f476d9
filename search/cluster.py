"""Trials on a Dask cluster, which someone else deployed: by hand, over SSH, on SLURM or on Kubernetes."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from search.executors import TrialExecutor
from search.spec import TrialJob
from search.worker import DiskFull, Hooks, Runner, TrialStopped, WorkerDied
from textclf.errors import ConfigError, RunError

if TYPE_CHECKING:
    from textclf.records import TrialRecord

T = TypeVar("T")
SECONDS_TO_CONNECT = 10.0


class DaskExecutor(TrialExecutor):
    """Runs trials on a Dask cluster that someone else deployed.

    shared: sent to every worker once; sent again where the workers that held it are gone
    """

    def __init__(self, shared: Any, *, address: str) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise ConfigError("--executor dask needs the extra: pip install 'textclf-search[dask]'") from None
        try:
            self._client = Client(address, timeout=SECONDS_TO_CONNECT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise RunError(
                f"--dask-address: no scheduler answers at {address} ({error}); start one, or check it"
            ) from None
        self._shared = shared
        self._scattered: Any = None
        self._futures: dict[Any, Future[Any]] = {}
        self.n_workers = max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))

    def submit(self, fn: Callable[..., T], /, *args: Any, **_: Any) -> Future[T]:
        """Send the job to the cluster."""
        if self._scattered is None or self._scattered.status != "finished":
            (self._scattered,) = self._client.scatter([self._shared], broadcast=True, hash=False)
        remote = self._client.submit(_run_on_cluster, fn, args[0], self._scattered, pure=False, retries=0)
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        self._futures[remote] = future
        remote.add_done_callback(self._hand_over)
        return future

    def stop(self) -> None:
        """Give up on running trials: a cluster cannot be asked to end them at an epoch."""
        for remote, future in list(self._futures.items()):
            remote.cancel()
            if not future.done():
                future.set_exception(TrialStopped("the cluster was told to drop it"))

    def kill(self) -> None:
        """The same."""
        self.stop()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Leave the cluster as it is."""
        if cancel_futures:
            self.stop()
        self._client.close()

    def _hand_over(self, remote: Any) -> None:
        future = self._futures.pop(remote, None)
        if future is None or future.done():
            return
        if remote.status == "finished":
            future.set_result(remote.result())
        elif remote.status == "cancelled":
            self._scattered = None
            future.set_exception(WorkerDied("the cluster lost the trial or the data it needs"))
        else:
            error = remote.exception()
            future.set_exception(error if isinstance(error, TrialStopped | DiskFull) else WorkerDied(f"{error!r}"))


def _run_on_cluster(run: Runner, job: TrialJob, shared: Any) -> "TrialRecord":
    return run(job, Hooks(tell=lambda _: None, should_stop=lambda: False), shared)
